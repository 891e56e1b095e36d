use super::*;

fn cockroach() -> &'static RealProgram {
    of("cockroach").expect("cockroach")
}

fn program(folder: &Path, says: &str) -> PathBuf {
    let path = folder.join("cockroach");
    std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    path
}

#[tokio::test]
async fn a_release_that_is_new_enough_is_the_real_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = program(folder.path(), "v22.2.19");
    let (found, _) = look(cockroach(), std::slice::from_ref(&path)).await;
    assert_eq!(found, Some(Tool { path, version: "22.2.19".to_owned() }));
}

#[tokio::test]
async fn what_is_older_or_a_stand_in_is_not_and_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    for (says, reason) in [("v21.1.0", "is 21.1.0"), ("redrill-stand-in", "does not say that it is a release")] {
        let path = program(folder.path(), says);
        let (found, seen) = look(cockroach(), &[path]).await;
        assert!(found.is_none() && seen.as_deref().is_some_and(|seen| seen.ends_with(reason)), "{seen:?}");
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/cockroach/cockroach");
    assert_eq!(look(cockroach(), &[own]).await.0, None, "the stand-in itself");
}

#[test]
fn a_program_that_is_named_is_the_only_one_that_is_meant() {
    let folder = tempfile::tempdir().expect("folder");
    let path = program(folder.path(), "v22.2.19");
    let in_path = OsString::from(folder.path());
    assert_eq!(candidates("cockroach", None, &in_path), [path.canonicalize().expect("path")]);
    assert!(candidates("cockroach", Some(&OsString::from("/none")), &in_path).is_empty());
}

#[test]
fn the_remedy_names_every_way_out() {
    let remedy = cockroach().remedy(&Absence::default());
    for way in ["cockroach 22.2 or newer", "REDRILL_COCKROACH", "--simulate cockroach"] {
        assert!(remedy.contains(way), "{remedy}");
    }
}

fn mongod() -> &'static RealProgram {
    of("mongod").expect("mongod")
}

#[tokio::test]
async fn mongod_is_asked_in_its_own_words_and_ferretdb_is_not_it() {
    let folder = tempfile::tempdir().expect("folder");
    for (says, found, reason) in [
        ("db version v4.2.24\ngit version: 5e4ec1d24431fcdd28b579a024c5c801b8cde4e2", Some("4.2.24"), ""),
        ("db version v8.0.4", Some("8.0.4"), ""),
        ("db version v3.2.11", None, "is 3.2.11"),
        ("version: v1.24.0\ncommit: unknown", None, "does not say that it is a release"),
    ] {
        let path = program(folder.path(), says);
        let (tool, seen) = look(mongod(), &[path]).await;
        assert_eq!(tool.map(|tool| tool.version).as_deref(), found, "{says}");
        assert!(found.is_some() || seen.as_deref().is_some_and(|seen| seen.ends_with(reason)), "{seen:?}");
    }
}

#[test]
fn one_is_stood_for_with_leave_only_and_one_always_unless_it_was_named() {
    let (absent, named) = (Absence::default(), Absence { seen: None, is_named: true });
    let asked = ["cockroach".to_owned()];
    for absence in [&absent, &named] {
        assert!(!cockroach().may_be_stood_for(absence, &[]));
        assert!(cockroach().may_be_stood_for(absence, &asked));
    }
    assert!(mongod().may_be_stood_for(&absent, &[]) && mongod().may_be_stood_for(&absent, &asked));
    assert!(!mongod().may_be_stood_for(&named, &[]) && !mongod().may_be_stood_for(&named, &asked));
    assert_eq!(simulated_when_asked_for(), ["cockroach"]);
}

#[test]
fn reports_say_what_stands_for_what_and_what_that_does_not_prove() {
    let said = mongod().why_simulated(&Absence::default());
    assert!(said.starts_with("ferretdb 1.24.0 stands for mongod, which is neither in PATH nor"), "{said}");
    assert!(said.contains("REDRILL_MONGOD") && said.contains("not how mongod recovers"), "{said}");
    let old = Absence { seen: Some("/usr/bin/mongod is 3.6.8".to_owned()), is_named: false };
    for said in [mongod().why_simulated(&old), mongod().remedy(&old)] {
        assert!(said.contains("mongod 4.2 or newer") && said.contains("/usr/bin/mongod is 3.6.8"), "{said}");
    }
    let said = cockroach().why_simulated(&Absence::default());
    assert!(said.contains("redrill's own `cockroach`") && said.contains("not what CockroachDB's own"), "{said}");
}
