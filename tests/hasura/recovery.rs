//! What works: backups that go on by themselves, and a project that comes up from them.

use crate::place::{NEW, OLD, PREFIX, Place, SECRET_KEY, scenario, secret, system};

const NOTES: &str = "SELECT string_agg(note, ' ' ORDER BY note) FROM notes;";
const RECOVERED: &str = "exec deploy/postgres -- test -e /var/lib/postgresql/data/pgdata/recovery.done";

/// Rows from before a moment and after it, all of them in the bucket; the moment.
async fn write_notes(place: &Place) -> String {
    place.sql(OLD, "CREATE TABLE notes (note text); INSERT INTO notes VALUES ('early');").await;
    let moment = place.sql(OLD, "SELECT clock_timestamp();").await;
    place.sql(OLD, "INSERT INTO notes VALUES ('late');").await;
    // Several segments at once, of each of which the server has to know that it is in the bucket.
    place.sql(OLD, &"CREATE TABLE filler (); DROP TABLE filler; SELECT pg_switch_wal();\n".repeat(2)).await;
    let last =
        place.sql(OLD, "CREATE TABLE filler (); DROP TABLE filler; SELECT pg_walfile_name(pg_switch_wal());").await;
    let archived = format!("SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver;");
    place.until_sql(OLD, &archived, "t").await;
    moment
}

async fn until_recovered(place: &Place, notes: &str) {
    let line = format!("kubectl --context {NEW} -n hasura {RECOVERED}");
    place.until("recovery.done", &format!("{line} && echo there"), |said| said == "there\n").await;
    place.until_sql(NEW, NOTES, notes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_project_is_the_old_one_to_the_last_row_and_the_last_password() {
    let place = Place::start("recovery").await;
    for project in [OLD, NEW] {
        place.begin(project, |_| true).await;
    }
    place.ready(OLD).await;
    place.ready(NEW).await;
    place.script(OLD, "configure_backup.sh").await;
    let moment = write_notes(&place).await;

    let said = place.script(NEW, "recovery.sh").await;
    assert!(said.ends_with("The recovery begins.\n"), "{said}");
    until_recovered(&place, "early late").await;
    assert_eq!(place.sql(NEW, "SHOW archive_mode;").await, "off");
    let log = place.kubectl(NEW, "logs deploy/postgres").await;
    assert!(log.contains("archive recovery complete") && !log.contains(SECRET_KEY), "{log}");
    passwords_are_the_old_ones(&place).await;

    // One more time, up to a moment: what the volume held goes again.
    place.fill_in(NEW, SECRET_KEY, PREFIX).await;
    place
        .operator(&format!("echo '  recovery.target.time: \"{moment}\"' >> k8s/ConfigMap.yaml && ./recovery.sh"))
        .await;
    until_recovered(&place, "early").await;
    assert_eq!(place.sql(NEW, "SELECT pg_is_in_recovery();").await, "f");
    place.end().await;
}

async fn passwords_are_the_old_ones(place: &Place) {
    let (of_old, of_new) = (secret(OLD, "postgres", "postgres.password"), secret(NEW, "postgres", "postgres.password"));
    place.ready_but_for_services(NEW).await;
    let (code, said) = place.login(NEW, &of_new).await;
    assert!(code == Some(2) && said.contains("password authentication failed for user \"admin\""), "{code:?} {said}");
    assert_eq!(place.login(NEW, &of_old).await, (Some(0), "1\n".to_owned()));

    for app in ["auth", "data"] {
        let refused = |said: &str| said.starts_with("503 ") && said.contains("password authentication failed");
        place.until_answer(NEW, app, "/health", refused).await;
    }
    let change = |name: &str, key: &str| {
        let value = secret(OLD, name, key);
        format!("patch secret {name} --type=merge -p '{{\"stringData\": {{\"{key}\": \"{value}\"}}}}'")
    };
    place.kubectl(NEW, &change("postgres", "postgres.password")).await;
    place.kubectl(NEW, "delete pod -l app=auth").await;
    // The database lets it in by now, and knows the administrator by the old project's password.
    place.until_answer(NEW, "auth", "/health", |said| said.contains("django.sapass is not the password")).await;
    place.kubectl(NEW, &change("auth", "django.sapass")).await;
    place.kubectl(NEW, "delete pod -l 'app in (auth, data)'").await;
    place.ready(NEW).await;

    let login = |password: &str| format!("{{\"username\": \"admin\", \"password\": \"{password}\"}}");
    for (project, status) in [(OLD, "200 "), (NEW, "401 ")] {
        let body = login(&secret(project, "auth", "django.sapass"));
        let said = place.ask(NEW, "auth", "/login", &body).await;
        assert!(said.starts_with(status), "{project}: {said}");
    }
    let said = place.ask(NEW, "data", "/v1/query", "").await;
    assert_eq!(said, "200 [{\"name\": \"catalogue\", \"value\": \"1\"}]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_are_stopped_leave_the_bucket_alone_and_the_database_at_work() {
    let place = Place::start("stop").await;
    place.begin(OLD, |object| object.name.starts_with("postgres") || object.kind.kind == "Namespace").await;
    place.ready(OLD).await;
    place.script(OLD, "configure_backup.sh").await;
    assert_eq!(place.sql(OLD, "SHOW archive_mode;").await, "on");
    place.script(OLD, "stop_backup.sh").await;
    assert_eq!(place.sql(OLD, "SHOW archive_mode;").await, "off");
    let listed = place.kubectl(OLD, "get secret,configmap,job -o name").await;
    assert!(!listed.contains("hasura-backup") && !listed.contains("base-backup"), "{listed}");
    place.sql(OLD, "CREATE TABLE notes AS SELECT 'later' AS note;").await;
    assert_eq!(place.sql(OLD, NOTES).await, "later");
    let segment = place.sql(OLD, "SELECT pg_walfile_name(pg_switch_wal());").await;
    // With archiving, a file there is made together with the switch.
    let waiting =
        format!("SELECT count(*) FROM pg_ls_dir('pg_wal/archive_status') AS name WHERE name LIKE '{segment}%';");
    assert_eq!(place.sql(OLD, &waiting).await, "0");
    place.end().await;
}

#[test]
fn the_two_projects_differ_in_passwords_only_and_the_repository_has_the_deployment_of_both() {
    let objects = |project: &str| {
        let objects = system(project).objects().iter().map(|object| object.value.clone()).collect::<Vec<_>>();
        objects.into_iter().partition::<Vec<_>, _>(|object| object["kind"] == "Secret")
    };
    let ((old_secrets, old), (new_secrets, new)) = (objects(OLD), objects(NEW));
    assert_eq!(old, new);
    for (old, new) in old_secrets.iter().zip(&new_secrets) {
        assert_eq!(old["metadata"], new["metadata"]);
        assert_ne!(old["stringData"], new["stringData"]);
    }
    let text = std::fs::read_to_string(scenario("repository/k8s/postgres.yaml")).unwrap();
    let plain: serde_json::Value = serde_yaml_ng::from_str(&text).unwrap();
    assert!(old.contains(&plain), "k8s/postgres.yaml is not the Deployment of the system");
}
