//! What runs left on an engine that are no more.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};

use super::engine::{Engine, HOST, LOCK, RUN, connect};
use crate::environment::run_directory::{host, is_dead};
use crate::runtime::{RuntimeError, failed};

/// Removes what dead runs of this machine have on the engine: names of what was removed, and of what is still there. A live
/// run's is left alone, since its lock is held, and so is one's of another machine, whose locks cannot be seen from here.
pub async fn sweep_dead_runs() -> Result<(Vec<String>, Vec<String>), RuntimeError> {
    let (mut removed, mut left) = (Vec::new(), Vec::new());
    for run in dead_runs(&connect().await?).await? {
        let swept = Engine::connect(&run, Path::new("")).await?.sweep().await?;
        if swept.left.is_empty() {
            removed.push(format!("what the run {run} had on the container engine"));
        }
        left.extend(swept.left.into_iter().map(|name| format!("{name} of the run {run}")));
    }
    Ok((removed, left))
}

async fn dead_runs(docker: &Docker) -> Result<Vec<String>, RuntimeError> {
    let listing = |error: EngineError| failed("list what there is on the engine", error);
    let filters = HashMap::from([("label".to_owned(), vec![RUN.to_owned(), format!("{HOST}={}", host())])]);
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let containers = docker.list_containers(Some(containers)).await.map_err(listing)?;
    let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = docker.list_networks(Some(networks)).await.map_err(listing)?;
    let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let volumes = docker.list_volumes(Some(volumes)).await.map_err(listing)?;
    let labels = containers.into_iter().filter_map(|container| container.labels);
    let labels = labels.chain(networks.into_iter().filter_map(|network| network.labels));
    let labels = labels.chain(volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.labels));
    let of_run = |mut labels: HashMap<String, String>| Some((labels.remove(RUN)?, labels.remove(LOCK)?));
    let runs: BTreeMap<String, String> = labels.filter_map(of_run).collect();
    Ok(runs.into_iter().filter(|(_, lock)| is_dead(Path::new(lock))).map(|(run, _)| run).collect())
}
