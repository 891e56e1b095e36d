//! Systems that are charts or stacks, the stores that come with them, and what a disaster takes of them.

use crate::shop::{SYSTEM, Shop};

const MANIFESTS: &str = "  manifests: [system]\n";
const HELM: &str = "  helm: { chart: chart, release: shop, namespace: shop, values: [values.yaml] }\n";

/// The shop as a chart, which takes its image from its values.
fn chart() -> Shop {
    let shop = Shop::new().with("scenario.yaml", MANIFESTS, HELM);
    let templates = shop.folder().join("chart/templates");
    std::fs::create_dir_all(templates).unwrap();
    shop.write("values.yaml", "image: shop:1\n");
    shop.write("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    // helm makes the namespace, which is the last document.
    let (system, _) = SYSTEM.rsplit_once("---\n").unwrap();
    shop.write(
        "chart/templates/all.yaml",
        &system.replace("image: shop:1", "image: {{ required \"which image?\" .Values.image }}"),
    );
    shop
}

#[test]
fn the_chart_that_the_others_are_made_from_is_right() {
    let checked = chart().check().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(checked.is_rendered, "helm is what `redrill doctor --install --tests` gets");
    assert_eq!(checked.plan.uncovered, []);
}

#[test]
fn a_chart_that_is_not_there_is_told_with_everything_else() {
    let helm = "  helm: { chart: charts, release: shop, values: [value.yaml], sets: { a: b } }\n  namespce: shop\n";
    let shop = chart().with("scenario.yaml", HELM, helm).with("scenario.yaml", "port: 5432", "port: many");
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:4: `namespace` is missing here",
            "scenario.yaml:4: chart `charts` is not there: looked for charts",
            "scenario.yaml:4: unknown field `sets` (did you mean `set`?)",
            "scenario.yaml:4: values `value.yaml` is not there: looked for value.yaml",
            "scenario.yaml:5: unknown field `namespce` (did you mean `namespace`?)",
            "scenario.yaml:13: a whole number is needed here, this is `many`",
        ]
    );
    let shop = chart().with("scenario.yaml", "chart: chart", "chart: system");
    assert_eq!(shop.problems(), ["scenario.yaml:4: system holds no Chart.yaml: name the chart's folder"]);
}

#[test]
fn what_helm_says_of_a_chart_is_told_with_what_is_wrong_beside_it() {
    let shop = chart().with("values.yaml", "image:", "imag:").with("page.md", "# Save", "# Safe").with(
        "scenario.yaml",
        "databases:\n  shop",
        "stores:\n  a: { kind: gcs, bucket: a }\n  b: { kind: gcs, bucket: b }\ndatabases:\n  shop",
    );
    let problems = shop.problems();
    let [rendering, store, procedure] = &problems[..] else { panic!("{problems:#?}") };
    assert!(rendering.starts_with("scenario.yaml:4: helm does not render chart: "), "{rendering}");
    assert!(rendering.contains("which image?") && rendering.contains("shop/templates/all.yaml:"), "{rendering}");
    assert!(
        store.starts_with("scenario.yaml:10: store `b`: `storage.googleapis.com` leads to the store `a`"),
        "{store}"
    );
    assert!(procedure.starts_with("scenario.yaml:24: page.md has no procedure `Save`"), "{procedure}");
    let shop = chart();
    shop.write("values.yaml", "image: [\n");
    let problems = shop.problems();
    assert!(problems.len() == 1 && problems[0].contains("helm does not render chart: "), "{problems:?}");
    assert!(problems[0].contains("values.yaml"), "{problems:?}");
}

#[test]
fn a_chart_that_renders_what_redrill_has_not_is_told_by_its_template() {
    let shop = chart().with("chart/templates/all.yaml", "spec: {}", "spac: {}");
    let problems = shop.problems();
    assert!(problems.len() == 1 && problems[0].starts_with("shop/templates/all.yaml of chart"), "{problems:?}");
}

/// The shop with these stores.
fn stores(text: &str) -> Shop {
    Shop::new().with("scenario.yaml", "databases:\n", &format!("stores:\n{text}databases:\n"))
}

