//! What a block or a span of code in a document is: something to type, or part of a file.

/// Which of the two a code block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    Command,
    Fragment,
}

/// Info strings that mean "type this".
const SHELL_LANGUAGES: &[&str] =
    &["sh", "bash", "shell", "zsh", "ksh", "console", "shell-session", "sh-session", "terminal", "shellsession"];

/// First words of statements that make an unlabelled block SQL.
const SQL_WORDS: &[&str] = &[
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "GRANT", "REVOKE", "TRUNCATE", "RESTORE",
    "BACKUP",
];

/// First words that make a span of code in running text a command even if it does not stand on a line of its own.
const PROGRAMS: &[&str] = &[
    "aws",
    "apt",
    "apt-get",
    "cat",
    "cd",
    "cockroach",
    "cp",
    "curl",
    "docker",
    "dropdb",
    "createdb",
    "exit",
    "gcloud",
    "git",
    "gsutil",
    "gunzip",
    "gzip",
    "helm",
    "kubectl",
    "make",
    "mkdir",
    "mongo",
    "mongodump",
    "mongorestore",
    "mongosh",
    "mv",
    "mysql",
    "mysqldump",
    "pg_basebackup",
    "pg_ctl",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "psql",
    "restic",
    "rm",
    "rsync",
    "scp",
    "service",
    "ssh",
    "sudo",
    "systemctl",
    "tar",
    "terraform",
    "wal-e",
    "wal-g",
    "wget",
];

/// Decides by the info string where there is one, else by how the text begins. What is neither YAML, JSON, SQL nor
/// a diff is taken for a command: a command that is overlooked would never be reported as not run.
pub fn classify(language: Option<&str>, text: &str) -> BlockKind {
    match language {
        Some(language) if SHELL_LANGUAGES.contains(&language.to_ascii_lowercase().as_str()) => BlockKind::Command,
        Some(_) => BlockKind::Fragment,
        None if is_diff(text) || is_mapping(text) || is_json(text) || is_sql(text) => BlockKind::Fragment,
        None => BlockKind::Command,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
}

fn is_diff(text: &str) -> bool {
    let first = first_line(text);
    first.starts_with("diff --git ") || first.starts_with("--- ") || first.starts_with("Index: ")
}

fn is_mapping(text: &str) -> bool {
    let first = first_line(text);
    let Some((key, rest)) = first.split_once(':') else { return first == "---" };
    let key_like = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    !key.is_empty() && key.chars().all(key_like) && (rest.is_empty() || rest.starts_with(' '))
}

fn is_json(text: &str) -> bool {
    matches!(first_line(text), "{" | "[") || serde_json::from_str::<serde_json::Value>(text).is_ok()
}

fn is_sql(text: &str) -> bool {
    let word = first_line(text).split_whitespace().next().unwrap_or("");
    SQL_WORDS.contains(&word) && text.trim_end().ends_with(';')
}

/// What is typed of a command block: where lines carry the prompt `$ `, only those, without it and with the
/// lines that a backslash continues; else everything.
pub fn typed(text: &str) -> String {
    let text = text.trim_end();
    if !text.lines().any(|line| line.trim_start().starts_with("$ ")) {
        return text.to_owned();
    }
    let mut lines = Vec::new();
    let mut continued = false;
    for line in text.lines() {
        match line.trim_start().strip_prefix("$ ") {
            Some(command) => lines.push(command),
            None if continued => lines.push(line),
            None => continue,
        }
        continued = line.ends_with('\\');
    }
    lines.join("\n")
}

/// Whether a span of code in a numbered item is something to type: it stands on lines of its own, or begins
/// with the name of a program and an argument.
pub fn is_inline_command(text: &str, alone_on_its_line: bool) -> bool {
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else { return false };
    let has_arguments = words.next().is_some();
    let names_a_program = PROGRAMS.contains(&first) || first.starts_with("./") || first.starts_with("/usr/");
    if alone_on_its_line { has_arguments || names_a_program } else { has_arguments && names_a_program }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlabelled_block_is_told_by_its_first_line() {
        assert_eq!(classify(None, "kind: Secret\nmetadata:\n  name: a\n"), BlockKind::Fragment);
        assert_eq!(classify(None, "diff --git a/x b/x\n"), BlockKind::Fragment);
        assert_eq!(classify(None, "DROP DATABASE a;\n"), BlockKind::Fragment);
        assert_eq!(classify(None, "{\"a\": 1}"), BlockKind::Fragment);
        assert_eq!(classify(None, "# why\nhelm repo update\n"), BlockKind::Command);
        assert_eq!(classify(None, "kubectl exec -it a -- psql\n"), BlockKind::Command);
    }

    #[test]
    fn the_info_string_decides_over_the_text() {
        assert_eq!(classify(Some("Bash"), "kind: Secret"), BlockKind::Command);
        assert_eq!(classify(Some("sql"), "psql"), BlockKind::Fragment);
    }

    #[test]
    fn prompts_are_not_typed_and_neither_is_what_was_printed() {
        assert_eq!(typed("$ ls \\\n  -l\nfile\n$ pwd\n"), "ls \\\n  -l\npwd");
        assert_eq!(typed("echo $ 1\n"), "echo $ 1");
    }

    #[test]
    fn a_path_in_a_sentence_is_no_command() {
        assert!(!is_inline_command("/var/lib", false));
        assert!(!is_inline_command("aws-backup-restore<timestamp>", false));
        assert!(is_inline_command("kubectl get pods", false));
        assert!(is_inline_command("frobnicate --all", true));
    }
}
