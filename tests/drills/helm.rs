//! A system that is a Helm chart and loses its namespace: installed again from a repository by the real helm.

use std::process::Command;

use redrill::outcome::{CheckKind, CheckResult, StepResult, Verdict};

use crate::playground::Playground;

const RUNBOOK: &str = "scenarios/shop/runbook.md";
const SCENARIO: &str = "scenarios/shop/scenario.yaml";
/// A value of the system's Secret as a page would have it printed.
const PRINTED: &str = "kubectl -n shop get secret shop-db -o jsonpath={.data.password} | base64 -d";

#[test]
fn a_release_is_installed_again_in_a_namespace_that_is_gone() {
    let shop = Playground::with("tests/testdata/shop", "shop");
    shop.replace(
        RUNBOOK,
        "--clean --if-exists shop > ~/shop.sql\n",
        &format!("--clean --if-exists shop > ~/shop.sql\n   {PRINTED}\n"),
    );
    let run = shop.run(&[]);
    run.assert_verdict(Verdict::Passed, &[]);
    let drill = run.drill("gone");
    let lost: Vec<_> = drill.checks.iter().filter(|check| check.kind == CheckKind::Loss).collect();
    assert_eq!(
        lost.iter().map(|check| &*check.name).collect::<Vec<_>>(),
        ["loss of namespace shop", "loss of database shop"]
    );
    assert!(lost.iter().all(|check| check.result == CheckResult::Held));
    let step =
        |text: &str| drill.steps.iter().find(|step| step.command.contains(text)).unwrap_or_else(|| panic!("{text}"));
    let installed = run.log(step("helm upgrade --install"));
    for said in ["has been added to your repositories", "has been added:", "STATUS: deployed"] {
        assert!(installed.contains(said), "{said}: {installed}");
    }
    assert!(run.log(step("helm history")).contains("Install complete"));
    // What the chart drew at random was known before anything could print it.
    let printed = run.log(step("base64 -d"));
    let drawn = printed.split_whitespace().find(|word| word.len() == 24 && word.chars().all(char::is_alphanumeric));
    assert!(drawn.is_none() && printed.contains("[redacted]"), "{printed}");
    assert_eq!(drill.provided.iter().map(|note| &*note.what).collect::<Vec<_>>(), ["https://charts.corner.example"]);
    assert!(drill.versions.contains_key("helm") && drill.versions.contains_key("helm-diff"), "{:?}", drill.versions);
}

#[test]
fn a_password_that_is_encoded_twice_is_another_one() {
    let shop = Playground::with("tests/testdata/shop", "shop");
    let slot = "slots:\n  - { place: PASSWORD, from: { secret: shop/shop-db, key: password";
    shop.replace(SCENARIO, slot, &format!("{slot}, encoding: base64"));
    let run = shop.run(&[]);
    run.assert_verdict(Verdict::Failed, &["whoever knew the password before"]);
}

#[test]
fn without_its_values_or_its_release_a_procedure_fails() {
    let shop = Playground::with("tests/testdata/shop", "shop");
    shop.replace(RUNBOOK, "--wait --timeout 120s --values values.yaml", "--wait --timeout 120s --values lost.yaml");
    let run = shop.run(&[]);
    assert_eq!(run.exit, 1, "{}", run.stderr);
    let failed = run.drill("gone").steps.iter().find(|step| matches!(step.result, StepResult::Failed { .. }));
    assert!(run.log(failed.expect("a step")).contains("open lost.yaml: no such file or directory"));
}

#[test]
fn without_helm_it_is_not_known_what_a_chart_holds() {
    let shop = Playground::with("tests/testdata/shop", "shop");
    let run = |command: &str| {
        let mut redrill = Command::new(env!("CARGO_BIN_EXE_redrill"));
        redrill.current_dir(shop.path()).env("XDG_DATA_HOME", shop.path()).args([command, "shop"]);
        redrill.output().unwrap()
    };
    let checked = run("check");
    let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("chart scenarios/shop/chart") && said.contains("`redrill doctor --install`"), "{said}");
    assert_eq!(run("plan").status.code(), Some(0));
    let ran = run("run");
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("missing: ") && said.contains("helm 3.22.0"), "{said}");
}

#[test]
fn what_is_wrong_with_a_chart_is_told_before_anything_starts() {
    let shop = Playground::with("tests/testdata/shop", "shop");
    shop.replace(
        "scenarios/shop/chart/templates/db.yaml",
        "        image: postgres:15\n",
        "        imag: postgres:15\n",
    );
    shop.replace(SCENARIO, "namespaces: [shop]", "namespaces: [shops]");
    let (code, said) = shop.check();
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("unknown field `imag`") && said.contains("shop/templates/db.yaml of "), "{said}");
    shop.replace(
        "scenarios/shop/chart/templates/db.yaml",
        "        imag: postgres:15\n",
        "        image: {{ .Values.no.such }}\n",
    );
    let (_, said) = shop.check();
    assert!(said.contains("helm does not render") && said.contains("nil pointer evaluating"), "{said}");
}
