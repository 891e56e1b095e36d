//! The docker environment: a served cluster whose pods are containers of an engine.
//!
//! The API is served by this process, as on `local`; pods reach it through the drill's porter, over the engine's own connection.
//! A listener on the bridge's address would have been less, but it needs an engine on this very machine, and a bridge with an
//! address is a way out: containers reach whatever else listens there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use testcontainers::bollard;
use tokio::sync::Mutex;

use super::served::{Bait, Door, Served, Serving, certificate_error};
use super::{Clusters, EnvironmentError};
use crate::authority::{Authority, Certificate};
use crate::drill::station;
use crate::environment::run_directory::RunDirectory;
use crate::redact::Secret;
use crate::runtime::container::{self, ContainerRuntime, EngineConfig, OnEngine, Pulse};
use crate::runtime::{Image, RuntimeError};

mod base;
mod build;
mod existing;
mod progress;
mod pull;
mod pull_secret;
#[cfg(feature = "kube")]
mod push;
pub mod reaper;
pub mod recipe;
mod taking;
pub mod tools;
pub mod versions;

pub use existing::{Unavailable, find_existing};
#[cfg(feature = "kube")]
pub use push::push;

use reaper::Lifeline;
use recipe::Recipe;

/// What a docker environment is made from.
pub struct DockerConfig {
    /// Of the drill; names its directory, and what it has on the engine.
    pub name: String,
    /// The drill's own, by the reference of its own pods.
    pub own: BTreeMap<String, Recipe>,
    /// By the reference that manifests use.
    pub images: BTreeMap<String, Recipe>,
    /// Those that no folder stands for: [`find_existing`].
    pub existing: Found,
    /// As [`super::local::LocalConfig`] has them.
    pub outside: BTreeMap<String, String>,
    pub clusters: Vec<String>,
    pub services: BTreeMap<String, (String, String, String)>,
    pub namespace: String,
    pub seed: u64,
}

/// A running docker environment.
pub struct Docker {
    pub clusters: Clusters,
    /// What the engine calls the image behind each reference, from all that is in it.
    pub digests: BTreeMap<String, String>,
    kubeconfig: Secret,
    authority: Authority,
    directory: PathBuf,
    bait: Bait,
    gateway: Option<IpAddr>,
    pulse: Pulse,
    running: Mutex<Option<Running>>,
}

struct Running {
    clusters: super::served::Running,
    runtime: Arc<ContainerRuntime>,
    directory: RunDirectory,
    lifeline: Lifeline,
}

impl Docker {
    /// Makes the drill's network and porter, serves the cluster into it, and connects to it. What was made before an error goes
    /// with it. Images have to be there: [`build_images`].
    pub async fn start(config: DockerConfig) -> Result<Self, EnvironmentError> {
        let found = find_images(&container::connect().await?, &config.images, &config.own, &config.existing).await?;
        let directory = RunDirectory::make(&config.name)?;
        let authority = Authority::new(&format!("redrill {}", config.name)).map_err(certificate_error)?;
        let lifeline = Lifeline::hold(&config.name)?;
        let started = ContainerRuntime::start(EngineConfig {
            run: config.name.clone(),
            lock: directory.lock_path(),
            log_directory: directory.path().join("logs"),
            image: found.images[station::IMAGE].reference.clone(),
            trusted_ca: Some(authority.certificate()),
        });
        let runtime = Arc::new(started.await?);
        match serve(config, found.images, &runtime).await {
            Ok((Serving { clusters, kubeconfig, running }, gateway, bait)) => {
                let (path, pulse) = (directory.path().to_owned(), runtime.pulse());
                let running = Mutex::new(Some(Running { clusters: running, runtime, directory, lifeline }));
                let digests = found.digests;
                Ok(Self { clusters, digests, kubeconfig, authority, directory: path, bait, gateway, pulse, running })
            }
            Err(error) => {
                // What could not be removed is the reaper's, who hears of the end by the line's.
                drop((runtime.shutdown().await, lifeline));
                drop(directory.remove().await);
                Err(error)
            }
        }
    }

    pub fn operator_kubeconfig(&self) -> Secret {
        self.kubeconfig.clone()
    }

