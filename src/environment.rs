//! Where the system runs: gives a cluster, takes it down again, and says what was left.

use std::path::PathBuf;
use std::time::Duration;

use crate::authority::Certificate;
use crate::kubernetes::{Kubernetes, KubernetesError};
use crate::probe::Refusals;
use crate::redact::Secret;
use crate::runtime::RuntimeError;
use crate::scenario::EnvironmentName;

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "kube")]
pub mod kube;
pub mod local;
pub mod run_directory;
mod served;

/// Why an environment could not be had or asked: always a matter of UNVERIFIED, never of the procedure.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{doing}: {reason}")]
    Failed { doing: String, reason: String },
}

impl EnvironmentError {
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Whether it is for want of room, which others may give up: a quota that is used up, a cluster that has too much to do, or one that
    /// cannot place a pod.
    pub fn is_for_room(&self) -> bool {
        matches!(self, Self::Kubernetes(error) if error.is_for_room())
    }
}

/// The clusters of a drill, as their administrator.
#[derive(Clone)]
pub struct Clusters {
    home: Kubernetes,
    /// Of a system of several.
    named: std::collections::BTreeMap<String, Kubernetes>,
}

impl Clusters {
    /// Where the drill's own pods are: the system's cluster, or one beside them where it has several, since any of those may
    /// be lost.
    pub fn home(&self) -> &Kubernetes {
        &self.home
    }

    /// The system's cluster of that name; `None` is the only one. Names are checked before an environment starts.
    pub fn of(&self, cluster: Option<&str>) -> &Kubernetes {
        cluster.and_then(|name| self.named.get(name)).unwrap_or(&self.home)
    }
}

/// A running environment.
pub enum Environment {
    Local(Box<local::Local>),
    #[cfg(feature = "docker")]
    Docker(Box<docker::Docker>),
    #[cfg(feature = "kube")]
    Kube(Box<kube::Kube>),
}

impl Environment {
    pub fn name(&self) -> EnvironmentName {
        match self {
            Self::Local(_) => EnvironmentName::Local,
            #[cfg(feature = "docker")]
            Self::Docker(_) => EnvironmentName::Docker,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.name(),
        }
    }

    pub fn clusters(&self) -> &Clusters {
        match self {
            Self::Local(local) => &local.clusters,
            #[cfg(feature = "docker")]
            Self::Docker(docker) => &docker.clusters,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => &kube.clusters,
        }
    }

    /// What the operator's kubectl is given.
    pub fn operator_kubeconfig(&self) -> Secret {
        match self {
            Self::Local(local) => local.operator_kubeconfig(),
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.operator_kubeconfig(),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.operator_kubeconfig(),
        }
    }

    /// For a server reached under these names, from an authority that everything inside trusts.
    pub fn certificate(&self, hosts: &[&str]) -> Result<Certificate, EnvironmentError> {
        match self {
            Self::Local(local) => local.certificate(hosts),
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.certificate(hosts),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.certificate(hosts),
        }
    }

    /// Addresses outside the drill on which something answers right now, for the isolation probe to fail to reach.
    pub fn outside_addresses(&self) -> Vec<String> {
        match self {
            Self::Local(local) => local.outside_addresses(),
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.outside_addresses(),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.outside_addresses(),
        }
    }

    /// Files of the environment's own state, for a person who looks into a failed drill.
    pub fn directory(&self) -> PathBuf {
        match self {
            Self::Local(local) => local.directory().to_owned(),
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.directory().to_owned(),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.directory().to_owned(),
        }
    }

    /// Of what runs here and is known only now, by name.
    pub fn digests(&self) -> std::collections::BTreeMap<String, String> {
        match self {
            Self::Local(_) => Default::default(),
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.digests.clone(),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.digests.clone(),
        }
    }

    /// Limits of containers that an environment which limits them at all could not keep, sorted.
    pub async fn unkept_limits(&self) -> Vec<String> {
        match self {
            Self::Local(_) => Vec::new(),
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.unkept_limits().await,
            // The cluster keeps them, or refuses the pod.
            #[cfg(feature = "kube")]
            Self::Kube(_) => Vec::new(),
        }
    }

