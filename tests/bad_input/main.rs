//! What a person gets for a wrong file: every problem of it at once, each with its line and the way out.

use std::path::Path;

use proptest::prelude::*;
use redrill::scenario::Scenarios;

mod shop;
mod stand_ins;
mod systems;

use shop::{PAGE, SCENARIO, SYSTEM, Shop};

#[test]
fn the_scenario_that_the_others_are_made_from_is_right() {
    let checked = Shop::new().check().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(checked.plan.uncovered, []);
    assert_eq!(checked.plan.drills[0].restore.len(), 2);
}

#[test]
fn an_unknown_field_is_named_with_the_one_that_was_meant() {
    let shop = Shop::new().with("scenario.yaml", "objectives:", "objectve:");
    let problems = shop.problems();
    assert_eq!(problems, ["scenario.yaml:31: unknown field `objectve` (did you mean `objectives`?)"]);
}

#[test]
fn all_problems_of_a_file_are_said_at_once_in_its_order() {
    let shop = Shop::new()
        .with("scenario.yaml", "runbook: page.md", "runbook: pages.md")
        .with("scenario.yaml", "port: 5432", "port: many")
        .with("scenario.yaml", "kind: postgres", "kind: postgresql")
        .with("scenario.yaml", "ledger: { database: shop }", "ledger: { database: shp }")
        .with("scenario.yaml", "{ time: 1m,", "{ tiem: 1m,");
    let problems = shop.problems();
    assert_eq!(
        problems,
        [
            "scenario.yaml:2: runbook `pages.md` is not there: looked for pages.md",
            "scenario.yaml:10: unknown `postgresql` (did you mean `postgres`?)",
            "scenario.yaml:12: a whole number is needed here, this is `many`",
            "scenario.yaml:17: no database `shp` is declared in this file (did you mean `shop`?)",
            "scenario.yaml:26: `time` is missing here",
            "scenario.yaml:26: unknown field `tiem` (did you mean `time`?)",
        ]
    );
}

#[test]
fn what_only_another_kind_of_database_has_is_refused_with_its_line() {
    let mongodb = Shop::new().with("scenario.yaml", "kind: postgres", "kind: mongodb");
    mongodb.read().unwrap_or_else(|problems| panic!("{problems}"));
    let shop = mongodb
        .with(
            "scenario.yaml",
            "    password: { secret: shop/db, key: password }\n",
            "    password: { secret: shop/db, key: password }
    superuser: { user: root, password: { generated: root } }
    second-role: { name: reader, password: { generated: reader } }
",
        )
        .with(
            "scenario.yaml",
            "ledger: { database: shop }\n",
            "ledger: { database: shop }
archiving: [{ database: shop, prefix: s3://b/shop }]
credentials:
  - { principal: owner, target: { postgres: shop }, user: shop, secret: { generated: x }, at: { restored: accepted } }
  - { principal: app, target: { mongodb: shop }, user: shop, secret: { generated: x }, at: { restored: accepted } }
",
        );
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:16: `superuser` is for kind postgres: take it out",
            "scenario.yaml:17: `second-role` is for kind postgres: take it out",
            "scenario.yaml:20: a log that is shipped is for kind postgres, and `shop` is of kind mongodb",
            "scenario.yaml:22: target `postgres` is for kind postgres, and `shop` is of kind mongodb",
        ]
    );
}

#[test]
fn a_wrong_type_is_said_as_what_is_needed_and_what_is_there() {
    let shop = Shop::new()
        .with("scenario.yaml", "name: shop\n", "name: 7\n")
        .with("scenario.yaml", "manifests: [system]", "manifests: system")
        .with("scenario.yaml", "seed: { databases: [shop], size: small }", "seed: [shop]");
    let problems = shop.problems();
    assert_eq!(
        problems,
        [
            "scenario.yaml:1: text is needed here, `7` is not: put it in quotes if it is meant",
            "scenario.yaml:4: a list is needed here, this is a single value",
            "scenario.yaml:16: a mapping is needed here, this is a list",
        ]
    );
}

#[test]
fn a_scenario_that_is_not_there_is_said_by_its_path() {
    let shop = Shop::new();
    std::fs::remove_file(shop.folder().join("scenario.yaml")).unwrap();
    let problems = shop.problems();
    assert!(problems[0].starts_with("scenario.yaml: cannot be read: No such file"), "{problems:?}");
}

