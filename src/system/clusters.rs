//! A system that is spread over clusters: the manifests of each.

use std::collections::{BTreeMap, BTreeSet};

use super::image::PullPolicy;
use super::{SecretObject, System};
use crate::outcome::SourceRef;
use crate::redact::Secret;

/// The systems of a scenario's clusters, in their order: one without a name, or several with theirs.
#[derive(Debug, Clone, Default)]
pub struct Systems(Vec<(Option<String>, System)>);

impl Systems {
    pub fn new(systems: Vec<(Option<String>, System)>) -> Self {
        Self(systems)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &System)> {
        self.0.iter().map(|(name, system)| (name.as_deref(), system))
    }

    /// The manifests of a cluster; `None` names the only one, and none of several.
    pub fn of(&self, cluster: Option<&str>) -> Option<&System> {
        self.iter().find(|(name, _)| *name == cluster).map(|(_, system)| system)
    }

    /// Names of several clusters; empty where there is but one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(name, _)| name.as_deref())
    }

    /// Every image that a container names, with the places that name it.
    pub fn images(&self) -> BTreeMap<String, Vec<SourceRef>> {
        let mut images: BTreeMap<String, Vec<SourceRef>> = BTreeMap::new();
        for (image, places) in self.0.iter().flat_map(|(_, system)| system.images()) {
            images.entry(image).or_default().extend(places);
        }
        images
    }

    /// When the images are pulled that containers name, by image.
    pub fn pull_policies(&self) -> BTreeMap<String, BTreeSet<PullPolicy>> {
        let mut all: BTreeMap<String, BTreeSet<PullPolicy>> = BTreeMap::new();
        for (image, policies) in self.0.iter().flat_map(|(_, system)| system.pull_policies()) {
            all.entry(image).or_default().extend(policies);
        }
        all
    }

    /// What the Secrets hold with which images are pulled, by image.
    pub fn pull_secrets(&self) -> BTreeMap<String, Vec<Secret>> {
        let mut all: BTreeMap<String, Vec<Secret>> = BTreeMap::new();
        for (image, secrets) in self.0.iter().flat_map(|(_, system)| system.pull_secrets()) {
            all.entry(image).or_default().extend(secrets);
        }
        all
    }

    pub fn secrets(&self) -> Vec<SecretObject> {
        self.0.iter().flat_map(|(_, system)| system.secrets()).collect()
    }
}
