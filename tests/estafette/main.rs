//! Estafette's programs in their chart, put up by helm in a sandbox: what the key opens, and what the migrator changes. Their
//! database is PostgreSQL here: nothing of this says anything about CockroachDB.

mod place;

use place::Place;

/// Any 32 bytes.
const OTHER_KEY: &str = "AnotherKeyOfThirtyTwoBytes...32.";
/// Sends a line to the API from its own pod and prints what it answers, whatever the status.
const ASK: &str = r#"
import sys, urllib.error, urllib.request
path, body = sys.argv[1], sys.argv[2].encode() if len(sys.argv) > 2 else None
try:
    print(urllib.request.urlopen("http://127.0.0.1:5000" + path, body).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"#;

async fn ask(place: &Place, pod: &str, path: &str, body: &str) -> String {
    let command = shell_words::join(["python3", "-c", ASK, path].into_iter().chain((!body.is_empty()).then_some(body)));
    place.sh(&format!("kubectl -n estafette-ci exec {pod} -- {command}")).await
}

/// The API's newest pod: one that never becomes ready leaves the older one there.
async fn newest(place: &Place) -> String {
    let list =
        "kubectl -n estafette-ci get pods -l app.kubernetes.io/name=api --sort-by=.metadata.creationTimestamp -o name";
    let pods = place.sh(list).await;
    pods.lines().last().expect("a pod of the API").to_owned()
}

async fn sql(place: &Place, statement: &str) -> String {
    let psql = "psql -h /var/run/postgresql -p 26257 -U root -d defaultdb -qAt -v ON_ERROR_STOP=1 -c";
    let line = format!("kubectl -n estafette-ci exec estafette-ci-db-0 -- {psql} {}", shell_words::quote(statement));
    place.sh(&line).await.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_key_that_sealed_a_secret_opens_it_again() {
    let place = Place::start("key").await;
    place.sh(&place.upgrade("--wait")).await;
    let api = newest(&place).await;
    let sealed = ask(&place, &api, "/api/manifest/encrypt", "a token").await;
    let sealed: serde_json::Value = serde_json::from_str(&sealed).expect("a secret");
    let secret = sealed["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("estafette.secret(") && !secret.contains("a token"), "{secret}");
    let build = serde_json::json!({"repository": "shop", "manifest": format!("credentials: {secret}")}).to_string();
    assert!(ask(&place, &api, "/api/builds", &build).await.contains("true"));
    assert!(ask(&place, &api, "/api/builds", "").await.contains("\"secrets\": 1"));
    assert!(ask(&place, &api, "/health", "").await.contains("\"ready\": true"));

    let key = "kubectl -n estafette-ci get secret estafette-ci-api -o jsonpath={.data.secretDecryptionKey}";
    let encoded = place.sh(key).await;
    for (given, complaint) in [
        (encoded.trim(), "the decryption key has 44 bytes: AES-256 takes 32"),
        (OTHER_KEY, "build 1: a secret does not open with this key"),
    ] {
        place.sh(&place.upgrade(&format!("--set api.secret.secretDecryptionKey={given}"))).await;
        let waited = "kubectl -n estafette-ci rollout status deploy/estafette-ci-api --timeout=3s";
        let (code, said) = place.try_sh(waited).await;
        assert_eq!(code, Some(1), "{said}");
        let health = ask(&place, &newest(&place).await, "/health", "").await;
        assert!(health.starts_with("503") && health.contains(complaint), "{health}");
    }
    let plain = format!("$({key} | base64 -d)");
    assert_eq!(place.sh(&format!("printf %s {plain}")).await, OTHER_KEY);
    let right = format!("$(printf %s {} | base64 -d)", encoded.trim());
    place.sh(&place.upgrade(&format!("--set api.secret.secretDecryptionKey={right} --wait"))).await;
    assert!(ask(&place, &newest(&place).await, "/health", "").await.contains("\"ready\": true"));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migrator_brings_an_older_schema_up_to_date_and_leaves_its_data_alone() {
    let place = Place::start("schema").await;
    place.sh(&place.upgrade("--wait --set db-migrator.enabled=false")).await;
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(sql(&place, tables).await, "0");
    assert!(ask(&place, &newest(&place).await, "/health", "").await.contains("\"ready\": true"), "nothing to open yet");
    place.sh(&place.upgrade("--set web.replicas=1")).await;
    assert_eq!(sql(&place, "SELECT max(number) FROM schema_changes").await, "3");

    sql(&place, "INSERT INTO builds (repository, manifest) VALUES ('shop', 'plain')").await;
    sql(&place, "ALTER TABLE builds DROP COLUMN status; DELETE FROM schema_changes WHERE number = 3").await;
    place.sh(&place.upgrade("--set db-client.enabled=true")).await;
    assert_eq!(sql(&place, "SELECT repository, manifest, status FROM builds").await, "shop|plain|succeeded");
    let page = "kubectl -n estafette-ci exec deploy/estafette-ci-web -- python3 -c";
    let read = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8080/').read().decode())";
    let page = place.sh(&format!("{page} {}", shell_words::quote(read))).await;
    assert!(page.contains("Estafette") && page.contains("\"ready\": true"), "{page}");
    let certificates = "kubectl -n estafette-ci exec estafette-ci-db-client -- ls /cockroach-certs";
    assert_eq!(place.sh(certificates).await, "ca.crt\nclient.root.crt\nclient.root.key\n");
    place.end().await;
}