#[test]
fn a_slot_without_a_source_is_a_problem_of_the_step_that_has_it() {
    let shop = Shop::new().with("scenario.yaml", "  - { place: BACKUP_NAME, from: latest }\n", "  []\n");
    let problems = shop.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("page.md:7: slot `BACKUP_NAME`"), "{problems:?}");
    assert!(problems[0].contains("add `slots: [{place: BACKUP_NAME, from: ..}]` to scenario.yaml"), "{problems:?}");

    let shop = Shop::new().with("scenario.yaml", "{ place: BACKUP_NAME, from: latest }", "{ place: BACKUP_NAME }");
    let problems = shop.problems();
    assert!(problems[0].starts_with("scenario.yaml:30: slot `BACKUP_NAME` has no source: say `from:`"), "{problems:?}");
}

#[test]
fn a_slot_that_takes_what_was_not_printed_yet_is_a_problem() {
    let output = |procedure: &str| {
        format!("{{ place: BACKUP_NAME, from: {{ output: {{ procedure: {procedure}, item: 1 }}, pattern: '(.*)' }} }}")
    };
    let earlier = Shop::new().with("scenario.yaml", "{ place: BACKUP_NAME, from: latest }", &output("Save"));
    earlier.check().unwrap_or_else(|problems| panic!("{problems}"));
    let itself = Shop::new().with("scenario.yaml", "{ place: BACKUP_NAME, from: latest }", &output("Bring back"));
    let problems = itself.problems();
    let expected = "scenario.yaml:30: slot `BACKUP_NAME` of page.md:7 takes what page.md:7 prints, which drill `all` has not run by then";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_slot_that_no_step_has_any_more_is_drift() {
    let shop = Shop::new().with("page.md", " BACKUP_NAME", "").with("page.md", "password: new", "password: other");
    let problems = shop.problems();
    assert_eq!(
        problems,
        [
            "scenario.yaml:28: slot `password: new` is in no step any more: take it out or bring it up to date",
            "scenario.yaml:30: slot `BACKUP_NAME` is in no step any more: take it out or bring it up to date",
        ]
    );
}

#[test]
fn bindings_errata_and_waivers_for_steps_that_are_gone_are_drift() {
    let shop = Shop::new().with("scenario.yaml", "item: 2 }", "item: 3 }").with(
        "scenario.yaml",
        "objectives:",
        "errata:
  - id: load
    reason: r
    answer: a
    versions: kubectl 1+
    edits: [{ step: { procedure: Bring back, item: 1, text: restore-all }, replace: load }]
waivers:
  - { step: { procedure: Bring bak }, reason: r }
  - { secret: shop/gone, reason: r }
objectives:",
    );
    let problems = shop.problems();
    assert_eq!(
        problems,
        [
            "scenario.yaml:24: binding: `Bring back` (page.md:5) has no step in an item 3",
            "scenario.yaml:36: erratum `load`: the page no longer says `restore-all` in `Bring back`: page.md:7 says \
             `kubectl -n shop exec -it db-0 -- load BACKUP_NAME`: take this entry out or bring it up to date",
            "scenario.yaml:38: waiver: page.md has no procedure `Bring bak` (did you mean `Bring back`?)",
            "scenario.yaml:39: waiver: no Secret `shop/gone` is in the manifests (there are: shop/db)",
        ]
    );
}

#[test]
fn an_unknown_kind_is_refused_where_it_stands() {
    let shop = Shop::new().with("system/all.yaml", "kind: StatefulSet", "kind: StatfulSet");
    assert_eq!(
        shop.problems(),
        [
            "system/all.yaml:12: unknown kind `StatfulSet` (did you mean `StatefulSet`?): redrill has no such thing, leave it \
          out of the drilled manifests"
        ]
    );
}

#[test]
fn keys_claims_and_images_that_nothing_has_are_found_in_both_files() {
    let shop = Shop::new()
        .with("scenario.yaml", "key: password }\nseed", "key: pasword }\nseed")
        .with("scenario.yaml", "claims: [shop/data]", "claims: [shop/date]")
        .with("scenario.yaml", "shop:1:", "shop:2:")
        .with("system/all.yaml", "key: password", "key: pass")
        .with("system/all.yaml", "claimName: data", "claimName: other");
    let problems = shop.problems();
    assert_eq!(
        problems,
        [
            "scenario.yaml:7: nothing of the system uses the image `shop:2` (did you mean `shop:1`?): remove the binding",
            "scenario.yaml:15: Secret `shop/db` (system/all.yaml:1) has no key `pasword` (did you mean `password`?)",
            "scenario.yaml:18: no PersistentVolumeClaim `shop/date` is in the manifests (did you mean `shop/data`?)",
            "system/all.yaml:19: no image for `shop:1` (did you mean `shop:2`?): bind it in the scenario's `images`, to a folder, \
             or without one where the image exists",
            "system/all.yaml:22: Secret `shop/db` (system/all.yaml:1) has no key `pass` (there are: password, user)",
            "system/all.yaml:25: no PersistentVolumeClaim `shop/other` is in the manifests (there are: shop/data)",
        ]
    );
}

/// The shop on two clusters, `old` and `new`, of the same manifests.
fn two_clusters() -> Shop {
    let shop = Shop::new()
        .with("scenario.yaml", "manifests: [system]", "clusters: { old: [system], new: [system] }")
        .with("scenario.yaml", "    host: db.shop", "    cluster: old\n    host: db.shop")
        .with("scenario.yaml", "claims: [shop/data]", "claims: [old/shop/data]");
    let text = std::fs::read_to_string(shop.folder().join("scenario.yaml")).unwrap();
    shop.write("scenario.yaml", &text.replace("secret: shop/db", "secret: old/shop/db"));
    shop
}

#[test]
fn a_system_may_be_on_two_clusters() {
    let checked = two_clusters().check().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(checked.systems.names().collect::<Vec<_>>(), ["old", "new"]);
    assert_eq!(checked.plan.uncovered, []);
}

#[test]
fn of_several_clusters_each_name_says_in_which_it_is() {
    let shop = two_clusters().with("scenario.yaml", "    cluster: old\n    host: db.shop", "    host: db").with(
        "scenario.yaml",
        "claims: [old/shop/data]",
        "claims: [shop/data, odl/shop/data, old/shop/date]",
    );
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:10: `cluster` is missing here",
            "scenario.yaml:11: `db` names no Service of a cluster: write service.namespace",
        ]
    );
    let shop = two_clusters().with(
        "scenario.yaml",
        "claims: [old/shop/data]",
        "claims: [old/shop/data, shop/data, odl/shop/data, old/shop/date]",
    );
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:19: `odl/shop/data`: no cluster `odl` (did you mean `old`?)",
            "scenario.yaml:19: `shop/data` may be in old or new: write cluster/namespace/name",
            "scenario.yaml:19: no PersistentVolumeClaim `shop/date` is in the manifests (did you mean `shop/data`?)",
        ]
    );
    let shop = Shop::new().with("scenario.yaml", "claims: [shop/data]", "claims: [main/shop/data]");
    assert_eq!(shop.problems(), ["scenario.yaml:18: `main/shop/data`: there is one cluster, write namespace/name"]);
    let shop = Shop::new().with("scenario.yaml", "manifests: [system]", "clusters: { old: [system] }");
    assert!(shop.problems()[0].starts_with("scenario.yaml:4: one cluster needs no name"), "{:?}", shop.problems());
}

