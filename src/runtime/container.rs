//! Pods as containers of a Docker engine: [`PodRuntime`] through testcontainers, and through bollard where
//! testcontainers has no word for it (internal networks, labels, terminals, exit codes without polling).
//!
//! Each drill has two volumes on the engine, one on its disk and one in its memory, of which pods mount parts: claims, and the
//! files of Secrets and ConfigMaps, which touch no disk. Its [`porter`] fills them, and carries what goes in and out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::binding::directory_name;
use super::log::Logs;
use super::porter::Ask;
use super::{
    ByteReader, ByteStream, ContainerExit, ContainerId, ContainerSpec, ExecSession, ExecSpec, HostEntry, LogOptions,
    MountSource, PodId, PodRuntime, PodSandbox, RuntimeError, VolumeId, failed, name, not_found,
};

mod choice;
mod engine;
mod exec;
mod gone;
mod image;
mod keeper;
mod launch;
mod porter;
mod pulse;
mod state;
mod taking;

pub use choice::{is_named, settle};
use engine::Engine;
pub use engine::{Swept, connect, version};
use exec::Ends;
pub use gone::sweep_dead_runs;
pub use image::{OnEngine, image, is_on_engine};
use keeper::Keeper;
use porter::Porter;
pub use pulse::Pulse;
use state::{Container, Phase, Pod, State};
pub use taking::take_out;

/// What the containers of a run need to know of it.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Label of everything that is made, and part of its names.
    pub run: String,
    /// A file that is locked for as long as the run lives; whoever finds what a run left looks there.
    pub lock: PathBuf,
    /// Made if absent; the containers' logs are written there, for the eyes of the user alone.
    pub log_directory: PathBuf,
    /// redrill's own, on the engine, with `redrill` and `tail` in its PATH: it holds the network of each pod, and the porter.
    pub image: String,
    /// A certificate authority in PEM that every container trusts, beside those of redrill's image.
    pub trusted_ca: Option<String>,
}

/// The pods of one drill, on the engine that [`connect`] finds. Images are never pulled.
///
/// A container's program is its process 1, as on a node: a signal that it does not handle does nothing,
/// except SIGKILL. The engine keeps the order within stdout and within stderr, but not between the two.
///
/// Ends with [`ContainerRuntime::shutdown`]. What a harness that was killed has left behind is found by its
/// label: [`ContainerRuntime::sweep`].
pub struct ContainerRuntime {
    engine: Engine,
    image: String,
    porter: Arc<Porter>,
    ends: Ends,
    pulse: Pulse,
    keeper: Keeper,
    listening: AbortHandle,
    logs: Logs,
    state: Mutex<State>,
}

