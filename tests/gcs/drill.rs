//! A whole drill of Quetzal with a page of our own, until the system's own page is drilled: backup into the bucket, loss of the
//! volume, restore from the bucket in the database's pod.

use std::path::Path;
use std::process::Command;

use crate::place::repository;

const PAGE: &str = r"# Manual backup

1. `kubectl -n quetzal create job --from=cronjob/quetzal-database-backup by-hand`
2. `kubectl -n quetzal wait --for=condition=complete job/by-hand --timeout=120s`

# Restoring a backup

1. `kubectl -n quetzal scale deployment quetzal-app quetzal-worker --replicas=0`
2. `kubectl -n quetzal exec -it deploy/quetzal-database -- bash`
3. Then:

   ```
   cd /tmp
   gsutil cp gs://quetzal-backups/db/*.gz dump.bak.gz
   gunzip dump.bak
   sed -i -E 's/^(CREATE ROLE dbuser;|ALTER ROLE dbuser |CREATE DATABASE dbuser )/-- &/' dump.bak
   psql -U$POSTGRES_USER $POSTGRES_USER
   drop database quetzal;
   drop database unittests;
   drop role db_user;
   drop role db_ro_user;
   exit;
   psql -U$POSTGRES_USER --set ON_ERROR_STOP=on -f ./dump.bak
   exit
   ```
4. `kubectl -n quetzal scale deployment quetzal-app quetzal-worker --replicas=1`
";

/// `REPOSITORY` stands for the repository's path.
const SCENARIO: &str = "\
name: quetzal
runbook: page.md
system: { manifests: [REPOSITORY/scenarios/quetzal/system], namespace: quetzal }
images:
  quetzal/database:15: { folder: REPOSITORY/images/quetzal-database, program: real }
  quetzal/database-backup:15: { folder: REPOSITORY/images/quetzal-backup, program: rewritten }
  quetzal/quetzal:latest: { folder: REPOSITORY/images/quetzal-app, program: rewritten }
stores:
  backups: { kind: gcs, bucket: quetzal-backups }
databases:
  quetzal:
    kind: postgres
    host: quetzal-database.quetzal
    port: 5432
    database: quetzal
    # What the seed makes needs a role that may make it.
    user: { secret: quetzal/quetzal-database, key: username }
    password: { secret: quetzal/quetzal-database, key: password }
    second-role: { name: db_ro_user, password: { secret: quetzal/quetzal-roles, key: db-ro-user-password } }
    live-tables: [public.app_sessions]
seed: { databases: [quetzal], size: small }
ledger: { database: quetzal }
loss:
  claims: [quetzal/quetzal-database]
  escrow: [manifests, { store: backups }]
drills:
  manual:
    backup: [{ procedure: Manual backup }]
    restore: [{ procedure: Restoring a backup }]
credentials:
  - principal: the application
    target: { postgres: quetzal }
    user: { secret: quetzal/quetzal-roles, key: db-user }
    secret: { secret: quetzal/quetzal-roles, key: db-user-password }
    at: { backed-up: accepted, restored: accepted }
  - principal: the reader
    target: { postgres: quetzal }
    user: { secret: quetzal/quetzal-roles, key: db-ro-user }
    secret: { secret: quetzal/quetzal-roles, key: db-ro-user-password }
    at: { backed-up: accepted, restored: accepted }
schedule: { interval: 168h, duration: measured }
";

/// Runs the drill with this page; its exit code and what it said.
fn drill(page: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("scenarios/quetzal")).unwrap();
    let scenario = SCENARIO.replace("REPOSITORY", &repository("").display().to_string());
    std::fs::write(path("scenarios/quetzal/scenario.yaml"), scenario).unwrap();
    std::fs::write(path("scenarios/quetzal/page.md"), page).unwrap();
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let output = Command::new(env!("CARGO_BIN_EXE_redrill"))
        .args([option("scenarios", &path("scenarios")), option("reports", &path("reports"))])
        .args(["run", "quetzal"])
        .output()
        .unwrap();
    let said = [output.stderr, output.stdout].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn quetzal_comes_back_from_the_dump_in_its_bucket() {
    let (code, said) = drill(PAGE);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("gs://quetzal-backups: a server for Google Cloud Storage inside the drill"), "{said}");
    assert!(!said.contains("throwaway-"), "{said}");
}

#[test]
fn a_restore_that_reads_another_bucket_fails_at_its_line() {
    let wrong = PAGE.replace("gs://quetzal-backups/db/*.gz", "gs://quetzal-backup/db/*.gz");
    let (code, said) = drill(&wrong);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("page.md:13") && said.contains("`gsutil cp gs://quetzal-backup/db/*.gz"), "{said}");
}
