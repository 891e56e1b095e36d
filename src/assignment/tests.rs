use std::collections::BTreeSet;

use super::*;
use crate::doctor::real_program::Absence;
use crate::doctor::{Finding, Fix, Tool};
use crate::scenario::VersionRange;

fn all() -> Prepared {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    prepare(&folder, &[], &[], AsWritten::No, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn names(prepared: &Prepared) -> Vec<String> {
    prepared.drills().map(|(scenario, plan)| format!("{}/{}", scenario.scenario.name, plan.name)).collect()
}

#[test]
fn a_correction_for_other_versions_is_left_out_and_said_to_be() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let left_out = |kubectl: &str| {
        let tools = BTreeMap::from([("kubectl".to_owned(), kubectl.to_owned())]);
        let versions = BTreeMap::from([("quetzal".to_owned(), tools)]);
        let prepared = prepare(&folder, &["quetzal".to_owned()], &[], AsWritten::No, &versions);
        let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
        let (scenario, plan) = prepared.drills().next().expect("a drill");
        let outcome = scenario.outcome(plan, EnvironmentName::Local, AsWritten::No, &Tools::default());
        outcome.left_out.into_iter().map(|note| note.what).collect::<Vec<_>>()
    };
    assert_eq!(left_out("1.30.4"), ["erratum quetzal-exec-dashes (kubectl 1.31+)"]);
    assert_eq!(left_out("1.31.0"), [""; 0]);
}

const MONGO: &str = "rocketchat/mongo:4.2";

/// Rocket.Chat's first drill, with these findings.
fn chat(findings: &[Finding]) -> (Tools, PreparedScenario) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let tools = Tools::of(findings);
    let names = ["rocket-chat".to_owned()];
    let first = prepare(&folder, &names, &[], AsWritten::No, &BTreeMap::new());
    let versions = first.unwrap_or_else(|problems| panic!("{problems}")).versions(EnvironmentName::Local, &tools);
    let prepared = prepare(&folder, &names, &[], AsWritten::No, &versions);
    let mut prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
    (tools, prepared.scenarios.remove(0))
}

fn mongod(found: Option<Tool>, absence: Absence) -> Finding {
    let fix = Some(Fix::StandIn(absence));
    Finding { what: "mongod 4.2 or newer".into(), found, needed_by: BTreeSet::new(), remedy: String::new(), fix }
}

/// What the drill's report says of stand-ins, and whether the image's server is this file.
fn told(tools: &Tools, scenario: &PreparedScenario, server: &Path) -> (Vec<String>, bool) {
    let plan = &scenario.checked.plan.drills[0];
    let outcome = scenario.outcome(plan, EnvironmentName::Local, AsWritten::No, tools);
    let image = scenario.image(MONGO, &scenario.checked.images[MONGO], tools);
    let has = image.files.iter().any(|file| file.source == server && file.target.ends_with("mongo-server"));
    (outcome.simulated.into_iter().map(|note| note.why).collect(), has)
}

#[test]
fn an_old_kubectl_is_for_clusters_that_are_not_served_here() {
    let found = |version: &str| Tool { path: "/opt/kubectl".into(), version: version.to_owned() };
    let halt = |environment, version: &str| {
        let finding = Finding {
            what: "kubectl-1.20+".into(),
            found: Some(found(version)),
            needed_by: BTreeSet::new(),
            remedy: String::new(),
            fix: None,
        };
        let (tools, mut scenario) = chat(&[finding]);
        scenario.scenario.workstation.kubectl = Some(VersionRange::parse("kubectl 1.20+").unwrap());
        match scenario.needs_a_cluster(environment, &tools) {
            Some(Halt::Unverified { reason, .. }) => Some(reason),
            Some(Halt::Failed { reason }) => panic!("{reason}"),
            None => None,
        }
    };
    let why = halt(EnvironmentName::Local, "1.29.9").expect("no exec");
    assert!(why.contains("kubectl 1.20+ (1.29.9)"), "{why}");
    assert_eq!(halt(EnvironmentName::Docker, "1.30.0"), None);
    assert_eq!(halt(EnvironmentName::Kube, "1.20.5"), None);
}

