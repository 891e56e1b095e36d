//! Environment variables of a container, looked up anew at each of its starts.
//!
//! Variables of Services (`DB_SERVICE_HOST`) are given as Kubernetes gives them, except that the host is the Service's
//! name instead of an address: no address here stands for a Service, but its name always resolves to what is ready.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use serde_json::Value;

use crate::cluster::kind::{CONFIG_MAP, SECRET, SERVICE};
use crate::cluster::store::{Store, names};
use crate::redact::Secret;

/// Names and values in the order in which they were said; a later one of a name has replaced the earlier.
pub type Environment = Vec<(String, Secret)>;

/// Everything a container's variables are taken from. `Err` is the kubelet's message: what is missing, never a value.
pub fn resolve(store: &Store, pod: &Value, spec: &PodSpec, container: &Container) -> Result<Environment, String> {
    let mut variables = Variables { store, pod, namespace: names(pod).0, list: Vec::new() };
    if spec.enable_service_links != Some(false) {
        variables.add_services();
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(secret) = &source.secret_ref {
            variables.add_all(Keeper::Secret, &secret.name, prefix, secret.optional == Some(true))?;
        }
        if let Some(map) = &source.config_map_ref {
            variables.add_all(Keeper::ConfigMap, &map.name, prefix, map.optional == Some(true))?;
        }
    }
    for variable in container.env.iter().flatten() {
        variables.add(variable)?;
    }
    Ok(variables.list)
}

struct Variables<'a> {
    store: &'a Store,
    pod: &'a Value,
    namespace: String,
    list: Environment,
}

impl Variables<'_> {
    fn set(&mut self, name: String, value: Secret) {
        match self.list.iter_mut().find(|(present, _)| *present == name) {
            Some((_, present)) => *present = value,
            None => self.list.push((name, value)),
        }
    }

    fn add_all(&mut self, keeper: Keeper, name: &str, prefix: &str, optional: bool) -> Result<(), String> {
        let Some(data) = keeper.data(self.store, &self.namespace, name) else {
            return if optional { Ok(()) } else { Err(keeper.not_found(name)) };
        };
        for (key, content) in data {
            self.set(format!("{prefix}{key}"), text(&key, content)?);
        }
        Ok(())
    }

    fn add(&mut self, variable: &EnvVar) -> Result<(), String> {
        let Some(source) = &variable.value_from else {
            let value = expand(variable.value.as_deref().unwrap_or_default(), &self.list);
            self.set(variable.name.clone(), Secret::new(value));
            return Ok(());
        };
        let value = if let Some(key) = &source.secret_key_ref {
            self.key(Keeper::Secret, &key.name, &key.key, key.optional == Some(true))?
        } else if let Some(key) = &source.config_map_key_ref {
            self.key(Keeper::ConfigMap, &key.name, &key.key, key.optional == Some(true))?
        } else if let Some(field) = &source.field_ref {
            Some(Secret::new(pod_field(self.pod, &field.field_path)?))
        } else {
            return Err(format!("env {}: a source that redrill does not provide", variable.name));
        };
        if let Some(value) = value {
            self.set(variable.name.clone(), value);
        }
        Ok(())
    }

    fn key(&self, keeper: Keeper, name: &str, key: &str, optional: bool) -> Result<Option<Secret>, String> {
        let Some(data) = keeper.data(self.store, &self.namespace, name) else {
            return if optional { Ok(None) } else { Err(keeper.not_found(name)) };
        };
        match data.get(key) {
            Some(content) => text(key, content.clone()).map(Some),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {key} in {} {}/{name}", keeper.kind(), self.namespace)),
        }
    }

    fn add_services(&mut self) {
        for service in self.store.list(&SERVICE, Some(&self.namespace)).1 {
            if service["spec"]["clusterIP"] == "None" {
                continue;
            }
            for (name, value) in service_variables(&service) {
                self.set(name, Secret::new(value));
            }
        }
    }
}

