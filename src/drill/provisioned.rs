//! What the system had right after provisioning: whether a look-up that finds nothing, or too much, is the procedure's doing.

use serde_json::Value;

use crate::drill::record::Halt;
use crate::drill::site::Site;
use crate::kubernetes::{self, KubernetesError, TypeName};

/// Kinds that runbooks look for by label.
const KINDS: [TypeName; 6] = [
    kubernetes::POD,
    kubernetes::JOB,
    kubernetes::CRON_JOB,
    kubernetes::DEPLOYMENT,
    kubernetes::STATEFUL_SET,
    kubernetes::CLAIM,
];

/// Which objects are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of a system of several, where it is known: a command goes where the operator's context points.
    pub cluster: Option<String>,
    pub kind: TypeName<'static>,
    pub namespace: String,
    /// `key=value` or `key`, by commas; empty: all.
    pub labels: String,
}

/// The system's objects by cluster, before anything was done to it.
#[derive(Debug, Default)]
pub struct Provisioned(Vec<(Option<String>, Vec<Value>)>);

impl Provisioned {
    pub async fn take(sites: &[Site]) -> Result<Self, KubernetesError> {
        let mut objects = Vec::new();
        for site in sites {
            objects.push((site.cluster.clone(), site.list(&KINDS).await?));
        }
        Ok(Self(objects))
    }

    /// What it means that a query, where there is one, finds `found` objects and not one: it is a matter of provisioning
    /// where it did so from the start, else of the procedure.
    pub fn blame(&self, query: Option<&Query>, found: usize, reason: String) -> Halt {
        let asked = query.filter(|query| KINDS.contains(&query.kind));
        let in_each =
            self.0.iter().flat_map(|(cluster, objects)| asked.and_then(|query| query.count(cluster, objects)));
        match in_each.into_iter().find(|&at_first| (at_first == 0) == (found == 0) && at_first != 1) {
            Some(at_first) => Halt::unverified(
                format!("{reason}; when the system had just been provisioned there were {at_first}"),
                "correct the manifests, or what the scenario looks for",
            ),
            None => Halt::failed(reason),
        }
    }
}

impl Query {
    /// Of `kubectl get KIND -l LABELS`, the last one in a text; `None` where it is more than that.
    pub fn of_command(text: &str, context_namespace: &str) -> Option<Self> {
        let command = text.lines().rev().map(str::trim).find(|line| line.starts_with("kubectl "))?;
        let words = shell_words::split(command).ok()?;
        let (mut namespace, mut labels, mut plain) = (context_namespace.to_owned(), String::new(), Vec::new());
        let mut words = words.into_iter().skip(1);
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
                _ => (word, None),
            };
            let mut value = || value.clone().or_else(|| words.next());
            match option.as_str() {
                "-n" | "--namespace" => namespace = value()?,
                "-l" | "--selector" => labels = value()?,
                "-o" | "--output" => drop(value()?),
                "--no-headers" | "--show-labels" => {}
                option if option.starts_with('-') || option.contains(['|', '>', ';', '&']) => return None,
                _ => plain.push(option),
            }
        }
        let [verb, kind] = plain.as_slice() else { return None };
        let kind = kubernetes::type_of(kind)?;
        (verb == "get").then_some(Self { cluster: None, kind, namespace, labels })
    }

    /// How many objects of a cluster fit; `None` where it asks in another.
    fn count(&self, cluster: &Option<String>, objects: &[Value]) -> Option<usize> {
        let asks = self.cluster.is_none() || self.cluster == *cluster;
        asks.then(|| self.matching(objects).len())
    }

    /// The names of those of its kind that fit and are not being deleted.
    pub fn matching<'o>(&self, objects: &'o [Value]) -> Vec<&'o str> {
        let fits = |object: &&Value| {
            let of_kind = object["kind"].is_null() || object["kind"] == self.kind.1;
            let labels = self.labels.split(',').filter(|label| !label.is_empty());
            let mut labels = labels.map(|label| match label.split_once('=') {
                Some((key, value)) => object["metadata"]["labels"][key.trim()] == value.trim_start_matches('=').trim(),
                None => object["metadata"]["labels"].get(label.trim()).is_some(),
            });
            of_kind
                && object["metadata"]["namespace"] == self.namespace
                && object["metadata"]["deletionTimestamp"].is_null()
                && labels.all(|fits| fits)
        };
        objects.iter().filter(fits).filter_map(|object| object["metadata"]["name"].as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str, label: &str) -> Value {
        json!({"kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": {"component": label}}})
    }

    fn query(text: &str) -> Option<Query> {
        Query::of_command(text, "shop")
    }

    #[test]
    fn a_documents_look_up_is_understood_and_nothing_else_is() {
        let wanted = Query {
            cluster: None,
            kind: kubernetes::CRON_JOB,
            namespace: "shop".to_owned(),
            labels: "a/b=database".to_owned(),
        };
        assert_eq!(query("# use this\nkubectl get cronjobs -l a/b=database"), Some(wanted.clone()));
        let elsewhere = Query { namespace: "x".to_owned(), ..wanted };
        assert_eq!(query("kubectl -n x get cj --selector=a/b=database --no-headers"), Some(elsewhere));
        for other in
            ["kubectl get pod a", "kubectl get pods | grep a", "kubectl delete pods", "kubectl get pods -A", "ls"]
        {
            assert_eq!(query(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_wrong_from_the_start_is_no_failure_of_the_procedure() {
        let objects = vec![
            object("Pod", "one", "database"),
            object("Pod", "first", "web"),
            object("Pod", "second", "web"),
            object("CronJob", "nightly", "database"),
        ];
        let provisioned = Provisioned(vec![(None, objects)]);
        let is_unverified = |text: &str, found: usize| {
            let halt = provisioned.blame(query(text).as_ref(), found, "found wrong".to_owned());
            matches!(halt, Halt::Unverified { .. })
        };
        assert!(!is_unverified("kubectl get pods -l component=database", 0), "the procedure took it away");
        assert!(!is_unverified("kubectl get pods -l component=database", 2), "the procedure made a second one");
        assert!(is_unverified("kubectl get pods -l component=web", 2));
        assert!(!is_unverified("kubectl get pods -l component=web", 0));
        assert!(is_unverified("kubectl get cronjobs -l component=web", 0));
        assert!(!is_unverified("kubectl get jobs -l component=web", 2), "there were none");
        assert!(!is_unverified("gsutil ls gs://bucket", 0), "not a look-up in the cluster");
    }
}
