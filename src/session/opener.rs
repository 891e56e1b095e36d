//! Which commands open a session: a program that takes the next text from the terminal.

use super::cockroach;
use super::reader::Reader;

/// What a command leads into, judged by its words alone; whether it does is then asked of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opener {
    pub reader: Reader,
    /// `exec`: the program takes the shell's place, so that leaving it leaves the shell too.
    pub replaces: bool,
}

impl Opener {
    fn of(reader: Reader) -> Self {
        Self { reader, replaces: false }
    }
}

/// Whether the last command of a statement opens a session in the terminal.
pub fn opener(statement: &str) -> Option<Opener> {
    let tail = last_command(statement)?;
    by_words(&shell_words::split(&tail).ok()?)
}

/// Whether a statement may put another prompt in place of the session's.
pub fn may_change_prompt(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or("");
    matches!(first, "." | "source") || ["PS1", "PS2", "PROMPT_COMMAND"].iter().any(|name| statement.contains(name))
}

/// The text behind the last `&&`, `||`, `;` or line end, unless it reads or writes something other than
/// the terminal or stands inside a compound command.
fn last_command(statement: &str) -> Option<String> {
    let mut command = String::new();
    let mut redirected = false;
    let mut quote = None;
    let mut chars = statement.trim_end().chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '$') if chars.next_if_eq(&'(').is_some() => {
                skip_substitution(&mut chars);
                command.push_str("$substituted");
            }
            (Some(open), _) => {
                if c == open {
                    quote = None;
                } else if c == '\\' && open == '"' {
                    command.push(c);
                    command.extend(chars.next());
                    continue;
                }
                command.push(c);
            }
            (None, '\\') => match chars.next() {
                Some('\n') => command.push(' '),
                next => {
                    command.push(c);
                    command.extend(next);
                }
            },
            (None, '\'' | '"') => {
                quote = Some(c);
                command.push(c);
            }
            (None, '#') if command.is_empty() || command.ends_with(char::is_whitespace) => {
                while chars.next_if(|&c| c != '\n').is_some() {}
            }
            (None, '&') if chars.next_if_eq(&'&').is_none() => redirected = true,
            (None, '|') if chars.next_if_eq(&'|').is_none() => redirected = true,
            (None, ';' | '\n') if chars.peek().is_none() => {}
            (None, '&' | '|' | ';' | '\n') => {
                command.clear();
                redirected = false;
            }
            // `2>` and `2>&1` leave stdin and stdout where they are.
            (None, '>') if command.ends_with('2') => {
                command.pop();
                while chars.next_if(|&c| !c.is_whitespace()).is_some() {}
            }
            (None, '<' | '>' | '`' | '(' | ')') => redirected = true,
            (None, _) => command.push(c),
        }
    }
    (!redirected && !command.trim().is_empty()).then_some(command)
}

/// Reads on to the parenthesis that closes a `$(`.
fn skip_substitution(chars: &mut impl Iterator<Item = char>) {
    let mut depth = 1;
    for c in chars {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn by_words(words: &[String]) -> Option<Opener> {
    let assignments = words.iter().take_while(|word| is_assignment(word)).count();
    let (program, arguments) = words[assignments..].split_first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    match name {
        "exec" => by_words(arguments).map(|opener| Opener { replaces: true, ..opener }),
        "command" | "time" => by_words(arguments),
        "env" => by_words(after_options(arguments, &["-u", "-C"])),
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" => shell(arguments),
        "busybox" => by_words(arguments),
        "psql" => psql(arguments).then(|| Opener::of(Reader::Psql)),
        "cockroach" => cockroach::is_interactive(arguments).then(|| Opener::of(Reader::Cockroach)),
        "su" => switch_user(arguments, &[]),
        "runuser" => switch_user(arguments, &["-u", "--user"]),
        "sudo" => sudo(arguments),
        "gosu" | "su-exec" | "chroot" => inner(arguments.get(1..).unwrap_or_default()),
        "kubectl" | "oc" => kubectl_exec(arguments),
        "docker" | "podman" | "nerdctl" | "docker-compose" => container_exec(name, arguments),
        "ssh" => remote(arguments),
        _ => None,
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// A program that gets a command, or starts a shell where there is none.
fn inner(words: &[String]) -> Option<Opener> {
    if words.is_empty() { Some(Opener::of(Reader::Shell)) } else { by_words(words) }
}

/// The words from the first on that is no option; `with_value` names options whose value is the next word.
fn after_options<'a>(words: &'a [String], with_value: &[&str]) -> &'a [String] {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            return after;
        }
        if !word.starts_with('-') || word == "-" {
            return rest;
        }
        let skipped = usize::from(with_value.contains(&word.as_str()));
        rest = after.get(skipped..).unwrap_or_default();
    }
    rest
}

