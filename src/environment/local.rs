//! The local environment: a served cluster whose pods are sandboxed processes of this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::served::{Bait, Door, Served, Serving, certificate_error};
use super::{Clusters, EnvironmentError};
use crate::authority::{Authority, Certificate};
use crate::drill::station;
use crate::environment::run_directory::RunDirectory;
use crate::redact::Secret;
use crate::runtime::process::ProcessRuntime;
use crate::runtime::{Image, ImageFile, RuntimeError};
use crate::sandbox::SandboxConfig;

pub use super::served::CLUSTER;

/// Where the packages of the `aws` program are shown on the workstation.
const AWSCLI: &str = "/opt/awscli";
/// What a local environment is made from.
pub struct LocalConfig {
    /// Of the drill; names its directory.
    pub name: String,
    /// redrill itself: the fabric, and what the drill's own pods run.
    pub program: PathBuf,
    /// By the reference that manifests use.
    pub images: BTreeMap<String, Image>,
    /// Outside host names, and the Services of the drill's own namespace that stand for them.
    pub outside: BTreeMap<String, String>,
    /// Of a system of several, each a context of the operator's; the first is the current one.
    pub clusters: Vec<String>,
    /// Services of those (cluster, namespace, name), under the names that the drill's own pods reach them by.
    pub services: BTreeMap<String, (String, String, String)>,
    /// Shown to the operator.
    pub kubectl: Option<PathBuf>,
    /// Further programs of the operator's, by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// The program that stands for Google Cloud Storage.
    pub gcs_server: Option<PathBuf>,
    /// A folder of Python packages with the program `aws`, for the operator of an account.
    pub awscli: Option<PathBuf>,
    /// Of the operator's contexts.
    pub namespace: String,
    pub seed: u64,
}

/// A running local environment.
pub struct Local {
    pub clusters: Clusters,
    kubeconfig: Secret,
    authority: Authority,
    directory: PathBuf,
    bait: Bait,
    running: Mutex<Option<Running>>,
}

struct Running {
    clusters: super::served::Running,
    runtime: Arc<ProcessRuntime>,
    directory: RunDirectory,
}

impl Local {
    /// Makes the sandbox, serves the cluster into it, and connects to it. What was made before an error goes with it.
    pub async fn start(config: LocalConfig) -> Result<Self, EnvironmentError> {
        let directory = RunDirectory::make(&config.name)?;
        let authority = Authority::new(&format!("redrill {}", config.name)).map_err(certificate_error)?;
        let mut sandbox = SandboxConfig::new(directory.path(), &config.name)?;
        sandbox.trusted_ca = Some(authority.certificate());
        sandbox.program.clone_from(&config.program);
        let runtime = Arc::new(ProcessRuntime::start(sandbox).await?);
        let bait = Bait::lay()?;
        let served = Served {
            images: with_own_images(&config),
            outside: config.outside,
            clusters: config.clusters,
            services: config.services,
            namespace: config.namespace,
            seed: config.seed,
            runtime: runtime.clone(),
        };
        let Serving { clusters, kubeconfig, running } = served.start().await?;
        let path = directory.path().to_owned();
        let running = Mutex::new(Some(Running { clusters: running, runtime, directory }));
        Ok(Self { clusters, kubeconfig, authority, directory: path, bait, running })
    }

    pub fn operator_kubeconfig(&self) -> Secret {
        self.kubeconfig.clone()
    }

    pub fn certificate(&self, hosts: &[&str]) -> Result<Certificate, EnvironmentError> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.authority.server(&hosts).map_err(certificate_error)
    }

    pub fn outside_addresses(&self) -> Vec<String> {
        self.bait.addresses(&[])
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Errs where there is no such cluster any more.
    pub async fn lose(&self, cluster: &str) -> Result<(), EnvironmentError> {
        super::served::lose(self.running.lock().await.as_mut().map(|running| &mut running.clusters), cluster).await
    }

    /// Ends the clusters, the sandbox, then the files, and says what is still there.
    pub async fn tear_down(&self) -> Result<Vec<String>, EnvironmentError> {
        let Some(Running { clusters, runtime, directory }) = self.running.lock().await.take() else {
            return Ok(Vec::new());
        };
        clusters.stop().await;
        let mut left = runtime.shutdown().await;
        left.extend(directory.remove().await?);
        left.sort();
        Ok(left)
    }
}

#[async_trait]
impl Door for ProcessRuntime {
    fn address(&self) -> IpAddr {
        self.bridge_address()
    }

    async fn open(&self, port: u16, _: SocketAddr) -> Result<Option<TcpListener>, RuntimeError> {
        self.listen(SocketAddr::new(self.bridge_address(), port)).await.map(Some)
    }
}

/// The drill's own images: redrill itself, a workstation with kubectl, and a store's server.
pub fn with_own_images(config: &LocalConfig) -> BTreeMap<String, Image> {
    let LocalConfig { program, kubectl, programs, gcs_server, awscli, .. } = config;
    let mut images = config.images.clone();
    let show = |source: &Path, name: &str| ImageFile {
        source: source.to_owned(),
        target: format!("/usr/local/bin/{name}").into(),
    };
    let image = |reference: &str, files: Vec<ImageFile>| {
        let path = "/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned();
        let env = vec![("PATH".to_owned(), path), ("LANG".to_owned(), "C.UTF-8".to_owned())];
        let cmd = vec!["sleep".to_owned(), "infinity".to_owned()];
        Image { reference: reference.to_owned(), cmd, env, files, ..Image::default() }
    };
    images.insert(station::IMAGE.to_owned(), image(station::IMAGE, vec![show(program, "redrill")]));
    let mut shown: Vec<ImageFile> = kubectl.iter().map(|kubectl| show(kubectl, "kubectl")).collect();
    shown.extend(programs.iter().map(|(name, program)| show(program, name)));
    let mut workstation = image(station::WORKSTATION_IMAGE, shown);
    if let Some(packages) = awscli {
        workstation.files.push(ImageFile { source: packages.to_owned(), target: AWSCLI.into() });
        workstation.files.push(show(&packages.join("bin/aws"), "aws"));
        workstation.env.push(("PYTHONPATH".to_owned(), AWSCLI.to_owned()));
    }
    images.insert(station::WORKSTATION_IMAGE.to_owned(), workstation);
    let server = gcs_server.iter().map(|server| show(server, "fake-gcs-server")).collect();
    images.insert(station::GCS_IMAGE.to_owned(), image(station::GCS_IMAGE, server));
    images
}
