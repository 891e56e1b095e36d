//! A local environment with Estafette's images, and its chart on the operator's workstation.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redrill::doctor::{self, go_module};
use redrill::drill::{checkout, stage, station};
use redrill::environment::local::{Local, LocalConfig};
use redrill::kubernetes::{ExecRequest, Terminal};
use redrill::outcome::{ProgramLabel, SourceRef};
use redrill::scenario::Checkout;
use redrill::system::image;
use tokio::io::AsyncReadExt;

/// Longer than anything here takes on a busy machine; reached only by a defect.
const DEADLINE: Duration = Duration::from_secs(300);

pub struct Place {
    local: Local,
    /// Holds the image of the database beside the one that it is made from.
    _images: tempfile::TempDir,
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Below /var/tmp, since the drill's shifted ids have to walk to it.
fn database_image() -> tempfile::TempDir {
    let place = tempfile::Builder::new().prefix("redrill-estafette-").tempdir_in("/var/tmp").unwrap();
    let readable = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    readable(place.path());
    for folder in ["images/postgres", "tests/testdata/estafette-db"] {
        let to = place.path().join(Path::new(folder).file_name().unwrap());
        std::fs::create_dir(&to).unwrap();
        readable(&to);
        for entry in std::fs::read_dir(repository(folder)).unwrap().flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    place
}

impl Place {
    pub async fn start(name: &str) -> Self {
        let database = database_image();
        let folders = [
            ("cockroachdb/cockroach:v22.2.19", database.path().join("estafette-db")),
            ("estafette/estafette-ci-api:1.0.0", repository("images/estafette-api")),
            ("estafette/estafette-ci-web:1.0.0", repository("images/estafette-web")),
            ("estafette/estafette-ci-db-migrator:1.0.0", repository("images/estafette-db-migrator")),
        ];
        let images = folders.map(|(reference, folder)| {
            let read = image::read(reference, &folder, ProgramLabel::Rewritten, &BTreeMap::new());
            (reference.to_owned(), read.unwrap_or_else(|problems| panic!("{problems}")).image)
        });
        let helm = go_module::find(&go_module::HELM).expect("helm (`redrill doctor --install --tests` gets it)").path;
        let config = LocalConfig {
            clusters: Vec::new(),
            services: BTreeMap::new(),
            name: format!("{}-{name}", std::process::id()),
            program: env!("CARGO_BIN_EXE_redrill").into(),
            images: images.into(),
            outside: BTreeMap::new(),
            kubectl: Some(doctor::kubectl().await.expect("kubectl (`redrill doctor --install --tests` gets it)").path),
            programs: BTreeMap::from([("helm".to_owned(), helm)]),
            gcs_server: None,
            awscli: None,
            namespace: "default".to_owned(),
            seed: 1,
        };
        let place = Self { local: Local::start(config).await.unwrap(), _images: database };
        let home = place.local.clusters.home();
        let mut own = vec![station::namespace()];
        own.extend(station::workstation(&place.local.operator_kubeconfig()));
        stage::put_up(home, &own).await.unwrap();
        let source = SourceRef { file: "this test".to_owned(), line: 1 };
        let folder = repository("scenarios/estafette/chart");
        let checkout = Checkout { folder, name: "chart".to_owned(), source };
        checkout::put(home, &checkout).await.unwrap_or_else(|halt| panic!("{halt:?}"));
        place
    }

    /// The page's command, with more arguments.
    pub fn upgrade(&self, more: &str) -> String {
        format!("helm upgrade --install estafette-ci ~/chart -n estafette-ci --create-namespace --timeout 120s {more}")
    }

    /// Runs a shell line on the workstation; its exit code and what it said on both streams.
    pub async fn try_sh(&self, line: &str) -> (Option<i32>, String) {
        let line = format!("exec 2>&1; {line}");
        let argv = ["bash", "-c", &line];
        let (namespace, pod) = (station::NAMESPACE, station::WORKSTATION);
        let request = ExecRequest { namespace, pod, container: None, argv: &argv, terminal: Terminal::No };
        let exec = self.local.clusters.home().exec(&request).await.unwrap();
        let (exit, (stdin, mut stdout)) = exec.split();
        drop(stdin);
        let mut said = String::new();
        let end = async {
            stdout.read_to_string(&mut said).await.unwrap();
            exit.await
        };
        let code = tokio::time::timeout(DEADLINE, end).await;
        (code.unwrap_or_else(|_| panic!("`{line}` does not end; it said: {said}")), said)
    }

    /// The same for a line that must succeed; what it said.
    pub async fn sh(&self, line: &str) -> String {
        let (code, said) = self.try_sh(line).await;
        assert_eq!(code, Some(0), "`{line}`: {said}");
        said
    }

    /// Nothing is left.
    pub async fn end(self) {
        assert_eq!(self.local.tear_down().await.unwrap(), Vec::<String>::new());
    }
}
