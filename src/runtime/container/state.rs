//! What a run has made, and how it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::launch::Held;
use crate::runtime::log::Log;
use crate::runtime::{ContainerExit, ContainerId, ContainerSpec, PodId, VolumeId};

#[derive(Default)]
pub(super) struct State {
    pub pods: BTreeMap<PodId, Pod>,
    pub containers: BTreeMap<ContainerId, Arc<Container>>,
    pub volumes: BTreeSet<VolumeId>,
}

#[derive(Clone)]
pub(super) struct Pod {
    pub hostname: String,
    pub address: IpAddr,
}

pub(super) struct Container {
    pub spec: ContainerSpec,
    pub log: Arc<Log>,
    pub held: Mutex<Option<Held>>,
    pub phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Created,
    Starting,
    Running,
    Ended(ContainerExit),
    /// The engine did not say how it ended.
    Lost(String),
    Removed,
}

impl Container {
    /// Completes when nothing of the container runs any more, or ever did.
    pub async fn stopped(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives in `self`.
        let _ = phase.wait_for(|phase| !matches!(phase, Phase::Starting | Phase::Running)).await;
    }
}