#[test]
fn a_store_has_the_fields_of_its_kind_and_outside_names_of_its_own() {
    let stores = |text: &str| Shop::new().with("scenario.yaml", "databases:\n", &format!("{text}databases:\n"));
    assert!(stores("stores:\n  a: { kind: gcs, bucket: backups }\n").check().is_ok());
    let shop = stores("stores:\n  a: { kind: gcs, bucket: backups, host: gcs.example }\n  b: { kind: gsc }\n");
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:9: unknown field `host` (there are: kind, bucket)",
            "scenario.yaml:10: `bucket` is missing here",
            "scenario.yaml:10: unknown `gsc` (did you mean `gcs`?)",
        ]
    );
    let shop = stores(
        "stores:\n  a: { kind: gcs, bucket: backups }\n  b: { kind: gcs, bucket: more }\n\
         repositories:\n  r: { store: a, base: gs:backups, path: r }\n",
    );
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:10: store `b`: `storage.googleapis.com` leads to the store `a` already",
            "scenario.yaml:12: repository `r`: restic's passwords are tried out in stores of kind s3 only",
        ]
    );
}

#[test]
fn an_objective_in_a_strange_unit_is_refused_with_the_units_there_are() {
    let shop = Shop::new().with("scenario.yaml", "promise: 30m", "promise: 2fortnights");
    assert_eq!(
        shop.problems(),
        ["scenario.yaml:32: strange unit `fortnights` in `2fortnights`: write it as 90s, 15m, 24h or 1h30m"]
    );
    let shop = Shop::new().with("scenario.yaml", "promise: 30m", "promise: 30");
    assert_eq!(shop.problems(), ["scenario.yaml:32: `30` has no unit: write it as 90s, 15m, 24h or 1h30m"]);
}

