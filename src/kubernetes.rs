//! The harness's own hand on a cluster, through kube-rs: the same code for the served API and for a real one.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{ApiCapabilities, Discovery};
use serde_json::Value;
use tokio::time::Instant;

mod exec;

pub use exec::{Exec, ExecRequest, Terminal};
pub use kube::discovery::Scope;
/// What keeps redrill from finding something out on a cluster.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    #[error("{doing}")]
    Api {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the cluster does not serve {kind} ({api_version})")]
    NotServed { api_version: String, kind: String },
    #[error("{doing}: the answer is not the object that was asked for")]
    Unreadable {
        doing: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("{condition}: not so after {}s, last seen: {last}", deadline.as_secs())]
    Deadline { condition: String, deadline: Duration, last: String },
}

impl KubernetesError {
    /// Whether a cluster answered, if only to refuse.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Api { source, .. } => matches!(**source, kube::Error::Api(_)),
            Self::NotServed { .. } | Self::Unreadable { .. } | Self::Refused(_) | Self::Deadline { .. } => true,
        }
    }

    /// Whether nobody answered, or somebody who could not: a server that starts or stops. The same may be asked again.
    pub fn is_away(&self) -> bool {
        let cannot = |source: &kube::Error| matches!(source, kube::Error::Api(status) if status.code >= 500);
        !self.is_answer() || matches!(self, Self::Api { source, .. } if cannot(source))
    }

    /// Whether a cluster has no room for more, in the words of its admission, its limits and its scheduler.
    pub fn is_for_room(&self) -> bool {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => {
                    status.code == 429 || (status.code == 403 && status.message.to_lowercase().contains("quota"))
                }
                _ => false,
            },
            Self::Deadline { last, .. } => says_full(last),
            Self::NotServed { .. } | Self::Unreadable { .. } | Self::Refused(_) => false,
        }
    }
}

/// Whether a scheduler says that nodes have no room, and not that a pod wants others.
pub fn says_full(message: &str) -> bool {
    message.contains("Insufficient ") || message.contains("Too many pods")
}

/// A kind by its apiVersion and name, as manifests write it.
pub type TypeName<'a> = (&'a str, &'a str);

pub const POD: TypeName<'static> = ("v1", "Pod");
pub const SECRET: TypeName<'static> = ("v1", "Secret");
pub const CONFIG_MAP: TypeName<'static> = ("v1", "ConfigMap");
pub const CLAIM: TypeName<'static> = ("v1", "PersistentVolumeClaim");
pub const SERVICE: TypeName<'static> = ("v1", "Service");
pub const NAMESPACE: TypeName<'static> = ("v1", "Namespace");
pub const ENDPOINTS: TypeName<'static> = ("v1", "Endpoints");
pub const SERVICE_ACCOUNT: TypeName<'static> = ("v1", "ServiceAccount");
pub const VOLUME: TypeName<'static> = ("v1", "PersistentVolume");
pub const EVENT: TypeName<'static> = ("v1", "Event");
pub const JOB: TypeName<'static> = ("batch/v1", "Job");
pub const DEPLOYMENT: TypeName<'static> = ("apps/v1", "Deployment");
pub const STATEFUL_SET: TypeName<'static> = ("apps/v1", "StatefulSet");

pub const CRON_JOB: TypeName<'static> = ("batch/v1", "CronJob");

/// A kind by any of the names that kubectl takes for it: `pods`, `po`, `CronJob`, `deploy`.
pub fn type_of(name: &str) -> Option<TypeName<'static>> {
    let name = name.to_ascii_lowercase();
    let kinds: [(TypeName<'static>, &[&str]); 7] = [
        (POD, &["pod", "pods", "po"]),
        (JOB, &["job", "jobs"]),
        (CRON_JOB, &["cronjob", "cronjobs", "cj"]),
        (DEPLOYMENT, &["deployment", "deployments", "deploy"]),
        (STATEFUL_SET, &["statefulset", "statefulsets", "sts"]),
        (SECRET, &["secret", "secrets"]),
        (CLAIM, &["persistentvolumeclaim", "persistentvolumeclaims", "pvc"]),
    ];
    kinds.into_iter().find(|(_, names)| names.contains(&name.as_str())).map(|(kind, _)| kind)
}

/// One cluster, as its administrator.
#[derive(Clone)]
pub struct Kubernetes {
    client: kube::Client,
    kinds: std::sync::Arc<Discovery>,
    address: std::sync::Arc<str>,
}

