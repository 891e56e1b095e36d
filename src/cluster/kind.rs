//! The kinds that the served API knows.

/// A kind as the API serves it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short: &'static [&'static str],
    pub namespaced: bool,
}

impl Kind {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `pods`, `deployments.apps`: as error messages name it.
    pub fn resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Whether `metadata.generation` counts the changes of its spec.
    pub fn has_generation(&self) -> bool {
        ["apps", "batch"].contains(&self.group) || self.kind == "Pod"
    }
}

const fn kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
) -> Kind {
    Kind { group, version: "v1", kind, plural, singular, short, namespaced }
}

pub static NAMESPACE: Kind = kind("", "Namespace", "namespaces", "namespace", &["ns"], false);
pub static NODE: Kind = kind("", "Node", "nodes", "node", &["no"], false);
pub static POD: Kind = kind("", "Pod", "pods", "pod", &["po"], true);
pub static SERVICE: Kind = kind("", "Service", "services", "service", &["svc"], true);
pub static ENDPOINTS: Kind = kind("", "Endpoints", "endpoints", "endpoints", &["ep"], true);
pub static SECRET: Kind = kind("", "Secret", "secrets", "secret", &[], true);
pub static CONFIG_MAP: Kind = kind("", "ConfigMap", "configmaps", "configmap", &["cm"], true);
pub static SERVICE_ACCOUNT: Kind = kind("", "ServiceAccount", "serviceaccounts", "serviceaccount", &["sa"], true);
pub static EVENT: Kind = kind("", "Event", "events", "event", &["ev"], true);
pub static CLAIM: Kind =
    kind("", "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", &["pvc"], true);
pub static DEPLOYMENT: Kind = kind("apps", "Deployment", "deployments", "deployment", &["deploy"], true);
pub static REPLICA_SET: Kind = kind("apps", "ReplicaSet", "replicasets", "replicaset", &["rs"], true);
pub static STATEFUL_SET: Kind = kind("apps", "StatefulSet", "statefulsets", "statefulset", &["sts"], true);
pub static JOB: Kind = kind("batch", "Job", "jobs", "job", &[], true);
pub static CRON_JOB: Kind = kind("batch", "CronJob", "cronjobs", "cronjob", &["cj"], true);

/// Every kind that is served.
pub static KINDS: &[&Kind] = &[
    &NAMESPACE,
    &NODE,
    &POD,
    &SERVICE,
    &ENDPOINTS,
    &SECRET,
    &CONFIG_MAP,
    &SERVICE_ACCOUNT,
    &EVENT,
    &CLAIM,
    &DEPLOYMENT,
    &REPLICA_SET,
    &STATEFUL_SET,
    &JOB,
    &CRON_JOB,
];

/// The kind with this apiVersion and kind, as manifests name it.
pub fn of_manifest(api_version: &str, name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.kind == name && kind.api_version() == api_version)
}
