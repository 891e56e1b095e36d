//! A local environment with two Hasura projects, their bucket and the operator's workstation, and the short words for using it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redrill::doctor;
use redrill::drill::pace::{self, Baseline, Settled};
use redrill::drill::site::Site;
use redrill::drill::{stage, station};
use redrill::environment::local::{Local, LocalConfig};
use redrill::kubernetes::{ExecRequest, Kubernetes, Terminal, wait_for};
use redrill::outcome::ProgramLabel;
use redrill::redact::Secret;
use redrill::system::{Object, System, image};
use tokio::io::AsyncReadExt;

/// Longer than anything here takes on a busy machine; reached only by a defect.
pub const DEADLINE: Duration = Duration::from_secs(120);
pub const PREFIX: &str = "s3://hasura-backups/old";
pub const OLD: &str = "old-project";
pub const NEW: &str = "new-project";
const STORE: &str = "backups";
const BUCKET: &str = "hasura-backups";
const HOST: &str = "s3.eu-central-1.amazonaws.com";
const ACCESS_KEY: &str = "throwaway-access";
pub const SECRET_KEY: &str = "throwaway/secret+key";

pub struct Place {
    pub local: Local,
}

/// A file or folder of the scenario.
pub fn scenario(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/hasura").join(path)
}

/// The manifests of a project.
pub fn system(project: &str) -> System {
    let folder = scenario("system").join(project.trim_end_matches("-project"));
    System::read(&[folder]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What a Secret of a project's manifests holds.
pub fn secret(project: &str, name: &str, key: &str) -> String {
    let system = system(project);
    let secret = system.objects().iter().find(|object| object.kind.kind == "Secret" && object.name == name);
    secret.unwrap().value["stringData"][key].as_str().unwrap().to_owned()
}

fn image_of(reference: &str, folder: &str) -> (String, redrill::runtime::Image) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images").join(folder);
    let read = image::read(reference, &folder, ProgramLabel::Rewritten, &BTreeMap::new());
    (reference.to_owned(), read.unwrap_or_else(|problems| panic!("{problems}")).image)
}

fn kubectl(project: &str, arguments: &str) -> String {
    format!("kubectl --context {project} -n hasura {arguments}")
}

fn in_psql(project: &str, sql: &str) -> String {
    let psql = "psql -qtAX -v ON_ERROR_STOP=1 -h /var/run/postgresql -U admin hasuradb";
    kubectl(project, &format!("exec -i deploy/postgres -- {psql} <<'SQL'\n{sql}\nSQL"))
}

fn question(project: &str, app: &str, path: &str, body: &str) -> String {
    let script = "import sys, urllib.request as u, urllib.error\n\
        try: answer = u.urlopen(\"http://localhost:8080\" + sys.argv[1], sys.argv[2].encode() or None)\n\
        except urllib.error.HTTPError as error: answer = error\n\
        print(answer.status, answer.read().decode(), end=\"\")";
    kubectl(project, &format!("exec deploy/{app} -- /usr/bin/python3 -c '{script}' {path} '{body}'"))
}

impl Place {
    /// The bucket and the workstation with the repository in it; no project yet.
    pub async fn start(name: &str) -> Self {
        let images = [
            image_of("hasura/postgres:11", "hasura-postgres"),
            image_of("hasura/auth:v0.15", "hasura-auth"),
            image_of("hasura/data:v0.15", "hasura-data"),
        ];
        let kubectl = doctor::kubectl().await.expect("kubectl (`redrill doctor --install --tests` gets it)");
        let database = |project: &str| {
            let service = (project.to_owned(), "hasura".to_owned(), "postgres".to_owned());
            (format!("postgres.hasura.{project}"), service)
        };
        let config = LocalConfig {
            clusters: vec![OLD.to_owned(), NEW.to_owned()],
            services: [OLD, NEW].map(database).into(),
            name: format!("{}-hasura-{name}", std::process::id()),
            program: env!("CARGO_BIN_EXE_redrill").into(),
            images: images.into(),
            outside: BTreeMap::from([(HOST.to_owned(), station::store_service(STORE))]),
            kubectl: Some(kubectl.path),
            programs: BTreeMap::new(),
            gcs_server: None,
            awscli: None,
            namespace: "default".to_owned(),
            seed: 1,
        };
        let place = Self { local: Local::start(config).await.unwrap() };
        let certificate = place.local.certificate(&[HOST]).unwrap();
        let mut own = vec![station::namespace()];
        own.extend(station::workstation(&place.local.operator_kubeconfig()));
        own.extend(station::s3(STORE, BUCKET, &Secret::new(ACCESS_KEY), &Secret::new(SECRET_KEY), &certificate));
        stage::put_up(place.local.clusters.home(), &own).await.unwrap();
        place.check_out().await;
        place
    }

    /// Puts the repository into the operator's home, as a checkout of it would be.
    async fn check_out(&self) {
        for folder in ["", "k8s"] {
            for entry in std::fs::read_dir(scenario("repository").join(folder)).unwrap() {
                let file = entry.unwrap().path();
                if file.is_file() {
                    let path = format!("{}/{folder}/{}", station::HOME, file.file_name().unwrap().display());
                    let content = std::fs::read_to_string(&file).unwrap();
                    let written = stage::write_file(self.local.clusters.home(), &path, &content).await;
                    assert!(written.is_ok(), "{path}");
                }
            }
        }
        self.operator("chmod u+x *.sh").await;
    }

    /// Puts up what a project is made of, as far as it is `wanted`, and waits for nothing.
    pub async fn begin(&self, project: &str, wanted: impl Fn(&Object) -> bool) {
        for object in system(project).objects().iter().filter(|object| wanted(object)) {
            self.cluster(project).create(&object.value).await.unwrap();
        }
    }

    pub fn cluster(&self, project: &str) -> &Kubernetes {
        self.local.clusters.of(Some(project))
    }

    /// Everything that the project asks for is there and ready.
    pub async fn ready(&self, project: &str) {
        let kubernetes = self.cluster(project).clone();
        let site = Site { cluster: Some(project.to_owned()), kubernetes, namespaces: vec!["hasura".to_owned()] };
        match pace::settle(&[site], &Baseline::default(), DEADLINE).await.unwrap() {
            Settled::Yes(_) => {}
            Settled::No { last, .. } => panic!("{last}"),
        }
    }

    /// The database is ready, whatever the services say to it.
    pub async fn ready_but_for_services(&self, project: &str) {
        let wait = format!("rollout status deployment/postgres --timeout={}s", DEADLINE.as_secs());
        self.kubectl(project, &wait).await;
    }

    /// Runs a shell line where the operator sits; its exit code and what it said on both streams.
    pub async fn try_operator(&self, line: &str) -> (Option<i32>, String) {
        let line = format!("exec 2>&1; cd; {line}");
        let argv = ["bash", "-c", &line];
        let pod = station::WORKSTATION;
        let request =
            ExecRequest { namespace: station::NAMESPACE, pod, container: None, argv: &argv, terminal: Terminal::No };
        let exec = self.local.clusters.home().exec(&request).await.unwrap();
        let (exit, (stdin, mut stdout)) = exec.split();
        drop(stdin);
        let mut said = Vec::new();
        let end = async {
            while stdout.read_buf(&mut said).await.unwrap() > 0 {}
            exit.await
        };
        let code = tokio::time::timeout(DEADLINE, end).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        (code.unwrap_or_else(|_| panic!("`{line}` does not end; it said: {said}")), said)
    }

    /// The same for a line that must succeed; what it said.
    pub async fn operator(&self, line: &str) -> String {
        let (code, said) = self.try_operator(line).await;
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said
    }

    /// Turns to a project and fills in both files, as the page has it.
    pub async fn fill_in(&self, project: &str, secret_key: &str, prefix: &str) {
        let line = format!(
            "kubectl config set current-context {project} && cp k8s/Secrets.yaml.template k8s/Secrets.yaml \
             && cp k8s/ConfigMap.yaml.template k8s/ConfigMap.yaml \
             && sed -i -e \"s|: AWS_ACCESS_KEY|: $(printf %s '{ACCESS_KEY}' | base64)|\" \
                -e \"s|: AWS_SECRET_KEY|: $(printf %s '{secret_key}' | base64)|\" k8s/Secrets.yaml \
             && sed -i -e 's|: AWS_REGION|: eu-central-1|' -e 's|: AWS_S3_PREFIX|: {prefix}|' k8s/ConfigMap.yaml"
        );
        self.operator(&line).await;
    }

    /// Runs a script of the repository on a project, with everything filled in as it should be.
    pub async fn script(&self, project: &str, script: &str) -> String {
        self.fill_in(project, SECRET_KEY, PREFIX).await;
        self.operator(&format!("./{script}")).await
    }

    /// `kubectl` on a project.
    pub async fn kubectl(&self, project: &str, arguments: &str) -> String {
        self.operator(&kubectl(project, arguments)).await
    }

    /// SQL as the superuser, on the socket in the pod.
    pub async fn sql(&self, project: &str, sql: &str) -> String {
        self.operator(&in_psql(project, sql)).await.trim_end().to_owned()
    }

    /// Waits until a question to the database is answered like this.
    pub async fn until_sql(&self, project: &str, sql: &str, answer: &str) {
        let what = format!("`{sql}` gives {answer} in {project}");
        self.until(&what, &in_psql(project, sql), |said| said.trim_end() == answer).await;
    }

    /// Asks a service of a project from inside its pod; the status and what it said. A body makes it a POST.
    pub async fn ask(&self, project: &str, app: &str, path: &str, body: &str) -> String {
        self.operator(&question(project, app, path, body)).await
    }

    /// Waits until a service answers so that `condition` is content with it.
    pub async fn until_answer(&self, project: &str, app: &str, path: &str, condition: impl Fn(&str) -> bool) {
        self.until(&format!("{app} answers {path}"), &question(project, app, path, ""), condition).await;
    }

    /// A login from outside the pod with the password of a project's manifests.
    pub async fn login(&self, project: &str, password: &str) -> (Option<i32>, String) {
        self.try_operator(&format!(
            "PGPASSWORD={password} psql -qtAX -h postgres.hasura.{project} -U admin -c 'SELECT 1' hasuradb"
        ))
        .await
    }

    /// Waits until a line of the operator's says something that `condition` is content with.
    pub async fn until(&self, what: &str, line: &str, condition: impl Fn(&str) -> bool) -> String {
        wait_for(what, DEADLINE, async || {
            let (_, said) = self.try_operator(line).await;
            Ok(if condition(&said) { Ok(said) } else { Err(said) })
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Nothing is left.
    pub async fn end(self) {
        assert_eq!(self.local.tear_down().await.unwrap(), Vec::<String>::new());
    }
}
