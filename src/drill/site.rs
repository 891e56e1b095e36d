//! Where the system is: its namespaces, cluster by cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::environment::Clusters;
use crate::kubernetes::{self, Kubernetes, KubernetesError, TypeName};
use crate::system::Systems;

/// One cluster of the system.
#[derive(Clone)]
pub struct Site {
    /// `None` where it is the only one.
    pub cluster: Option<String>,
    pub kubernetes: Kubernetes,
    /// Of the system, in the order of names.
    pub namespaces: Vec<String>,
}

impl Site {
    /// Every cluster that the system has manifests for.
    pub fn all(clusters: &Clusters, systems: &Systems) -> Vec<Self> {
        let site = |(cluster, system): (Option<&str>, &crate::system::System)| {
            let namespaces: BTreeSet<&str> =
                system.objects().iter().map(|object| &*object.namespace).filter(|name| !name.is_empty()).collect();
            Self {
                cluster: cluster.map(str::to_owned),
                kubernetes: clusters.of(cluster).clone(),
                namespaces: namespaces.into_iter().map(str::to_owned).collect(),
            }
        };
        systems.iter().map(site).collect()
    }

    /// The objects of these kinds in the system's namespaces, each with its kind, which items of a list do not name.
    pub async fn list(&self, kinds: &[TypeName<'static>]) -> Result<Vec<Value>, KubernetesError> {
        let mut objects = Vec::new();
        for namespace in &self.namespaces {
            for &(api_version, kind) in kinds {
                for mut object in self.kubernetes.list((api_version, kind), namespace).await? {
                    object["kind"] = kind.into();
                    objects.push(object);
                }
            }
        }
        Ok(objects)
    }

    /// `Deployment taiga/web`, with the cluster's name in front where there are several.
    pub fn describe(&self, object: &Value) -> String {
        let name = kubernetes::describe(object);
        match &self.cluster {
            Some(cluster) => format!("{cluster}: {name}"),
            None => name,
        }
    }
}
