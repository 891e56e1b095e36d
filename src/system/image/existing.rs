//! Images that exist: no folder stands for them, so an engine has them, or gets them from their registry.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster;
use crate::outcome::SourceRef;
use crate::redact::Secret;

/// When a node asks an image's registry for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// As a container has it, or else as a cluster reads its image's tag. A word that no cluster knows is refused when the
    /// manifests are applied.
    pub fn of(container: &Value) -> Option<Self> {
        let image = container["image"].as_str()?;
        container["imagePullPolicy"].as_str().map_or_else(|| Some(Self::by_tag(image)), Self::named)
    }

    /// Where nobody says one.
    pub fn by_tag(image: &str) -> Self {
        Self::named(cluster::pull_policy(image)).unwrap_or(Self::IfNotPresent)
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Always, Self::IfNotPresent, Self::Never].into_iter().find(|policy| policy.name() == name)
    }

    /// As manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What the policies of an image's containers come to, before a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// What is there is taken.
    No,
    Yes(PullPolicy),
    /// It is not there, and a container says that it is never pulled.
    Forbidden,
}

/// An image of the team's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingImage {
    /// Of the containers that name it.
    pub policies: BTreeSet<PullPolicy>,
    /// What the Secrets hold that their pods name to pull it with, as docker's configuration has it.
    pub secrets: Vec<Secret>,
    /// Where the system names it.
    pub places: Vec<SourceRef>,
    /// Where the scenario does.
    pub binding: SourceRef,
}

impl ExistingImage {
    /// Whether to pull it. All its containers run one image, so that one of them has it pulled for all; what a container must
    /// not pull has to be there without the others' help, since nobody knows which of them starts first.
    pub fn pull(&self, is_there: bool) -> Pull {
        let says = |policy: PullPolicy| self.policies.contains(&policy);
        match is_there {
            false if says(PullPolicy::Never) => Pull::Forbidden,
            _ if says(PullPolicy::Always) => Pull::Yes(PullPolicy::Always),
            false => Pull::Yes(PullPolicy::IfNotPresent),
            true => Pull::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::PullPolicy::{Always, IfNotPresent, Never};
    use super::*;

    fn source(line: usize) -> SourceRef {
        SourceRef { file: "system.yaml".to_owned(), line }
    }

    #[test]
    fn a_container_says_when_its_image_is_pulled_or_the_tag_does() {
        for (container, policy) in [
            (json!({"image": "team/app:1.4", "imagePullPolicy": "Always"}), Some(Always)),
            (json!({"image": "team/app", "imagePullPolicy": "Never"}), Some(Never)),
            (json!({"image": "team/app:latest"}), Some(Always)),
            (json!({"image": "host:5000/team/app"}), Some(Always)),
            (json!({"image": "team/app:1.4"}), Some(IfNotPresent)),
            (json!({"image": "team/app@sha256:ab"}), Some(IfNotPresent)),
            (json!({"image": "team/app:1.4", "imagePullPolicy": "Perhaps"}), None),
            (json!({"name": "without"}), None),
        ] {
            assert_eq!(PullPolicy::of(&container), policy, "{container}");
        }
    }

    #[test]
    fn what_is_there_is_pulled_again_only_where_a_container_says_always() {
        let pull = |policies: &[PullPolicy], is_there| {
            let policies = policies.iter().copied().collect();
            ExistingImage { policies, secrets: Vec::new(), places: vec![source(1)], binding: source(2) }.pull(is_there)
        };
        assert_eq!(pull(&[IfNotPresent], true), Pull::No);
        assert_eq!(pull(&[IfNotPresent], false), Pull::Yes(IfNotPresent));
        assert_eq!(pull(&[Always, IfNotPresent], true), Pull::Yes(Always));
        assert_eq!(pull(&[Always], false), Pull::Yes(Always));
        assert_eq!(pull(&[Never], true), Pull::No);
        assert_eq!(pull(&[Never], false), Pull::Forbidden);
        assert_eq!(pull(&[Always, Never], false), Pull::Forbidden);
        assert_eq!(pull(&[Always, Never], true), Pull::Yes(Always));
    }
}