#[test]
fn a_repository_of_charts_has_a_host_and_charts_and_nothing_of_a_bucket() {
    let shop = stores(
        "  a: { kind: charts }
  b: { kind: charts, host: charts.example, charts: [system, chart], bucket: b }
  c: { kind: charts, host: charts.example, charts: [] }
",
    );
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:9: `charts` is missing here",
            "scenario.yaml:9: `host` is missing here",
            "scenario.yaml:10: system holds no Chart.yaml: name the chart's folder",
            "scenario.yaml:10: chart `chart` is not there: looked for chart",
            "scenario.yaml:10: unknown field `bucket` (there are: kind, host, charts)",
            "scenario.yaml:11: a repository without a chart serves nobody: name its chart folders",
        ]
    );
}

#[test]
fn no_backup_lies_in_a_repository_of_charts() {
    let shop = chart()
        .with(
            "scenario.yaml",
            "databases:\n  shop",
            "stores:
  hub: { kind: charts, host: charts.example, charts: [chart] }
repositories:
  r: { store: hub, base: \"s3:https://charts.example\", path: r }
databases:
  shop",
        )
        .with("scenario.yaml", "claims: [shop/data]", "claims: [shop/data], escrow: [{ store: hub }]")
        .with("scenario.yaml", "objectives:", "waivers: [{ bucket: charts, reason: none }]\nobjectives:");
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:11: repository `r`: store `hub` has charts and holds no backups: name one of kind s3",
            "scenario.yaml:22: store `hub` has charts and holds no backups, and no disaster takes it: take it out of `escrow`",
            "scenario.yaml:35: waiver: no bucket `charts` is declared (there are none)",
        ]
    );
}

#[test]
fn a_namespace_is_lost_once_and_with_all_that_is_in_it() {
    let lost =
        |loss: &str| Shop::new().with("scenario.yaml", "loss: { claims: [shop/data] }", &format!("loss: {{ {loss} }}"));
    lost("namespaces: [shop], escrow: [{ secret: shop/db }]").check().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        lost("namespaces: [shp, default]").problems(),
        [
            "scenario.yaml:18: nothing of the system is in the namespace `default` (there are: shop)",
            "scenario.yaml:18: nothing of the system is in the namespace `shp` (did you mean `shop`?)",
        ]
    );
    assert_eq!(
        lost("namespaces: [shop, shop], claims: [shop/data]").problems(),
        [
            "scenario.yaml:18: `shop` is lost twice: take one of them out",
            "scenario.yaml:18: claim `shop/data` goes with the namespace `shop` already: take it out",
        ]
    );
    assert_eq!(
        lost("namespaces: [shop], databases: [shop]").problems(),
        [
            "scenario.yaml:18: database `shop` cannot answer with half of its rows, its server goes with all that is around it: take it \
             out of `databases`"
        ]
    );
    assert_eq!(
        lost("namespaces: []").problems(),
        [
            "scenario.yaml:18: a disaster that takes nothing proves nothing: name claims, clusters, namespaces or databases"
        ]
    );
}

const TEMPLATE: &str = "infrastructure/roles/rocket-chat/files/chat.cf.yaml";
const ACCOUNT: &str = "  account:
    kind: aws
    region: eu-west-2
    access-key: { generated: aws-access-key }
    secret-key: { generated: aws-secret-key }
";

/// Rocket.Chat's stack as it is.
fn stack() -> Shop {
    let shop = Shop::new();
    let checkout = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::remove_dir_all(shop.folder()).unwrap();
    crate::copy(&checkout.join("scenarios/rocket-chat"), &shop.folder());
    let text = std::fs::read_to_string(shop.folder().join("scenario.yaml")).unwrap();
    shop.write("scenario.yaml", &text.replace("../../images", &checkout.join("images").display().to_string()));
    shop
}

/// Where a text stands in the scenario.
#[track_caller]
fn line_of(shop: &Shop, text: &str) -> usize {
    let scenario = std::fs::read_to_string(shop.folder().join("scenario.yaml")).unwrap();
    1 + scenario.lines().position(|line| line.contains(text)).expect(text)
}

