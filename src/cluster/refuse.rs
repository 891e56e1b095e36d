//! What manifests ask for and the served cluster does not have, named before anything starts: a drill in which part of the
//! system is silently missing would prove nothing.

use serde_json::Value;

use super::kind;
use super::reconcile::object::has_labels;
use super::store::names;

mod pod;

/// One thing that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the objects.
    pub object: usize,
    /// Kind, namespace/name.
    subject: String,
    /// Of the field, as in `spec.ports[0].port`.
    path: String,
    why: String,
}

impl Refusal {
    /// The field's path as a JSON pointer.
    pub fn pointer(&self) -> String {
        format!("/{}", self.path.replace(['.', '['], "/").replace(']', ""))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.path, self.why)
    }
}

/// Everything that cannot be had, in the order of the objects.
pub fn refusals<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<Refusal> {
    let objects: Vec<&Value> = objects.into_iter().collect();
    let mut refusals = Refusals::default();
    for (index, object) in objects.iter().copied().enumerate() {
        refusals.object = index;
        refusals.subject = subject(object);
        refusals.look_at(object);
        if object["kind"] == "Service" {
            refusals.named_ports(object, &objects);
        }
    }
    refusals.found
}

fn subject(object: &Value) -> String {
    let (namespace, name) = names(object);
    let kind = object["kind"].as_str().unwrap_or("object without kind");
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
}

#[derive(Default)]
struct Refusals {
    object: usize,
    subject: String,
    found: Vec<Refusal>,
}

impl Refusals {
    fn refuse(&mut self, path: &str, why: &str) {
        let (path, why) = (path.to_owned(), why.to_owned());
        self.found.push(Refusal { object: self.object, subject: self.subject.clone(), path, why });
    }

    /// Refuses the field if it is there at all.
    fn refuse_present(&mut self, of: &Value, path: &str, field: &str, why: &str) {
        if is_said(&of[field]) {
            self.refuse(&format!("{path}.{field}"), why);
        }
    }

    fn look_at(&mut self, object: &Value) {
        let field = |field: &str| object[field].as_str().unwrap_or_default();
        let Some(kind) = kind::of_manifest(field("apiVersion"), field("kind")) else {
            let why = format!("apiVersion {} of this kind is not served on the local environment", field("apiVersion"));
            return self.refuse("kind", &why);
        };
        let spec = &object["spec"];
        match kind.kind {
            "Pod" => self.pod(spec, "spec"),
            "Deployment" | "ReplicaSet" => self.pod(&spec["template"]["spec"], "spec.template.spec"),
            "StatefulSet" => self.stateful_set(spec),
            "Job" => self.job(spec, "spec"),
            "CronJob" => self.cron_job(spec),
            "Service" => self.service(spec),
            "PersistentVolumeClaim" => self.claim(spec, "spec"),
            // Nothing in the others needs more than being kept.
            _ => {}
        }
    }

    fn stateful_set(&mut self, spec: &Value) {
        self.pod(&spec["template"]["spec"], "spec.template.spec");
        for field in ["whenDeleted", "whenScaled"] {
            if spec["persistentVolumeClaimRetentionPolicy"][field] == "Delete" {
                let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
                self.refuse(&path, "claims of a StatefulSet are always retained here");
            }
        }
        for (index, claim) in spec["volumeClaimTemplates"].as_array().into_iter().flatten().enumerate() {
            self.claim(&claim["spec"], &format!("spec.volumeClaimTemplates[{index}].spec"));
        }
    }

    fn job(&mut self, spec: &Value, path: &str) {
        for field in ["podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"] {
            self.refuse_present(spec, path, field, "not provided");
        }
        if spec["completionMode"] == "Indexed" {
            self.refuse(&format!("{path}.completionMode"), "indexed jobs are not provided");
        }
        if !matches!(spec["template"]["spec"]["restartPolicy"].as_str(), Some("Never" | "OnFailure")) {
            self.refuse(&format!("{path}.template.spec.restartPolicy"), "must be Never or OnFailure in a Job");
        }
        self.pod(&spec["template"]["spec"], &format!("{path}.template.spec"));
    }

    fn cron_job(&mut self, spec: &Value) {
        if let Err(error) = super::reconcile::schedule::Schedule::parse(spec["schedule"].as_str().unwrap_or_default()) {
            self.refuse("spec.schedule", &error.to_string());
        }
        self.job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec");
    }

