//! What makes and drives the containers of pods, whatever they are made of.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::redact::Secret;

mod binding;
#[cfg(feature = "docker")]
pub mod container;
mod log;
#[cfg(feature = "docker")]
pub mod porter;
pub mod process;

/// A pod, as `cluster/namespace/name/uid`: unique over all clusters of a drill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub String);

/// One container of a pod. A restart of it is a new `create` under the same id after `remove`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    pub pod: PodId,
    pub container: String,
}

/// A directory that outlives containers: a claim (`cluster/namespace/claim`) or a pod's emptyDir.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub String);

/// Names that a pod resolves to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    pub address: IpAddr,
    pub names: Vec<String>,
}

/// Servers that a pod asks for names that its hosts file does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    pub nameservers: Vec<IpAddr>,
    pub searches: Vec<String>,
    /// `ndots:5`, `edns0`.
    pub options: Vec<String>,
}

impl Resolver {
    /// As resolv.conf(5) has it.
    pub fn resolv_conf(&self) -> String {
        let mut text: String = self.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
        for (keyword, words) in [("search", &self.searches), ("options", &self.options)] {
            if !words.is_empty() {
                text.push_str(&format!("{keyword} {}\n", words.join(" ")));
            }
        }
        text
    }
}

/// What the containers of a pod share: a network with one address, a host name, resolved names.
#[derive(Debug, Clone)]
pub struct PodSandbox {
    pub id: PodId,
    pub hostname: String,
    pub hosts: Vec<HostEntry>,
    /// `None`: no server is asked.
    pub resolver: Option<Resolver>,
}

/// An image, resolved: what a container gets when the pod does not say otherwise.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub reference: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<(String, String)>,
    /// `USER` of the image, a number or a name (`postgres`); the runtime looks a name up.
    pub user: Option<String>,
    pub working_dir: Option<PathBuf>,
    /// Sent by a graceful stop; `SIGTERM` where the image names none.
    pub stop_signal: Option<i32>,
    /// Files of the host that appear in the root, on runtimes that build roots themselves.
    pub files: Vec<ImageFile>,
}

impl Image {
    /// With another file of the host in the place of the one that is shown there.
    pub fn with_file(mut self, target: &Path, source: &Path) -> Self {
        for file in self.files.iter_mut().filter(|file| file.target == target) {
            file.source = source.to_owned();
        }
        self
    }
}

/// A file or directory of the host, shown read-only at `target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    pub source: PathBuf,
    pub target: PathBuf,
}

/// A file that exists only in the container's memory: a key of a Secret or a ConfigMap.
#[derive(Clone)]
pub struct ProjectedFile {
    /// Relative to the mount's target.
    pub path: PathBuf,
    pub mode: u32,
    pub content: bytes::Bytes,
}

#[derive(Clone)]
pub enum MountSource {
    Volume(VolumeId),
    /// A read-only tmpfs with these files.
    Files(Vec<ProjectedFile>),
}

#[derive(Clone)]
pub struct Mount {
    pub source: MountSource,
    /// Below the source, made if absent.
    pub sub_path: Option<PathBuf>,
    pub target: PathBuf,
    pub read_only: bool,
}

/// One container to make: everything is resolved, nothing is looked up any more.
#[derive(Clone)]
pub struct ContainerSpec {
    pub id: ContainerId,
    pub image: Image,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// On top of the image's; the later entry of a name counts.
    pub env: Vec<(String, Secret)>,
    pub working_dir: Option<PathBuf>,
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    /// Supplemental group; volumes of the container are given to it, set-gid.
    pub fs_group: Option<u32>,
    pub mounts: Vec<Mount>,
    /// Kept by runtimes that can.
    pub limits: Limits,
}

/// The most that a container may use; `None` is all that there is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// In bytes.
    pub memory: Option<i64>,
    /// In processors.
    pub cpu: Option<f64>,
}

