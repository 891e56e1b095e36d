//! Which programs a drill types at the workstation's own shell, as far as the text alone says so for certain. What is typed into a
//! session, what may not run, and all behind a command that could make a program or give a word another meaning is left out.

use super::{Action, DrillPlan, PlannedStep};
use crate::outcome::SourceRef;
use crate::redact::Secret;
use crate::scenario::{Chore, Erratum, Terminal};
use crate::session;

mod statement;

use statement::Statements;

/// A program, by the word that is typed for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypedProgram {
    pub name: String,
    pub source: SourceRef,
}

/// Programs and builtins that neither make programs nor change what a word means, unless they are told a folder of programs.
const HARMLESS: [&str; 63] = [
    ":",
    "[",
    "aws",
    "base64",
    "basename",
    "cat",
    "cd",
    "chmod",
    "cmp",
    "cp",
    "cut",
    "date",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "export",
    "false",
    "file",
    "git",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "helm",
    "id",
    "jq",
    "kubectl",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mv",
    "patch",
    "pg_dump",
    "pg_dumpall",
    "pg_isready",
    "pg_restore",
    "printf",
    "psql",
    "pwd",
    "restic",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "set",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "uniq",
    "wc",
    "which",
    "whoami",
    "yq",
];

/// What may be said of what follows a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Typed,
    /// It goes into the session that was opened.
    InSession,
    Unknown,
}

impl DrillPlan {
    /// In the order typed. What an erratum that is not at work says of a step is known: it is wrong there, and its step shows it.
    pub fn programs(&self, errata: &[Erratum]) -> Vec<TypedProgram> {
        let mut found = Vec::new();
        let sittings = [&self.earlier, &self.backup, &self.restore, &self.reconcile];
        let chores: [&[Chore]; 4] = [&self.prepared, &[], &self.since_backup, &[]];
        for (steps, chores) in sittings.into_iter().zip(chores) {
            let harmless = |chore: &Chore| read(&chore.run).1 == Then::Typed;
            if !chores.iter().all(harmless) || !sitting(steps, errata, &mut found) {
                break;
            }
        }
        found
    }
}

/// Whether what follows the sitting is known.
fn sitting(steps: &[PlannedStep], errata: &[Erratum], found: &mut Vec<TypedProgram>) -> bool {
    let mut in_session: Vec<Terminal> = Vec::new();
    for step in steps {
        match &step.action {
            Action::Shell | Action::Apply { .. } | Action::Compare { .. } | Action::Editor { .. } => {}
            // These type nothing, or what changes one file.
            Action::Edit { .. }
            | Action::CronJob { .. }
            | Action::BackupPlan { .. }
            | Action::Schedule { .. }
            | Action::Human
            | Action::Removed { .. } => continue,
        }
        // No text of a session's, such as SQL, is read as if it were the shell's.
        if in_session.contains(&step.terminal) {
            continue;
        }
        // A value is no name of a program, whatever it is.
        let Ok(filled) = step.fill(|_| Some(Secret::new("./value"))) else { return false };
        let (words, then) = read(filled.text.expose());
        let is_known_wrong = errata.iter().any(|erratum| {
            let edits = || erratum.edits.iter().any(|edit| step.is_meant_by(&edit.step));
            !step.errata.contains(&erratum.id) && edits()
        });
        let source = |line| SourceRef { line: step.source.line + line, ..step.source.clone() };
        let words = words.into_iter().filter(|_| !is_known_wrong);
        found.extend(words.map(|(line, name)| TypedProgram { name, source: source(line) }));
        match then {
            Then::Typed => {}
            Then::InSession => in_session.push(step.terminal),
            Then::Unknown => return false,
        }
    }
    true
}

/// The names of programs that a text types for certain.
pub fn names(text: &str) -> Vec<String> {
    read(text).0.into_iter().map(|(_, name)| name).collect()
}

