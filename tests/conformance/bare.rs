//! A machine that has nothing but an engine and redrill: no program of its own is in reach, and drills run all the same.

use std::process::Command;

use crate::engine::OwnEngine;

/// Hides every program of the machine from what runs after it, for the rest of its own mount namespace.
const HIDE: &str = r#"mount -t tmpfs none /usr/bin && exec "$@""#;

pub fn a_machine_with_an_engine_alone_drills(engine: &mut OwnEngine) {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let redrill = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", HIDE, "hide", env!("CARGO_BIN_EXE_redrill")]).args(arguments);
        command.arg("--reports").arg(place.path().join("reports")).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("DOCKER_HOST", &engine.host).env("REDRILL_STATE_DIR", place.path()).env("HOME", place.path());
        command.env("PATH", "/usr/bin:/usr/sbin").env_remove("XDG_DATA_HOME");
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        // As one line: a summary is wrapped.
        (output.status.code(), said.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let drill = ["run", "--env", "docker", "taiga", "--drill", "scheduled"];
    let (exit, said) = redrill(&drill);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("missing: kubectl") && said.contains("`redrill images build` gets in a container"), "{said}");
    let (exit, said) = redrill(&[&drill[..], &["--install"]].concat());
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.contains("to get kubectl in"), "{said}");
}
