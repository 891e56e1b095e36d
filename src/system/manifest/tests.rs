use super::*;
use std::fs;

fn read(text: &str) -> Result<System, Vec<String>> {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("system.yaml");
    fs::write(&file, text).expect("write");
    let shorten = |problem: Problem| problem.to_string().replace(&*file.display().to_string(), "system.yaml");
    let dangling = |system: System| Problems::from_iter(system.dangling()).or(Some(system));
    let system = System::read(&[folder.path().to_owned()]).and_then(dangling);
    system.map_err(|problems| problems.into_iter().map(shorten).collect())
}

fn problems(text: &str) -> Vec<String> {
    read(text).expect_err("problems")
}

fn taiga() -> System {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/taiga/system");
    System::read(&[folder]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn taiga_is_read_in_the_order_of_application() {
    let system = taiga();
    let kinds: Vec<&str> = system.objects().iter().map(|object| object.kind.kind).collect();
    assert_eq!(kinds[0], "Namespace");
    let last_of = |name: &str| kinds.iter().rposition(|kind| *kind == name).expect(name);
    let first_of = |name: &str| kinds.iter().position(|kind| *kind == name).expect(name);
    for (earlier, later) in [("ConfigMap", "Secret"), ("Secret", "Service"), ("Service", "Deployment")] {
        assert!(last_of(earlier) < first_of(later), "{earlier} before {later}");
    }
    let claims: Vec<String> = system.objects_of(&kind::CLAIM).map(|claim| claim.name.clone()).collect();
    assert_eq!(claims, ["postgres-claim", "taiga-media-data"]);
    let images: Vec<String> = system.images().into_keys().collect();
    assert_eq!(
        images,
        [
            "domaindrivenarchitecture/c4k-taiga-backup",
            "nginx:1.19-alpine",
            "postgres:15",
            "taigaio/taiga-back:latest",
            "taigaio/taiga-front:latest"
        ]
    );
}

#[test]
fn taiga_has_what_its_runbook_speaks_of() {
    let system = taiga();
    let secrets = system.secrets();
    let keys = |name: &str| -> Vec<String> {
        let secret = secrets.iter().find(|secret| secret.name == name).expect(name);
        secret.values.keys().cloned().collect()
    };
    assert_eq!(keys("postgres-secret"), ["postgres-password", "postgres-user"]);
    assert_eq!(keys("backup-secret"), ["aws-access-key-id", "aws-secret-access-key", "restic-password"]);
    let backup_restore = system.object(&kind::DEPLOYMENT, "taiga", "backup-restore").expect("backup-restore");
    assert_eq!(backup_restore.value["spec"]["replicas"], 0);
    assert_eq!(backup_restore.value["spec"]["template"]["spec"]["containers"][0]["name"], "backup-app");
    let cron_job = system.object(&kind::CRON_JOB, "taiga", "taiga-backup").expect("taiga-backup");
    assert_eq!(cron_job.value["spec"]["schedule"], "10 23 * * *");
}

#[test]
fn services_and_pods_agree_on_ports() {
    for object in taiga().objects().iter().filter(|object| object.kind == &kind::SERVICE) {
        for port in object.value["spec"]["ports"].as_array().expect("ports") {
            assert_eq!(port["port"], port["targetPort"], "{object:?}");
        }
    }
}

#[test]
fn all_problems_of_a_file_are_told_at_once_with_their_lines() {
    let found = problems(
        "apiVersion: v1
kind: Service
metadata:
  name: db
spec:
  prots:
    - port: 5432
  ports:
    - port: fivefour
  clusterIP: 5
---
apiVersion: apps/v1
kind: Deploymnet
metadata: {name: app}
---
apiVersion: batch/v1beta1
kind: CronJob
metadata: {name: backup}
---
apiVersion: v1
kind: ConfigMap
metadata:
  labels: {a: b}
",
    );
    assert_eq!(
        found,
        [
            "system.yaml:6: unknown field `prots` (did you mean `ports`?)",
            "system.yaml:9: wrong type: expected i32",
            "system.yaml:10: wrong type: expected a string",
            "system.yaml:13: unknown kind `Deploymnet` (did you mean `Deployment`?): redrill has no such thing, leave it out \
             of the drilled manifests",
            "system.yaml:16: no CronJob in `batch/v1beta1`: it is served in `batch/v1`",
            "system.yaml:22: this ConfigMap has no metadata.name",
        ]
    );
}

#[test]
fn an_object_given_twice_names_the_first_place() {
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n";
    assert_eq!(
        problems(&format!("{config_map}---\n{config_map}")),
        ["system.yaml:9: ConfigMap `one` is already in system.yaml:1"]
    );
}

const POD: &str = "apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: x}
---
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - name: app
      image: app
      env:
        - name: PASSWORD
          valueFrom:
            secretKeyRef: {name: db, key: passwort}
        - name: OTHER
          valueFrom:
            secretKeyRef:
              name: none
              key: password
              optional: true
      envFrom:
        - configMapRef: {name: settings}
  volumes:
    - name: data
      persistentVolumeClaim:
        claimName: data
";

#[test]
fn a_reference_that_leads_nowhere_is_told_with_its_line() {
    assert_eq!(
        problems(POD),
        [
            "system.yaml:16: Secret `default/db` (system.yaml:1) has no key `passwort` (did you mean `password`?)",
            "system.yaml:24: no ConfigMap `default/settings` is in the manifests (there are none)",
            "system.yaml:27: no PersistentVolumeClaim `default/data` is in the manifests (there are none)",
        ]
    );
}

#[test]
fn a_namespace_that_nothing_makes_is_told() {
    let found = problems("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: elsewhere\n");
    assert_eq!(found, ["system.yaml:5: no manifest makes the namespace `elsewhere`: add one"]);
}

#[test]
fn values_of_secrets_reach_nobody_by_accident() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a: aHVudGVyMg==\n  b: /w==\nstringData: {c: plain}\n";
    let system = read(text).expect("system");
    let secret = &system.secrets()[0];
    assert_eq!(secret.values["a"].as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(secret.values["b"], None, "not text");
    let printed = format!("{system:?} {secret:?}");
    for value in ["hunter2", "aHVudGVyMg", "plain"] {
        assert!(!printed.contains(value), "{printed}");
    }
}

#[test]
fn a_wrong_value_in_a_secret_is_not_quoted() {
    let found = problems("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a: hunter2!\n").join("\n");
    assert_eq!(found, "system.yaml:5: not base64 (plain text goes into stringData)");
    let found = problems("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: 424242\n").join("\n");
    assert_eq!(found, "system.yaml:5: wrong type: expected a string");
}

#[test]
fn a_folder_without_manifests_is_a_problem() {
    let folder = tempfile::tempdir().expect("folder");
    let found = System::read(&[folder.path().to_owned()]).expect_err("empty");
    assert!(found.to_string().ends_with("no manifests here: name a folder that holds .yaml files"), "{found:?}");
}
