//! What one run owns on the engine: made, found again and removed by its label.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, NetworkCreateRequest, SystemInfo, VolumeCreateRequest,
};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::choice::{self, WAY_OUT};
use super::porter::{Volume, Volumes, in_memory};
use crate::environment::run_directory::host;
use crate::runtime::{ContainerExit, ContainerId, PodId, RuntimeError, failed, not_found};

pub(super) const RUN: &str = "redrill.run";
/// The machine that redrill runs on, which need not be the engine's.
pub(super) const HOST: &str = "redrill.host";
/// On that machine: who finds it free finds a dead run.
pub(super) const LOCK: &str = "redrill.lock";
pub(super) const POD: &str = "redrill.pod";
pub(super) const CONTAINER: &str = "redrill.container";

/// Of engine 20.10, the oldest that this was tried on.
const OLDEST_API: (u32, u32) = (1, 41);

/// An engine that listens and says nothing is none.
const ANSWER: Duration = Duration::from_secs(20);

/// The engine that drills run on, of this machine ([`choice`](super::choice)). Errs where none answers, or one that is too old.
pub async fn connect() -> Result<Docker, RuntimeError> {
    answering().await.map(|(docker, _)| docker)
}

/// The engine's version, and that of its API, as a person reads them. Errs as [`connect`] does.
pub async fn version() -> Result<String, RuntimeError> {
    answering().await.map(|(_, version)| version)
}

async fn answering() -> Result<(Docker, String), RuntimeError> {
    let choice = choice::choose()?.ok_or_else(choice::none_found)?;
    choice.must_be_usable()?;
    choice.must_be_settled()?;
    let absent = |reason: String| failed(format!("connect to {choice}"), format!("{reason}; start it, or {WAY_OUT}"));
    let docker = testcontainers::core::client::docker_client_instance().await;
    let docker = docker.map_err(|error| absent(crate::error::chain(&error)))?;
    let version = match tokio::time::timeout(ANSWER, docker.version()).await {
        Ok(version) => version.map_err(|error| absent(crate::error::chain(&error)))?,
        Err(_) => return Err(absent(format!("it has not answered within {} s", ANSWER.as_secs()))),
    };
    let (api, engine) = (version.api_version.unwrap_or_default(), version.version.unwrap_or_default());
    let number = api.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major, minor) = OLDEST_API;
    match number {
        Some(number) if number >= OLDEST_API => Ok((docker, format!("{engine} (API {api})"))),
        Some(_) | None => {
            let reason = format!(
                "version {engine} is too old: it speaks API {api}, and {major}.{minor} is needed, which 20.10 is the first to speak"
            );
            Err(failed(format!("use {choice}"), format!("{reason}; update it, or {WAY_OUT}")))
        }
    }
}

/// An engine, seen by one run.
#[derive(Clone)]
pub(super) struct Engine {
    pub docker: Docker,
    pub run: String,
    lock: String,
}

impl Engine {
    /// As one run sees it. The run lives for as long as `lock` is held.
    pub async fn connect(run: &str, lock: &Path) -> Result<Self, RuntimeError> {
        let docker = connect().await?;
        Ok(Self { docker, run: run.to_owned(), lock: lock.display().to_string() })
    }

    /// Names on an engine allow few characters and are shared by all runs.
    fn unique(&self, kind: &str, id: &str) -> String {
        let hash = blake3::hash(id.as_bytes()).to_hex();
        format!("redrill-{}-{kind}-{}", self.run, &hash[..16])
    }

    pub fn network(&self) -> String {
        format!("redrill-{}", self.run)
    }

    pub fn pod(&self, pod: &PodId) -> String {
        self.unique("pod", &pod.0)
    }

    pub fn container(&self, id: &ContainerId) -> String {
        self.unique("container", &crate::runtime::name(id))
    }

