//! Names, labels and keys.

use serde_json::{Value, json};

use super::Errors;
use crate::cluster::kind::Kind;
use crate::cluster::status::FieldError;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
     must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
     character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
     '[a-z]([-a-z0-9]*[a-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
     'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
     validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

/// Why a text is no RFC 1123 label.
pub fn label(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some(too_long(63));
    }
    (!is_label(text)).then(|| LABEL.to_owned())
}

pub fn subdomain(text: &str) -> Option<String> {
    if text.len() > 253 {
        return Some(too_long(253));
    }
    (!text.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned())
}

fn service(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some(too_long(63));
    }
    (!is_label(text) || text.starts_with(|c: char| c.is_ascii_digit())).then(|| SERVICE.to_owned())
}

pub fn config_key(key: &str) -> Option<String> {
    if key.len() > 253 {
        return Some(too_long(253));
    }
    if key == "." || key == ".." {
        return Some(format!("must not be '{key}'"));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (key.is_empty() || !key.bytes().all(is_part)).then(|| CONFIG_KEY.to_owned())
}

pub fn environment(name: &str) -> Option<String> {
    (!name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')).then(|| ENV_NAME.to_owned())
}

/// What is wrong with the name of a port.
pub fn port(name: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if name.len() > 15 {
        problems.push("must be no more than 15 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen");
    }
    problems
}

fn is_word(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    is_end(text.chars().next())
        && is_end(text.chars().next_back())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn qualified(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if name.contains('/') {
        let what = QUALIFIED.strip_prefix("name part ").unwrap_or(QUALIFIED);
        return Some(format!(
            "a qualified name {what} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
    }
    if let Some(why) = prefix.and_then(subdomain) {
        return Some(format!("prefix part {why}"));
    }
    if name.len() > 63 {
        return Some(format!("name part {}", too_long(63)));
    }
    (!is_word(name)).then(|| QUALIFIED.to_owned())
}

/// Labels of an object or a template.
pub fn labels(labels: &Value, field: &str, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(why) = qualified(key) {
            errors.push(FieldError::invalid(field, &json!(key), &why));
        }
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            errors.push(FieldError::invalid(field, value, &too_long(63)));
        } else if !text.is_empty() && !is_word(text) {
            errors.push(FieldError::invalid(field, value, LABEL_VALUE));
        }
    }
}

/// Name, namespace, labels and annotations of an object.
pub fn metadata(kind: &Kind, object: &Value, errors: &mut Errors) {
    let metadata = &object["metadata"];
    match metadata["name"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
        name => {
            let why = match kind.kind {
                "Namespace" => label(name),
                "Service" => service(name),
                "CronJob" if name.len() > 52 => Some("must be no more than 52 characters".to_owned()),
                _ => subdomain(name),
            };
            if let Some(why) = why {
                errors.push(FieldError::invalid("metadata.name", &json!(name), &why));
            }
        }
    }
    labels(&metadata["labels"], "metadata.labels", errors);
    for key in metadata["annotations"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if let Some(why) = qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &json!(key), &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keys_and_variables_have_their_own_rules() {
        assert!(label("my-name").is_none() && label("My").is_some() && label("-a").is_some() && label("").is_some());
        assert!(subdomain("a.b-c").is_none() && subdomain("a..b").is_some() && subdomain("a_b").is_some());
        assert!(service("web").is_none() && service("1web").is_some());
        assert!(config_key("a.B_c-1").is_none() && config_key("a b").is_some() && config_key("..").is_some());
        assert!(environment("A_B.c-1").is_none() && environment("A=B").is_some());
        assert!(qualified("example.com/Name_1").is_none() && qualified("a/b/c").is_some() && qualified("").is_some());
    }
}
