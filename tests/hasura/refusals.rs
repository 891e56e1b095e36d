//! What must not go through in silence.

use crate::place::{NEW, OLD, PREFIX, Place, SECRET_KEY};

const LOG: &str = "logs deploy/postgres --tail=50";

async fn database_only(place: &Place, project: &str) {
    place.begin(project, |object| object.name.starts_with("postgres") || object.kind.kind == "Namespace").await;
    place.ready(project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_from_where_no_backup_is_fails_with_words_and_nothing_starts_on_its_rest() {
    let place = Place::start("no-backup").await;
    database_only(&place, NEW).await;
    place.fill_in(NEW, SECRET_KEY, "s3://hasura-backups/nothing").await;
    place.operator("./recovery.sh").await;
    let line = format!("kubectl --context {NEW} -n hasura {LOG} --previous || kubectl --context {NEW} -n hasura {LOG}");
    let log = place.until("the recovery failed", &line, |said| said.contains("no base backup was fetched")).await;
    assert!(log.contains("no backups found for fetching"), "{log}");

    place.kubectl(NEW, "apply -f k8s/postgres.yaml").await;
    place.until("the plain server refuses", &line, |said| said.contains("a recovery began here and did not end")).await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_in_backup_mode_never_writes_over_what_is_in_the_bucket() {
    let place = Place::start("new-cluster").await;
    let database = |kind: &str, name: &str| kind == "Namespace" || kind != "Deployment" && name.starts_with("postgres");
    place.begin(OLD, |object| database(object.kind.kind, &object.name)).await;
    // The Deployment that the script makes is the first, on an empty volume.
    place.fill_in(OLD, SECRET_KEY, PREFIX).await;
    let (code, said) = place.try_operator("./configure_backup.sh").await;
    assert!(code == Some(1) && said.contains("the server does not archive"), "{code:?} {said}");
    let log = place.kubectl(OLD, LOG).await;
    assert!(
        log.contains(&format!("NOT archiving: this cluster is new and would overwrite what is in {PREFIX}")),
        "{log}"
    );
    place.kubectl(OLD, "delete pod -l app=postgres").await;
    place.ready_but_for_services(OLD).await;
    assert_eq!(place.sql(OLD, "SHOW archive_mode;").await, "off", "at its second start as little as at the first");

    place.fill_in(OLD, SECRET_KEY, "s3://hasura-backups/another").await;
    place.operator("./configure_backup.sh").await;
    assert_eq!(place.sql(OLD, "SHOW archive_mode;").await, "on");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_template_that_was_not_filled_in_fail_the_script() {
    let place = Place::start("wrong-key").await;
    database_only(&place, OLD).await;
    let (code, said) = place.try_operator("./configure_backup.sh").await;
    let lines: Vec<&str> = said.lines().collect();
    let missing = |file: &str| format!("k8s/{file} is missing: copy k8s/{file}.template and fill it in");
    assert_eq!((code, lines), (Some(1), vec![&*missing("Secrets.yaml"), &*missing("ConfigMap.yaml")]));

    place.fill_in(OLD, "not-the-key", PREFIX).await;
    let (code, said) = place.try_operator("./configure_backup.sh").await;
    assert!(code == Some(1) && said.contains("the bucket cannot be read"), "{code:?} {said}");
    assert!(said.contains("403") && said.contains("the base backup did not succeed"), "{said}");
    place.end().await;
}
