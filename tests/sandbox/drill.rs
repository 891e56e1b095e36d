//! A sandbox under test, and the short words for using it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redrill::runtime::process::ProcessRuntime;
use redrill::runtime::{
    ContainerExit, ContainerId, ContainerSpec, ExecSession, ExecSpec, HostEntry, Image, LogOptions, Mount, MountSource,
    PodId, PodRuntime, PodSandbox, VolumeId,
};
use redrill::sandbox::{AddressRange, SandboxConfig};
use tokio::io::AsyncReadExt as _;

pub const REDRILL: &str = env!("CARGO_BIN_EXE_redrill");
/// Longer than anything here takes on a busy machine; reached only by a defect.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Drill {
    pub runtime: ProcessRuntime,
    pub directory: tempfile::TempDir,
}

impl Drill {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = ProcessRuntime::start(config(directory.path())).await.unwrap();
        Self { runtime, directory }
    }

    pub async fn pod(&self, pod: &str) -> IpAddr {
        self.pod_that_knows(pod, &[]).await
    }

    pub async fn pod_that_knows(&self, pod: &str, names: &[(&str, IpAddr)]) -> IpAddr {
        let hosts = entries(names);
        let sandbox = PodSandbox { id: PodId(pod.to_owned()), hostname: pod.replace('/', "-"), hosts, resolver: None };
        self.runtime.create_pod(&sandbox).await.unwrap()
    }

    pub async fn run(&self, spec: &ContainerSpec) -> ContainerId {
        self.runtime.create(spec).await.unwrap();
        self.runtime.start(&spec.id).await.unwrap();
        spec.id.clone()
    }

    /// A pod with one container that stays until it is killed.
    pub async fn idle_pod(&self, pod: &str) -> ContainerId {
        self.pod(pod).await;
        self.run(&container(pod, &["sleep", "infinity"])).await
    }

    /// Runs a shell line; gives its exit code and both streams.
    pub async fn sh(&self, container: &ContainerId, line: &str) -> (i32, String) {
        finish(self.exec(container, &exec(&["sh", "-c", line])).await).await
    }

    pub async fn exec(&self, container: &ContainerId, exec: &ExecSpec) -> ExecSession {
        self.runtime.exec(container, exec).await.unwrap()
    }

    pub async fn wait(&self, container: &ContainerId) -> ContainerExit {
        tokio::time::timeout(DEADLINE, self.runtime.wait(container)).await.expect("the container ends").unwrap()
    }

    pub async fn log(&self, container: &ContainerId, options: LogOptions) -> String {
        let mut reader = self.runtime.logs(container, options).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(DEADLINE, reader.read_to_string(&mut text)).await.expect("the log ends").unwrap();
        text
    }

    /// Runs a shell line until it succeeds.
    pub async fn until(&self, container: &ContainerId, line: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (code, said) = self.sh(container, line).await;
            if code == 0 {
                return said;
            }
            assert!(Instant::now() < deadline, "`{line}` still says: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn config(directory: &Path) -> SandboxConfig {
    SandboxConfig {
        program: PathBuf::from(REDRILL),
        run_directory: directory.to_owned(),
        drill: "test".to_owned(),
        addresses: AddressRange::default(),
        trusted_ca: Some("-----BEGIN CERTIFICATE-----\nof the drill\n-----END CERTIFICATE-----\n".to_owned()),
    }
}

pub fn entries(names: &[(&str, IpAddr)]) -> Vec<HostEntry> {
    names.iter().map(|(name, address)| HostEntry { address: *address, names: vec![(*name).to_owned()] }).collect()
}

pub fn container(pod: &str, argv: &[&str]) -> ContainerSpec {
    let id = ContainerId { pod: PodId(pod.to_owned()), container: "main".to_owned() };
    ContainerSpec::new(id, Image::default(), argv.iter().map(|&argument| argument.to_owned()).collect())
}

pub fn volume_at(volume: &VolumeId, target: &str) -> Mount {
    Mount {
        source: MountSource::Volume(volume.clone()),
        sub_path: None,
        target: PathBuf::from(target),
        read_only: false,
    }
}

pub fn exec(argv: &[&str]) -> ExecSpec {
    ExecSpec { argv: argv.iter().map(|&argument| argument.to_owned()).collect(), stdin: false, tty: None }
}

pub async fn finish(session: ExecSession) -> (i32, String) {
    let ExecSession { stdin, mut stdout, stderr, exit, .. } = session;
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_err = async {
        match stderr {
            Some(mut stderr) => stderr.read_to_end(&mut err).await.unwrap(),
            None => 0,
        }
    };
    let all = async { tokio::join!(stdout.read_to_end(&mut out), read_err, exit) };
    let (read, _, exit) = tokio::time::timeout(DEADLINE, all).await.expect("the program ends");
    read.unwrap();
    (exit.unwrap().code(), String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
}
