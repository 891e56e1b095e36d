//! A JSON patch (RFC 6902) of what makes pods. It names places in lists by their index, and tests what stands there: both mean the
//! object as the page sees it, not as it is on the cluster. So the gate carries it out on what the page sees, and asks the cluster
//! for the difference.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::answer;
use super::passage::{Passage, Turned, bad_request};
use super::pod::{Extent, Furnishing, UnknownImage, spec_of};
use super::target::Objects;
use crate::cluster::patch::operate;

/// Whether operations say anything of the pods that an object of this kind makes.
pub fn touches_pods(objects: &Objects, operations: &[Value]) -> bool {
    let is_whole = matches!(objects.subresource.as_deref(), None | Some("ephemeralcontainers"));
    let Some(spec) = spec_of(&objects.resource).filter(|_| is_whole) else { return false };
    let touches = |pointer: &Value| {
        let segments = pointer.as_str().unwrap_or_default().split('/').skip(1);
        // Either leads to the other.
        segments.zip(spec).all(|(segment, field)| segment == *field)
    };
    operations.iter().any(|operation| touches(&operation["path"]))
}

/// Why operations were not carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They do not fit what the page sees.
    Unfit,
    Image(UnknownImage),
}

impl Furnishing {
    /// What operations on an object as it is seen are on the object as it is.
    pub fn translate(
        &self,
        resource: &str,
        namespace: &str,
        on_cluster: &Value,
        operations: &[Value],
    ) -> Result<Vec<Value>, Refusal> {
        let mut object = on_cluster.clone();
        self.unfurnish(resource, &mut object);
        operate(&mut object, &json!(operations)).map_err(|_| Refusal::Unfit)?;
        self.furnish(resource, Extent::Whole, namespace, &mut object).map_err(Refusal::Image)?;
        let difference = json_patch::diff(on_cluster, &object).0;
        // The state is the cluster's, and no part of such a patch.
        let difference = difference.iter().filter(|operation| !operation.path().as_str().starts_with("/status"));
        let mut operations: Vec<Value> = difference.map(|operation| json!(operation)).collect();
        let version = &on_cluster["metadata"]["resourceVersion"];
        if object["metadata"]["resourceVersion"] == *version {
            // Another change meanwhile makes it a conflict.
            operations.push(json!({"op": "add", "path": "/metadata/resourceVersion", "value": version}));
        }
        Ok(operations)
    }
}

impl Passage {
    /// Operations on an object that the cluster has, for the cluster. Where it does not show the object, its answer is the page's.
    pub(super) async fn translated(
        &self,
        objects: &Objects,
        on_cluster: &Objects,
        parts: &Parts,
        operations: &[Value],
    ) -> Result<Vec<Value>, Turned> {
        let object = self.object(on_cluster, parts).await?;
        let namespace = objects.namespace.as_deref().unwrap_or_default();
        self.furnishing.translate(&objects.resource, namespace, &object, operations).map_err(|refusal| match refusal {
            Refusal::Image(error) => bad_request(&error.to_string()),
            Refusal::Unfit => Turned::from(answer::status(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                "the server rejected our request due to an error in our request",
            )),
        })
    }

