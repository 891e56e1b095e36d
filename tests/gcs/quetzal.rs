//! Quetzal as it is deployed, and its backup as its page triggers it.

use redrill::drill::pace::{self, Baseline, Settled};
use redrill::drill::site::Site;
use redrill::kubernetes::{CONFIG_MAP, JOB};
use redrill::system::System;
use serde_json::json;

use crate::place::{BUCKET, DEADLINE, Place, repository};

/// The whole system, ready.
async fn deployed(name: &str) -> Place {
    let place = Place::start(name).await;
    let system =
        System::read(&[repository("scenarios/quetzal/system")]).unwrap_or_else(|problems| panic!("{problems}"));
    for object in system.objects() {
        place.local.clusters.home().create(&object.value).await.unwrap();
    }
    let kubernetes = place.local.clusters.home().clone();
    let site = Site { cluster: None, kubernetes, namespaces: vec!["quetzal".to_owned()] };
    match pace::settle(&[site], &Baseline::default(), DEADLINE).await.unwrap() {
        Settled::Yes(_) => place,
        Settled::No { last, .. } => panic!("{last}"),
    }
}

/// `Complete` or `Failed`.
async fn end_of(place: &Place, job: &str) -> String {
    place
        .until(&format!("job {job} ended"), JOB, job, |job| {
            let conditions = job["status"]["conditions"].as_array()?;
            let ended = conditions
                .iter()
                .find(|condition| condition["status"] == "True" && condition["type"] != "SuccessCriteriaMet")?;
            Some(ended["type"].as_str()?.to_owned())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_backup_of_the_page_puts_a_dump_with_every_role_into_the_bucket() {
    let place = deployed("backup").await;
    let operator = async |line: &str| place.sh("workstation", line).await;

    let label = "app.kubernetes.io/component=database";
    let cron_job = operator(&format!("kubectl get cronjobs -l {label} -o name")).await;
    assert_eq!(cron_job, "cronjob.batch/quetzal-database-backup\n");
    let pod = operator(&format!("kubectl get pods -l {label} -o name")).await;
    let pod = pod.trim();
    assert_eq!(pod.lines().count(), 1, "{pod}");
    operator("kubectl create job --from=cronjob/quetzal-database-backup quetzal-database-backup-manual-001").await;
    assert_eq!(end_of(&place, "quetzal-database-backup-manual-001").await, "Complete");

    // In the database's pod, as the page has it.
    let inside = async |line: &str| operator(&format!("kubectl exec {pod} -- bash -c '{line}'")).await;
    let listed = inside(&format!("gsutil ls gs://{BUCKET}/db/")).await;
    let name = listed.trim().strip_prefix(&format!("gs://{BUCKET}/db/")).expect("one dump");
    let digits = name.strip_prefix("db_dump-").and_then(|name| name.strip_suffix(".bak.gz")).expect(name);
    assert!(digits.len() == 15 && digits.chars().all(|c| c.is_ascii_digit() || c == '_'), "{name}");
    let lines = inside(&format!("cd /tmp && gsutil -q cp gs://{BUCKET}/db/{name} . && gunzip {name} && grep -E \"^CREATE (ROLE|DATABASE)\" db_dump-*.bak")).await;
    let roles: Vec<_> = lines.lines().filter(|line| line.starts_with("CREATE ROLE")).collect();
    assert_eq!(roles, ["CREATE ROLE db_ro_user;", "CREATE ROLE db_user;", "CREATE ROLE dbuser;"]);
    for database in ["dbuser", "quetzal", "unittests"] {
        assert!(lines.contains(&format!("CREATE DATABASE {database} ")), "{lines}");
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_into_a_bucket_that_is_not_there_fails() {
    let place = deployed("no-bucket").await;
    let wrong = json!({"data": {"bucket": "no-such-bucket"}});
    place.local.clusters.home().patch(CONFIG_MAP, "quetzal", "quetzal-backup", &wrong).await.unwrap();
    place.sh("workstation", "kubectl create job --from=cronjob/quetzal-database-backup wrong").await;
    assert_eq!(end_of(&place, "wrong").await, "Failed");
    let log = place.sh("workstation", "kubectl logs job/wrong").await;
    assert!(log.contains("404 gs://no-such-bucket bucket does not exist"), "{log}");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_back_after_they_were_cut_off_and_the_reader_sees_views_only() {
    let place = deployed("sessions").await;
    let database = async |line: &str| {
        place
            .sh(
                "workstation",
                &format!(
                    "kubectl exec -i deploy/quetzal-database -- psql -qtAX -U dbuser quetzal <<'SQL'\n{line}\nSQL"
                ),
            )
            .await
    };
    let sessions = "SELECT usename, count(*) FROM pg_stat_activity WHERE datname = 'quetzal' AND pid <> pg_backend_pid() GROUP BY usename ORDER BY 1;";
    assert_eq!(database(sessions).await, "db_ro_user|1\ndb_user|3\n");
    let opened = "SELECT count(*) FROM app_sessions;";
    assert_eq!(database(opened).await, "3\n");
    database(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'quetzal' AND pid <> pg_backend_pid();",
    )
    .await;
    let again = format!(
        "until [ \"$(kubectl exec deploy/quetzal-database -- psql -qtAX -U dbuser -c '{opened}' quetzal)\" = 6 ]; do :; done"
    );
    place.sh("workstation", &format!("timeout 60 bash -c {}", shell_words::quote(&again))).await;
    let (code, said) = place
        .try_sh("workstation", "kubectl exec deploy/quetzal-database -- bash -c 'PGPASSWORD=$QUETZAL_DB_RO_PASSWORD psql -h quetzal-database -U db_ro_user -c \"SELECT FROM workspaces\" quetzal'")
        .await;
    assert!(code != Some(0) && said.contains("permission denied for table workspaces"), "{said}");
    place.end().await;
}
