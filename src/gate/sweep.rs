//! Taking away what a drill has on a cluster, by what it is marked with, whoever does it: its own end, or `redrill gc` after it was
//! killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::room::{DRILL, HOST, LOCK, RUN};
use crate::environment::run_directory;
use crate::error::chain;
use crate::kubernetes::{self, Kubernetes, KubernetesError, Scope, TypeName, wait_for};

/// How long a cluster may take to finish namespaces whose pods are killed.
const GONE: Duration = Duration::from_secs(180);
/// How long a cluster may be away, in the middle of it too.
const AWAY: Duration = Duration::from_secs(180);
/// How long a provisioner may take to remove the volumes of claims that are gone.
const RECLAIMED: Duration = Duration::from_secs(60);

/// Removes everything that a drill has on the cluster: names of what is still there after it, sorted. A cluster that is away is
/// waited for.
pub async fn sweep(kubernetes: &Kubernetes, drill: &str) -> Result<Vec<String>, KubernetesError> {
    let selector = format!("{DRILL}={drill}");
    let mut left = namespaces(kubernetes, &selector, |_| true).await?;
    left.extend(when_back(async || of_cluster(kubernetes, &selector).await).await?);
    left.sort();
    Ok(left)
}

/// Removes some of a drill's namespaces with all that is in them, volumes included. A cluster that is away is waited for.
pub async fn namespaces(
    kubernetes: &Kubernetes,
    selector: &str,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Vec<String>, KubernetesError> {
    let volumes = when_back(async || {
        let namespaces = meant(kubernetes, selector, &is_meant).await?;
        let names = namespaces.iter().map(|namespace| field(namespace, "name")).collect();
        match volumes_of(kubernetes, &names).await {
            Err(error) if error.is_away() => Err(error),
            // Who may not see volumes cannot have made any but through claims, which the cluster follows.
            volumes => Ok(volumes.unwrap_or_default()),
        }
    });
    let volumes = volumes.await?;
    let removed = when_back(async || {
        for namespace in meant(kubernetes, selector, &is_meant).await? {
            let (name, uid) = (field(&namespace, "name"), field(&namespace, "uid"));
            kubernetes.delete_this(kubernetes::NAMESPACE, "", &name, &uid).await?;
        }
        gone(kubernetes, selector, &is_meant).await
    });
    let mut left = removed.await?;
    left.extend(when_back(async || reclaimed(kubernetes, &volumes).await).await?);
    Ok(left)
}

async fn meant(
    kubernetes: &Kubernetes,
    selector: &str,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Vec<Value>, KubernetesError> {
    let mut namespaces = kubernetes.list_labelled(kubernetes::NAMESPACE, selector).await?;
    namespaces.retain(|namespace| is_meant(&field(namespace, "name")));
    Ok(namespaces)
}

/// Does what may be done again from its beginning, as soon as the cluster answers.
async fn when_back<T>(mut work: impl AsyncFnMut() -> Result<T, KubernetesError>) -> Result<T, KubernetesError> {
    let mut is_told = false;
    wait_for("the cluster back", AWAY, async || match work().await {
        Err(error) if error.is_away() => {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%error, "the cluster is away: it is waited for, {} s at most", AWAY.as_secs());
            }
            Ok(Err(chain(&error)))
        }
        result => result.map(Ok),
    })
    .await
}