    async fn object(&self, on_cluster: &Objects, parts: &Parts) -> Result<Value, Turned> {
        let mut parts = parts.clone();
        parts.method = Method::GET;
        let whole = Objects { subresource: None, ..on_cluster.clone() };
        parts.uri = whole.path().parse().map_err(|_| bad_request("the path cannot be read"))?;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let response = self.send(parts, Bytes::new()).await?;
        if !response.status().is_success() {
            return Err(Turned::from(response));
        }
        let body = response.into_body().collect().await.map_err(|error| self.broken_off(&error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| self.broken_off(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::gate::pod::Watch;
    use crate::gate::pod::tests::{deployment, furnishing};

    fn watching() -> Furnishing {
        let watch = Watch { image: "redrill/own:def".to_owned(), stranger: "10.9.9.9:8080".parse().unwrap() };
        Furnishing { watch: OnceLock::from(watch), ..furnishing() }
    }

    /// What a page can say of an object, at places that are there and at places that are not.
    fn operations() -> impl Strategy<Value = Vec<Value>> {
        let at = "/spec/template/spec";
        let place = prop::sample::select(vec![
            String::from("/metadata/name"),
            "/spec/replicas".to_owned(),
            format!("{at}/initContainers"),
            format!("{at}/initContainers/-"),
            format!("{at}/initContainers/0"),
            format!("{at}/containers"),
            format!("{at}/containers/0"),
            format!("{at}/containers/1/env"),
            format!("{at}/containers/0/env"),
            format!("{at}/containers/0/env/-"),
            format!("{at}/containers/0/env/1"),
            format!("{at}/containers/0/volumeMounts"),
            format!("{at}/containers/0/volumeMounts/0"),
            format!("{at}/containers/0/image"),
            format!("{at}/volumes"),
            format!("{at}/volumes/0"),
            format!("{at}/volumes/1"),
            format!("{at}/volumes/-"),
        ]);
        let operation = (prop::sample::select(vec!["add", "replace", "remove", "test"]), place);
        prop::collection::vec(operation, 1..4).prop_map(|operations| {
            operations.into_iter().map(|(op, path)| json!({"op": op, "path": path, "value": fitting(&path)})).collect()
        })
    }

    /// A value of the type that stands there.
    fn fitting(path: &str) -> Value {
        let container = json!({"name": "new", "image": "postgres:15", "imagePullPolicy": "IfNotPresent"});
        let named = path.rsplit('/').find(|segment| segment.parse::<usize>().is_err() && *segment != "-").unwrap();
        let item = match named {
            "containers" | "initContainers" => container,
            "env" => json!({"name": "NEW", "value": "x"}),
            "volumeMounts" => json!({"name": "data", "mountPath": "/new"}),
            "volumes" => json!({"name": "new", "emptyDir": {}}),
            "replicas" => return json!(3),
            _ => return json!("postgres:15"),
        };
        if path.ends_with(named) { json!([item]) } else { item }
    }

    /// As an API server has it: lists that are empty are not there.
    fn without_empty_lists(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|_, value| *value != json!([]));
                fields.values_mut().for_each(without_empty_lists);
            }
            Value::Array(items) => items.iter_mut().for_each(without_empty_lists),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn a_patch_does_to_what_the_page_sees_what_it_says(operations in operations()) {
            let furnishing = watching();
            let mut on_cluster = deployment();
            on_cluster["metadata"]["resourceVersion"] = json!("7");
            furnishing.furnish("deployments", Extent::Whole, "taiga", &mut on_cluster).unwrap();
            let mut expected = deployment();
            expected["metadata"]["resourceVersion"] = json!("7");
            let is_fit = operate(&mut expected, &json!(operations)).is_ok();
            without_empty_lists(&mut expected);
            let translated = furnishing.translate("deployments", "taiga", &on_cluster, &operations);
            prop_assert_eq!(translated.is_ok(), is_fit);
            if let Ok(translated) = translated {
                operate(&mut on_cluster, &json!(translated)).unwrap();
                let before = on_cluster.clone();
                furnishing.furnish("deployments", Extent::Whole, "taiga", &mut on_cluster).unwrap();
                prop_assert_eq!(&before, &on_cluster, "something that redrill adds was lost");
                furnishing.unfurnish("deployments", &mut on_cluster);
                without_empty_lists(&mut on_cluster);
                prop_assert_eq!(on_cluster, expected);
            }
        }
    }

    #[test]
    fn what_every_level_of_an_object_is_replaced_with_is_furnished() {
        let job = json!({"metadata": {"resourceVersion": "1"}, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {
            "template": {"spec": {"containers": [{"name": "c", "image": "postgres:15", "imagePullPolicy": "IfNotPresent"}],
                "dnsPolicy": "ClusterFirst"}}}}}});
        let mut furnished = job.clone();
        watching().furnish("cronjobs", Extent::Whole, "taiga", &mut furnished).unwrap();
        for path in ["/spec", "/spec/jobTemplate", "/spec/jobTemplate/spec", "/spec/jobTemplate/spec/template"] {
            let operation = json!({"op": "replace", "path": path, "value": job.pointer(path).unwrap()});
            let objects = Objects { resource: "cronjobs".to_owned(), ..Objects::default() };
            assert!(touches_pods(&objects, std::slice::from_ref(&operation)), "{path}");
            let translated = watching().translate("cronjobs", "taiga", &furnished, &[operation]).unwrap();
            let mut after = furnished.clone();
            operate(&mut after, &json!(translated)).unwrap();
            assert_eq!(after, furnished, "{path}");
        }
    }

    #[test]
    fn what_says_nothing_of_pods_is_not_translated() {
        let objects = |resource: &str, subresource: Option<&str>| Objects {
            resource: resource.to_owned(),
            subresource: subresource.map(str::to_owned),
            ..Objects::default()
        };
        let at = |path: &str| [json!({"op": "replace", "path": path, "value": 0})];
        assert!(!touches_pods(&objects("deployments", None), &at("/spec/replicas")));
        assert!(!touches_pods(&objects("deployments", Some("scale")), &at("/spec")));
        assert!(!touches_pods(&objects("services", None), &at("/spec")));
        assert!(touches_pods(&objects("deployments", None), &at("/spec")));
        assert!(touches_pods(&objects("pods", None), &at("/spec/containers/0/image")));
    }

    #[test]
    fn an_image_that_the_drill_has_not_is_refused() {
        let mut on_cluster = deployment();
        furnishing().furnish("deployments", Extent::Whole, "taiga", &mut on_cluster).unwrap();
        let path = "/spec/template/spec/containers/0/image";
        let operation = json!({"op": "replace", "path": path, "value": "busybox"});
        let refusal = furnishing().translate("deployments", "taiga", &on_cluster, &[operation]).unwrap_err();
        assert!(matches!(refusal, Refusal::Image(_)), "{refusal:?}");
    }
}
