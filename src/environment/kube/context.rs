//! Which cluster: a context of the user's kubeconfig that was named, and confirmed where it looks like one that matters.

use kube::config::{KubeConfigOptions, Kubeconfig};
use regex::Regex;

use crate::cli::{ClusterArgs, ContextArg, ContextArgs};
use crate::environment::EnvironmentError;
use crate::error::chain;
use crate::kubernetes::Kubernetes;

/// Contexts as they were named on the command line.
#[derive(Debug, Clone, Default)]
pub struct Contexts {
    /// With the page's name of a cluster where it is for that one alone.
    pub named: Vec<(Option<String>, String)>,
    /// Those that may look like production.
    pub confirmed: Vec<String>,
    /// Whether each is the drill's alone, so that namespaces have the page's names.
    pub dedicated: bool,
    /// Where they are; else where kubectl would look.
    pub kubeconfig: Option<std::path::PathBuf>,
}

/// A cluster, as the user of the context.
pub struct Connection {
    pub kubernetes: Kubernetes,
    pub client: kube::Client,
}

impl From<&ClusterArgs> for Contexts {
    fn from(arguments: &ClusterArgs) -> Self {
        Self { dedicated: arguments.dedicated, ..Self::from(&arguments.context) }
    }
}

impl From<&ContextArgs> for Contexts {
    fn from(arguments: &ContextArgs) -> Self {
        let named = arguments.contexts.iter().map(|ContextArg(cluster, context)| (cluster.clone(), context.clone()));
        Self { named: named.collect(), confirmed: arguments.confirmed.clone(), dedicated: false, kubeconfig: None }
    }
}

/// The cluster that redrill runs in itself, as the service account of its pod: no kubeconfig names it.
const IN_CLUSTER: &str = "in-cluster";

/// How production is called.
const TELLTALE: &str = r"(?i)(^|[^a-z])(prod|production|prd|live)([^a-z]|$)";

impl Contexts {
    /// The context of a cluster of the page's: its own, else the one that is for all.
    fn of(&self, cluster: &str) -> Option<&str> {
        let own = self.named.iter().find(|(of, _)| of.as_deref() == Some(cluster));
        own.or_else(|| self.named.iter().find(|(of, _)| of.is_none()))
            .or(self.named.first())
            .map(|(_, context)| context.as_str())
    }

    /// Connects to each of them once.
    pub async fn all(&self) -> Result<Vec<Connection>, EnvironmentError> {
        let mut names: Vec<&str> = self.named.iter().map(|(_, context)| context.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Err(unnamed());
        }
        let mut connections = Vec::new();
        for name in names {
            connections.push(connect_to(self, name).await?);
        }
        Ok(connections)
    }
}

/// Of the first cluster that was named, as numbers.
pub async fn version(contexts: &Contexts) -> Result<String, EnvironmentError> {
    let connections = contexts.all().await?;
    let Some(connection) = connections.first() else { return Ok(String::new()) };
    Ok(connection.kubernetes.version().await?.trim_start_matches('v').to_owned())
}

fn unnamed() -> EnvironmentError {
    EnvironmentError::Failed {
        doing: "find the cluster".to_owned(),
        reason: "name its context with --context: the current one of a kubeconfig is no choice for a drill".to_owned(),
    }
}

/// Connects to the cluster that stands for one of the page's. Errs where no context was named for it, or one that looks like
/// production was not confirmed.
pub async fn connect(contexts: &Contexts, cluster: &str) -> Result<Connection, EnvironmentError> {
    connect_to(contexts, contexts.of(cluster).ok_or_else(unnamed)?).await
}

async fn connect_to(contexts: &Contexts, name: &str) -> Result<Connection, EnvironmentError> {
    let failed = |reason: String| EnvironmentError::Failed { doing: format!("use the context {name}"), reason };
    if name == IN_CLUSTER {
        let config = kube::Config::incluster().map_err(|error| failed(chain(&error)))?;
        let server = config.cluster_url.to_string();
        return connected(config, &server).await.map_err(failed);
    }
    let read = contexts.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let kubeconfig = read.map_err(|error| failed(chain(&error)))?;
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    let context = kubeconfig.contexts.iter().find(|context| context.name == name);
    let Some(context) = context.and_then(|context| context.context.as_ref()) else {
        return Err(failed(format!("the kubeconfig has no such context; it has {}", known.join(", "))));
    };
    let cluster = context.cluster.clone();
    let server = kubeconfig.clusters.iter().find(|known| known.name == cluster);
    let server = server.and_then(|known| known.cluster.as_ref()?.server.clone()).unwrap_or_default();
    if let Some(why) = looks_like_production(&[name, &cluster, &server])
        && !contexts.confirmed.iter().any(|confirmed| confirmed == name)
    {
        return Err(failed(format!("`{why}` looks like production: confirm it with --confirm-context {name}")));
    }
    let options = KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| failed(chain(&error)))?;
    connected(config, &server).await.map_err(failed)
}

/// A cluster is told from another by its server.
async fn connected(mut config: kube::Config, server: &str) -> Result<Connection, String> {
    // A watch or an exec may have nothing to say for as long as it likes.
    config.read_timeout = None;
    let client = kube::Client::try_from(config).map_err(|error| chain(&error))?;
    let kubernetes = Kubernetes::connect(client.clone()).await.map_err(|error| chain(&error))?.at(server);
    Ok(Connection { kubernetes, client })
}

fn looks_like_production(names: &[&str]) -> Option<String> {
    let telltale = Regex::new(TELLTALE).expect("the pattern is a constant, and a test reads it");
    names.iter().find(|name| telltale.is_match(name)).map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_production_is_told_from_what_only_has_its_letters() {
        for name in ["prod", "acme-prod-eu", "PRODUCTION", "https://api.live.example", "k8s_prd"] {
            assert!(looks_like_production(&[name]).is_some(), "{name}");
        }
        for name in ["product-team", "delivery", "reproduce", "staging", "oliver"] {
            assert_eq!(looks_like_production(&[name]), None, "{name}");
        }
    }

    #[test]
    fn a_cluster_has_its_own_context_else_the_one_for_all() {
        let contexts = Contexts {
            named: vec![(Some("old".to_owned()), "a".to_owned()), (None, "b".to_owned())],
            ..Contexts::default()
        };
        assert_eq!((contexts.of("old"), contexts.of("new")), (Some("a"), Some("b")));
        assert_eq!(Contexts::default().of("old"), None);
    }
}
