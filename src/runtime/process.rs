//! Pods as processes in namespaces: [`PodRuntime`] over the fabric of [`crate::sandbox`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::net::TcpSocket;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::binding::directory_name;
use super::log::{Log, Logs};
use super::{
    ByteReader, ByteStream, ContainerExit, ContainerId, ContainerSpec, ExecSession, ExecSpec, HostEntry, LogOptions,
    MountSource, PodId, PodRuntime, PodSandbox, Resolver, RuntimeError, VolumeId, failed, name, not_found,
};
use crate::sandbox::fault::Fault;
use crate::sandbox::link::Link;
use crate::sandbox::protocol::{Answer, End, Host, Request, StagedFile, Token};
use crate::sandbox::{SandboxConfig, SandboxError};

mod exec;
mod launch;
mod staging;

use staging::Staging;

/// The pods of one drill. Dropping it kills them; [`ProcessRuntime::shutdown`] ends them in order.
pub struct ProcessRuntime {
    link: Arc<Link>,
    bridge: IpAddr,
    staging: Staging,
    logs: Logs,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pods: BTreeSet<PodId>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
    volumes: BTreeSet<VolumeId>,
}

struct Container {
    spec: ContainerSpec,
    files: Vec<StagedFile>,
    log: Arc<Log>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Starting,
    Running(Token),
    Ended(ContainerExit),
    Removed,
}

impl From<End> for ContainerExit {
    fn from(end: End) -> Self {
        match end {
            End::Code(code) => Self::Code(code),
            End::Signal(signal) => Self::Signal(signal),
        }
    }
}

impl From<Fault> for RuntimeError {
    fn from(fault: Fault) -> Self {
        match fault.program {
            Some(program) => Self::CannotRun { program, reason: fault.reason },
            None => Self::Failed { doing: fault.doing, reason: fault.reason },
        }
    }
}

impl ProcessRuntime {
    /// Makes the drill's namespaces and network, without pods.
    ///
    /// # Errors
    /// What the machine does not permit, with the way out.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let directory = config.run_directory.join("sandbox");
        let opened = tokio::task::spawn_blocking(move || Link::open(&config)).await;
        let (link, bridge) = opened.map_err(|error| SandboxError::Io {
            doing: "start the sandbox".to_owned(),
            source: std::io::Error::other(error),
        })??;
        Ok(Self {
            link: Arc::new(link),
            bridge,
            staging: Staging::new(directory.join("images")),
            logs: Logs::new(directory.join("logs")),
            state: Arc::default(),
        })
    }

    /// The address of the drill's network under which pods reach what [`Self::listen`] serves.
    pub fn bridge_address(&self) -> IpAddr {
        self.bridge
    }

    /// Listens inside the drill's network, on its bridge address or on all; nothing outside reaches it.
    pub async fn listen(&self, address: SocketAddr) -> Result<TcpListener, RuntimeError> {
        let socket = self.socket().await?;
        let listen = || {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(1024)?.into_std()
        };
        listen().map_err(|error| failed(format!("listen on {address} of the drill"), error))
    }

    /// Kills every container and ends the drill's namespaces. Gives the names of what could not be removed. Volumes stay on disk until
    /// [`crate::sandbox::remove_run_directory`]. Whoever still holds it hears that it has ended.
    pub async fn shutdown(&self) -> Vec<String> {
        let containers: Vec<_> = self.state().containers.keys().cloned().collect();
        for id in &containers {
            let _ = self.remove(id).await;
        }
        let pods: Vec<PodId> = self.state().pods.iter().cloned().collect();
        for pod in &pods {
            let _ = self.remove_pod(pod).await;
        }
        let left = self.inventory().await.unwrap_or_else(|error| vec![error.to_string()]);
        let link = Arc::clone(&self.link);
        let closed = tokio::task::spawn_blocking(move || link.close()).await;
        let mut left: Vec<String> = left.into_iter().filter(|name| !name.starts_with("volume ")).collect();
        left.extend(closed.err().map(|error| format!("the sandbox itself ({error})")));
        left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &ContainerId) -> Result<Arc<Container>, RuntimeError> {
        self.state().containers.get(id).cloned().ok_or_else(|| not_found("container", name(id)))
    }

    async fn socket(&self) -> Result<TcpSocket, RuntimeError> {
        let (_, descriptors) = self.link.call(Request::Socket).await?;
        let socket = descriptors.into_iter().next().ok_or_else(|| failed("make a socket", "the sandbox gave none"))?;
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(true).map_err(|error| failed("make a socket", error))?;
        Ok(TcpSocket::from_std_stream(socket))
    }
}

