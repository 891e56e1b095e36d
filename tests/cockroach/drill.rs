//! A whole drill on CockroachDB, as the program runs it: what there is without a real one, and without leave for a stand-in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::place::certificates;

const RUNBOOK: &str = r#"# The shop's database

## Backup

1. `kubectl exec deploy/client -- ./cockroach sql --certs-dir=/cockroach-certs --host=db-public -e "BACKUP INTO 'gs://shop-backups/db?AUTH=specified&CREDENTIALS=e30='"`

## Restore

1. Log in, and restore:
   ```
   kubectl exec -it deploy/client -- ./cockroach sql --certs-dir=/cockroach-certs --host=db-public
   ```
   ```sql
   RESTORE
     FROM LATEST IN 'gs://shop-backups/db?AUTH=specified&CREDENTIALS=e30=';
   \q
   ```
"#;

const SCENARIO: &str = r#"name: shop
runbook: runbook.md
system: { manifests: [system], namespace: shop }
images:
  cockroachdb/cockroach:v22.2.0: { folder: IMAGES/cockroach, real: cockroach }
stores:
  backups: { kind: gcs, bucket: shop-backups }
databases:
  shop:
    kind: cockroach
    host: db-public.shop
    port: 26257
    database: defaultdb
    user: keeper
    password: { secret: shop/keeper, key: password }
seed: { databases: [shop], size: small }
ledger: { database: shop }
loss:
  claims: [shop/datadir]
  escrow: [manifests, { secret: shop/keeper }, { secret: shop/db-secret }, { secret: shop/db-client-secret }, { store: backups }]
drills:
  manual:
    writers: quiet
    backup: [{ procedure: Backup }]
    restore: [{ procedure: Restore }]
credentials:
  - principal: the application
    target: { cockroach: shop }
    user: keeper
    secret: { secret: shop/keeper, key: password }
    at: { backed-up: accepted, restored: accepted }
waivers:
  - { secret: shop/keeper, reason: "in escrow, and the server's start puts it back" }
  - { secret: shop/db-secret, reason: "in escrow" }
  - { secret: shop/db-client-secret, reason: "in escrow" }
schedule: { interval: 24h, duration: measured }
objectives:
  rto: { promise: 1h, representative: [kube] }
"#;

/// The server, whose user for the application is made at each start; a client that does nothing by itself.
const SYSTEM: &str = r#"apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: datadir, namespace: shop }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Service
metadata: { name: db-public, namespace: shop }
spec: { selector: { app: db }, ports: [{ port: 26257, targetPort: 26257 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: db, namespace: shop }
spec:
  replicas: 1
  strategy: { type: Recreate }
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      containers:
        - name: db
          image: cockroachdb/cockroach:v22.2.0
          command:
            - sh
            - -c
            - |
              ./cockroach start-single-node --certs-dir=/cockroach-certs --store=/cockroach/cockroach-data &
              server=$!
              trap 'kill $server; wait; exit' TERM INT
              until printf "CREATE USER IF NOT EXISTS keeper WITH PASSWORD '%s'; GRANT admin TO keeper;" "$PASSWORD" \
                  | ./cockroach sql --certs-dir=/client-certs --host=localhost; do kill -0 $server || exit 1; done
              touch /tmp/user-is-there
              wait
          env: [{ name: PASSWORD, valueFrom: { secretKeyRef: { name: keeper, key: password } } }]
          volumeMounts:
            - { name: datadir, mountPath: /cockroach/cockroach-data }
            - { name: certs, mountPath: /cockroach-certs }
            - { name: client-certs, mountPath: /client-certs }
          readinessProbe: { exec: { command: [test, -e, /tmp/user-is-there] }, periodSeconds: 1 }
      volumes:
        - { name: datadir, persistentVolumeClaim: { claimName: datadir } }
        - { name: certs, secret: { secretName: db-secret, defaultMode: 256 } }
        - { name: client-certs, secret: { secretName: db-client-secret, defaultMode: 256 } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: client, namespace: shop }
spec:
  replicas: 1
  selector: { matchLabels: { app: client } }
  template:
    metadata: { labels: { app: client } }
    spec:
      containers:
        - name: client
          image: cockroachdb/cockroach:v22.2.0
          command: [sleep, infinity]
          volumeMounts: [{ name: certs, mountPath: /cockroach-certs }]
      volumes:
        - { name: certs, secret: { secretName: db-client-secret, defaultMode: 256 } }
"#;

/// The scenario in a folder of its own.
fn shop(folder: &Path) -> PathBuf {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let scenario = folder.join("shop");
    std::fs::create_dir_all(scenario.join("system")).unwrap();
    let mut secrets = certificates(&images.join("cockroach"), "shop", "db-public");
    secrets.push(serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keeper", "namespace": "shop"},
        "stringData": {"password": "keepers-own"},
    }));
    let secrets: Vec<String> = secrets.iter().map(Value::to_string).collect();
    for (name, text) in [
        ("runbook.md", RUNBOOK.to_owned()),
        ("scenario.yaml", SCENARIO.replace("IMAGES", &images.display().to_string())),
        ("system/system.yaml", SYSTEM.to_owned()),
        ("system/secrets.yaml", secrets.join("\n---\n")),
    ] {
        std::fs::write(scenario.join(name), text).unwrap();
    }
    scenario
}

/// What one run of the program said, and its results; its reports are called `reports`.
fn run(folder: &Path, reports: &str, arguments: &[&str]) -> (Output, Value) {
    let reports = folder.join(reports);
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrill"));
    command.args(["run", "--no-times", "--scenarios"]).arg(folder).arg("--reports").arg(&reports);
    // None that this machine may have.
    let output = command.args(arguments).env("REDRILL_COCKROACH", "/dev/null/none").output().unwrap();
    let runs: Vec<PathBuf> = std::fs::read_dir(&reports).unwrap().map(|entry| entry.unwrap().path()).collect();
    let results = runs.iter().find_map(|run| std::fs::read(run.join("results.json")).ok()).unwrap();
    (output, serde_json::from_slice(&results).unwrap())
}

#[test]
fn without_a_real_cockroach_a_drill_is_unverified_and_on_the_stand_in_it_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    let (output, results) = run(folder.path(), "without", &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("missing: cockroach 22.2 or newer") && said.contains("--simulate cockroach"), "{said}");
    assert!(results.to_string().contains("REDRILL_COCKROACH"));

    let (output, results) = run(folder.path(), "simulated", &["--simulate", "cockroach"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("SIMULATED"), "{said}");
    let stand_in = &results["outcome"]["drills"][0]["simulated"][0];
    assert_eq!(stand_in["what"], "image cockroachdb/cockroach:v22.2.0", "{results:#}");
    let why = stand_in["why"].as_str().unwrap();
    assert!(
        why.starts_with("redrill's own `cockroach` stands for cockroach, with `--simulate cockroach` only"),
        "{why}"
    );
    let steps = results["outcome"]["drills"][0]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["program"] == "simulated"), "{steps:#?}");
}
