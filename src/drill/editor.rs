//! The editor that a command opens by itself: a script stands for the person in front of it.
//!
//! Its program is on the workstation all the time; the script, values in place, only while its step runs.

use crate::drill::record::Halt;
use crate::drill::{stage, station};
use crate::kubernetes::Kubernetes;
use crate::redact::Secret;

/// Where the script waits, and where the program says how it went.
fn hands() -> String {
    format!("{}/.redrill", station::HOME)
}

/// The program that EDITOR and its like name.
pub fn program() -> String {
    program_of(&hands())
}

fn program_of(hands: &str) -> String {
    format!(
        r#"#!/bin/sh
# Does to the file what the step's script says, and notes what came of it: not every program that opens an editor cares.
for file; do :; done
if [ ! -f {hands}/script ]; then
    echo 'nothing says what a person does in this editor: bind the step with `editor`' >&2
    exit 1
fi
before=$(cksum <"$file")
sh -e {hands}/script "$file" </dev/null
status=$?
if [ "$status" -ne 0 ]; then
    echo "failed $status" >>{hands}/said
    echo "the script of this edit ended with $status" >&2
    exit 1
fi
if [ "$before" = "$(cksum <"$file")" ]; then
    echo unchanged >>{hands}/said
    echo 'the edit changed nothing' >&2
    exit 1
fi
echo changed >>{hands}/said
"#
    )
}

/// What came of one opening of the editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    Changed,
    Unchanged,
    Failed(i32),
}

/// Lays the script ready for the next editor that is opened.
pub async fn lay_ready(kubernetes: &Kubernetes, script: &Secret) -> Result<(), Halt> {
    stage::write_file(kubernetes, &format!("{}/script", hands()), script.expose()).await
}

/// Takes the script away again, and says what came of it, in order.
pub async fn take_away(kubernetes: &Kubernetes) -> Result<Vec<Edit>, Halt> {
    let hands = hands();
    let script = format!("if [ -f {hands}/said ]; then cat {hands}/said; fi; rm -rf {hands}");
    let said = stage::on_workstation(kubernetes, "take the editor's script away", &script, b"").await?;
    Ok(said.lines().filter_map(edit).collect())
}

fn edit(said: &str) -> Option<Edit> {
    match said {
        "changed" => Some(Edit::Changed),
        "unchanged" => Some(Edit::Unchanged),
        other => other.strip_prefix("failed ")?.parse().ok().map(Edit::Failed),
    }
}

/// Why nothing was edited, whatever the command's own status says: kubectl for one ends with 0 when an edit is cancelled.
pub fn complaint(edits: &[Edit], failed: bool, printed: &str) -> Option<String> {
    match edits {
        [] if failed => None,
        [] => Some("it opened no editor, so nothing was edited".to_owned()),
        [.., Edit::Failed(status)] => Some(format!("the script of the edit ended with {status}")),
        [Edit::Unchanged] => Some("the edit changed nothing".to_owned()),
        [.., Edit::Unchanged] => Some("it opened the editor again: it did not take what was written".to_owned()),
        [.., Edit::Changed] => given_up(printed).map(|line| format!("it took the edit for none: {line}")),
    }
}

/// What kubectl prints, with status 0, about an edit that comes to nothing for it.
fn given_up(printed: &str) -> Option<&str> {
    let mut lines = printed.lines().map(str::trim);
    lines.find(|line| line.starts_with("Edit cancelled") || line.contains('/') && line.ends_with(" skipped"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    /// Opens the editor on a file that says `one`: its status, what the file says then, what was noted, what was printed.
    async fn opened(script: Option<&str>) -> (bool, String, Vec<Edit>, String) {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("editor", &program_of(&folder.path().display().to_string()));
        write("a file", "one\n");
        if let Some(script) = script {
            write("script", script);
        }
        let argv = ["sh", &place("editor"), "--", &place("a file")];
        let output = crate::command::run(&argv, &BTreeMap::new(), b"", Duration::from_secs(20)).await.unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let edits = read(&folder.path().join("said")).lines().filter_map(edit).collect();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), read(&folder.path().join("a file")), edits, said)
    }

    #[tokio::test]
    async fn an_editor_does_what_its_script_says_to_the_file_that_is_named_last() {
        let (done, text, edits, said) = opened(Some("printf 's/one/%s/\\n' two | sed -i -f - \"$1\"")).await;
        assert_eq!((done, &*text, &edits[..], &*said), (true, "two\n", &[Edit::Changed][..], ""));
        assert_eq!(complaint(&edits, false, "secret/db edited"), None);
    }

    #[tokio::test]
    async fn an_edit_that_does_nothing_or_breaks_off_says_so_and_fails_its_command() {
        let (done, _, edits, said) = opened(Some("sed -i s/three/two/ \"$1\"")).await;
        assert_eq!((done, &edits[..], &*said), (false, &[Edit::Unchanged][..], "the edit changed nothing\n"));
        let (done, text, edits, said) = opened(Some("echo two >\"$1\"\n(exit 7)\necho three >\"$1\"")).await;
        assert_eq!((done, &*text, &edits[..]), (false, "two\n", &[Edit::Failed(7)][..]));
        assert_eq!(said, "the script of this edit ended with 7\n");
        let (done, text, edits, said) = opened(None).await;
        assert_eq!((done, &*text, &edits[..]), (false, "one\n", &[][..]));
        assert!(said.contains("bind the step with `editor`"), "{said}");
    }

    #[test]
    fn a_command_that_ends_well_without_an_edit_has_failed() {
        let says = |edits: &[Edit], printed: &str| complaint(edits, false, printed).unwrap_or_default();
        assert_eq!(says(&[], "secret/db edited"), "it opened no editor, so nothing was edited");
        assert_eq!(says(&[Edit::Unchanged], ""), "the edit changed nothing");
        assert_eq!(
            says(&[Edit::Changed, Edit::Unchanged], ""),
            "it opened the editor again: it did not take what was written"
        );
        assert_eq!(says(&[Edit::Failed(2)], ""), "the script of the edit ended with 2");
        let cancelled = "Edit cancelled, no changes made.";
        assert_eq!(says(&[Edit::Changed], cancelled), format!("it took the edit for none: {cancelled}"));
        assert_eq!(says(&[Edit::Changed], "secret/db skipped"), "it took the edit for none: secret/db skipped");
        assert_eq!(complaint(&[], true, "NotFound"), None, "what the command says of itself is said");
        assert_eq!(complaint(&[Edit::Changed, Edit::Changed], false, "one/two edited"), None);
    }
}