impl Drop for ProcessRuntime {
    fn drop(&mut self) {
        // Sessions that are still held share the link; they must not keep the drill alive.
        self.link.end();
    }
}

impl Container {
    /// Completes when nothing of the container runs any more, or ever did.
    async fn stopped(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives in `self`.
        let _ = phase.wait_for(|phase| !matches!(phase, Phase::Starting | Phase::Running(_))).await;
    }

    fn running(&self) -> Option<Token> {
        match *self.phase.borrow() {
            Phase::Running(token) => Some(token),
            Phase::Created | Phase::Starting | Phase::Ended(_) | Phase::Removed => None,
        }
    }
}

fn hosts(entries: &[HostEntry]) -> Vec<Host> {
    entries.iter().map(|entry| Host { address: entry.address, names: entry.names.clone() }).collect()
}

#[async_trait]
impl PodRuntime for ProcessRuntime {
    async fn create_pod(&self, pod: &PodSandbox) -> Result<IpAddr, RuntimeError> {
        self.state().pods.insert(pod.id.clone());
        let request = Request::CreatePod {
            pod: pod.id.0.clone(),
            hostname: pod.hostname.clone(),
            hosts: hosts(&pod.hosts),
            resolv_conf: pod.resolver.as_ref().map(Resolver::resolv_conf),
        };
        match self.link.call(request).await? {
            (Answer::Address(address), _) => Ok(address),
            (answer, _) => Err(failed("make a pod", format!("unexpected answer {answer:?}"))),
        }
    }

    async fn set_hosts(&self, pod: &PodId, entries: &[HostEntry]) -> Result<(), RuntimeError> {
        match self.link.call(Request::SetHosts { pod: pod.0.clone(), hosts: hosts(entries) }).await? {
            (Answer::Absent, _) => Err(not_found("pod", &pod.0)),
            _ => Ok(()),
        }
    }

    async fn remove_pod(&self, pod: &PodId) -> Result<(), RuntimeError> {
        let containers: Vec<ContainerId> =
            self.state().containers.keys().filter(|id| id.pod == *pod).cloned().collect();
        for container in containers {
            self.remove(&container).await?;
        }
        self.link.call(Request::RemovePod { pod: pod.0.clone() }).await?;
        self.state().pods.remove(pod);
        self.logs.remove_pod(pod);
        Ok(())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), RuntimeError> {
        let files = self.staging.show(&spec.image.files).await?;
        let mut state = self.state();
        if !state.pods.contains(&spec.id.pod) {
            return Err(not_found("pod", &spec.id.pod.0));
        }
        if state.containers.contains_key(&spec.id) {
            return Err(failed(format!("make the container {}", name(&spec.id)), "it exists already"));
        }
        for mount in &spec.mounts {
            if let MountSource::Volume(volume) = &mount.source
                && !state.volumes.contains(volume)
            {
                return Err(not_found("volume", &volume.0));
            }
        }
        let log = self.logs.begin(&spec.id)?;
        let phase = watch::Sender::new(Phase::Created);
        state.containers.insert(spec.id.clone(), Arc::new(Container { spec: spec.clone(), files, log, phase }));
        Ok(())
    }