/// Waits until the namespaces are gone, nobody in them being given time to end in an orderly way.
async fn gone(
    kubernetes: &Kubernetes,
    selector: &str,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Vec<String>, KubernetesError> {
    let mut left = Vec::new();
    let waited = wait_for("the drill's namespaces gone", GONE, async || {
        let there = meant(kubernetes, selector, &is_meant).await?;
        left = there.iter().map(|namespace| format!("namespace {}", field(namespace, "name"))).collect();
        for namespace in &there {
            let namespace = field(namespace, "name");
            for pod in kubernetes.list(kubernetes::POD, &namespace).await? {
                kubernetes.kill_pod(&namespace, &field(&pod, "name")).await?;
            }
        }
        Ok(if there.is_empty() { Ok(()) } else { Err(left.join(", ")) })
    });
    match waited.await {
        Ok(()) => Ok(Vec::new()),
        Err(KubernetesError::Deadline { .. }) => Ok(left),
        Err(error) => Err(error),
    }
}

/// Volumes that claims of these namespaces have, by name, with uid and reclaim policy.
async fn volumes_of(
    kubernetes: &Kubernetes,
    namespaces: &BTreeSet<String>,
) -> Result<BTreeMap<String, (String, String)>, KubernetesError> {
    let volumes = kubernetes.list(kubernetes::VOLUME, "").await?;
    let ours = volumes.iter().filter(|volume| {
        volume["spec"]["claimRef"]["namespace"].as_str().is_some_and(|namespace| namespaces.contains(namespace))
    });
    let described = |volume: &Value| {
        let policy = volume["spec"]["persistentVolumeReclaimPolicy"].as_str().unwrap_or_default().to_owned();
        (field(volume, "name"), (field(volume, "uid"), policy))
    };
    Ok(ours.map(described).collect())
}

/// Waits for those that the cluster removes, and removes those that it keeps: what is behind those then stays, and is told.
async fn reclaimed(
    kubernetes: &Kubernetes,
    volumes: &BTreeMap<String, (String, String)>,
) -> Result<Vec<String>, KubernetesError> {
    let mut left = Vec::new();
    for (name, (uid, policy)) in volumes {
        if policy == "Retain" {
            kubernetes.delete_this(kubernetes::VOLUME, "", name, uid).await?;
            left.push(format!("the storage behind volume {name}, whose reclaim policy is Retain"));
        }
    }
    let waited = wait_for("the drill's volumes gone", RECLAIMED, async || {
        let mut there = Vec::new();
        for (name, (uid, _)) in volumes {
            let volume = kubernetes.get(kubernetes::VOLUME, "", name).await?;
            there.extend(volume.filter(|volume| field(volume, "uid") == *uid).map(|_| format!("volume {name}")));
        }
        Ok(if there.is_empty() { Ok(()) } else { Err(there.join(", ")) })
    });
    match waited.await {
        Ok(()) => {}
        Err(KubernetesError::Deadline { last, .. }) => left.push(last),
        Err(error) => return Err(error),
    }
    Ok(left)
}

/// Objects of the whole cluster that a drill made on one of its own. Kinds that may not be listed have none of its.
async fn of_cluster(kubernetes: &Kubernetes, selector: &str) -> Result<Vec<String>, KubernetesError> {
    let can = |operations: &kube::discovery::ApiCapabilities, verb| operations.supports_operation(verb);
    let kinds: Vec<_> = kubernetes
        .served()
        .filter(|(kind, operations)| {
            operations.scope == Scope::Cluster
                && kind.kind != kubernetes::NAMESPACE.1
                && can(operations, kube::discovery::verbs::LIST)
                && can(operations, kube::discovery::verbs::DELETE)
        })
        .map(|(kind, _)| (kind.api_version.clone(), kind.kind.clone()))
        .collect();
    let mut left = Vec::new();
    for (api_version, kind) in &kinds {
        let kind: TypeName<'_> = (api_version, kind);
        let objects = match kubernetes.list_labelled(kind, selector).await {
            Ok(objects) => objects,
            Err(error) if error.is_answer() => continue,
            Err(error) => return Err(error),
        };
        for object in objects {
            let (name, uid) = (field(&object, "name"), field(&object, "uid"));
            kubernetes.delete_this(kind, "", &name, &uid).await?;
            if kubernetes.get(kind, "", &name).await?.is_some_and(|there| field(&there, "uid") == uid) {
                left.push(format!("{} {name}", kind.1));
            }
        }
    }
    Ok(left)
}

/// Drills of this machine whose runs are dead, with the run of each. Those of other machines are left alone: their locks cannot be
/// seen from here.
pub async fn dead(kubernetes: &Kubernetes) -> Result<BTreeMap<String, String>, KubernetesError> {
    let here = run_directory::host();
    let marked = kubernetes.list_labelled(kubernetes::NAMESPACE, DRILL).await?;
    let dead = marked.iter().filter_map(|namespace| {
        let annotation = |name: &str| namespace["metadata"]["annotations"][name].as_str();
        let drill = namespace["metadata"]["labels"][DRILL].as_str()?;
        let is_dead = annotation(HOST)? == here && run_directory::is_dead(Path::new(annotation(LOCK)?));
        is_dead.then(|| (drill.to_owned(), annotation(RUN).unwrap_or_default().to_owned()))
    });
    Ok(dead.collect())
}

fn field(object: &Value, name: &str) -> String {
    object["metadata"][name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn answer(code: u16) -> KubernetesError {
        let status = kube::core::Status::failure("no", "No").with_code(code);
        KubernetesError::Api { doing: "list".to_owned(), source: Box::new(kube::Error::Api(Box::new(status))) }
    }

    fn unreachable() -> KubernetesError {
        let source = kube::Error::Service("connection refused".into());
        KubernetesError::Api { doing: "list".to_owned(), source: Box::new(source) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
        let said = |mut answers: VecDeque<Result<u8, KubernetesError>>| async move {
            let result = when_back(async || answers.pop_front().expect("asked once too often")).await;
            (result.map_err(|error| error.to_string()), answers.len())
        };
        let comes_back = [Err(unreachable()), Err(answer(503)), Ok(1)];
        assert_eq!(said(comes_back.into()).await, (Ok(1), 0));
        let refuses = [Err(unreachable()), Err(answer(403)), Ok(1)];
        assert!(matches!(said(refuses.into()).await, (Err(_), 1)));
    }
    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_stays_away_is_not_waited_for_for_ever() {
        let start = tokio::time::Instant::now();
        let result = when_back(async || Err::<(), _>(unreachable())).await;
        assert!(matches!(result, Err(KubernetesError::Deadline { last, .. }) if last.contains("connection refused")));
        assert!(start.elapsed() >= AWAY);
    }
}