    pub fn certificate(&self, hosts: &[&str]) -> Result<Certificate, EnvironmentError> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.authority.server(&hosts).map_err(certificate_error)
    }

    /// With the address that the engine's host would have in the drill's network.
    pub fn outside_addresses(&self) -> Vec<String> {
        self.bait.addresses(self.gateway.as_slice())
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Limits that containers had and the engine could not keep, sorted.
    pub async fn unkept_limits(&self) -> Vec<String> {
        self.running.lock().await.as_ref().map(|running| running.runtime.unkept_limits()).unwrap_or_default()
    }

    /// Completes when the engine has gone.
    pub async fn lost(&self) {
        self.pulse.lost().await;
    }

    /// Whether the engine was there all the time and is now.
    pub async fn is_there(&self) -> bool {
        self.pulse.is_felt().await
    }

    /// Errs where there is no such cluster any more.
    pub async fn lose(&self, cluster: &str) -> Result<(), EnvironmentError> {
        super::served::lose(self.running.lock().await.as_mut().map(|running| &mut running.clusters), cluster).await
    }

    /// Ends the clusters, then what the drill has on the engine, then the files, and says what is still there.
    pub async fn tear_down(&self) -> Result<Vec<String>, EnvironmentError> {
        let Some(Running { clusters, runtime, directory, lifeline }) = self.running.lock().await.take() else {
            return Ok(Vec::new());
        };
        clusters.stop().await;
        let mut left = runtime.shutdown().await;
        if left.is_empty() {
            lifeline.release().await;
        }
        left.extend(directory.remove().await?);
        left.sort();
        Ok(left)
    }
}

async fn serve(
    config: DockerConfig,
    images: BTreeMap<String, Image>,
    runtime: &Arc<ContainerRuntime>,
) -> Result<(Serving, Option<IpAddr>, Bait), EnvironmentError> {
    let gateway = runtime.gateway().await?;
    let served = Served {
        images,
        outside: config.outside,
        clusters: config.clusters,
        services: config.services,
        namespace: config.namespace,
        seed: config.seed,
        runtime: runtime.clone(),
    };
    Ok((served.start().await?, gateway, Bait::lay()?))
}

#[async_trait]
impl Door for ContainerRuntime {
    fn address(&self) -> IpAddr {
        self.porter_address()
    }

    async fn open(&self, port: u16, loopback: SocketAddr) -> Result<Option<TcpListener>, RuntimeError> {
        self.listen(port, loopback).await.map(|()| None)
    }
}

/// Images on the engine.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// By the reference that manifests use.
    images: BTreeMap<String, Image>,
    /// What the engine, and the registry of those that have one, calls what is in them.
    digests: BTreeMap<String, String>,
}

impl Found {
    /// What the engine calls each.
    pub fn ids(&self) -> Vec<String> {
        self.images.values().map(|image| image.reference.clone()).collect()
    }

    fn add(&mut self, reference: &str, found: OnEngine) {
        let OnEngine { image, id, in_registries } = found;
        self.digests.insert(format!("image {reference} on the engine"), id);
        if !in_registries.is_empty() {
            self.digests.insert(format!("image {reference} in registries"), in_registries.join(", "));
        }
        self.images.insert(reference.to_owned(), image);
    }
}

/// Every image, as the engine has it; errs with all that it has not.
async fn find_images(
    docker: &bollard::Docker,
    images: &BTreeMap<String, Recipe>,
    own: &BTreeMap<String, Recipe>,
    existing: &Found,
) -> Result<Found, EnvironmentError> {
    // Where there is no base nothing is made from one.
    let base = base::on_engine(docker).await?.unwrap_or_default();
    let mut found = existing.clone();
    let mut missing = Vec::new();
    for (reference, recipe) in images.iter().chain(own) {
        let built = build::reference(recipe, &base)?;
        match container::image(docker, &built).await? {
            Some(on_engine) => found.add(reference, on_engine),
            None => missing.push(format!("{built} (for {reference})")),
        }
    }
    match missing.is_empty() {
        true => Ok(found),
        false => Err(EnvironmentError::Failed {
            doing: "find the images on the engine".to_owned(),
            reason: format!(
                "not there, or of other sources: {}; `redrill images build` makes them",
                missing.join(", ")
            ),
        }),
    }
}

/// What the engine calls the images behind these references, and what is in them; errs with all that it has not.
#[cfg(feature = "kube")]
pub async fn find_built(
    images: &BTreeMap<String, Recipe>,
    own: &BTreeMap<String, Recipe>,
) -> Result<(BTreeMap<String, String>, BTreeMap<String, String>), EnvironmentError> {
    let found = find_images(&container::connect().await?, images, own, &Found::default()).await?;
    let references = found.images.into_iter().map(|(reference, image)| (reference, image.reference));
    Ok((references.collect(), found.digests))
}

/// Builds what is not on the engine yet; `tell` hears of each thing as it begins.
pub async fn build_images(recipes: &[Recipe], mut tell: impl FnMut(&str)) -> Result<(), EnvironmentError> {
    let docker = container::connect().await?;
    let base = base::provide(&docker, &mut tell).await?;
    build::build(&docker, recipes, &base, tell).await
}
