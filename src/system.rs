//! What is drilled: the team's Kubernetes manifests, and the images that stand for those they name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::kind::{self, Kind};
use crate::outcome::SourceRef;
use crate::problem::{Problem, suggestion};
use crate::redact::Secret;

pub mod chart;
pub mod cloud_formation;
mod clusters;
pub mod image;
pub mod manifest;
mod pod_template;
mod reference;
mod yaml;

pub use clusters::Systems;

use image::PullPolicy;

/// Of a Secret of type kubernetes.io/dockerconfigjson.
const PULL_SECRET: &str = ".dockerconfigjson";

/// One object of the manifests, as `kubectl apply` would send it.
#[derive(Clone)]
pub struct Object {
    pub kind: &'static Kind,
    /// Empty for kinds that have none; `default` where the manifest says nothing.
    pub namespace: String,
    pub name: String,
    /// Holds the values of Secrets: never printed.
    pub value: Value,
    /// Where its document begins.
    pub source: SourceRef,
    lines: yaml::Lines,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{} at {}", self.kind.kind, self.namespace, self.name, self.source)
    }
}

impl Object {
    /// One that stands in no file: what something else makes on the way.
    fn made(kind: &'static Kind, name: &str, value: Value, source: SourceRef) -> Self {
        Self { kind, namespace: String::new(), name: name.to_owned(), value, source, lines: yaml::Lines::default() }
    }

    /// Where a field stands, or what is around it. `path` is a JSON pointer.
    pub fn source_of(&self, path: &str) -> SourceRef {
        let line = self.lines.of(path).unwrap_or(self.source.line);
        SourceRef { file: self.source.file.clone(), line }
    }

    fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem::new(&self.source_of(path), message)
    }

    /// Of a Secret or ConfigMap.
    fn keys(&self) -> BTreeSet<&str> {
        let sections = ["data", "stringData", "binaryData"].iter().filter_map(|field| self.value[*field].as_object());
        sections.flat_map(|fields| fields.keys().map(String::as_str)).collect()
    }
}

/// A Secret of the system, decoded.
#[derive(Debug, Clone)]
pub struct SecretObject {
    pub namespace: String,
    pub name: String,
    /// By key. Values that are not text are `None`: they are no passwords.
    pub values: BTreeMap<String, Option<Secret>>,
    pub source: SourceRef,
}

/// All objects of a system, in the order in which they are applied.
#[derive(Debug, Clone, Default)]
pub struct System {
    objects: Vec<Object>,
    /// Of a system that is a CloudFormation template.
    stack: Option<Box<cloud_formation::Stack>>,
}

impl System {
    /// Namespaces first, then what pods refer to, then services, then what makes pods.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The object as `Kind`, namespace and name.
    pub fn object(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Object> {
        let is_it = |object: &&Object| object.kind == kind && object.namespace == namespace && object.name == name;
        self.objects.iter().find(is_it)
    }

    /// The stack that the objects are of, where the system is one.
    pub fn stack(&self) -> Option<&cloud_formation::Stack> {
        self.stack.as_deref()
    }

    /// Every image that a container names, with the places that name it.
    pub fn images(&self) -> BTreeMap<String, Vec<SourceRef>> {
        let mut images = self.stack.as_ref().map(|stack| stack.images.clone()).unwrap_or_default();
        for object in &self.objects {
            for (path, container) in pod_template::containers(object) {
                if let Some(image) = container["image"].as_str() {
                    images.entry(image.to_owned()).or_default().push(object.source_of(&format!("{path}/image")));
                }
            }
        }
        images
    }

    /// When the images are pulled that containers name, by image.
    pub fn pull_policies(&self) -> BTreeMap<String, BTreeSet<PullPolicy>> {
        let mut policies: BTreeMap<String, BTreeSet<PullPolicy>> = BTreeMap::new();
        for (_, container) in self.objects.iter().flat_map(pod_template::containers) {
            if let (Some(image), Some(policy)) = (container["image"].as_str(), PullPolicy::of(container)) {
                policies.entry(image.to_owned()).or_default().insert(policy);
            }
        }
        policies
    }

    /// What the Secrets hold with which images are pulled, by image: those of the pod, else of its account. One that is not there, or is
    /// of another type, a node goes without.
    pub fn pull_secrets(&self) -> BTreeMap<String, Vec<Secret>> {
        let mut all: BTreeMap<String, Vec<Secret>> = BTreeMap::new();
        for object in &self.objects {
            let Some((_, spec)) = pod_template::pod_spec(object) else { continue };
            let account = spec["serviceAccountName"].as_str().unwrap_or("default");
            let account = self.object(&kind::SERVICE_ACCOUNT, &object.namespace, account);
            let named =
                |holder: &Value| holder["imagePullSecrets"].as_array().filter(|names| !names.is_empty()).cloned();
            let names = named(spec).or_else(|| named(&account?.value)).unwrap_or_default();
            let secrets = names.iter().filter_map(|reference| {
                let secret = self.object(&kind::SECRET, &object.namespace, reference["name"].as_str()?)?;
                manifest::secret_values(&secret.value).remove(PULL_SECRET).flatten()
            });
            let secrets: Vec<Secret> = secrets.collect();
            for (_, container) in pod_template::containers(object) {
                let known = all.entry(container["image"].as_str().unwrap_or_default().to_owned()).or_default();
                known.extend(secrets.iter().filter(|secret| !known.contains(secret)).cloned().collect::<Vec<_>>());
            }
        }
        all
    }

    pub fn objects_of(&self, kind: &Kind) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.kind == kind)
    }

    /// Why a name leads to no object, or to one that has no such key; `None` when it leads somewhere.
    pub fn lacks(&self, kind: &Kind, namespace: &str, name: &str, key: Option<&str>) -> Option<String> {
        let wanted = format!("{namespace}/{name}");
        let Some(object) = self.object(kind, namespace, name) else {
            let there: Vec<String> =
                self.objects_of(kind).map(|object| format!("{}/{}", object.namespace, object.name)).collect();
            let hint = suggestion(&wanted, there.iter().map(String::as_str));
            return Some(format!("no {} `{wanted}` is in the manifests{hint}", kind.kind));
        };
        let key = key.filter(|key| !object.keys().contains(key))?;
        let hint = suggestion(key, object.keys());
        Some(format!("{} `{wanted}` ({}) has no key `{key}`{hint}", kind.kind, object.source))
    }

    pub fn secrets(&self) -> Vec<SecretObject> {
        let secrets = self.objects_of(&kind::SECRET);
        let secret = |object: &Object| SecretObject {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            values: manifest::secret_values(&object.value),
            source: object.source.clone(),
        };
        secrets.map(secret).collect()
    }
}
