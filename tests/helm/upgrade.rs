//! What an upgrade and a rollback change, and what they leave alone.

use redrill::cluster::kind;
use serde_json::Value;

use crate::place::Place;

/// Names of the container's variables, in order.
fn variables(place: &Place) -> Vec<String> {
    let deployment = place.get(&kind::DEPLOYMENT, "shop").unwrap();
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let mut names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_changes_what_the_chart_changes_and_keeps_what_others_did() {
    let place = Place::start();
    place.ok("upgrade --install shop shop -n shop --create-namespace").await;
    place
        .store
        .modify(&kind::DEPLOYMENT, "shop", "shop", |deployment| {
            let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
            variables.push(serde_json::json!({"name": "BY_HAND", "value": "1"}));
            deployment["spec"]["replicas"] = 3.into();
        })
        .unwrap();
    place.ok("upgrade shop shop -n shop --set extra=false --set greeting=goodbye --wait --timeout 30s").await;
    assert_eq!(variables(&place), ["BY_HAND", "GREETING"]);
    let replicas = |place: &Place| place.get(&kind::DEPLOYMENT, "shop").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas(&place), 1, "three ways: what the chart says of a field holds, changed or not");
    assert_eq!(place.get(&kind::CONFIG_MAP, "shop").unwrap()["data"]["greeting"], "goodbye");
    assert_eq!(place.history().await, [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);

    place.ok("rollback shop 1 -n shop --wait --timeout 30s").await;
    assert_eq!(place.get(&kind::CONFIG_MAP, "shop").unwrap()["data"]["greeting"], "hello");
    assert_eq!(variables(&place), ["BY_HAND", "EXTRA", "GREETING"]);
    assert_eq!(place.history().await.last(), Some(&(3, "deployed".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_looks_up_a_secret_keeps_it() {
    let place = Place::start();
    place.ok("upgrade --install shop shop -n shop --create-namespace").await;
    let drawn = place.secret("shop", "password");
    assert_eq!(drawn.len(), 28, "twenty letters in base64");
    place.ok("upgrade shop shop -n shop").await;
    assert_eq!(place.secret("shop", "password"), drawn);
    place.ok("upgrade shop shop -n shop --set password=given").await;
    assert_eq!(place.secret("shop", "password"), "Z2l2ZW4=");
    let planned = place.ok("template shop shop -n shop --show-only templates/settings.yaml").await;
    assert!(!planned.contains("Z2l2ZW4="), "without a server nothing is looked up");
    let planned = place.ok("upgrade shop shop -n shop --dry-run=server").await;
    assert!(planned.contains("Z2l2ZW4="), "{planned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_runs_at_every_upgrade_that_does_not_disable_it() {
    let place = Place::start();
    let job = |place: &Place| place.get(&kind::JOB, "shop-migrator").map(|job| job["metadata"]["uid"].clone());
    place.ok("upgrade --install shop shop -n shop --create-namespace --set migrator.enabled=false").await;
    assert_eq!(job(&place), None);
    place.ok("upgrade shop shop -n shop --set migrator.enable=false").await;
    let first = job(&place);
    assert!(first.is_some(), "another field than the one that the template asks for says nothing");
    place.ok("upgrade shop shop -n shop --reset-values").await;
    assert_ne!(job(&place), first);
    let values: Value = place.json("get values shop -n shop").await;
    assert_eq!(values, Value::Null);
    let pods = place.names(&kind::POD);
    assert_eq!(
        pods.iter().filter(|pod| pod.starts_with("shop-migrator")).count(),
        1,
        "the old Job took its pod along: {pods:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_tells_what_an_upgrade_would_change_and_changes_nothing() {
    let place = Place::start().with_diff();
    let there = place.fails("diff upgrade shop shop -n shop").await;
    assert!(there.contains("release: not found"), "{there}");
    let new = place.ok("diff upgrade shop shop -n shop --allow-unreleased").await;
    assert!(new.contains("Deployment (apps) has been added"), "{new}");
    place.ok("install shop shop -n shop --create-namespace").await;
    let before = place.store.resource_version();
    let changed = place.ok("diff upgrade shop shop -n shop --no-color --set greeting=goodbye").await;
    assert!(changed.contains("-   greeting: \"hello\"") && changed.contains("+   greeting: \"goodbye\""), "{changed}");
    assert_eq!(place.store.resource_version(), before);
}
