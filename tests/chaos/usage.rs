//! Command lines and files that are wrong, as a CI meets them: exit 64, a message with its place, and a junit.xml.

use std::fs;

use crate::program::{Ended, Place};

fn assert_usage(place: &Place, ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(64), "{ended:?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let junit = place.junit(&place.runs().pop().expect("a run"));
    for words in words {
        assert!(said.contains(words), "`{words}` is not in {ended:?}");
        assert!(junit.contains(&words.replace('<', "&lt;")), "`{words}` is not in {junit}");
    }
    assert!(junit.contains("<error"), "{junit}");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let lines: [(&[&str], &[&str]); 4] = [
        (&["run", "taig"], &["no scenario `taig`", "taiga"]),
        (&["run", "taiga", "--drill", "schedule"], &["no drill `schedule`", "scheduled", "scenario.yaml"]),
        (&["run", "--drils", "scheduled"], &["--drils"]),
        (&["run", "--env", "nowhere"], &["nowhere"]),
    ];
    for (line, words) in lines {
        let place = Place::new();
        assert_usage(&place, &place.run(line), words);
    }
}

#[test]
fn an_empty_selection_is_a_mistake() {
    let place = Place::new();
    let empty = tempfile::tempdir().unwrap();
    let ended = place.run(&["run", "--scenarios", empty.path().to_str().unwrap()]);
    assert_usage(&place, &ended, &["no scenario here"]);
}

#[test]
fn a_broken_scenario_is_told_by_file_and_line() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("shop/scenario.yaml");
    fs::create_dir(folder.path().join("shop")).unwrap();
    fs::write(&scenario, "name: shop\nrunbok: page.md\n").unwrap();
    let ended = place.run(&["run", "--scenarios", folder.path().to_str().unwrap()]);
    assert_usage(&place, &ended, &[&format!("{}:2", scenario.display()), "runbok", "runbook"]);
    for command in ["plan", "check", "list", "doctor"] {
        let ended = place.run(&[command, "--scenarios", folder.path().to_str().unwrap()]);
        assert_eq!(ended.code, Some(64), "{command}: {ended:?}");
        assert!(ended.stderr.contains(&format!("{}:2", scenario.display())), "{command}: {ended:?}");
    }
}
