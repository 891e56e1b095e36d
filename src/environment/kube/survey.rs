//! What `redrill doctor` finds out about a cluster without making anything there: whether it answers, whether it has what drills need,
//! and whether this account may do what a drill does.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, PostParams};
use serde::Deserialize as _;

use super::context::{Connection, Contexts};
use crate::environment::EnvironmentError;
use crate::error::chain;

/// The rights that the documentation asks for, as it has them.
const RIGHTS: &str = include_str!("../../../examples/cluster/rights.yaml");
/// Questions that are asked at once.
const AT_ONCE: usize = 8;

/// One thing that was looked at, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub what: String,
    /// What to do, where a drill cannot be had without.
    pub remedy: Option<String>,
}

/// Something that an account may do with objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Right {
    group: String,
    resource: String,
    subresource: Option<String>,
    verb: String,
}

/// Looks at each cluster that was named. Errs where one cannot be asked.
pub async fn survey(contexts: &Contexts) -> Result<Vec<Look>, EnvironmentError> {
    let mut looks = Vec::new();
    for connection in contexts.all().await? {
        let version = connection.kubernetes.version().await?;
        let address = connection.kubernetes.address();
        looks.push(Look { what: format!("Kubernetes {version} at {address}"), remedy: None });
        looks.extend(kinds(&connection));
        looks.push(rights(&connection).await?);
    }
    Ok(looks)
}

/// What a drill cannot do without, or what it means that it is not there.
fn kinds(connection: &Connection) -> Vec<Look> {
    let served = |kind: &str| {
        let found = connection.kubernetes.served().find(|(served, _)| served.kind == kind);
        found.map(|(kind, _)| kind.api_version.clone())
    };
    let policies = match served("NetworkPolicy") {
        Some(version) => Look {
            what: format!("network policies ({version}); whether they are carried out, each drill tries"),
            remedy: None,
        },
        None => Look {
            what: "network policies".to_owned(),
            remedy: Some(
                "nothing here can close a drill: name another cluster, or accept it in the scenario (`open-cluster`)"
                    .to_owned(),
            ),
        },
    };
    let jobs = served("CronJob").map(|version| Look { what: format!("CronJobs as {version}"), remedy: None });
    [Some(policies), jobs].into_iter().flatten().collect()
}

async fn rights(connection: &Connection) -> Result<Look, EnvironmentError> {
    let asked = stream::iter(documented()).map(async |right| {
        let may = may(connection, &right).await?;
        Ok::<_, EnvironmentError>((right, may))
    });
    let asked: Vec<(Right, bool)> = asked.buffered(AT_ONCE).try_collect().await?;
    let missing: Vec<&Right> = asked.iter().filter(|(_, may)| !may).map(|(right, _)| right).collect();
    let what =
        format!("{} of {} rights that a drill on a shared cluster uses", asked.len() - missing.len(), asked.len());
    let remedy = (!missing.is_empty())
        .then(|| format!("this account may not {}: see examples/cluster/rights.yaml", by_object(&missing)));
    Ok(Look { what, remedy })
}

/// Verbs of the same objects together.
fn by_object(rights: &[&Right]) -> String {
    let same = rights.chunk_by(|one, other| one.objects() == other.objects());
    let words = same.map(|rights| {
        let verbs: Vec<&str> = rights.iter().map(|right| &*right.verb).collect();
        format!("{} {}", verbs.join("/"), rights[0].objects())
    });
    words.collect::<Vec<_>>().join(", ")
}

async fn may(connection: &Connection, right: &Right) -> Result<bool, EnvironmentError> {
    let attributes = ResourceAttributes {
        group: Some(right.group.clone()),
        resource: Some(right.resource.clone()),
        subresource: right.subresource.clone(),
        verb: Some(right.verb.clone()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(connection.client.clone());
    let answer = api.create(&PostParams::default(), &review).await.map_err(|error| EnvironmentError::Failed {
        doing: format!("ask the cluster whether this account may {right}"),
        reason: chain(&error),
    })?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Every right of the role that stands in the documentation.
fn documented() -> Vec<Right> {
    let documents = serde_yaml_ng::Deserializer::from_str(RIGHTS);
    let roles = documents.filter_map(|document| {
        let value = serde_json::Value::deserialize(document).ok()?;
        (value["kind"] == "ClusterRole").then(|| serde_json::from_value::<ClusterRole>(value).ok())?
    });
    let rules = roles.flat_map(|role| role.rules.unwrap_or_default());
    rules
        .flat_map(|rule| {
            let groups = rule.api_groups.unwrap_or_default();
            let resources = rule.resources.unwrap_or_default();
            let verbs = rule.verbs;
            groups.into_iter().flat_map(move |group| {
                let verbs = verbs.clone();
                resources.clone().into_iter().flat_map(move |resource| {
                    let group = group.clone();
                    verbs.clone().into_iter().map(move |verb| Right::of(&group, &resource, verb))
                })
            })
        })
        .collect()
}

impl Right {
    fn of(group: &str, resource: &str, verb: String) -> Self {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub.to_owned())),
            None => (resource, None),
        };
        Self { group: group.to_owned(), resource: resource.to_owned(), subresource, verb }
    }

    /// `pods/exec`, `deployments.apps`.
    fn objects(&self) -> String {
        let sub = self.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        format!("{}{group}{sub}", self.resource)
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.objects())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_what_the_documentation_has() {
        let rights: Vec<String> = documented().iter().map(ToString::to_string).collect();
        for right in ["create namespaces", "get pods/log", "patch deployments.apps/scale", "list persistentvolumes"] {
            assert!(rights.iter().any(|documented| documented == right), "{right}: {rights:?}");
        }
        let pods = ["create", "delete"].map(|verb| Right::of("", "pods", verb.to_owned()));
        let log = Right::of("", "pods/log", "get".to_owned());
        assert_eq!(by_object(&[&pods[0], &pods[1], &log]), "create/delete pods, get pods/log");
        assert!(!rights.iter().any(|right| right.contains("clusterrole") || right.contains('*')), "{rights:?}");
    }
}