    pub fn labels(&self, more: &[(&str, &str)]) -> HashMap<String, String> {
        let host = host();
        let own = [(RUN, self.run.as_str()), (HOST, &host), (LOCK, &self.lock)];
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of_run(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{RUN}={}", self.run)])])
    }

    /// The network of the drill, of its pods alone: internal, and a bridge on which the engine's host has no address.
    ///
    /// Engine 20.10 leaves containers of an internal network a default route to the bridge, where the host answers under all
    /// of its addresses. With no address there the route leads to nobody. The option is for engines up to 26; the mode says
    /// the same to newer ones, and each ignores the other's. Whether it was kept is proven by the drill's probe.
    pub async fn create_network(&self) -> Result<(), RuntimeError> {
        let options = [
            ("com.docker.network.bridge.inhibit_ipv4", "true"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "isolated"),
        ];
        let request = NetworkCreateRequest {
            name: self.network(),
            internal: Some(true),
            enable_ipv6: Some(false),
            options: Some(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            labels: Some(self.labels(&[])),
            ..NetworkCreateRequest::default()
        };
        let made = self.docker.create_network(request).await;
        made.map(drop).map_err(|error| failed("make the drill's network", error))
    }

    /// The address that the engine keeps free for a gateway of the drill's network, where it tells one.
    pub async fn gateway(&self) -> Result<Option<IpAddr>, RuntimeError> {
        let network = self.docker.inspect_network(&self.network(), None::<InspectNetworkOptions>).await;
        let network = network.map_err(|error| failed("look at the drill's network", error))?;
        let ranges = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        Ok(ranges.into_iter().find_map(|range| range.gateway?.parse().ok()))
    }

    /// Runs the container that holds a pod's network, as the pause container does on a node: the
    /// address stays while the pod's own containers come and go.
    pub async fn start_pod(
        &self,
        pod: &PodId,
        hostname: &str,
        image: &str,
        mounts: Vec<Mount>,
    ) -> Result<IpAddr, RuntimeError> {
        let doing = || format!("make the pod {}", pod.0);
        let name = self.pod(pod);
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            hostname: Some(hostname.to_owned()),
            user: Some("0".to_owned()),
            entrypoint: Some(["tail", "-f", "/dev/null"].map(str::to_owned).to_vec()),
            cmd: Some(Vec::new()),
            labels: Some(self.labels(&[(POD, &pod.0)])),
            host_config: Some(HostConfig {
                network_mode: Some(self.network()),
                // The engine forwards a look-up to its host's name server, even from here. This one exists nowhere.
                dns: Some(vec!["192.0.2.53".to_owned()]),
                log_config: Some(kept_log()),
                mounts: Some(mounts),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.docker.create_container(Some(options), body).await.map_err(|error| failed(doing(), error))?;
        let started = self.docker.start_container(&name, None::<StartContainerOptions>).await;
        started.map_err(|error| failed(doing(), error))?;
        let inspected = self.docker.inspect_container(&name, None::<InspectContainerOptions>).await;
        let settings = inspected.map_err(|error| failed(doing(), error))?.network_settings;
        let endpoint = settings.and_then(|settings| settings.networks?.remove(&self.network()));
        let address = endpoint.and_then(|endpoint| endpoint.ip_address?.parse().ok());
        address.ok_or_else(|| failed(doing(), "the engine gave it no address"))
    }

    /// Completes when a container that was started does not run any more.
    pub async fn ended(&self, name: &str) -> Result<ContainerExit, RuntimeError> {
        let mut ends = std::pin::pin!(self.docker.wait_container(name, None::<WaitContainerOptions>));
        let code = match ends.next().await {
            Some(Ok(end)) => Ok(end.status_code),
            Some(Err(EngineError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(failed("wait for a container", error)),
            None => Err(failed("wait for a container", "the engine gave no answer")),
        };
        let code = code?;
        if code != 0 && self.ran_out_of_memory(name).await {
            return Ok(ContainerExit::OutOfMemory(i32::try_from(code).unwrap_or(255)));
        }
        Ok(exit(code))
    }

    /// Whether the kernel killed a program of a container that has ended for want of memory. An engine that does not say has not
    /// seen it.
    async fn ran_out_of_memory(&self, name: &str) -> bool {
        let ended = self.docker.inspect_container(name, None::<InspectContainerOptions>).await;
        ended.ok().and_then(|ended| ended.state?.oom_killed).unwrap_or_default()
    }

    pub async fn kill(&self, name: &str, signal: i32) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::new().signal(&signal.to_string()).build();
        match self.docker.kill_container(name, Some(options)).await {
            Err(error) if is_status(&error, &[404, 409]) => Err(not_found("running container", name)),
            killed => killed.map_err(|error| failed(format!("send signal {signal} to a container"), error)),
        }
    }

    /// What a container prints, from its start to its end.
    pub fn output(&self, name: &str) -> impl AsyncRead + Send + Unpin + 'static {
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        let frames = self.docker.logs(name, Some(options));
        let frames = frames.map(|frame| frame.map(|frame| frame.into_bytes()).map_err(std::io::Error::other));
        StreamReader::new(Box::pin(frames))
    }

    /// With the volumes that its image declares.
    pub async fn remove_container(&self, name: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self.docker.remove_container(name, Some(options)).await;
        absent_is_fine(removed, || format!("remove the container {name} of the engine"))
    }

    /// What the engine says of itself and its kernel.
    pub async fn information(&self) -> Result<SystemInfo, RuntimeError> {
        self.docker.info().await.map_err(|error| failed("ask the engine about itself", error))
    }

    /// Makes the drill's two volumes, of which its pods mount parts.
    pub async fn create_volumes(&self) -> Result<Volumes, RuntimeError> {
        let doing = "make the drill's volumes";
        let mut made = Vec::new();
        for (kind, driver) in [("disk", None), ("memory", Some(in_memory()))] {
            let driver = driver.unwrap_or_default();
            let request = VolumeCreateRequest {
                name: Some(format!("redrill-{}-{kind}", self.run)),
                driver: driver.name,
                driver_opts: driver.options,
                labels: Some(self.labels(&[])),
                ..VolumeCreateRequest::default()
            };
            let volume = self.docker.create_volume(request).await.map_err(|error| failed(doing, error))?;
            made.push(Volume { name: volume.name, path: volume.mountpoint });
        }
        let information = self.information().await?;
        // Its host's paths are not those of the machine that its volumes are on.
        let by_name = information.operating_system.is_some_and(|system| system.contains("Docker Desktop"));
        match <[Volume; 2]>::try_from(made) {
            Ok([disk, memory]) => Ok(Volumes { disk, memory, by_name }),
            Err(_) => Err(failed(doing, "there are not two")),
        }
    }

    pub async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        let removed = self.docker.remove_volume(name, Some(RemoveVolumeOptionsBuilder::new().build())).await;
        absent_is_fine(removed, || format!("remove the volume {name} of the engine"))
    }

    /// What the engine has of this run.
    pub async fn find(&self) -> Result<Vec<Found>, RuntimeError> {
        let listing = |error: EngineError| failed("list what there is on the engine", error);
        let filters = self.of_run();
        let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.docker.list_containers(Some(containers)).await.map_err(listing)?;
        let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.docker.list_networks(Some(networks)).await.map_err(listing)?;
        let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = self.docker.list_volumes(Some(volumes)).await.map_err(listing)?;
        let containers = containers.into_iter().map(|container| {
            let mut labels = container.labels.unwrap_or_default();
            let pod = labels.remove(POD).unwrap_or_default();
            let shown = match labels.remove(CONTAINER) {
                Some(name) => format!("container {pod}/{name}"),
                None => format!("pod {pod}"),
            };
            Found { kind: Kind::Container, name: container.id.unwrap_or_default(), shown }
        });
        let networks = networks.into_iter().map(|network| {
            let name = network.name.unwrap_or_default();
            Found { kind: Kind::Network, shown: format!("network {name}"), name }
        });
        let volumes = volumes.volumes.unwrap_or_default().into_iter().map(|volume| Found {
            kind: Kind::Volume,
            shown: format!("volume {}", volume.name),
            name: volume.name,
        });
        Ok(containers.chain(networks).chain(volumes).collect())
    }

    /// Removes all that the engine has of this run.
    pub async fn sweep(&self) -> Result<Swept, RuntimeError> {
        let all = self.find().await?;
        let count = all.len();
        // Containers come first in the list; the engine refuses to remove what one of them uses.
        for found in all {
            let removed = match found.kind {
                Kind::Container => self.remove_container(&found.name).await,
                Kind::Volume => self.remove_volume(&found.name).await,
                Kind::Network => {
                    let removed = self.docker.remove_network(&found.name).await;
                    absent_is_fine(removed, || format!("remove the network {} of the engine", found.name))
                }
            };
            if let Err(error) = removed {
                tracing::warn!("{error}");
            }
        }
        let mut left: Vec<String> = self.find().await?.into_iter().map(|found| found.shown).collect();
        left.sort();
        Ok(Swept { found: count, left })
    }
}

/// What came of removing everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// How many things there were.
    pub found: usize,
    /// Names of those that are still there, sorted.
    pub left: Vec<String>,
}

pub(super) struct Found {
    kind: Kind,
    name: String,
    /// As `inventory` names it.
    pub shown: String,
}

#[derive(Clone, Copy)]
enum Kind {
    Container,
    Network,
    Volume,
}

/// The engine says 128 + n for signal n, as a shell does, and not which of the two it was.
pub(super) fn exit(code: i64) -> ContainerExit {
    ContainerExit::Code(i32::try_from(code).unwrap_or(255))
}

/// A log driver whose logs can be read, whatever the engine's default is.
pub(super) fn kept_log() -> HostConfigLogConfig {
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: None }
}

pub(super) fn is_status(error: &EngineError, codes: &[u16]) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code, .. } if codes.contains(status_code))
}

fn absent_is_fine(removed: Result<(), EngineError>, doing: impl FnOnce() -> String) -> Result<(), RuntimeError> {
    match removed {
        Err(error) if is_status(&error, &[404]) => Ok(()),
        removed => removed.map_err(|error| failed(doing(), error)),
    }
}