    fn service(&mut self, spec: &Value) {
        if spec["type"] == "ExternalName" {
            self.refuse(
                "spec.type",
                "ExternalName is not provided; declare the name as an outside name of the scenario",
            );
        }
        for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
            let path = format!("spec.ports[{index}]");
            let number = &port["port"];
            // A name is looked up in pods; see `named_ports`.
            if port["targetPort"].is_number() && &port["targetPort"] != number {
                let why = format!(
                    "{} differs from port {number}; a Service's name resolves straight to its pods here, so both must be equal",
                    port["targetPort"]
                );
                self.refuse(&format!("{path}.targetPort"), &why);
            }
            if matches!(port["protocol"].as_str(), Some("SCTP")) {
                self.refuse(&format!("{path}.protocol"), "SCTP is not provided");
            }
        }
    }

    /// A target port given by name is the number that the selected pods have under that name.
    fn named_ports(&mut self, service: &Value, objects: &[&Value]) {
        let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty()) else {
            return;
        };
        for (index, port) in service["spec"]["ports"].as_array().into_iter().flatten().enumerate() {
            let Some(name) = port["targetPort"].as_str() else { continue };
            let selected =
                objects.iter().copied().filter(|object| names(object).0 == names(service).0).filter_map(template_of);
            for (labels, spec) in selected.filter(|(labels, _)| has_labels(selector, labels)) {
                let containers = spec["containers"].as_array().into_iter().flatten();
                let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
                let target = ports.find(|port| port["name"] == name).map(|port| &port["containerPort"]);
                if let Some(target) = target.filter(|target| **target != port["port"]) {
                    let path = format!("spec.ports[{index}].targetPort");
                    let why =
                        format!("`{name}` of pods {labels} is {target}, not {}; both must be equal here", port["port"]);
                    self.refuse(&path, &why);
                }
            }
        }
    }

    fn claim(&mut self, spec: &Value, path: &str) {
        if spec["volumeMode"] == "Block" {
            self.refuse(&format!("{path}.volumeMode"), "block volumes are not provided");
        }
        for field in ["volumeName", "selector", "dataSource", "dataSourceRef"] {
            self.refuse_present(spec, path, field, "claims get a new empty volume here");
        }
    }
}

/// Labels and spec of the pods that an object is or makes.
fn template_of(object: &Value) -> Option<(&Value, &Value)> {
    let pod = match object["kind"].as_str()? {
        "Pod" => object,
        "Deployment" | "ReplicaSet" | "StatefulSet" | "Job" => &object["spec"]["template"],
        _ => return None,
    };
    Some((&pod["metadata"]["labels"], &pod["spec"]))
}

/// Whether a field asks for something: present and neither null, false nor empty.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusals(objects: &[Value]) -> Vec<String> {
        super::refusals(objects).iter().map(ToString::to_string).collect()
    }

    fn pod(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn a_plain_pod_is_not_refused() {
        let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "emptyDir": {}}]});
        assert_eq!(refusals(&[pod(spec)]), [""; 0]);
    }

    #[test]
    fn every_refusal_names_object_and_field() {
        let spec = json!({
            "hostNetwork": true,
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}],
            "containers": [{"name": "c", "securityContext": {"privileged": true}}],
        });
        let messages = refusals(&[pod(spec)]);
        let fields: Vec<_> = messages.iter().map(|message| message.split(": ").nth(1).unwrap()).collect();
        let expected = [
            "spec.hostNetwork",
            "spec.volumes[0].hostPath",
            "spec.volumes[1].nfs",
            "spec.containers[0].securityContext.privileged",
        ];
        assert_eq!(fields, expected);
        assert!(messages.iter().all(|message| message.starts_with("Pod shop/web: ")));
    }

    #[test]
    fn a_refusal_points_at_its_field() {
        let claim = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let spec = json!({"containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]});
        let found = super::refusals(&[claim, pod(spec)]);
        assert_eq!((found[0].object, found[0].pointer().as_str()), (1, "/spec/volumes/0/hostPath"));
    }

    #[test]
    fn an_unknown_kind_is_refused_by_name() {
        let object = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "logs"}});
        assert!(refusals(&[object])[0].starts_with("DaemonSet logs: kind: apiVersion apps/v1"));
    }

    #[test]
    fn a_service_port_that_differs_from_its_target_is_refused() {
        let service = |target: Value| {
            let ports = json!([{"port": 80, "targetPort": target}]);
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": ports}})
        };
        assert_eq!(refusals(&[service(json!(80)), service(json!(null))]), [""; 0]);
        assert!(refusals(&[service(json!(8080))])[0].contains("spec.ports[0].targetPort: 8080 differs from port 80"));
    }

    #[test]
    fn a_named_target_port_is_compared_with_that_of_the_selected_pods() {
        let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
        let with = |port: u16| {
            let mut pod =
                pod(json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]}));
            pod["metadata"]["labels"] = json!({"app": "web"});
            refusals(&[service.clone(), pod])
        };
        assert_eq!(with(80), [""; 0]);
        assert!(with(8080)[0].contains("spec.ports[0].targetPort: `http`"), "{:?}", with(8080));
    }

    #[test]
    fn a_cron_job_with_a_wrong_schedule_is_refused_with_the_field() {
        let spec = json!({"schedule": "10 25 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}});
        let object = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "n"}, "spec": spec});
        assert_eq!(
            refusals(&[object]),
            [
                "CronJob n: spec.schedule: `25` in the hour of schedule `10 25 * * *` is not a value, range or step within 0-23"
            ]
        );
    }
}