#[test]
fn an_acceptance_holds_through_its_last_day_and_is_a_problem_after() {
    Shop::new().with("scenario.yaml", "until: 2026-12-31", "until: 2026-11-20").check().unwrap();
    let shop = Shop::new().with("scenario.yaml", "until: 2026-12-31", "until: 2026-11-19");
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:34: accepted until 2026-11-19, and today is 2026-11-20: correct the page, or set a new last day"
        ]
    );
}

#[test]
fn a_password_in_the_file_is_refused_without_being_repeated() {
    let shop = Shop::new().with("scenario.yaml", "password: { secret: shop/db, key: password }", "password: hunter2");
    let problems = shop.problems();
    assert!(problems[0].starts_with("scenario.yaml:15: a password does not belong into this file"), "{problems:?}");
    assert!(!problems[0].contains("hunter2"));
}

#[test]
fn what_no_drill_runs_and_nothing_covers_is_noted_until_it_is_waived() {
    let shop = Shop::new();
    let page = format!("{PAGE}\n# Clean up\n\n1. `kubectl -n shop delete job old`\n2. Tell the others\n");
    shop.write("page.md", &page);
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: licence, namespace: shop }\n";
    shop.write("system/all.yaml", &format!("{SYSTEM}{secret}"));
    let notes = |shop: &Shop| {
        let plan = shop.check().unwrap_or_else(|problems| panic!("{problems}")).plan;
        let what = |notes: &[redrill::outcome::Note]| notes.iter().map(|note| note.what.clone()).collect::<Vec<_>>();
        (what(&plan.uncovered), what(&plan.waived))
    };
    let all = ["Clean up: kubectl -n shop delete job old", "Clean up: Tell the others", "Secret shop/licence"];
    assert_eq!(notes(&shop), (all.map(String::from).to_vec(), vec![]));

    let waivers = "waivers:
  - { step: { procedure: Clean up }, reason: not part of coming back }
  - { secret: shop/licence, reason: the vendor sends it again }
objectives:";
    let shop = shop.with("scenario.yaml", "objectives:", waivers);
    assert_eq!(notes(&shop), (vec![], all.map(String::from).to_vec()));
}

#[test]
fn a_fragment_that_nothing_is_bound_to_is_uncovered() {
    let shop = Shop::new();
    let text = std::fs::read_to_string(shop.folder().join("scenario.yaml")).unwrap();
    let (before, rest) = text.split_once("bindings:").unwrap();
    let (_, after) = rest.split_once("slots:\n  - { place: BACKUP").unwrap();
    shop.write("scenario.yaml", &format!("{before}slots:\n  - {{ place: BACKUP{after}"));
    let plan = shop.check().unwrap_or_else(|problems| panic!("{problems}")).plan;
    assert_eq!(plan.uncovered.len(), 1);
    assert_eq!(plan.uncovered[0].source.as_ref().unwrap().line, 10);
    assert!(plan.uncovered[0].why.contains("add a binding or a waiver"), "{:?}", plan.uncovered);
}

#[test]
fn two_scenarios_of_one_name_are_named_with_both_places() {
    let shop = Shop::new();
    let other = shop.0.path().join("store");
    copy(&shop.folder(), &other);
    let problems = Scenarios::discover(shop.0.path(), jiff::civil::date(2026, 11, 20)).unwrap_err().to_string();
    let root = shop.0.path().display();
    let expected = format!(
        "{root}/store/scenario.yaml:1: a second scenario `shop`, the first is in {root}/shop/scenario.yaml:1: give it a \
         name of its own"
    );
    assert_eq!(problems, expected);
}