#[test]
fn the_real_program_takes_the_place_of_what_stands_for_it_and_nothing_is_called_simulated() {
    let path = Path::new("/opt/mongodb/mongod").to_owned();
    let tool = Tool { path: path.clone(), version: "4.2.24".to_owned() };
    let (tools, scenario) = chat(&[mongod(Some(tool), Absence::default())]);
    assert_eq!(told(&tools, &scenario, &path), (Vec::new(), true));
    assert!(scenario.missing(&tools, &[]).is_none());
}

#[test]
fn a_real_program_that_is_too_old_does_not_serve_and_is_told() {
    let seen = Some("/usr/bin/mongod is 3.6.8".to_owned());
    let (tools, scenario) = chat(&[mongod(None, Absence { seen, is_named: false })]);
    let (simulated, is_old) = told(&tools, &scenario, Path::new("/usr/bin/mongod"));
    assert!(!is_old);
    let [why] = &simulated[..] else { panic!("{simulated:?}") };
    assert!(why.starts_with("ferretdb 1.24.0 stands for mongod, mongod 4.2 or newer being needed, and"), "{why}");
    assert!(why.contains("/usr/bin/mongod is 3.6.8") && why.contains("not how mongod recovers"), "{why}");
    assert!(scenario.missing(&tools, &[]).is_none());
}

#[test]
fn nothing_takes_the_place_of_a_program_that_somebody_named() {
    let seen = Some("/opt/mongod is no program".to_owned());
    let (tools, scenario) = chat(&[mongod(None, Absence { seen, is_named: true })]);
    let halt = scenario.missing(&tools, &[]).expect("it is missing");
    let said = format!("{halt:?}");
    for part in ["missing: mongod 4.2 or newer", "/opt/mongod is no program", "unset"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn shards_together_hold_every_drill_once() {
    let whole = names(&all());
    for parts in [1, 2, 3, whole.len()] {
        let shard = |part| all().shard(Shard { part, parts }).unwrap_or_else(|problems| panic!("{problems}"));
        let mut held: Vec<String> = (1..=parts).flat_map(|part| names(&shard(part))).collect();
        held.sort();
        let mut expected = whole.clone();
        expected.sort();
        assert_eq!(held, expected, "{parts} parts");
    }
}

#[test]
fn a_shard_without_a_drill_is_a_problem() {
    let count = names(&all()).len();
    let empty = all().shard(Shard { part: count + 1, parts: count + 1 }).err().expect("nothing is in it");
    let expected = format!("part {0} of {0} holds none of the {count} drills: take fewer parts", count + 1);
    assert!(empty.to_string().contains(&expected), "{empty}");
}

#[test]
fn a_shard_is_written_as_part_and_parts() {
    assert_eq!("2/3".parse(), Ok(Shard { part: 2, parts: 3 }));
    for odd in ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5", ""] {
        assert!(odd.parse::<Shard>().is_err(), "{odd}");
    }
}

#[test]
fn what_the_pages_type_at_a_workstation_is_what_workstations_have() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for as_written in [AsWritten::No, AsWritten::Yes] {
        let prepared = prepare(&folder, &[], &[], as_written, &BTreeMap::new());
        let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
        let mut typed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (scenario, plan) in prepared.drills() {
            let programs = plan.programs(&scenario.scenario.errata).into_iter().map(|program| program.name);
            typed.entry(scenario.scenario.name.clone()).or_default().extend(programs);
        }
        // Of the workstation's image, coreutils among them.
        let has = [
            "aws", "base64", "cat", "cd", "cp", "echo", "export", "git", "grep", "helm", "kubectl", "ls", "mkdir",
            "patch", "printf", "psql", "sed", "sort", "tail", "test",
        ];
        for (scenario, programs) in typed {
            assert!(!programs.is_empty(), "{scenario}: nothing is known of its page");
            let lacking: Vec<_> = programs.iter().filter(|program| !has.contains(&program.as_str())).collect();
            assert!(lacking.is_empty(), "{scenario}: {lacking:?}");
        }
    }
}