impl Kubernetes {
    /// Asks the cluster what it serves.
    pub async fn connect(client: kube::Client) -> Result<Self, KubernetesError> {
        let kinds = Discovery::new(client.clone()).run().await;
        let kinds = kinds.map_err(api_error("ask the cluster what it serves"))?;
        Ok(Self { client, kinds: std::sync::Arc::new(kinds), address: "".into() })
    }

    /// The same, known by the address of its server, which tells one cluster from another.
    pub fn at(self, address: &str) -> Self {
        Self { address: address.into(), ..self }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    fn resource(&self, kind: TypeName) -> Result<(ApiResource, ApiCapabilities), KubernetesError> {
        let (api_version, name) = kind;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        // Until 1.21 a CronJob was of v1beta1 alone, and it says the same.
        let versions = [version, if kind == CRON_JOB { "v1beta1" } else { version }];
        let served = |version| self.kinds.resolve_gvk(&GroupVersionKind::gvk(group, version, name));
        versions
            .into_iter()
            .find_map(served)
            .ok_or_else(|| KubernetesError::NotServed { api_version: api_version.into(), kind: name.into() })
    }

    fn api(&self, kind: TypeName, namespace: &str) -> Result<Api<DynamicObject>, KubernetesError> {
        let (resource, capabilities) = self.resource(kind)?;
        Ok(match (capabilities.scope, namespace) {
            (Scope::Namespaced, "") => Api::default_namespaced_with(self.client.clone(), &resource),
            (Scope::Namespaced, namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            (Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// Creates one object as its manifest has it.
    pub async fn create(&self, object: &Value) -> Result<Value, KubernetesError> {
        let doing = format!("create {}", describe(object));
        let api = self.api(type_name(object), object["metadata"]["namespace"].as_str().unwrap_or_default())?;
        let mut body = object.clone();
        body["apiVersion"] = self.resource(type_name(object))?.0.api_version.into();
        let body = from_value(&doing, body)?;
        let created = api.create(&PostParams::default(), &body).await.map_err(api_error(&doing))?;
        to_value(&doing, created)
    }

    /// `None` where there is no such object.
    pub async fn get(&self, kind: TypeName<'_>, namespace: &str, name: &str) -> Result<Option<Value>, KubernetesError> {
        let doing = format!("get {} {namespace}/{name}", kind.1);
        let found = self.api(kind, namespace)?.get_opt(name).await.map_err(api_error(&doing))?;
        found.map(|object| to_value(&doing, object)).transpose()
    }

    /// Waits until there is such an object, and gives it.
    pub async fn get_soon(
        &self,
        kind: TypeName<'_>,
        namespace: &str,
        name: &str,
        deadline: Duration,
    ) -> Result<Value, KubernetesError> {
        let start = Instant::now();
        loop {
            if let Some(object) = self.get(kind, namespace, name).await? {
                return Ok(object);
            }
            if start.elapsed() >= deadline {
                let condition = format!("{} {namespace}/{name} there", kind.1);
                return Err(KubernetesError::Deadline { condition, deadline, last: "not there".to_owned() });
            }
            tokio::time::sleep(look_again(start.elapsed())).await;
        }
    }

    pub async fn list(&self, kind: TypeName<'_>, namespace: &str) -> Result<Vec<Value>, KubernetesError> {
        self.list_with(kind, namespace, &ListParams::default()).await
    }

    /// Those of a kind, in all namespaces where it has any, that a label selector selects.
    pub async fn list_labelled(&self, kind: TypeName<'_>, selector: &str) -> Result<Vec<Value>, KubernetesError> {
        self.list_with(kind, "", &ListParams::default().labels(selector)).await
    }

    async fn list_with(
        &self,
        kind: TypeName<'_>,
        namespace: &str,
        parameters: &ListParams,
    ) -> Result<Vec<Value>, KubernetesError> {
        let doing = format!("list {} in {namespace}", kind.1);
        let list = self.api(kind, namespace)?.list(parameters).await.map_err(api_error(&doing))?;
        list.items.into_iter().map(|object| to_value(&doing, object)).collect()
    }

    /// A merge patch.
    pub async fn patch(
        &self,
        kind: TypeName<'_>,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, KubernetesError> {
        let doing = format!("patch {} {namespace}/{name}", kind.1);
        let api = self.api(kind, namespace)?;
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        to_value(&doing, patched.map_err(api_error(&doing))?)
    }

    /// Asks for the deletion of an object; what is not there any more is fine.
    pub async fn delete(&self, kind: TypeName<'_>, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let doing = format!("delete {} {namespace}/{name}", kind.1);
        match self.api(kind, namespace)?.delete(name, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(api_error(&doing)(error)),
        }
    }

    /// The same for one of several that had the name one after the other, by its uid.
    pub async fn delete_this(
        &self,
        kind: TypeName<'_>,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), KubernetesError> {
        let doing = format!("delete {} {namespace}/{name}", kind.1);
        let preconditions = Some(kube::api::Preconditions { uid: Some(uid.to_owned()), ..Default::default() });
        let parameters = DeleteParams { preconditions, ..DeleteParams::background() };
        match self.api(kind, namespace)?.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            // Gone, or another one by now.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => Err(api_error(&doing)(error)),
        }
    }

    /// Every kind of every version that is served: group, version, plural, its apiVersion and name, and where its objects are.
    pub fn served(&self) -> impl Iterator<Item = (ApiResource, ApiCapabilities)> {
        self.kinds.groups().flat_map(|group| {
            let versions: Vec<_> = group.versions().map(str::to_owned).collect();
            versions.into_iter().flat_map(|version| group.versioned_resources(&version))
        })
    }

    /// Whether anybody answers there.
    pub async fn answers(&self) -> Result<(), KubernetesError> {
        self.version().await.map(drop)
    }

    /// The server's own, as `v1.32.4`.
    pub async fn version(&self) -> Result<String, KubernetesError> {
        let version = self.client.apiserver_version().await.map_err(api_error("ask the cluster for its version"))?;
        Ok(version.git_version)
    }

    /// Whether redrill serves it itself.
    pub async fn is_redrills(&self) -> Result<bool, KubernetesError> {
        let version = self.client.apiserver_version().await.map_err(api_error("ask the cluster for its version"))?;
        Ok(version.git_tree_state == crate::cluster::discovery::SERVED)
    }

    /// Deletes a pod without grace, as a disaster does.
    pub async fn kill_pod(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let doing = format!("kill pod {namespace}/{name}");
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        match self.api(POD, namespace)?.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(api_error(&doing)(error)),
        }
    }

    /// The log of a pod's container, whole.
    pub async fn log(&self, namespace: &str, pod: &str) -> Result<String, KubernetesError> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        let doing = format!("read the log of pod {namespace}/{pod}");
        pods.logs(pod, &kube::api::LogParams::default()).await.map_err(api_error(&doing))
    }
}

/// How long until the next look at something that has been waited for this long: 20 ms at first, so that short waits
/// cost little more than they are, up to half a second.
pub fn look_again(waited: Duration) -> Duration {
    (waited / 20).clamp(Duration::from_millis(20), Duration::from_millis(500))
}

/// Looks until `condition` holds: it answers `Ok(value)`, or `Err(what is seen instead)`.
///
/// Looks at once, then as [`look_again`] has it; at the deadline it errs with the last thing seen.
pub async fn wait_for<T, F>(what: &str, deadline: Duration, mut condition: F) -> Result<T, KubernetesError>
where
    F: AsyncFnMut() -> Result<Result<T, String>, KubernetesError>,
{
    let start = Instant::now();
    loop {
        match condition().await? {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= deadline => {
                return Err(KubernetesError::Deadline { condition: what.to_owned(), deadline, last });
            }
            Err(_) => tokio::time::sleep(look_again(start.elapsed())).await,
        }
    }
}

/// `Deployment taiga/backup-restore`.
pub fn describe(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or("object");
    let name = object["metadata"]["name"].as_str().unwrap_or("?");
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

fn type_name(object: &Value) -> TypeName<'_> {
    (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default())
}

fn api_error(doing: &str) -> impl FnOnce(kube::Error) -> KubernetesError + use<> {
    let doing = doing.to_owned();
    move |source| KubernetesError::Api { doing, source: Box::new(source) }
}

fn from_value(doing: &str, object: Value) -> Result<DynamicObject, KubernetesError> {
    serde_json::from_value(object).map_err(|source| KubernetesError::Unreadable { doing: doing.to_owned(), source })
}

fn to_value(doing: &str, object: DynamicObject) -> Result<Value, KubernetesError> {
    serde_json::to_value(object).map_err(|source| KubernetesError::Unreadable { doing: doing.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_never_holds_errs_with_the_last_thing_seen() {
        let error = wait_for("pod ready", Duration::from_secs(3), async || Ok(Err::<(), _>("Pending".to_owned())))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "pod ready: not so after 3s, last seen: Pending");
    }
}