fn shell(arguments: &[String]) -> Option<Opener> {
    if let Some(at) =
        arguments.iter().position(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('c'))
    {
        return opener(arguments.get(at + 1)?);
    }
    let rest = after_options(arguments, &["-o", "+o", "-O", "--rcfile", "--init-file"]);
    let reads_terminal = rest.is_empty() || arguments.iter().any(|word| word == "-s");
    reads_terminal.then(|| Opener::of(Reader::Shell))
}

/// Whether psql gets its commands from the terminal: no `-c`, `-f`, `-l` and the like.
fn psql(arguments: &[String]) -> bool {
    const WITH_VALUE: &str = "dFhLopPRTUv";
    const ENDING: [&str; 5] = ["--command", "--file", "--list", "--version", "--help"];
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let name = format!("--{}", long.split('=').next().unwrap_or(long));
            if ENDING.contains(&name.as_str()) {
                return false;
            }
            continue;
        }
        let Some(letters) = word.strip_prefix('-') else { continue };
        if let Some(at) = letters.find(|c| WITH_VALUE.contains(c) || "cflV?".contains(c)) {
            if letters[at..].starts_with(|c| "cflV?".contains(c)) {
                return false;
            }
            if letters[at..].chars().count() == 1 {
                words.next();
            }
        }
    }
    true
}

fn switch_user(arguments: &[String], naming: &[&str]) -> Option<Opener> {
    let command = arguments.iter().position(|word| word == "-c" || word == "--command");
    if let Some(at) = command {
        return opener(arguments.get(at + 1)?);
    }
    if naming.iter().any(|option| arguments.iter().any(|word| word == option)) {
        return inner(after_options(arguments, naming));
    }
    Some(Opener::of(Reader::Shell))
}

fn sudo(arguments: &[String]) -> Option<Opener> {
    let command = after_options(arguments, &["-u", "-g", "-h", "-p", "-C", "-r", "-t", "--user", "--group"]);
    let own_shell = arguments.iter().any(|word| matches!(word.as_str(), "-i" | "-s" | "--login" | "--shell"));
    match (command.is_empty(), own_shell) {
        (true, true) => Some(Opener::of(Reader::Shell)),
        (true, false) => None,
        (false, _) => by_words(command),
    }
}

/// Whether options ask for stdin and a terminal, in any of their spellings.
fn is_on_terminal(options: &[String]) -> bool {
    let asks = |letter: char, long: &str| {
        options.iter().any(|word| match word.strip_prefix("--") {
            Some(name) => name == long || name == format!("{long}=true"),
            None => word.strip_prefix('-').is_some_and(|letters| letters.len() <= 3 && letters.contains(letter)),
        })
    };
    asks('i', "stdin") | asks('i', "interactive") && asks('t', "tty")
}

fn kubectl_exec(arguments: &[String]) -> Option<Opener> {
    const WITH_VALUE: [&str; 9] =
        ["-n", "--namespace", "-c", "--container", "--context", "--kubeconfig", "--cluster", "--user", "-f"];
    let verb = after_options(arguments, &WITH_VALUE);
    let (verb, rest) = verb.split_first()?;
    if verb != "exec" {
        return None;
    }
    let (options, command) = match rest.iter().position(|word| word == "--") {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        // The spelling without `--` of kubectl before 1.31: the pod, then the command, options between them.
        None => {
            let pod = after_options(rest, &WITH_VALUE);
            let command = after_options(pod.get(1..)?, &WITH_VALUE);
            (&rest[..rest.len() - command.len()], command)
        }
    };
    if is_on_terminal(options) && !command.is_empty() { by_words(command) } else { None }
}

fn container_exec(name: &str, arguments: &[String]) -> Option<Opener> {
    const WITH_VALUE: [&str; 14] = [
        "-u",
        "--user",
        "-w",
        "--workdir",
        "-e",
        "--env",
        "-f",
        "--file",
        "-p",
        "--name",
        "-v",
        "--volume",
        "--network",
        "--entrypoint",
    ];
    let mut rest = after_options(arguments, &WITH_VALUE);
    let compose = name == "docker-compose" || rest.first().is_some_and(|word| word == "compose");
    if compose && name != "docker-compose" {
        rest = after_options(&rest[1..], &WITH_VALUE);
    }
    let (verb, options) = rest.split_first()?;
    if verb != "exec" && verb != "run" {
        return None;
    }
    let target = after_options(options, &WITH_VALUE);
    let given = &options[..options.len() - target.len()];
    // Compose gives a terminal unless told not to.
    let terminal = if compose { !given.iter().any(|word| word == "-T") } else { is_on_terminal(given) };
    if terminal { by_words(target.get(1..)?) } else { None }
}

