//! A run on the engine, with what the tests say about it in one word.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use redrill::runtime::container::{ContainerRuntime, EngineConfig};
use redrill::runtime::{
    ContainerExit, ContainerId, ContainerSpec, ExecSession, ExecSpec, Image, LogOptions, PodId, PodRuntime as _,
    PodSandbox, TerminalSize,
};
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;
use testcontainers::bollard::{Docker, body_full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub const IMAGE: &str = "redrill-test/busybox:local";
/// As [`IMAGE`], and redrill.
const OWN_IMAGE: &str = "redrill-test/redrill:local";
/// What the containers of a run trust.
pub const AUTHORITY: &str = "of the drill";
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Run {
    pub runtime: ContainerRuntime,
    pub name: String,
    _logs: tempfile::TempDir,
}

pub async fn docker() -> Docker {
    testcontainers::core::client::docker_client_instance().await.unwrap()
}

/// Fails the test instead of waiting for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

impl Run {
    pub async fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let logs = tempfile::tempdir().unwrap();
        let config = EngineConfig {
            run: name.clone(),
            lock: logs.path().join("lock"),
            log_directory: logs.path().join("logs"),
            image: OWN_IMAGE.to_owned(),
            trusted_ca: Some(AUTHORITY.to_owned()),
        };
        let runtime = soon("a runtime", ContainerRuntime::start(config)).await.unwrap();
        Self { runtime, name, _logs: logs }
    }

    pub async fn pod(&self, name: &str) -> std::net::IpAddr {
        let sandbox = PodSandbox { id: pod(name), hostname: name.to_owned(), hosts: Vec::new(), resolver: None };
        soon("a pod", self.runtime.create_pod(&sandbox)).await.unwrap()
    }

    pub async fn run(&self, spec: &ContainerSpec) -> ContainerId {
        self.runtime.create(spec).await.unwrap();
        soon("a container's start", self.runtime.start(&spec.id)).await.unwrap();
        spec.id.clone()
    }

    pub async fn wait(&self, id: &ContainerId) -> ContainerExit {
        soon("a container's end", self.runtime.wait(id)).await.unwrap()
    }

    pub async fn log(&self, id: &ContainerId, options: LogOptions) -> String {
        let mut said = String::new();
        let mut log = soon("a log", self.runtime.logs(id, options)).await.unwrap();
        soon("a log's end", log.read_to_string(&mut said)).await.unwrap();
        said
    }

    /// Exit code, stdout and stderr.
    pub async fn sh(&self, id: &ContainerId, script: &str) -> (i32, String, String) {
        let exec = ExecSpec { argv: ["sh", "-c", script].map(str::to_owned).to_vec(), stdin: false, tty: None };
        let session = soon("a program", self.runtime.exec(id, &exec)).await.unwrap();
        finish(session, "").await
    }

    /// Ends the run and says what the engine still has of it.
    pub async fn end(self) -> Vec<String> {
        let left = soon("the shutdown", self.runtime.shutdown()).await;
        let found = soon("a second look", ContainerRuntime::sweep(&self.name)).await.unwrap();
        left.into_iter().chain(found.left).collect()
    }
}

/// Types `input`, ends it, and reads everything.
pub async fn finish(mut session: ExecSession, input: &str) -> (i32, String, String) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    if let Some(mut stdin) = session.stdin.take() {
        stdin.write_all(input.as_bytes()).await.unwrap();
    }
    soon("the end of stdout", session.stdout.read_to_string(&mut stdout)).await.unwrap();
    if let Some(mut reader) = session.stderr.take() {
        soon("the end of stderr", reader.read_to_string(&mut stderr)).await.unwrap();
    }
    let exit = soon("a program's end", session.exit).await.unwrap();
    (exit.code(), stdout, stderr)
}

pub fn pod(name: &str) -> PodId {
    PodId(format!("main/default/{name}/1"))
}

pub fn container(pod_name: &str, script: &str) -> ContainerSpec {
    let id = ContainerId { pod: pod(pod_name), container: "main".to_owned() };
    let image = Image { reference: IMAGE.to_owned(), ..Image::default() };
    ContainerSpec::new(id, image, ["sh", "-c", script].map(str::to_owned).to_vec())
}

/// What runs until it is killed.
pub const FOR_EVER: &str = "exec tail -f /dev/null";

pub fn terminal(script: &str, size: TerminalSize) -> ExecSpec {
    ExecSpec { argv: ["sh", "-c", script].map(str::to_owned).to_vec(), stdin: true, tty: Some(size) }
}

/// Makes the images that all tests run: the machine's static busybox and nothing else, and the same with redrill.
pub async fn import_images() {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
    let busybox = busybox.expect("no busybox (apt-get install busybox-static)");
    let root = tempfile::tempdir().unwrap();
    for directory in ["bin", "etc", "data", "tmp"] {
        std::fs::create_dir(root.path().join(directory)).unwrap();
    }
    std::fs::copy(busybox, root.path().join("bin/busybox")).unwrap();
    let applets = [
        "cat", "chmod", "grep", "hostname", "id", "ln", "ls", "mkdir", "nc", "printenv", "sh", "sleep", "stat", "stty",
        "tail", "touch",
    ];
    for applet in applets {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.path().join("data/of-the-image"), "").unwrap();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1234:1234::/:/bin/sh\n").unwrap();
    import(root.path(), IMAGE).await;
    add_redrill(root.path());
    import(root.path(), OWN_IMAGE).await;
}

/// redrill, and the libraries that it is linked with.
fn add_redrill(root: &Path) {
    let program = env!("CARGO_BIN_EXE_redrill");
    std::fs::copy(program, root.join("bin/redrill")).unwrap();
    let linked = Command::new("ldd").arg(program).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
        let inside = root.join(library.strip_prefix("/").unwrap());
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(library, inside).unwrap();
    }
}

async fn import(root: &Path, image: &str) {
    let tar = Command::new("tar").arg("-C").arg(root).args(["--owner=0", "--group=0", "-c", "."]).output().unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    let (repository, tag) = image.rsplit_once(':').unwrap();
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
    let import = docker().await.create_image(Some(options), Some(body_full(tar.stdout.into())), None);
    soon("the import of an image", import.try_collect::<Vec<_>>()).await.unwrap();
}
