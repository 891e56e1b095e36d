//! Real sandboxes with real programs in them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redrill::redact::Secret;
use redrill::runtime::process::ProcessRuntime;
use redrill::runtime::{
    ContainerExit, ContainerId, ContainerSpec, ExecSession, ExecSpec, HostEntry, Image, LogOptions, Mount, MountSource,
    PodId, PodRuntime, PodSandbox, ProjectedFile, RuntimeError, TerminalSize, VolumeId,
};
use redrill::sandbox::{AddressRange, SandboxConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const REDRILL: &str = env!("CARGO_BIN_EXE_redrill");
/// Longer than anything here takes on a busy machine; reached only by a defect.
const DEADLINE: Duration = Duration::from_secs(60);

struct Drill {
    runtime: ProcessRuntime,
    directory: tempfile::TempDir,
}

impl Drill {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = ProcessRuntime::start(config(directory.path())).await.unwrap();
        Self { runtime, directory }
    }

    /// A pod with one container that stays until it is told to go.
    async fn idle_pod(&self, pod: &str) -> ContainerId {
        self.pod(pod).await;
        let spec = container(pod, &["sleep", "infinity"]);
        self.run(&spec).await
    }

    async fn pod(&self, pod: &str) -> std::net::IpAddr {
        let sandbox = PodSandbox { id: PodId(pod.to_owned()), hostname: pod.to_owned(), hosts: Vec::new() };
        self.runtime.create_pod(&sandbox).await.unwrap()
    }

    async fn run(&self, spec: &ContainerSpec) -> ContainerId {
        self.runtime.create(spec).await.unwrap();
        self.runtime.start(&spec.id).await.unwrap();
        spec.id.clone()
    }

    /// Runs a shell line; gives its exit code and both streams.
    async fn sh(&self, container: &ContainerId, line: &str) -> (i32, String) {
        let session = self.exec(container, &["sh", "-c", line]).await;
        finish(session).await
    }

    async fn exec(&self, container: &ContainerId, argv: &[&str]) -> ExecSession {
        self.runtime.exec(container, &exec(argv)).await.unwrap()
    }
}

fn config(directory: &Path) -> SandboxConfig {
    SandboxConfig {
        program: PathBuf::from(REDRILL),
        run_directory: directory.to_owned(),
        drill: "test".to_owned(),
        addresses: AddressRange::default(),
        trusted_ca: Some("-----BEGIN CERTIFICATE-----\ndrill\n-----END CERTIFICATE-----\n".to_owned()),
    }
}

fn container(pod: &str, argv: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: ContainerId { pod: PodId(pod.to_owned()), container: "main".to_owned() },
        image: Image::default(),
        argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
        env: Vec::new(),
        working_dir: None,
        run_as_user: None,
        run_as_group: None,
        fs_group: None,
        mounts: Vec::new(),
    }
}

fn exec(argv: &[&str]) -> ExecSpec {
    ExecSpec { argv: argv.iter().map(|&argument| argument.to_owned()).collect(), stdin: false, tty: None }
}

async fn finish(session: ExecSession) -> (i32, String) {
    let ExecSession { stdin, mut stdout, stderr, exit, .. } = session;
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = stdout.read_to_end(&mut out);
    let read_err = async {
        match stderr {
            Some(mut stderr) => stderr.read_to_end(&mut err).await.unwrap(),
            None => 0,
        }
    };
    let all = async { tokio::join!(read_out, read_err, exit) };
    let (read, _, exit) = tokio::time::timeout(DEADLINE, all).await.expect("the program ends");
    read.unwrap();
    (exit.unwrap().code(), String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_execs() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("main/default/one/1").await;
    for line in [
        "id",
        "hostname",
        "mount",
        "cat /etc/hosts",
        "ls -la / /etc /dev /var",
        "ps aux",
        "psql --version",
        "python3 -V; restic version; perl -v|head -2; bash --version|head -1",
        "cat /proc/self/status | grep -E 'Cap|NoNew'",
        "env",
        "ip addr || true",
    ] {
        let (code, text) = drill.sh(&id, line).await;
        println!("=== {line} -> {code}\n{text}");
    }
    println!("{:?}", drill.runtime.inventory().await);
    println!("{:?}", drill.runtime.shutdown(Duration::from_millis(100)).await);
}