    /// Completes when what everything runs on has gone, which is never the doing of the procedure. Pending for ever otherwise.
    pub async fn lost(&self) {
        match self {
            Self::Local(_) => std::future::pending().await,
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.lost().await,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.lost().await,
        }
    }

    /// Whether what everything runs on was there all the time and is now. What failed where it was not says nothing.
    pub async fn is_there(&self) -> bool {
        match self {
            Self::Local(_) => true,
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.is_there().await,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.is_there().await,
        }
    }

    /// Why a drill proves nothing whose environment was not there all the time, and what to do.
    pub fn absence(&self) -> (String, &'static str) {
        match self {
            // Nothing keeps it but this process itself.
            Self::Local(_) => ("the drill's sandbox went away while it ran".to_owned(), "run the drill again"),
            #[cfg(feature = "docker")]
            Self::Docker(_) => (
                "the container engine went away while the drill ran".to_owned(),
                "start the container engine again, run `redrill gc`, and run the drill again",
            ),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.absence(),
        }
    }

    /// What the environment had no room for, asked when something failed, and what to do.
    pub async fn lack(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Local(_) => None,
            #[cfg(feature = "docker")]
            Self::Docker(_) => None,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => {
                let remedy = "run fewer drills at once (`--jobs`), or give them more of the cluster";
                Some((format!("the cluster had no room: {}", kube.lack().await?), remedy))
            }
        }
    }

    /// Told once nothing inside was seen to reach outside.
    pub async fn closed(&self) {
        match self {
            Self::Local(_) => {}
            #[cfg(feature = "docker")]
            Self::Docker(_) => {}
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.closed().await,
        }
    }

    /// What of the outside is tried to be reached, in words.
    pub fn tried_outside(&self) -> &'static str {
        match self.is_ours_to_close() {
            true => "this machine's own addresses, where something listens",
            false => "this machine's own addresses and a pod outside the drill, where somebody answers",
        }
    }

    /// Whether it is redrill that closes a drill: one that is open then is redrill's own failure.
    pub fn is_ours_to_close(&self) -> bool {
        match self {
            Self::Local(_) => true,
            #[cfg(feature = "docker")]
            Self::Docker(_) => true,
            #[cfg(feature = "kube")]
            Self::Kube(_) => false,
        }
    }

    /// What to do about a drill that is open.
    pub fn way_to_close(&self) -> &'static str {
        match self.is_ours_to_close() {
            true => "run `redrill doctor`",
            false => "let the cluster's network enforce NetworkPolicies, or drill on another cluster",
        }
    }

    /// What of the environment is not as the page's own, with what that means.
    pub fn provided(&self) -> &[(&'static str, &'static str)] {
        match self {
            Self::Local(_) => &[],
            #[cfg(feature = "docker")]
            Self::Docker(_) => &[],
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.provided(),
        }
    }

    /// How long what closes a drill may take until it does, and what it means then that a connection is refused.
    pub fn closing(&self) -> (Duration, Refusals) {
        match self {
            Self::Local(_) => (Duration::ZERO, Refusals::FromThere),
            #[cfg(feature = "docker")]
            Self::Docker(_) => (Duration::ZERO, Refusals::FromThere),
            #[cfg(feature = "kube")]
            Self::Kube(kube) => (kube.closes_within(), Refusals::FromTheWay),
        }
    }

    /// Ends one cluster of several for good, with all that it holds: its API answers no more, its pods and volumes are gone.
    pub async fn lose(&self, cluster: &str) -> Result<(), EnvironmentError> {
        match self {
            Self::Local(local) => local.lose(cluster).await,
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.lose(cluster).await,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.lose(cluster).await,
        }
    }

    /// Ends everything and returns what is still there after it, sorted. Safe to call again.
    pub async fn tear_down(&self) -> Result<Vec<String>, EnvironmentError> {
        match self {
            Self::Local(local) => local.tear_down().await,
            #[cfg(feature = "docker")]
            Self::Docker(docker) => docker.tear_down().await,
            #[cfg(feature = "kube")]
            Self::Kube(kube) => kube.tear_down().await,
        }
    }
}
