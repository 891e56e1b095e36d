//! Limits of memory and processor: those that an engine keeps, and those that it would drop with a word that nobody reads.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use testcontainers::bollard::models::SystemInfo;

use crate::runtime::{ContainerId, Limits};

/// What an engine can keep, and what it was asked in vain to keep.
pub(super) struct Keeper {
    memory: bool,
    cpu: bool,
    unkept: Mutex<BTreeSet<String>>,
}

impl Keeper {
    /// An engine that does not say what its kernel lets it limit is taken to limit it, and refuses where it cannot.
    pub fn of(engine: &SystemInfo) -> Self {
        Self {
            memory: engine.memory_limit.unwrap_or(true),
            cpu: engine.cpu_cfs_quota.unwrap_or(true),
            unkept: Mutex::default(),
        }
    }

    /// Those limits of a container that are kept; the others are remembered.
    pub fn keep(&self, id: &ContainerId, limits: Limits) -> Limits {
        let unkept = |resource: &str| {
            // The last part of a pod's name is drawn.
            let pod = id.pod.0.rsplit_once('/').map_or(&*id.pod.0, |(name, _)| name);
            let mut unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
            unkept.insert(format!("limit of {resource} of the container {pod}/{}", id.container));
        };
        if limits.memory.is_some() && !self.memory {
            unkept("memory");
        }
        if limits.cpu.is_some() && !self.cpu {
            unkept("cpu");
        }
        Limits { memory: limits.memory.filter(|_| self.memory), cpu: limits.cpu.filter(|_| self.cpu) }
    }

    /// Names of the limits that were not kept, sorted.
    pub fn unkept(&self) -> Vec<String> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::PodId;

    #[test]
    fn a_limit_that_the_engine_cannot_keep_is_named_and_not_asked_for() {
        let keeper =
            Keeper::of(&SystemInfo { memory_limit: Some(false), cpu_cfs_quota: Some(true), ..SystemInfo::default() });
        let id = ContainerId { pod: PodId("main/default/db/5f".to_owned()), container: "server".to_owned() };
        let none = Limits::default();
        assert_eq!((keeper.keep(&id, none), keeper.unkept()), (none, Vec::new()));
        let limits = Limits { memory: Some(1 << 30), cpu: Some(0.5) };
        assert_eq!(keeper.keep(&id, limits), Limits { memory: None, cpu: Some(0.5) });
        assert_eq!(keeper.unkept(), ["limit of memory of the container main/default/db/server"]);
        let all = Keeper::of(&SystemInfo::default());
        assert_eq!((all.keep(&id, limits), all.unkept()), (limits, Vec::new()));
    }
}
