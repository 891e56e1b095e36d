//! What the documented commands do with Estafette's chart, found out by running them.

use redrill::cluster::kind;

use crate::place::Place;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/estafette/chart");
const JOB: &str = "estafette-ci-db-migrator";
/// 32 bytes, and the same as `kubectl get secret -o yaml` shows them.
const KEY: &str = "SomebodysKeyOfThirtyTwoBytes.32.";
const ENCODED: &str = "U29tZWJvZHlzS2V5T2ZUaGlydHlUd29CeXRlcy4zMi4=";

/// The documented upgrade, with more arguments.
fn upgrade(more: &str) -> String {
    format!("upgrade --install estafette-ci {CHART} -n estafette-ci --create-namespace --timeout 600s {more}")
}

fn key(place: &Place) -> String {
    let secret = place.store.get(&kind::SECRET, "estafette-ci", "estafette-ci-api").expect("the Secret");
    secret["data"]["secretDecryptionKey"].as_str().expect("the key").to_owned()
}

/// How often the migrator ran: its Job is deleted when it is done.
fn migrations(place: &Place) -> usize {
    place.runtime.calls().iter().filter(|call| call.starts_with(&format!("create_pod estafette-ci/{JOB}-"))).count()
}

fn place() -> Place {
    let place = Place::start();
    // The images' own program, which these containers are.
    place.runtime.ends("serve", &[0]);
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_word_that_the_chart_asks_for_keeps_the_migrator_from_running() {
    let place = place();
    place.ok(&upgrade("--set db-migrator.enable=false")).await;
    assert_eq!(migrations(&place), 1, "`enable`, as documented, is a value that nothing asks for");
    place.ok(&upgrade("--set db-migrator.enabled=false")).await;
    assert_eq!(migrations(&place), 1);
    // The page's next upgrade enables the client and says nothing of the migrator.
    place.ok(&upgrade("--set db-client.enabled=true")).await;
    assert_eq!(migrations(&place), 2, "what one upgrade set, the next does not know");
    place.ok(&upgrade("--set db-migrator.enabled=false --set db-client.enabled=true")).await;
    // Without any value helm takes those of the release before.
    place.ok(&upgrade("")).await;
    assert_eq!(migrations(&place), 2);
    place.ok(&upgrade("--set db-migrator.enable=true")).await;
    assert_eq!(migrations(&place), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_encoded_once_more_when_it_is_given_encoded() {
    let place = place();
    place.ok(&upgrade(&format!("--set api.secret.secretDecryptionKey={KEY}"))).await;
    assert_eq!(key(&place), ENCODED);
    place.ok(&upgrade("--set db-client.enabled=true")).await;
    assert_eq!(key(&place), ENCODED, "kept by an upgrade that says nothing of it");
    place.ok(&upgrade(&format!("--set api.secret.secretDecryptionKey={ENCODED}"))).await;
    assert_ne!(key(&place), ENCODED);
    assert_eq!(key(&place).len(), 60, "44 letters in base64, where the key has 32 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_never_given_is_drawn_and_another_one_in_a_new_namespace() {
    let place = place();
    place.ok(&upgrade("")).await;
    let first = key(&place);
    assert_eq!(first.len(), 44, "32 letters in base64");
    place.ok(&upgrade("--set db-client.enabled=true")).await;
    assert_eq!(key(&place), first);
    place.ok("uninstall estafette-ci -n estafette-ci --wait").await;
    assert_eq!(key(&place), first, "kept by its policy when the release goes");
    place.lose("estafette-ci").await;
    place.ok(&upgrade("")).await;
    assert_ne!(key(&place), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_survive_an_upgrade_and_the_client_comes_and_goes() {
    let place = place();
    let certificate = |place: &Place| {
        let secret =
            place.store.get(&kind::SECRET, "estafette-ci", "estafette-ci-db-client-secret").expect("the Secret");
        secret["data"]["tls.crt"].clone()
    };
    let client = |place: &Place| place.store.get(&kind::POD, "estafette-ci", "estafette-ci-db-client").is_some();
    place.ok(&upgrade("")).await;
    let first = certificate(&place);
    assert!(!client(&place));
    place.ok(&upgrade("--set db-client.enabled=true")).await;
    assert!(client(&place));
    place.ok(&upgrade("--set db-client.enabled=false")).await;
    place.until("the client gone", |place| !client(place)).await;
    assert_eq!(certificate(&place), first);
}