impl ContainerSpec {
    /// With what the image says, and nothing mounted.
    pub fn new(id: ContainerId, image: Image, argv: Vec<String>) -> Self {
        Self {
            id,
            image,
            argv,
            env: Vec::new(),
            working_dir: None,
            run_as_user: None,
            run_as_group: None,
            fs_group: None,
            mounts: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// How a container's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerExit {
    Code(i32),
    Signal(i32),
    /// The kernel killed it, or a program of its, for the memory that it used; this is the code that it left.
    OutOfMemory(i32),
}

impl ContainerExit {
    /// The code a shell would show: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) | Self::OutOfMemory(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

#[derive(Debug, Clone)]
pub struct ExecSpec {
    pub argv: Vec<String>,
    pub stdin: bool,
    /// A pseudo terminal of this size; stdout then carries both streams.
    pub tty: Option<TerminalSize>,
}

pub type ByteReader = Box<dyn AsyncRead + Send + Unpin>;
pub type ByteWriter = Box<dyn AsyncWrite + Send + Unpin>;
/// A connection.
pub type ByteStream = Box<dyn Duplex>;

/// Reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A program running in a container. Dropping it kills the program's process group.
pub struct ExecSession {
    /// Dropping or shutting it down is end of file for the program.
    pub stdin: Option<ByteWriter>,
    pub stdout: ByteReader,
    pub stderr: Option<ByteReader>,
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Completes when the program has ended, whether or not its output was read.
    pub exit: BoxFuture<'static, Result<ContainerExit, RuntimeError>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    pub follow: bool,
    pub tail: Option<usize>,
    /// The log of the container that ran before the last restart.
    pub previous: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("no such {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    /// The program itself could not be executed (absent, not executable): the fault of what was asked.
    #[error("cannot run `{program}`: {reason}")]
    CannotRun { program: String, reason: String },
    /// The runtime could not do its part.
    #[error("{doing}: {reason}")]
    Failed { doing: String, reason: String },
}

fn failed(doing: impl Into<String>, reason: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Failed { doing: doing.into(), reason: reason.to_string() }
}

fn not_found(what: &'static str, id: impl Into<String>) -> RuntimeError {
    RuntimeError::NotFound { what, id: id.into() }
}

fn name(id: &ContainerId) -> String {
    format!("{}/{}", id.pod.0, id.container)
}

/// Makes and drives containers. One value serves all clusters of a drill.
///
/// Everything made is found again by `inventory` until it is removed; `remove*` of something that is
/// not there succeeds.
#[async_trait]
pub trait PodRuntime: Send + Sync {
    /// Makes the pod's network and gives its address.
    async fn create_pod(&self, pod: &PodSandbox) -> Result<IpAddr, RuntimeError>;
    /// Replaces the names that the pod resolves, for running containers too.
    async fn set_hosts(&self, pod: &PodId, hosts: &[HostEntry]) -> Result<(), RuntimeError>;
    async fn remove_pod(&self, pod: &PodId) -> Result<(), RuntimeError>;

    async fn create(&self, container: &ContainerSpec) -> Result<(), RuntimeError>;
    async fn start(&self, container: &ContainerId) -> Result<(), RuntimeError>;
    /// Completes when the container's program has ended.
    async fn wait(&self, container: &ContainerId) -> Result<ContainerExit, RuntimeError>;
    async fn exec(&self, container: &ContainerId, exec: &ExecSpec) -> Result<ExecSession, RuntimeError>;
    async fn signal(&self, container: &ContainerId, signal: i32) -> Result<(), RuntimeError>;
    /// stdout and stderr of the container's program, in the order written.
    async fn logs(&self, container: &ContainerId, options: LogOptions) -> Result<ByteReader, RuntimeError>;
    /// Kills what is left of it and removes it; its log stays readable until the pod is removed.
    async fn remove(&self, container: &ContainerId) -> Result<(), RuntimeError>;

    async fn create_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError>;
    async fn remove_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError>;

    /// A TCP connection to a pod's port, made from inside the drill's network (probes).
    async fn connect(&self, address: std::net::SocketAddr) -> Result<ByteStream, RuntimeError>;

    /// Everything that exists now, one name per thing, sorted.
    async fn inventory(&self) -> Result<Vec<String>, RuntimeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_written_as_programs_read_it() {
        let mut resolver = Resolver {
            nameservers: vec!["10.1.2.3".parse().unwrap(), "fd00::1".parse().unwrap()],
            searches: vec!["taiga.svc.cluster.local".to_owned(), "cluster.local".to_owned()],
            options: vec!["ndots:5".to_owned(), "edns0".to_owned()],
        };
        let expected = "nameserver 10.1.2.3\nnameserver fd00::1\nsearch taiga.svc.cluster.local cluster.local\n\
                        options ndots:5 edns0\n";
        assert_eq!(resolver.resolv_conf(), expected);
        resolver.searches.clear();
        resolver.options.clear();
        assert_eq!(resolver.resolv_conf(), "nameserver 10.1.2.3\nnameserver fd00::1\n");
    }
}
