//! What is drilled: the team's Kubernetes manifests, and the images that stand for those they name.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::kind::{self, Kind};
use crate::outcome::SourceRef;
use crate::redact::Secret;

pub mod image;
pub mod manifest;
mod pod_template;
mod reference;
mod yaml;

/// Something in the team's files that keeps a drill from starting: where, what, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{source_ref}: {message}")]
pub struct Problem {
    pub source_ref: SourceRef,
    pub message: String,
}

impl Problem {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { source_ref: SourceRef { file: file.to_owned(), line }, message: message.into() }
    }
}

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
    /// Where a field stands, or what is around it. `path` is a JSON pointer.
    pub fn source_of(&self, path: &str) -> SourceRef {
        let line = self.lines.of(path).unwrap_or(self.source.line);
        SourceRef { file: self.source.file.clone(), line }
    }

    fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem { source_ref: self.source_of(path), message: message.into() }
    }
}

/// A PersistentVolumeClaim of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub namespace: String,
    pub name: String,
    pub source: SourceRef,
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

    /// Every image that a container names, with the places that name it.
    pub fn images(&self) -> BTreeMap<String, Vec<SourceRef>> {
        let mut images: BTreeMap<String, Vec<SourceRef>> = BTreeMap::new();
        for object in &self.objects {
            for (path, container) in pod_template::containers(object) {
                if let Some(image) = container["image"].as_str() {
                    images.entry(image.to_owned()).or_default().push(object.source_of(&format!("{path}/image")));
                }
            }
        }
        images
    }

    pub fn claims(&self) -> Vec<Claim> {
        let claims = self.objects.iter().filter(|object| object.kind == &kind::CLAIM);
        let claim = |object: &Object| Claim {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            source: object.source.clone(),
        };
        claims.map(claim).collect()
    }

    pub fn secrets(&self) -> Vec<SecretObject> {
        let secrets = self.objects.iter().filter(|object| object.kind == &kind::SECRET);
        let secret = |object: &Object| SecretObject {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            values: manifest::secret_values(&object.value),
            source: object.source.clone(),
        };
        secrets.map(secret).collect()
    }
}