#[test]
fn an_empty_selection_is_a_problem() {
    let shop = Shop::new();
    let today = jiff::civil::date(2026, 11, 20);
    let scenarios = Scenarios::discover(shop.0.path(), today).unwrap();
    assert_eq!(scenarios.select(&[]).unwrap().len(), 1);
    let unknown = scenarios.select(&["shp".to_owned()]).unwrap_err().to_string();
    assert!(unknown.ends_with(": no scenario `shp` here (did you mean `shop`?)"), "{unknown}");
    let unknown = scenarios.scenarios["shop"].select_drills(&["every".to_owned()]).unwrap_err().to_string();
    assert!(unknown.ends_with("no drill `every` in scenario `shop` (there are: all)"), "{unknown}");

    let empty = tempfile::tempdir().unwrap();
    let nothing = Scenarios::discover(empty.path(), today).unwrap();
    assert!(nothing.select(&[]).unwrap_err().to_string().contains("no scenario here"));
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// A line lost, doubled, cut short or replaced by rubbish: a scenario or problems, never a panic.
    #[test]
    fn a_damaged_file_is_read_or_refused_with_lines(line in 0usize..40, damage in 0u8..4, at in 0usize..30, rubbish in "[ a-z:{}\\[\\]'\"#&*!|>-]{0,12}") {
        let mut lines: Vec<String> = SCENARIO.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        match damage {
            0 => drop(lines.remove(line)),
            1 => lines.insert(line, lines[line].clone()),
            2 => lines[line] = lines[line].chars().take(at).collect(),
            _ => {
                let at = at.min(lines[line].len());
                lines[line].insert_str(at, &rubbish);
            }
        }
        let shop = Shop::new();
        shop.write("scenario.yaml", &lines.join("\n"));
        if let Err(problems) = shop.check() {
            prop_assert!(problems.iter().count() > 0);
            for problem in problems.iter() {
                prop_assert!(!problem.message.is_empty() && problem.source.line <= lines.len() + 30, "{}", problem);
            }
        }
        prop_assert_eq!(shop.check().is_ok(), shop.check().is_ok());
    }
}

#[test]
fn a_runbook_may_be_a_file_of_a_revision() {
    let shop = Shop::new();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.current_dir(shop.folder()).args(["-c", "user.name=a", "-c", "user.email=a@b.example"]);
        assert!(command.args(arguments).output().unwrap().status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "page.md"]);
    git(&["commit", "--quiet", "--message", "page"]);
    git(&["tag", "v1"]);
    std::fs::remove_file(shop.folder().join("page.md")).unwrap();
    let shop = shop.with("scenario.yaml", "runbook: page.md", "runbook: git@v1:page.md");
    let checked = shop.check().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(checked.plan.drills[0].restore[0].source.to_string(), "git@v1:page.md:7");
    for (named, says) in [
        ("git@v1:gone.md", "runbook git@v1:gone.md: fatal: path 'gone.md' does not exist in 'v1'"),
        ("git@v2:page.md", "runbook git@v2:page.md: fatal: "),
        ("git@v1:page.txt", "name a Markdown (.md, .markdown) or reStructuredText file (.rst, .rest)"),
        ("git@--all:page.md", "`git@--all:page.md` names no revision: write `git@main:docs/backups.rst`"),
        ("git@v1:../page.md", "names no file"),
        ("git@v1", "names no file"),
    ] {
        let text = std::fs::read_to_string(shop.folder().join("scenario.yaml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("runbook: ")).unwrap().to_owned();
        shop.write("scenario.yaml", &text.replace(&line, &format!("runbook: {named}")));
        let problems = shop.problems();
        assert!(problems.len() == 1 && problems[0].contains(says), "{named}: {problems:?}");
        assert!(problems[0].starts_with("scenario.yaml:"), "{problems:?}");
    }
}

#[test]
fn a_block_that_a_page_loses_is_named_with_its_line_in_the_page() {
    let page = "Save\n====\n\n.. code-block:: sh\n\n   save\n\nBring back\n==========\n\n1. Load:\n   .. code-block:: sh\n\n      load\n";
    let shop = Shop::new();
    shop.write("page.rst", page);
    let shop = shop.with("scenario.yaml", "runbook: page.md", "runbook: page.rst");
    let expected = "page.rst:12: this `code-block` is not read where it stands: give it a line of its own, and a blank line before it";
    assert_eq!(shop.problems(), [expected]);
}

#[test]
fn a_block_that_changed_its_language_no_longer_suits_its_binding() {
    let shop = Shop::new().with("page.md", "   ```\n   kind: Secret", "   ```sh\n   kind: Secret");
    let problems = shop.problems();
    assert_eq!(problems, ["scenario.yaml:24: binding: the step is no fragment (page.md:10)"]);
}

#[test]
fn a_page_that_is_no_text_is_said_by_its_name() {
    let shop = Shop::new();
    std::fs::write(shop.folder().join("page.md"), b"# Save\n\n1. `caf\xe9`\n").unwrap();
    let problems = shop.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("page.md") && problems[0].contains("UTF-8"), "{problems:?}");
}
