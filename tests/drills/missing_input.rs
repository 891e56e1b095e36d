//! A check whose input is gone may not look like one that held.

use redrill::outcome::{CheckKind, Verdict};

use crate::playground::{Playground, SCENARIO};

#[test]
fn without_a_ledger_nobody_knows_which_state_came_back() {
    let playground = Playground::new();
    playground.replace(SCENARIO, "ledger: { database: taiga }\n", "");
    let run = playground.run(&["--drill", "scheduled"]);
    assert_eq!(run.exit, 2, "{}", run.stderr);
    run.assert_verdict(
        Verdict::Unverified,
        &["not shown: which moment's state came back", "RTO: could not be measured"],
    );
    assert!(run.drill("scheduled").checks.iter().all(|check| check.kind != CheckKind::PointInTime));
}

#[test]
fn what_nothing_seeds_is_named_before_anything_starts() {
    for (seeded, none, named) in [
        ("  databases: [taiga]\n", "  databases: []\n", "database taiga: nothing seeds and compares it"),
        ("  files: [media]\n", "  files: []\n", "file tree media: nothing seeds and compares it"),
    ] {
        let playground = Playground::new();
        playground.replace(SCENARIO, seeded, none);
        let (exit, said) = playground.check();
        assert_eq!(exit, 2, "{said}");
        assert!(said.contains(named), "{said}");
    }
}