#[test]
fn a_stack_that_is_not_there_is_told_with_everything_else() {
    stack().check().unwrap_or_else(|problems| panic!("{problems}"));
    let shop = stack()
        .with("scenario.yaml", "    stack: chat\n", "    stak: chat\n")
        .with("scenario.yaml", &format!("template: {TEMPLATE}"), "template: chat.cf.yaml")
        .with("scenario.yaml", "  namespace: rocket-chat\n", "  namespce: rocket-chat\n");
    assert_eq!(
        shop.problems(),
        [
            "scenario.yaml:6: `stack` is missing here".to_owned(),
            "scenario.yaml:6: template `chat.cf.yaml` is not there: looked for chat.cf.yaml".to_owned(),
            "scenario.yaml:7: unknown field `stak` (did you mean `stack`?)".to_owned(),
            "scenario.yaml:10: unknown field `namespce` (did you mean `namespace`?)".to_owned(),
        ]
    );
}

#[test]
fn parameters_are_those_of_the_template_and_secrets_are_not_in_the_file() {
    let shop = stack().with(
        "scenario.yaml",
        "{ DbPassword: { generated: db-password }, AdminPassword:",
        "{ DbPasswort: x, AdminPassword:",
    );
    let [unknown, missing] = &shop.problems()[..] else { panic!("{:?}", shop.problems()) };
    assert!(
        unknown.starts_with(&format!("{TEMPLATE}:27: there is no parameter `DbPasswort` (did you mean `DbPassword`?)")),
        "{unknown}"
    );
    assert!(
        missing.starts_with(&format!("{TEMPLATE}:49: parameter `DbPassword` has neither a value nor")),
        "{missing}"
    );
    let shop = stack().with("scenario.yaml", "DbPassword: { generated: db-password }", "DbPassword: hunter2");
    let problems = shop.problems();
    assert!(problems.len() == 1 && problems[0].contains("parameter `DbPassword` is NoEcho"), "{problems:#?}");
    assert!(!problems[0].contains("hunter2"));
}

#[test]
fn a_stack_has_one_account_in_its_region_and_nothing_else_has_one() {
    let system =
        "scenario.yaml:5: a stack needs its account: name one store, as in `account: { kind: aws, region: .. }`";
    let second = ACCOUNT.replace("account:", "other:");
    let shop = stack().with("scenario.yaml", ACCOUNT, &format!("{ACCOUNT}{second}"));
    let problems = shop.problems();
    assert!(problems.contains(&system.to_owned()), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains("leads to the store `account` already")), "{problems:#?}");

    let shop = stack().with(
        "scenario.yaml",
        "    kind: aws\n    region: eu-west-2\n",
        "    kind: aws\n    region: eu-west-1\n",
    );
    let at = line_of(&shop, "kind: aws");
    assert_eq!(
        shop.problems(),
        [format!("scenario.yaml:{at}: the stack is in eu-west-2, this account answers in eu-west-1")]
    );

    let shop = stores(ACCOUNT);
    let problems = shop.problems();
    assert_eq!(problems, ["scenario.yaml:10: an account is for a system that is a stack: take it out"]);
}

#[test]
fn an_account_has_a_region_and_keys_that_are_not_in_the_file() {
    let shop = stores("  account: { kind: aws, bucket: b, access-key: hunter2 }\n");
    let problems = shop.problems();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    for (problem, says) in problems.iter().zip([
        "`region` is missing",
        "`secret-key` is missing",
        "a password does not belong into this file",
        "unknown field `bucket`",
    ]) {
        assert!(problem.starts_with("scenario.yaml:9: ") && problem.contains(says), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn what_has_to_be_absent_has_to_be_heard_of() {
    let serving = |name: &str| format!("serving: [{{ workload: shop/{name}, at: {{ restored: absent }} }}]\nloss:");
    // The page types into a pod of that name, whether the system has it or not.
    let heard_of = Shop::new().with("scenario.yaml", "loss:", &serving("db-0"));
    heard_of.check().unwrap_or_else(|problems| panic!("{problems}"));
    let misspelt = Shop::new().with("scenario.yaml", "loss:", &serving("bd-0")).problems();
    let [problem] = &misspelt[..] else { panic!("{misspelt:#?}") };
    assert!(
        problem.ends_with("neither a step of the runbook nor the system names `bd-0`: its absence says nothing"),
        "{problem}"
    );
}
