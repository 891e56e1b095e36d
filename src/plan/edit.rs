//! An edit in an editor, given as a script: what is typed instead of `vim FILE`.

/// The script, and a look whether it did anything: an edit that leaves the file as it was is a failed step. POSIX shell, in
/// whatever session the editor would have been opened in.
pub fn command(file: &str, script: &str) -> String {
    let script = script.trim_end();
    format!(
        "redrill_unedited=$(cksum <{file})\n{script}\n\
         [ \"$redrill_unedited\" != \"$(cksum <{file})\" ] || {{ echo 'the edit changed nothing in {file}' >&2; false; }}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    async fn edited(script: &str) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bak"), "CREATE ROLE x;\n").unwrap();
        let typed = format!("cd {}\n{}", folder.path().display(), command("a.bak", script));
        let output = crate::command::run(&["sh", "-c", &typed], &BTreeMap::new(), b"", Duration::from_secs(20)).await;
        let output = output.unwrap();
        let text = std::fs::read_to_string(folder.path().join("a.bak")).unwrap();
        (output.status.success(), text, String::from_utf8(output.stderr).unwrap())
    }

    #[tokio::test]
    async fn an_edit_that_changes_the_file_succeeds_and_one_that_does_not_fails() {
        let (done, text, said) = edited("sed -i 's/^CREATE/-- &/' a.bak").await;
        assert!(done && said.is_empty(), "{said}");
        assert_eq!(text, "-- CREATE ROLE x;\n");
        let (done, _, said) = edited("sed -i 's/^DROP/-- &/' a.bak\n").await;
        assert!(!done);
        assert_eq!(said, "the edit changed nothing in a.bak\n");
    }
}
