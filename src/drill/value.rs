//! Values at run time: where a scenario says that one comes from, looked up when it is needed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use crate::environment::Clusters;
use crate::kubernetes::{self, KubernetesError};
use crate::redact::{Redactor, Secret, TooShort};
use crate::scenario::{Encoding, Escrow, KeyRef, Loss, ObjectName, ValueFrom};

#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error("{source_line}: {kind} {namespace}/{name} has no key `{key}` now")]
    NoKey { source_line: String, kind: &'static str, namespace: String, name: String, key: String },
    #[error("{source_line}: {kind} {namespace}/{name} is not there now")]
    NoObject { source_line: String, kind: &'static str, namespace: String, name: String },
    #[error("{source_line}: the value of `{key}` is not text")]
    NotText { source_line: String, key: String },
    #[error("{what}")]
    Unprotected {
        what: String,
        #[source]
        source: TooShort,
    },
}

/// For whom a value is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    System,
    Person,
}

/// Looks values up in the cluster, and keeps the ones it has drawn.
///
/// Every secret is known to the redactor before anybody else sees it.
pub struct Values {
    clusters: Clusters,
    redactor: Redactor,
    generated: Mutex<BTreeMap<String, Secret>>,
    /// Secrets and ConfigMaps that survive their cluster or namespace by declaration, by kind and name, as they were when it was lost.
    escrow: BTreeMap<(&'static str, ObjectName), Value>,
    rng: u64,
}

impl Values {
    pub fn new(clusters: Clusters, redactor: Redactor, rng: u64) -> Self {
        Self { clusters, redactor, generated: Mutex::default(), escrow: BTreeMap::new(), rng }
    }

    /// Keeps a copy of what survives the loss of its cluster or namespace by declaration: somebody has it in a safe place. Nothing else is
    /// kept: what a procedure deletes is gone.
    pub async fn keep(&mut self, loss: &Loss) -> Result<(), ValueError> {
        for kept in &loss.escrow {
            let (type_name, kind, name) = match kept {
                Escrow::Secret(name) => (kubernetes::SECRET, "Secret", name),
                Escrow::ConfigMap(name) => (kubernetes::CONFIG_MAP, "ConfigMap", name),
                Escrow::Store(_) | Escrow::Manifests => continue,
            };
            if !loss.takes_all_around(name) {
                continue;
            }
            let kubernetes = self.clusters.of(name.cluster.as_deref());
            if let Some(object) = kubernetes.get(type_name, &name.namespace, &name.name).await? {
                self.escrow.insert((kind, name.clone()), object);
            }
        }
        Ok(())
    }

    /// What was kept, each with its kind.
    pub fn kept(&self) -> impl Iterator<Item = (&'static str, &ObjectName, &Value)> {
        self.escrow.iter().map(|((kind, name), object)| (*kind, name, object))
    }

    /// A secret as it is kept now.
    ///
    /// Errs where the object or the key is not there: what that means is for the caller to say.
    pub async fn secret(&self, from: &ValueFrom) -> Result<Secret, ValueError> {
        self.protected(from, Reader::System).await
    }

    /// A secret as a person knows it: as it was before the loss where somebody kept it, whatever the system holds by now.
    pub async fn known(&self, from: &ValueFrom) -> Result<Secret, ValueError> {
        self.protected(from, Reader::Person).await
    }

    async fn protected(&self, from: &ValueFrom, reader: Reader) -> Result<Secret, ValueError> {
        let value = self.read(from, reader).await?;
        if matches!(from, ValueFrom::Literal(_)) {
            // What stands in the scenario for all to read is none.
            return Ok(value);
        }
        self.redactor.add(&value).map_err(|source| ValueError::Unprotected { what: from.to_string(), source })?;
        Ok(value)
    }

    /// A name that may be kept in a Secret but is none: a user, a database.
    pub async fn name(&self, from: &ValueFrom) -> Result<String, ValueError> {
        Ok(self.read(from, Reader::System).await?.expose().to_owned())
    }

    async fn read(&self, from: &ValueFrom, reader: Reader) -> Result<Secret, ValueError> {
        match from {
            ValueFrom::Literal(value) => Ok(Secret::new(value)),
            ValueFrom::Generated(name) => Ok(self.generated(name)),
            ValueFrom::Secret(key) => {
                let encoded = self.key(key, kubernetes::SECRET, "Secret", reader).await?;
                if key.encoding == Encoding::Base64 {
                    return Ok(Secret::new(encoded));
                }
                let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let value = decoded
                    .ok_or_else(|| ValueError::NotText { source_line: key.source.to_string(), key: key.key.clone() })?;
                Ok(Secret::new(value))
            }
            ValueFrom::ConfigMap(key) => {
                Ok(Secret::new(self.key(key, kubernetes::CONFIG_MAP, "ConfigMap", reader).await?))
            }
        }
    }

    async fn key(
        &self,
        key: &KeyRef,
        type_name: kubernetes::TypeName<'_>,
        kind: &'static str,
        reader: Reader,
    ) -> Result<String, ValueError> {
        let (namespace, name) = (key.object.namespace.clone(), key.object.name.clone());
        let source_line = key.source.to_string();
        let kubernetes = self.clusters.of(key.object.cluster.as_deref());
        // A lost cluster is asked no more. A lost namespace comes back, and what it holds then may be something else.
        let is_kept = reader == Reader::Person || key.object.cluster.is_some();
        let kept = self.escrow.get(&(kind, key.object.clone())).filter(|_| is_kept);
        let object = match kept {
            Some(kept) => Some(kept.clone()),
            None => kubernetes.get(type_name, &namespace, &name).await?,
        };
        let Some(object) = object else { return Err(ValueError::NoObject { source_line, kind, namespace, name }) };
        match object["data"][&key.key].as_str() {
            Some(value) => Ok(value.to_owned()),
            None => Err(ValueError::NoKey { source_line, kind, namespace, name, key: key.key.clone() }),
        }
    }

    fn generated(&self, name: &str) -> Secret {
        let mut generated = self.generated.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        generated.entry(name.to_owned()).or_insert_with(|| Secret::new(word(self.rng, name))).clone()
    }
}

/// 24 letters and digits that depend on the run's seed and the name alone.
pub fn word(rng: u64, name: &str) -> String {
    let seed = blake3::derive_key("redrill generated value", format!("{rng}/{name}").as_bytes());
    let mut rng = ChaCha20Rng::from_seed(seed);
    (0..24).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_word_depends_on_the_seed_and_the_name_alone() {
        assert_eq!(word(1, "new"), word(1, "new"));
        assert_ne!(word(1, "new"), word(2, "new"));
        assert_ne!(word(1, "new"), word(1, "old"));
        assert!(word(1, "new").chars().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(word(1, "new").len(), 24);
    }
}