    async fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let container = self.container(id)?;
        let first = container.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Created;
            if first {
                *phase = Phase::Starting;
            }
            first
        });
        if !first {
            return Err(failed(format!("start the container {}", name(id)), "it was started before"));
        }
        // In a task of its own: the caller may stop waiting, the container must be known all the same.
        let task = tokio::spawn(start(Arc::clone(&self.link), container));
        task.await.unwrap_or_else(|error| Err(failed("start a container", error)))
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        let mut phase = self.container(id)?.phase.subscribe();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended(_) | Phase::Removed)).await;
        match ended.map(|phase| *phase) {
            Ok(Phase::Ended(exit)) => Ok(exit),
            _ => Err(not_found("container", name(id))),
        }
    }

    async fn exec(&self, id: &ContainerId, exec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        let container = self.container(id)?;
        let token = container.running().ok_or_else(|| not_found("running container", name(id)))?;
        exec::start(&self.link, token, &name(id), exec).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let absent = || not_found("running container", name(id));
        let token = self.container(id)?.running().ok_or_else(absent)?;
        match self.link.call(Request::Signal { token, signal, whole_group: false }).await? {
            (Answer::Absent, _) => Err(absent()),
            _ => Ok(()),
        }
    }

    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<ByteReader, RuntimeError> {
        let ended = self.container(id).is_ok_and(|container| matches!(*container.phase.borrow(), Phase::Ended(_)));
        self.logs.read(id, options, ended).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        let mut phase = container.phase.subscribe();
        // The sender lives in `container`.
        let _ = phase.wait_for(|phase| *phase != Phase::Starting).await;
        if let Some(token) = container.running() {
            self.link.call(Request::Signal { token, signal: libc::SIGKILL, whole_group: false }).await?;
            container.stopped().await;
        }
        container.phase.send_if_modified(|phase| {
            let never_ended = !matches!(phase, Phase::Ended(_));
            if never_ended {
                *phase = Phase::Removed;
            }
            never_ended
        });
        self.state().containers.remove(id);
        Ok(())
    }

    async fn create_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError> {
        self.state().volumes.insert(volume.clone());
        self.link.call(Request::CreateVolume { directory: directory_name(volume) }).await?;
        Ok(())
    }

    async fn remove_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError> {
        self.link.call(Request::RemoveVolume { directory: directory_name(volume) }).await?;
        self.state().volumes.remove(volume);
        Ok(())
    }

    async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        let connected = self.socket().await?.connect(address).await;
        connected
            .map(|stream| Box::new(stream) as ByteStream)
            .map_err(|error| failed(format!("connect to {address}"), error))
    }

    async fn inventory(&self) -> Result<Vec<String>, RuntimeError> {
        let (Answer::Names(names), _) = self.link.call(Request::Inventory).await? else {
            return Err(failed("list what there is", "unexpected answer"));
        };
        let state = self.state();
        let volumes: BTreeMap<String, &VolumeId> =
            state.volumes.iter().map(|volume| (format!("volume {}", directory_name(volume)), volume)).collect();
        let mut all: BTreeSet<String> = names
            .into_iter()
            .map(|name| volumes.get(&name).map(|volume| format!("volume {}", volume.0)).unwrap_or(name))
            .collect();
        all.extend(state.containers.keys().map(|id| format!("container {}", name(id))));
        Ok(all.into_iter().collect())
    }
}

async fn start(link: Arc<Link>, container: Arc<Container>) -> Result<(), RuntimeError> {
    let token = link.token();
    let end = link.expect_end(token);
    let started = link.call(Request::Start(Box::new(container.launch(token)))).await;
    let outcome = match started {
        Ok((Answer::Absent, _)) => Err(not_found("pod", &container.spec.id.pod.0)),
        Ok((_, descriptors)) => descriptors
            .into_iter()
            .next()
            .ok_or_else(|| failed("start a container", "the sandbox gave no output"))
            .and_then(|output| {
                pipe::Receiver::from_owned_fd(output).map_err(|error| failed("read a container's output", error))
            })
            .map(|output| container.log.record(output)),
        Err(fault) => Err(fault.into()),
    };
    if let Err(error) = outcome {
        link.forget_end(token);
        container.phase.send_replace(Phase::Created);
        return Err(error);
    }
    container.phase.send_replace(Phase::Running(token));
    tokio::spawn(async move {
        // Without a fabric nothing runs any more, and it was killed.
        let exit = end.await.map_or(ContainerExit::Signal(libc::SIGKILL), ContainerExit::from);
        container.phase.send_replace(Phase::Ended(exit));
    });
    Ok(())
}
