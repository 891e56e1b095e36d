//! Credentials of registries out of the Secrets that pods name in `imagePullSecrets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testcontainers::bollard::auth::DockerCredentials;

use crate::redact::Secret;

/// Where images without a registry's name are.
const HUB: &str = "docker.io";

/// Those for an image, in the order in which a node tries them: of each Secret the entry that says most of the image's name.
pub fn credentials(secrets: &[Secret], reference: &str) -> Vec<DockerCredentials> {
    secrets.iter().filter_map(|secret| of_secret(secret, &complete(reference))).collect()
}

/// With the registry's name.
fn complete(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => reference.to_owned(),
        _ => format!("{HUB}/{reference}"),
    }
}

fn of_secret(secret: &Secret, image: &str) -> Option<DockerCredentials> {
    let configuration: Value = serde_json::from_str(secret.expose()).ok()?;
    let entries = configuration["auths"].as_object()?.iter();
    let suiting = entries.filter(|(registry, _)| is_for(&place(registry), image));
    let (registry, entry) = suiting.max_by_key(|(registry, _)| place(registry).len())?;
    let text = |field: &str| entry[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (username, password) = match text("auth") {
        Some(auth) => {
            let decoded = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
            let (name, password) = decoded.split_once(':')?;
            (name.to_owned(), password.to_owned())
        }
        None => (text("username")?, text("password")?),
    };
    Some(DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(registry.clone()),
        ..DockerCredentials::default()
    })
}

/// A registry, and what of it: `https://index.docker.io/v1/` is `docker.io`.
fn place(registry: &str) -> String {
    let plain = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let plain = plain.trim_end_matches("/v1").trim_end_matches("/v2");
    match plain.split_once('/') {
        None if matches!(plain, "index.docker.io" | "registry-1.docker.io") => HUB.to_owned(),
        _ => plain.to_owned(),
    }
}

fn is_for(place: &str, image: &str) -> bool {
    image.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', ':', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(auths: Value, reference: &str) -> Vec<String> {
        let secret = Secret::new(serde_json::json!({ "auths": auths }).to_string());
        credentials(&[secret], reference).into_iter().filter_map(|found| found.username).collect()
    }

    #[test]
    fn an_entry_is_for_the_registry_and_the_part_of_it_that_it_names() {
        let entry = |user: &str| serde_json::json!({ "auth": STANDARD.encode(format!("{user}:it:is")) });
        let auths = serde_json::json!({
            "https://index.docker.io/v1/": entry("hub"),
            "registry.example": entry("all"),
            "https://registry.example/team": entry("team"),
            "127.0.0.1:5000": { "username": "plain", "password": "it:is" },
        });
        for (reference, user) in [
            ("postgres:15", Some("hub")),
            ("team/app:1.4", Some("hub")),
            ("registry.example/app", Some("all")),
            ("registry.example/team/app@sha256:ab", Some("team")),
            ("registry.example/teams/app", Some("all")),
            ("127.0.0.1:5000/app:1", Some("plain")),
            ("127.0.0.1:50001/app:1", None),
            ("registry.example.org/app", None),
        ] {
            assert_eq!(users(auths.clone(), reference), Vec::from_iter(user), "{reference}");
        }
    }

    #[test]
    fn what_is_no_configuration_gives_nothing() {
        for text in ["", "{}", "[1]", r#"{"auths":{"a.b":{"auth":"%"}}}"#, r#"{"auths":{"a.b":{}}}"#] {
            assert!(credentials(&[Secret::new(text)], "a.b/c").is_empty(), "{text}");
        }
    }
}