fn remote(arguments: &[String]) -> Option<Opener> {
    const WITH_VALUE: [&str; 12] = ["-i", "-l", "-p", "-o", "-F", "-J", "-L", "-R", "-D", "-b", "-c", "-m"];
    let target = after_options(arguments, &WITH_VALUE);
    let options = &arguments[..arguments.len() - target.len()];
    let command = target.get(1..)?;
    // Without `-t` a remote command has no terminal.
    let terminal = command.is_empty() || options.iter().any(|word| word == "-t" || word == "-tt");
    if terminal { inner(command) } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::step::SessionKind;
    use super::*;

    fn kind(statement: &str) -> Option<SessionKind> {
        opener(statement).map(|opener| opener.reader.kind())
    }

    #[test]
    fn shells_without_a_command_open_a_session() {
        for statement in [
            "bash",
            "/bin/sh -i",
            "su - postgres",
            "su postgres -s /bin/bash",
            "sudo -u postgres -i",
            "sudo -u postgres bash",
            "runuser -u postgres -- bash",
            "kubectl exec -it DB_POD_NAME bash",
            "kubectl -n taiga exec -it deploy/x -- /bin/bash -l",
            "kubectl exec -n x -i --tty pod/y -c z -- env A=1 sh",
            "kubectl \\\n  exec -ti pod -- \\\n  sh",
            "docker exec -it db bash",
            "docker compose exec db bash",
            "docker run --rm -it -v a:/b alpine sh",
            "ssh -p 22 host",
            "cd /tmp && A=1 bash # as root",
            "exec bash",
            "bash 2>/dev/null",
            "kubectl exec -it $(kubectl get pods -l a=b -o name | head -1) -- bash",
            "kubectl exec -it \"$(kubectl get pod -o name)\" -- bash",
        ] {
            assert_eq!(kind(statement), Some(SessionKind::Shell), "{statement}");
        }
    }

    #[test]
    fn psql_without_a_command_opens_a_sql_session() {
        for statement in [
            "psql",
            "psql -U$POSTGRES_USER $POSTGRES_USER",
            "psql -h db -U postgres -tA -v ON_ERROR_STOP=1 app",
            "PGPASSWORD=x psql --host=db app;",
            "kubectl exec -it pod -- psql -U app",
            "su - postgres -c psql",
            "su postgres -c 'psql -d app'",
            "sh -c \"exec psql\"",
        ] {
            assert_eq!(kind(statement), Some(SessionKind::Sql), "{statement}");
        }
    }

    #[test]
    fn cockroach_sql_opens_a_session_of_its_own_kind() {
        let statement = "kubectl exec -it estafette-ci-db-client -n estafette-ci \\\n-- ./cockroach sql \\\n--certs-dir=/cockroach-certs \\\n--host=estafette-ci-db-public";
        assert_eq!(opener(statement), Some(Opener { reader: Reader::Cockroach, replaces: false }));
        assert_eq!(kind("cockroach sql --insecure"), Some(SessionKind::Sql));
    }

    #[test]
    fn programs_that_get_their_input_elsewhere_open_none() {
        for statement in [
            "kubectl -n taiga exec -it backup-restore -- backup.bb",
            "kubectl exec -i pod -- psql",
            "kubectl exec pod -- bash",
            "kubectl get pods -l app=psql",
            "bash restore.sh",
            "bash -c 'echo x'",
            "bash -ec 'echo x'",
            "psql -c 'select 1'",
            "psql -tAc 'select 1'",
            "psql -U$POSTGRES_USER --set ON_ERROR_STOP=on -f ./BACKUP_NAME.bak",
            "psql --file=x",
            "psql < dump.sql",
            "cat dump.sql | psql",
            "psql | tee log",
            "psql &",
            "kubectl exec -it pod -- ./cockroach sql -e 'SHOW JOBS'",
            "cockroach sql < dump.sql",
            "cockroach version",
            "su postgres -c 'psql -f x'",
            "echo bash",
            "echo 'x; bash'",
            "ssh host bash",
            "bash && echo back",
            "for i in 1; do bash; done",
            "# bash",
            "docker exec db bash",
            "(bash)",
            "echo \"unbalanced",
        ] {
            assert_eq!(kind(statement), None, "{statement}");
        }
    }

    #[test]
    fn exec_takes_the_shells_place() {
        assert_eq!(opener("exec psql"), Some(Opener { reader: Reader::Psql, replaces: true }));
        assert_eq!(opener("psql"), Some(Opener { reader: Reader::Psql, replaces: false }));
    }
}