fn service_variables(service: &Value) -> Vec<(String, String)> {
    let (_, host) = names(service);
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(&host);
    let ports: Vec<_> = service["spec"]["ports"].as_array().into_iter().flatten().collect();
    let number = |port: &Value| port["port"].as_i64().unwrap_or_default();
    let url = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
        format!("{protocol}://{host}:{}", number(port))
    };
    let Some(first) = ports.first() else { return Vec::new() };
    let mut variables = vec![
        (format!("{name}_SERVICE_HOST"), host.clone()),
        (format!("{name}_SERVICE_PORT"), number(first).to_string()),
        (format!("{name}_PORT"), url(first)),
    ];
    for port in ports {
        if let Some(port_name) = port["name"].as_str() {
            variables.push((format!("{name}_SERVICE_PORT_{}", upper(port_name)), number(port).to_string()));
        }
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let prefix = format!("{name}_PORT_{}_{protocol}", number(port));
        variables.push((prefix.clone(), url(port)));
        variables.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{prefix}_PORT"), number(port).to_string()));
        variables.push((format!("{prefix}_ADDR"), host.clone()));
    }
    variables
}

fn text(key: &str, content: bytes::Bytes) -> Result<Secret, String> {
    let text =
        String::from_utf8(content.into()).map_err(|_| format!("key {key} is not text and cannot be a variable"))?;
    if text.contains('\0') {
        return Err(format!("key {key} contains a NUL and cannot be a variable"));
    }
    Ok(Secret::new(text))
}

/// The two kinds that keep values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    Secret,
    ConfigMap,
}

impl Keeper {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    pub fn not_found(self, name: &str) -> String {
        format!("{} \"{name}\" not found", self.kind().to_lowercase())
    }

    /// The content by key; `None` when the object is not there.
    pub fn data(self, store: &Store, namespace: &str, name: &str) -> Option<BTreeMap<String, bytes::Bytes>> {
        let kind = match self {
            Self::Secret => &SECRET,
            Self::ConfigMap => &CONFIG_MAP,
        };
        let object = store.get(kind, namespace, name)?;
        let fields = |field: &str| object[field].as_object().into_iter().flatten();
        let plain = |value: &Value| bytes::Bytes::from(value.as_str().unwrap_or_default().to_owned());
        let decoded = |value: &Value| {
            // The API refuses what is not base64, so that nothing is lost here.
            bytes::Bytes::from(BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default())
        };
        let mut data = BTreeMap::new();
        match self {
            Self::Secret => {
                data.extend(fields("data").map(|(key, value)| (key.clone(), decoded(value))));
                data.extend(fields("stringData").map(|(key, value)| (key.clone(), plain(value))));
            }
            Self::ConfigMap => {
                data.extend(fields("data").map(|(key, value)| (key.clone(), plain(value))));
                data.extend(fields("binaryData").map(|(key, value)| (key.clone(), decoded(value))));
            }
        }
        Some(data)
    }
}

/// A field of a pod as `fieldRef` names it.
pub fn pod_field(pod: &Value, path: &str) -> Result<String, String> {
    let unknown = || format!("unsupported fieldPath: {path}");
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map =
            map.strip_prefix("metadata.").filter(|map| ["labels", "annotations"].contains(map)).ok_or_else(unknown)?;
        return Ok(pod["metadata"][map][key].as_str().unwrap_or_default().to_owned());
    }
    let value = match path {
        "metadata.name" | "metadata.namespace" | "metadata.uid" => &pod["metadata"][&path["metadata.".len()..]],
        "spec.nodeName" => &pod["spec"]["nodeName"],
        "spec.serviceAccountName" => &pod["spec"]["serviceAccountName"],
        "status.podIP" | "status.podIPs" => &pod["status"]["podIP"],
        "metadata.labels" | "metadata.annotations" => return Ok(lines(&pod["metadata"][&path["metadata.".len()..]])),
        _ => return Err(unknown()),
    };
    let default = if path == "spec.serviceAccountName" { "default" } else { "" };
    Ok(value.as_str().unwrap_or(default).to_owned())
}

