//! A runtime in memory: containers do what a test tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use futures::FutureExt;
use redrill::runtime::{
    ByteReader, ByteStream, ContainerExit, ContainerId, ContainerSpec, ExecSession, ExecSpec, HostEntry, LogOptions,
    PodId, PodRuntime, PodSandbox, RuntimeError, VolumeId,
};
use tokio::sync::watch;

struct Running {
    spec: ContainerSpec,
    exit: watch::Sender<Option<ContainerExit>>,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, (IpAddr, Vec<HostEntry>)>,
    containers: BTreeMap<ContainerId, Running>,
    volumes: BTreeSet<String>,
    next: u8,
    /// Every call, in order.
    calls: Vec<String>,
    /// What runs of an argv end with at once; the last entry repeats.
    exits: BTreeMap<String, Vec<i32>>,
    /// Argvs that ignore SIGTERM.
    stubborn: BTreeSet<String>,
    /// Exit codes of programs run in containers, by argv.
    execs: BTreeMap<String, i32>,
    /// Environment of every start.
    environments: Vec<BTreeMap<String, String>>,
}

#[derive(Default)]
pub struct FakeRuntime(Mutex<State>);

/// `shop/web-0/c` for a container, without cluster and uid.
fn short(id: &ContainerId) -> String {
    format!("{}/{}", short_pod(&id.pod), id.container)
}

fn short_pod(id: &PodId) -> String {
    id.0.split('/').skip(1).take(2).collect::<Vec<_>>().join("/")
}

impl FakeRuntime {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Runs of this command line end with these codes, one after the other.
    pub fn ends(&self, argv: &str, codes: &[i32]) {
        self.state().exits.insert(argv.to_owned(), codes.to_vec());
    }

    pub fn ignores_sigterm(&self, argv: &str) {
        self.state().stubborn.insert(argv.to_owned());
    }

    pub fn exec_answers(&self, argv: &str, code: i32) {
        self.state().execs.insert(argv.to_owned(), code);
    }

    /// Ends the running container of a pod (`shop/web`).
    pub fn exit(&self, pod: &str, code: i32) {
        let state = self.state();
        for (id, running) in &state.containers {
            if short_pod(&id.pod) == pod {
                running.exit.send_replace(Some(ContainerExit::Code(code)));
            }
        }
    }

    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    pub fn environments(&self) -> Vec<BTreeMap<String, String>> {
        self.state().environments.clone()
    }

    /// Names that a pod (`shop/web`) resolves, with their addresses.
    pub fn hosts(&self, pod: &str) -> BTreeMap<String, Vec<String>> {
        let state = self.state();
        let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, (_, entries)) in state.pods.iter().filter(|(id, _)| short_pod(&PodId((*id).clone())) == pod) {
            for entry in entries {
                for name in &entry.names {
                    hosts.entry(name.clone()).or_default().push(entry.address.to_string());
                }
            }
        }
        hosts
    }

    pub fn left(&self) -> Vec<String> {
        let state = self.state();
        let containers = state.containers.keys().map(short);
        state.pods.keys().cloned().chain(containers).chain(state.volumes.iter().cloned()).collect()
    }
}

fn missing(id: &ContainerId) -> RuntimeError {
    RuntimeError::NotFound { what: "container", id: short(id) }
}

#[async_trait]
impl PodRuntime for FakeRuntime {
    async fn create_pod(&self, pod: &PodSandbox) -> Result<IpAddr, RuntimeError> {
        let mut state = self.state();
        state.next += 1;
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, state.next));
        state.pods.insert(pod.id.0.clone(), (address, pod.hosts.clone()));
        state.calls.push(format!("create_pod {}", short_pod(&pod.id)));
        Ok(address)
    }

    async fn set_hosts(&self, pod: &PodId, hosts: &[HostEntry]) -> Result<(), RuntimeError> {
        if let Some(present) = self.state().pods.get_mut(&pod.0) {
            present.1 = hosts.to_vec();
        }
        Ok(())
    }

    async fn remove_pod(&self, pod: &PodId) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.calls.push(format!("remove_pod {}", short_pod(pod)));
        state.pods.remove(&pod.0);
        Ok(())
    }

    async fn create(&self, container: &ContainerSpec) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.calls.push(format!("create {}", short(&container.id)));
        assert!(!state.containers.contains_key(&container.id), "{} made twice", short(&container.id));
        let running = Running { spec: container.clone(), exit: watch::channel(None).0 };
        state.containers.insert(container.id.clone(), running);
        Ok(())
    }

    async fn start(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.calls.push(format!("start {}", short(container)));
        let running = state.containers.get(container).ok_or_else(|| missing(container))?;
        let (argv, exit) = (running.spec.argv.join(" "), running.exit.clone());
        let env = running.spec.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        state.environments.push(env);
        if argv == "absent" {
            return Err(RuntimeError::CannotRun { program: argv, reason: "no such file".to_owned() });
        }
        if let Some(codes) = state.exits.get_mut(&argv) {
            let code = if codes.len() > 1 { codes.remove(0) } else { codes[0] };
            exit.send_replace(Some(ContainerExit::Code(code)));
        }
        Ok(())
    }

    async fn wait(&self, container: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        let mut exit = self.state().containers.get(container).ok_or_else(|| missing(container))?.exit.subscribe();
        let ended = *exit.wait_for(Option::is_some).await.map_err(|_| missing(container))?;
        Ok(ended.unwrap())
    }

    async fn exec(&self, container: &ContainerId, exec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        let mut state = self.state();
        let argv = exec.argv.join(" ");
        state.calls.push(format!("exec {} {argv}", short(container)));
        let code = state.execs.get(&argv).copied().unwrap_or(0);
        Ok(ExecSession {
            stdin: None,
            stdout: Box::new(tokio::io::empty()),
            stderr: None,
            resize: None,
            exit: async move { Ok(ContainerExit::Code(code)) }.boxed(),
        })
    }

    async fn signal(&self, container: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.calls.push(format!("signal {} {signal}", short(container)));
        let running = state.containers.get(container).ok_or_else(|| missing(container))?;
        if signal == 9 || !state.stubborn.contains(&running.spec.argv.join(" ")) {
            running.exit.send_replace(Some(ContainerExit::Signal(signal)));
        }
        Ok(())
    }

    async fn logs(&self, _: &ContainerId, _: LogOptions) -> Result<ByteReader, RuntimeError> {
        Ok(Box::new(tokio::io::empty()))
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.calls.push(format!("remove {}", short(container)));
        state.containers.remove(container);
        Ok(())
    }

    async fn create_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError> {
        self.state().volumes.insert(volume.0.clone());
        Ok(())
    }

    async fn remove_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError> {
        self.state().volumes.remove(&volume.0);
        Ok(())
    }

    async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        let failed =
            |error: std::io::Error| RuntimeError::Failed { doing: "connect".to_owned(), reason: error.to_string() };
        // Pods have no real network here: their ports are those of the machine's loopback.
        let connected = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await;
        connected.map(|stream| Box::new(stream) as ByteStream).map_err(failed)
    }

    async fn inventory(&self) -> Result<Vec<String>, RuntimeError> {
        Ok(self.left())
    }
}
