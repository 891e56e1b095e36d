//! Releases come, are told of and go.

use redrill::cluster::kind;

use crate::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_installed_into_a_namespace_that_helm_makes() {
    let place = Place::start();
    let missing = place.fails("install shop shop -n shop").await;
    assert!(missing.contains(r#"namespaces "shop" not found"#), "{missing}");
    let said = place.ok("install shop shop -n shop --create-namespace --wait --timeout 30s --set replicas=2").await;
    assert!(said.contains("STATUS: deployed") && said.contains("shop is revision 1."), "{said}");
    assert_eq!(place.get(&kind::DEPLOYMENT, "shop").unwrap()["status"]["readyReplicas"], 2, "helm waited for it");
    assert_eq!(place.get(&kind::JOB, "shop-migrator").unwrap()["status"]["succeeded"], 1);
    let release = place.get(&kind::SECRET, "sh.helm.release.v1.shop.v1").unwrap();
    assert_eq!(release["type"], "helm.sh/release.v1");
    assert_eq!(release["metadata"]["labels"]["status"], "deployed");
    let list = place.json("list -A").await;
    assert_eq!(
        (&list[0]["name"], &list[0]["chart"], &list[0]["status"]),
        (&"shop".into(), &"shop-1.2.3".into(), &"deployed".into())
    );
    assert_eq!(place.json("get values shop -n shop").await, serde_json::json!({"replicas": 2}));
    assert!(place.ok("get manifest shop -n shop").await.contains("kind: PersistentVolumeClaim"));
    assert!(place.ok("get hooks shop -n shop").await.contains("helm.sh/hook: post-install,post-upgrade"));
    let status = place.ok("status shop -n shop --show-resources").await;
    assert!(status.contains("deployment.apps/shop") || status.contains("v1/Deployment"), "{status}");
    let again = place.fails("install shop shop -n shop").await;
    assert!(again.contains("cannot re-use a name that is still in use"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_fails_the_release_and_the_next_upgrade_repairs_it() {
    let place = Place::start();
    let install = "upgrade --install shop shop -n shop --create-namespace --timeout 30s";
    let failed = place.fails(&format!("{install} --set migrator.command=break")).await;
    assert!(failed.contains("failed post-install") && failed.contains("BackoffLimitExceeded"), "{failed}");
    assert_eq!(place.history().await, [(1, "failed".to_owned())]);
    let password = place.secret("shop", "password");
    let first = place.get(&kind::JOB, "shop-migrator").unwrap()["metadata"]["uid"].clone();
    let again = place.fails(install).await;
    assert!(again.contains("BackoffLimitExceeded"), "without new values helm takes those of the last release: {again}");
    place.ok(&format!("{install} --reset-values")).await;
    let status = |revision, status: &str| (revision, status.to_owned());
    assert_eq!(place.history().await, [status(1, "failed"), status(2, "superseded"), status(3, "deployed")]);
    assert_eq!(place.secret("shop", "password"), password);
    assert_ne!(
        place.get(&kind::JOB, "shop-migrator").unwrap()["metadata"]["uid"],
        first,
        "made anew, as its policy says"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_what_never_becomes_ready_ends_at_the_timeout() {
    let place = Place::start();
    let said =
        place.fails("install shop shop -n shop --create-namespace --wait --timeout 2s --set image=absent:1").await;
    assert!(said.contains("context deadline exceeded"), "{said}");
    assert_eq!(place.history().await, [(1, "failed".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_made_is_not_taken_over() {
    let place = Place::start();
    place.store.create(&kind::NAMESPACE, serde_json::json!({"metadata": {"name": "shop"}})).unwrap();
    let there = serde_json::json!({"metadata": {"name": "shop", "namespace": "shop"}, "data": {}});
    place.store.create(&kind::CONFIG_MAP, there).unwrap();
    let said = place.fails("install shop shop -n shop").await;
    assert!(said.contains("invalid ownership metadata"), "{said}");
    assert_eq!(place.names(&kind::DEPLOYMENT), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_uninstalled_but_for_what_it_keeps() {
    let place = Place::start();
    place.ok("install shop shop -n shop --create-namespace").await;
    let said = place.ok("uninstall shop -n shop --wait --timeout 30s").await;
    assert!(said.contains(r#"release "shop" uninstalled"#), "{said}");
    for kind in [&kind::DEPLOYMENT, &kind::SECRET, &kind::CONFIG_MAP, &kind::SERVICE] {
        assert_eq!(place.names(kind), [""; 0], "{}", kind.kind);
    }
    assert_eq!(place.names(&kind::CLAIM), ["shop"]);
    assert_eq!(place.names(&kind::JOB), ["shop-migrator"], "hooks are not of the release");
    let said = place.fails("history shop -n shop").await;
    assert!(said.contains("release: not found"), "{said}");
}