/// A map as the downward API writes it: `key="value"` per line, by key.
fn lines(map: &Value) -> String {
    let entries: BTreeMap<_, _> = map.as_object().into_iter().flatten().collect();
    entries.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Replaces `$(NAME)` by what was said before; unknown names stay, and `$$(NAME)` is a plain `$(NAME)`.
pub fn expand(text: &str, environment: &Environment) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')).map(|(name, _)| name);
        let known = name.and_then(|name| environment.iter().find(|(present, _)| present == name));
        if rest.starts_with("$$") {
            expanded.push('$');
            rest = &rest[2..];
        } else if let Some((name, value)) = known {
            expanded.push_str(value.expose());
            rest = &rest[name.len() + 3..];
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn resolved(store: &Store, container: Value) -> Result<BTreeMap<String, String>, String> {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}});
        let spec = serde_json::from_value(json!({"containers": []})).unwrap();
        let container = serde_json::from_value(container).unwrap();
        let list = resolve(store, &pod, &spec, &container)?;
        Ok(list.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect())
    }

    fn store() -> Store {
        let store = Store::default();
        let metadata = json!({"name": "db", "namespace": "shop"});
        store.create(&SECRET, json!({"metadata": metadata, "data": {"password": "aHVudGVyMg=="}})).unwrap();
        store.create(&CONFIG_MAP, json!({"metadata": metadata, "data": {"host": "db.shop"}})).unwrap();
        store
    }

    #[test]
    fn values_come_from_secrets_config_maps_and_fields() {
        let env = json!([
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
            {"name": "HOST", "valueFrom": {"configMapKeyRef": {"name": "db", "key": "host"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "URL", "value": "postgres://$(PASSWORD)@$(HOST)/$(UNKNOWN)$$(HOST)"},
        ]);
        let env = resolved(&store(), json!({"name": "c", "env": env})).unwrap();
        assert_eq!(env["URL"], "postgres://hunter2@db.shop/$(UNKNOWN)$(HOST)");
        assert_eq!(env["APP"], "web");
    }

    #[test]
    fn env_from_takes_a_prefix_and_env_wins_over_it() {
        let container = json!({
            "name": "c",
            "envFrom": [{"prefix": "DB_", "secretRef": {"name": "db"}}, {"configMapRef": {"name": "db"}}],
            "env": [{"name": "host", "value": "other"}],
        });
        let env = resolved(&store(), container).unwrap();
        assert_eq!((env["DB_password"].as_str(), env["host"].as_str()), ("hunter2", "other"));
    }

    #[test]
    fn a_missing_key_is_named_as_the_kubelet_names_it_unless_optional() {
        let with = |optional: bool| {
            let key = json!({"name": "db", "key": "user", "optional": optional});
            resolved(&store(), json!({"name": "c", "env": [{"name": "USER", "valueFrom": {"secretKeyRef": key}}]}))
        };
        assert_eq!(with(false).unwrap_err(), "couldn't find key user in Secret shop/db");
        assert!(!with(true).unwrap().contains_key("USER"));
        let none = json!({"name": "c", "envFrom": [{"secretRef": {"name": "nothing"}}]});
        assert_eq!(resolved(&store(), none).unwrap_err(), "secret \"nothing\" not found");
    }

    #[test]
    fn service_variables_name_the_service_as_host() {
        let store = Store::default();
        let service = json!({"metadata": {"name": "my-db", "namespace": "shop"}, "spec": {"ports": [{"port": 5432}]}});
        store.create(&SERVICE, service).unwrap();
        let env = resolved(&store, json!({"name": "c"})).unwrap();
        assert_eq!(env["MY_DB_SERVICE_HOST"], "my-db");
        assert_eq!(env["MY_DB_PORT_5432_TCP"], "tcp://my-db:5432");
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]*") {
            prop_assert_eq!(expand(&text, &Vec::new()), text);
        }

        #[test]
        fn expanding_never_panics(text in "[$()A-Cé]{0,30}") {
            expand(&text, &vec![("A".to_owned(), Secret::new("1"))]);
        }
    }
}
