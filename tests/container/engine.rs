//! A Docker engine for tests: the one of DOCKER_HOST, or one started for them with directories of its own.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, RemoveContainerOptionsBuilder,
};
use testcontainers::bollard::{API_DEFAULT_VERSION, Docker};

const DEADLINE: Duration = Duration::from_secs(60);
const DAEMON: &str = "/usr/sbin/dockerd";

/// Finds or starts an engine and runs this program's other tests with it, that of this name before all others. An engine that was
/// started here is given to `last` after them.
pub fn run_ignored_tests(first: &str, last: impl FnOnce(&mut OwnEngine)) {
    let mut engine = match TestEngine::find() {
        Ok(engine) => engine,
        Err(reason) => {
            let required = std::env::var("REDRILL_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
            assert!(!required, "REDRILL_REQUIRE_DOCKER=1, but: {reason}");
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let inside = |arguments: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments).arg("--ignored").env("DOCKER_HOST", &engine.host).env_remove("TESTCONTAINERS_COMMAND");
        command.status().unwrap()
    };
    assert!(inside(&["--exact", first]).success());
    assert!(inside(&["--skip", first]).success());
    match &mut engine.started {
        Some(own) => last(own),
        None => eprintln!("skipped: what stops the engine, since it is somebody else's"),
    }
}

/// Stopped when it is dropped, if it was started here.
struct TestEngine {
    host: String,
    started: Option<OwnEngine>,
}

/// An engine with directories of its own.
pub struct OwnEngine {
    pub host: String,
    daemon: Child,
    directory: tempfile::TempDir,
}

impl TestEngine {
    /// Gives the reason where there is no engine and none can be started.
    fn find() -> Result<Self, String> {
        match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => Ok(Self { host, started: None }),
            _ => Self::start(),
        }
    }

    fn start() -> Result<Self, String> {
        let own = OwnEngine::start()?;
        Ok(Self { host: own.host.clone(), started: Some(own) })
    }
}

impl OwnEngine {
    fn start() -> Result<Self, String> {
        let advice = "set DOCKER_HOST, or run as root with the package docker.io installed";
        if !nix::unistd::geteuid().is_root() {
            return Err(format!("DOCKER_HOST is not set, and only root starts an engine ({advice})"));
        }
        if !Path::new(DAEMON).exists() {
            return Err(format!("DOCKER_HOST is not set, and there is no {DAEMON} ({advice})"));
        }
        // Its name is part of a socket's, of which there are at most 107 bytes.
        let directory =
            tempfile::Builder::new().prefix("engine").tempdir_in("/tmp").map_err(|error| error.to_string())?;
        let host = format!("unix://{}", directory.path().join("docker.sock").display());
        Ok(Self { host, daemon: launch(directory.path())?, directory })
    }

    /// Asks it to end, upon which it ends its containers and its containerd, and unmounts.
    pub fn stop(&mut self) {
        let _ = nix::sys::signal::kill(Pid::from_raw(self.daemon.id() as i32), Signal::SIGTERM);
        let _ = self.daemon.wait();
    }

    /// With what it had before it was stopped.
    pub fn start_again(&mut self) {
        self.daemon = launch(self.directory.path()).unwrap();
    }
}

/// Starts an engine and waits until it answers.
fn launch(directory: &Path) -> Result<Child, String> {
    let socket = directory.join("docker.sock");
    let mut child = spawn(Path::new(DAEMON), directory, &socket)?;
    let since = Instant::now();
    loop {
        if UnixStream::connect(&socket).is_ok_and(answers) {
            return Ok(child);
        }
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() || since.elapsed() > DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            let said = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            let last = last.join("\n");
            return Err(format!("dockerd did not start ({ended:?}); its last lines, newest first:\n{last}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nothing of the machine's network is changed: no bridge, no firewall rules, no forwarding.
fn spawn(daemon: &Path, directory: &Path, socket: &Path) -> Result<Child, String> {
    let at = |name: &str| directory.join(name);
    let log = std::fs::File::create(at("log")).map_err(|error| error.to_string())?;
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(daemon);
    command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
    command.arg("--host").arg(format!("unix://{}", socket.display())).args(["--config-file"]).arg(at("config"));
    command.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
    command.args(["--userland-proxy=false"]);
    command.env_remove("DOCKER_HOST").stdin(Stdio::null()).stdout(log).stderr(errors);
    std::fs::write(at("config"), "{}").map_err(|error| error.to_string())?;
    // SAFETY: prctl is async-signal-safe. The test's thread lives as long as the engine.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
    command.spawn().map_err(|error| format!("run {}: {error}", daemon.display()))
}

fn answers(mut stream: UnixStream) -> bool {
    use std::io::{Read as _, Write as _};
    let mut said = String::new();
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_to_string(&mut said).is_ok()
        && said.contains(" 200 ")
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        // What a failed test left is a bridge on this machine, and outlives the engine.
        let tokio = tokio::runtime::Runtime::new().unwrap();
        tokio.block_on(remove_everything(&self.host));
        self.stop();
        // What was built with the host's network leaves this mount, and with it the directory.
        let host_network = self.directory.path().join("exec/netns/default");
        let _ = nix::mount::umount2(&host_network, nix::mount::MntFlags::MNT_DETACH);
    }
}

async fn remove_everything(host: &str) {
    // One that a failed test left stopped has nothing to be asked for.
    let Ok(docker) = Docker::connect_with_unix(host, DEADLINE.as_secs(), API_DEFAULT_VERSION) else { return };
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    for container in docker.list_containers(Some(all)).await.unwrap_or_default() {
        let _ = docker.remove_container(&container.id.unwrap_or_default(), Some(force.clone())).await;
    }
    for network in docker.list_networks(None::<ListNetworksOptions>).await.unwrap_or_default() {
        // The engine refuses to remove those that it has of itself.
        let _ = docker.remove_network(&network.id.unwrap_or_default()).await;
    }
}
