//! Secrets: a type promises keys.

use serde_json::Value;

use super::Errors;
use crate::cluster::status::FieldError;

/// Requires the keys that the secret's type promises.
pub fn keys_of_its_type(secret: &Value, errors: &mut Errors) {
    let promised: &[&str] = match secret["type"].as_str() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        Some("kubernetes.io/dockercfg") => &[".dockercfg"],
        Some("kubernetes.io/ssh-auth") => &["ssh-privatekey"],
        // Either will do.
        Some("kubernetes.io/basic-auth") => &["username", "password"],
        _ => &[],
    };
    let missing: Vec<_> = promised.iter().filter(|key| secret["data"].get(**key).is_none()).collect();
    if secret["type"] == "kubernetes.io/basic-auth" && missing.len() < promised.len() {
        return;
    }
    errors.extend(missing.iter().map(|key| FieldError::required(format!("data[{key}]"), "")));
}