/// With their lines, from 0.
fn read(text: &str) -> (Vec<(usize, String)>, Then) {
    let mut found = Vec::new();
    let mut statements = Statements::of(text);
    loop {
        let statement = match statements.next() {
            Ok(Some(statement)) => statement,
            Ok(None) => return (found, Then::Typed),
            Err(_unclear) => return (found, Then::Unknown),
        };
        let Some(names) = statement.programs() else { return (found, Then::Unknown) };
        let is_harmless = is_harmless(statement.text, &names);
        // What stands around `||` is let fail.
        if !statement.is_either {
            found.extend(names.into_iter().flatten());
        }
        if !is_harmless {
            return (found, Then::Unknown);
        }
        if session::opens(statement.text) {
            return (found, Then::InSession);
        }
    }
}

fn is_harmless(statement: &str, names: &[Option<(usize, String)>]) -> bool {
    let plain: Vec<&str> = names.iter().flatten().map(|(_, name)| name.as_str()).collect();
    // What is done in a pod is done to the pod's programs.
    let is_elsewhere = plain == ["kubectl"] && statement.contains(" exec ") && !statement.contains('>');
    plain.len() == names.len()
        && plain.iter().all(|name| HARMLESS.contains(name))
        && (is_elsewhere || !statement.contains("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_every_command_is_a_program() {
        for (text, words) in [
            ("kubectl get pods", &["kubectl"][..]),
            ("A=b C=\"d e\" jq . <in >out 2>&1", &["jq"]),
            (
                "kubectl get x -o json | jq -r '.a | b; c' && yq \"$(jq '.)' x)\" # then nothing",
                &["kubectl", "jq", "yq"],
            ),
            ("kubectl get \\\n  pods |\n  jq .\nrestic snapshots", &["kubectl", "jq", "restic"]),
            ("kubectl apply -f - <<EOF\njunk | junk\nEOF\njq .", &["kubectl", "jq"]),
            ("kubectl exec -it ./value -- backup.bb; jq .", &["kubectl", "jq"]),
            ("# a comment\n\njq .", &["jq"]),
            ("pigz file", &["pigz"]),
        ] {
            assert_eq!(names(text), words, "{text}");
        }
        assert_eq!(read("cat a \\\n b\n\njq .").0, [(0, "cat".to_owned()), (3, "jq".to_owned())]);
    }

    #[test]
    fn what_may_not_run_and_what_is_no_name_is_left_to_the_step() {
        for text in [
            "jq . || true",
            "$JQ .",
            "./configure.sh",
            "/opt/x/jq .",
            "\"jq\" .",
            "if true; then jq .; fi",
            "for i in 1 2; do jq .; done",
            "( jq . )",
            "jq . &",
            "jq() { sed p; }",
            "! jq .",
            "jq 'open",
            "jq `date`",
            "jq <<EOF\nwithout an end",
            "PATH=$PWD jq .",
            "./value jq",
            "[[ -f x ]]",
        ] {
            assert_eq!(names(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn behind_what_may_change_the_meaning_of_a_word_nothing_is_known() {
        for before in [
            "./configure.sh",
            "alias k=kubectl",
            "export PATH=$PATH:.",
            ". environment",
            "cp tool /usr/local/bin/",
            "kubectl exec ./value -- cat tool >/usr/local/bin/tool",
            "pip install tool",
            "bash",
            "sudo -i",
            "cat >file",
            "exit",
            "read answer",
        ] {
            let (found, then) = read(&format!("{before}\nk get pods"));
            assert!(then == Then::Unknown && found.iter().all(|(line, _)| *line == 0), "{before}: {found:?}");
        }
        assert_eq!(read("cd x\nexport A=b\ngit pull\nkubectl get pods").1, Then::Typed);
        for opens in ["kubectl exec -it ./value -- /bin/bash", "psql -h database", "cd x && kubectl exec -ti p -- psql"]
        {
            let (found, then) = read(&format!("{opens}\nSELECT 1;"));
            assert!(then == Then::InSession && found.iter().all(|(line, _)| *line == 0), "{opens}: {found:?}");
        }
    }
}
