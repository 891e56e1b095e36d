//! A check whose input is gone may not look like one that held.

use redrill::outcome::Verdict;

use crate::playground::{Playground, SCENARIO};

#[test]
fn without_a_ledger_and_without_a_seeded_tree_nothing_is_proven() {
    let playground = Playground::new();
    playground.replace(SCENARIO, "ledger: { database: taiga }\n", "");
    playground.replace(SCENARIO, "  files: [media]\n", "  files: []\n");
    let run = playground.run(&["--drill", "scheduled"]);
    assert_eq!(run.exit, 2, "{}", run.stderr);
    run.assert_verdict(
        Verdict::Unverified,
        &[
            "file tree media: nothing seeds and compares it",
            "check `point in time` did not run: the scenario keeps no ledger",
            "RTO: could not be measured",
        ],
    );
}

#[test]
fn a_database_that_nothing_seeds_is_named_before_anything_starts() {
    let playground = Playground::new();
    playground.replace(SCENARIO, "  databases: [taiga]\n", "  databases: []\n");
    let (exit, said) = playground.check();
    assert_eq!(exit, 2, "{said}");
    assert!(said.contains("database taiga: nothing seeds and compares it"), "{said}");
}