impl ContainerRuntime {
    /// Connects to the engine and makes the drill's network.
    pub async fn start(config: EngineConfig) -> Result<Self, RuntimeError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.log_directory);
        made.map_err(|error| failed(format!("make {}", config.log_directory.display()), error))?;
        let engine = Engine::connect(&config.run, &config.lock).await?;
        image::must_be_there(&engine.docker, &config.image).await?;
        let keeper = Keeper::of(&engine.information().await?);
        let pulse = Pulse::of(&engine.docker);
        let (ends, listening) = Ends::listen(&engine, &pulse);
        let logs = Logs::new(config.log_directory);
        let made = async {
            engine.create_network().await?;
            Porter::start(&engine, &ends, &config.image, config.trusted_ca.as_deref()).await
        };
        match made.await {
            Ok(porter) => {
                let (image, porter) = (config.image, Arc::new(porter));
                Ok(Self { engine, image, porter, ends, pulse, keeper, listening, logs, state: Mutex::default() })
            }
            Err(error) => {
                listening.abort();
                engine.sweep().await?;
                Err(error)
            }
        }
    }

    /// The address of the drill's network under which pods reach what [`Self::listen`] serves.
    pub fn porter_address(&self) -> IpAddr {
        self.porter.address()
    }

    /// Brings whoever connects to this port of [`Self::porter_address`] to a listener of this machine; nothing outside reaches it.
    pub async fn listen(&self, port: u16, to: SocketAddr) -> Result<(), RuntimeError> {
        self.porter.listen(port, to).await
    }

    /// The address that a gateway of the drill's network would have.
    pub async fn gateway(&self) -> Result<Option<IpAddr>, RuntimeError> {
        self.engine.gateway().await
    }

    /// Limits that containers had and the engine could not keep, sorted.
    pub fn unkept_limits(&self) -> Vec<String> {
        self.keeper.unkept()
    }

    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Removes everything that the engine has of a run.
    pub async fn sweep(run: &str) -> Result<Swept, RuntimeError> {
        Engine::connect(run, Path::new("")).await?.sweep().await
    }

    /// Kills every container and removes everything that the run has on the engine, volumes included. Gives the names of what
    /// could not be removed.
    pub async fn shutdown(&self) -> Vec<String> {
        let containers: Vec<_> = self.state().containers.keys().cloned().collect();
        for id in &containers {
            if let Err(error) = self.remove(id).await {
                tracing::warn!("{error}");
            }
        }
        match self.engine.sweep().await {
            Ok(swept) => swept.left,
            Err(error) => {
                vec![format!("what the run has on the engine, which `redrill gc` removes once that answers ({error})")]
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &ContainerId) -> Result<Arc<Container>, RuntimeError> {
        self.state().containers.get(id).cloned().ok_or_else(|| not_found("container", name(id)))
    }

    /// A container whose program runs, as the engine calls it.
    fn running(&self, id: &ContainerId) -> Result<String, RuntimeError> {
        let container = self.container(id)?;
        let running = *container.phase.borrow() == Phase::Running;
        if running { Ok(self.engine.container(id)) } else { Err(not_found("running container", name(id))) }
    }

    /// Writes the file that all containers of a pod have mounted.
    async fn write_hosts(&self, id: &PodId, pod: &Pod, hosts: &[HostEntry]) -> Result<(), RuntimeError> {
        let content = hosts_file(pod, hosts);
        self.porter.done(Ask::WriteHosts { pod: self.engine.pod(id), content }).await
    }
}

impl Drop for ContainerRuntime {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn hosts_file(pod: &Pod, hosts: &[HostEntry]) -> String {
    let mut file = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{} {}\n", pod.address, pod.hostname);
    for entry in hosts {
        file.push_str(&format!("{} {}\n", entry.address, entry.names.join(" ")));
    }
    file
}

#[async_trait]
impl PodRuntime for ContainerRuntime {
    async fn create_pod(&self, sandbox: &PodSandbox) -> Result<IpAddr, RuntimeError> {
        if sandbox.resolver.is_some() {
            let reason = "name servers of its own (`dnsConfig`) are not provided in containers";
            return Err(failed(format!("make the pod {}", sandbox.id.0), reason));
        }
        let address = self.engine.start_pod(&sandbox.id, &sandbox.hostname, &self.image, Vec::new()).await?;
        let pod = Pod { hostname: sandbox.hostname.clone(), address };
        self.state().pods.insert(sandbox.id.clone(), pod.clone());
        self.write_hosts(&sandbox.id, &pod, &sandbox.hosts).await?;
        Ok(address)
    }

    async fn set_hosts(&self, id: &PodId, hosts: &[HostEntry]) -> Result<(), RuntimeError> {
        let pod = self.state().pods.get(id).cloned().ok_or_else(|| not_found("pod", &id.0))?;
        self.write_hosts(id, &pod, hosts).await
    }

    async fn remove_pod(&self, pod: &PodId) -> Result<(), RuntimeError> {
        let containers: Vec<ContainerId> =
            self.state().containers.keys().filter(|id| id.pod == *pod).cloned().collect();
        for container in containers {
            self.remove(&container).await?;
        }
        self.engine.remove_container(&self.engine.pod(pod)).await?;
        self.porter.done(Ask::RemovePod { pod: self.engine.pod(pod) }).await?;
        self.state().pods.remove(pod);
        self.logs.remove_pod(pod);
        Ok(())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), RuntimeError> {
        image::must_be_there(&self.engine.docker, &spec.image.reference).await?;
        let mut state = self.state();
        if !state.pods.contains_key(&spec.id.pod) {
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
        let spec = ContainerSpec { limits: self.keeper.keep(&spec.id, spec.limits), ..spec.clone() };
        state.containers.insert(spec.id.clone(), Arc::new(Container { spec, log, held: Mutex::default(), phase }));
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
        let task = tokio::spawn(start(self.engine.clone(), self.porter.clone(), container));
        task.await.unwrap_or_else(|error| Err(failed("start a container", error)))
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        let mut phase = self.container(id)?.phase.subscribe();
        let over = |phase: &Phase| matches!(phase, Phase::Ended(_) | Phase::Lost(_) | Phase::Removed);
        match phase.wait_for(over).await.map(|phase| phase.clone()) {
            Ok(Phase::Ended(exit)) => Ok(exit),
            Ok(Phase::Lost(reason)) => Err(failed(format!("wait for the container {}", name(id)), reason)),
            _ => Err(not_found("container", name(id))),
        }
    }

    async fn exec(&self, id: &ContainerId, exec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        exec::start(&self.engine, &self.ends, &self.running(id)?, exec).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.engine.kill(&self.running(id)?, signal).await
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
        let engine_name = self.engine.container(id);
        let running = *container.phase.borrow() == Phase::Running;
        if running {
            match self.engine.kill(&engine_name, libc::SIGKILL).await {
                Ok(()) | Err(RuntimeError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            container.stopped().await;
        }
        // The engine's log goes with the container: all of it has to be in ours before.
        let held = container.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(held) = held {
            container.log.completed().await;
            if held.remove().await.is_err() {
                self.engine.remove_container(&engine_name).await?;
            }
        }
        self.porter.done(Ask::Forget { container: engine_name }).await?;
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
        self.porter.done(Ask::MakeVolume { directory: directory_name(volume) }).await?;
        self.state().volumes.insert(volume.clone());
        Ok(())
    }

    async fn remove_volume(&self, volume: &VolumeId) -> Result<(), RuntimeError> {
        self.porter.done(Ask::RemoveVolume { directory: directory_name(volume) }).await?;
        self.state().volumes.remove(volume);
        Ok(())
    }

    async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        self.porter.connect(address).await
    }

    async fn inventory(&self) -> Result<Vec<String>, RuntimeError> {
        let mut all: BTreeSet<String> = self.engine.find().await?.into_iter().map(|found| found.shown).collect();
        let directories = self.porter.volumes().await?;
        let known: BTreeMap<String, VolumeId> =
            self.state().volumes.iter().map(|volume| (directory_name(volume), volume.clone())).collect();
        let shown = |directory: String| known.get(&directory).map_or(directory, |volume| volume.0.clone());
        all.extend(directories.into_iter().map(|directory| format!("volume {}", shown(directory))));
        // Those that were not started are not on the engine yet.
        all.extend(self.state().containers.keys().map(|id| format!("container {}", name(id))));
        Ok(all.into_iter().collect())
    }
}

async fn start(engine: Engine, porter: Arc<Porter>, container: Arc<Container>) -> Result<(), RuntimeError> {
    let launched = async {
        let mounts = porter.prepare(&engine, &container.spec).await?;
        launch::start(&engine, &container.spec, mounts).await
    };
    let held = match launched.await {
        Ok(held) => held,
        Err(error) => {
            container.phase.send_replace(Phase::Created);
            return Err(error);
        }
    };
    *container.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    let engine_name = engine.container(&container.spec.id);
    container.log.record(engine.output(&engine_name));
    container.phase.send_replace(Phase::Running);
    // Without the container itself: tokio drops this task as it shuts down, when nothing can be removed any more.
    let phase = container.phase.clone();
    tokio::spawn(async move {
        let ended = engine.ended(&engine_name).await;
        phase.send_replace(ended.map_or_else(|error| Phase::Lost(error.to_string()), Phase::Ended));
    });
    Ok(())
}
