//! Pulls an image from its registry, and tells how far it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use testcontainers::bollard::Docker;
use testcontainers::bollard::auth::DockerCredentials;
use testcontainers::bollard::models::CreateImageInfo;
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;

use super::progress::heard;
use super::pull_secret;
use crate::error::chain;
use crate::redact::Secret;

/// Between two words of how far it is.
const PACE: Duration = Duration::from_secs(10);

/// Pulls what the reference names, with the credentials for its registry that pods have in Secrets, one after the other as a node
/// tries them, else with those that this user's docker configuration has. Errs with what the engine says; no credential is ever in it.
pub async fn pull(
    docker: &Docker,
    reference: &str,
    secrets: &[Secret],
    mut tell: impl FnMut(&str),
) -> Result<(), String> {
    for credentials in pull_secret::credentials(secrets, reference) {
        if pull_with(docker, reference, Some(credentials), &mut tell).await.is_ok() {
            return Ok(());
        }
    }
    let registry = match registry(reference) {
        Some(registry) => Some(registry.to_owned()),
        None => docker.info().await.map_err(|error| chain(&error))?.index_server_address,
    };
    let (credentials, unread) = match credentials(registry).await {
        Ok(credentials) => (credentials, String::new()),
        Err(why) => (None, format!(" ({why})")),
    };
    pull_with(docker, reference, credentials, &mut tell).await.map_err(|said| said + &unread)
}

async fn pull_with(
    docker: &Docker,
    reference: &str,
    credentials: Option<DockerCredentials>,
    mut tell: impl FnMut(&str),
) -> Result<(), String> {
    let options = CreateImageOptionsBuilder::new().from_image(&tagged(reference)).build();
    let (mut layers, mut told) = (Layers::default(), Instant::now());
    let ask = || docker.create_image(Some(options.clone()), None, credentials.clone());
    let hear = |step: CreateImageInfo| {
        if let Some(error) = step.error_detail {
            return Err(error.message.unwrap_or_default());
        }
        layers.note(step);
        if told.elapsed() >= PACE {
            told = Instant::now();
            tell(&format!("{reference}, {layers}"));
        }
        Ok(())
    };
    heard(ask, hear).await
}

/// Without a tag an engine pulls every tag that there is.
fn tagged(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// The registry that a reference names; `None` leaves it to the engine, which has one of its own for that.
pub(super) fn registry(reference: &str) -> Option<&str> {
    let (host, _) = reference.split_once('/')?;
    (host == "localhost" || host.contains(['.', ':'])).then_some(host)
}

/// Of `~/.docker/config.json`, or of the one in DOCKER_CONFIG; `None` where it has none. Errs with why they could not be had.
pub(super) async fn credentials(registry: Option<String>) -> Result<Option<DockerCredentials>, String> {
    let Some(registry) = registry else { return Ok(None) };
    let host = registry.clone();
    let found = tokio::task::spawn_blocking(move || docker_credential::get_credential(&host)).await;
    let credential = match found.map_err(|error| error.to_string())? {
        Ok(credential) => credential,
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError,
        ) => return Ok(None),
        // What a helper printed may hold the credential.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            return Err(format!("docker's credential helper `{helper}` gave no credentials for {registry}"));
        }
        Err(error) => return Err(format!("docker's credentials for {registry}: {error}")),
    };
    let credentials = match credential {
        DockerCredential::IdentityToken(token) => {
            DockerCredentials { identitytoken: Some(token), ..DockerCredentials::default() }
        }
        DockerCredential::UsernamePassword(username, password) => {
            DockerCredentials { username: Some(username), password: Some(password), ..DockerCredentials::default() }
        }
    };
    Ok(Some(DockerCredentials { serveraddress: Some(registry), ..credentials }))
}

/// Bytes of each layer, as far as the engine has told: there, and all.
#[derive(Default)]
struct Layers(BTreeMap<String, (i64, i64)>);

impl Layers {
    fn note(&mut self, step: CreateImageInfo) {
        let (Some(layer), Some(status)) = (step.id, step.status) else { return };
        let told = step.progress_detail.and_then(|detail| Some((detail.current?, detail.total?)));
        match (&*status, told) {
            ("Downloading", Some(bytes)) => drop(self.0.insert(layer, bytes)),
            ("Download complete", _) => {
                self.0.entry(layer).and_modify(|(there, all)| *there = *all);
            }
            _ => {}
        }
    }
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MEGABYTE: i64 = 1_000_000;
        let (there, all) = self.0.values().fold((0, 0), |(there, all), layer| (there + layer.0, all + layer.1));
        write!(f, "{} of {} MB", there / MEGABYTE, all / MEGABYTE)
    }
}

#[cfg(test)]
mod tests {
    use testcontainers::bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_one_image_and_not_all() {
        assert_eq!(tagged("postgres"), "postgres:latest");
        assert_eq!(tagged("host:5000/team/app"), "host:5000/team/app:latest");
        for complete in ["postgres:15", "host:5000/team/app:1.4", "team/app@sha256:ab"] {
            assert_eq!(tagged(complete), complete);
        }
    }

    #[test]
    fn a_registry_is_told_from_a_team_by_its_dot_or_port() {
        for (reference, host) in [
            ("postgres:15", None),
            ("team/app:1.4", None),
            ("registry.example/team/app:1.4", Some("registry.example")),
            ("localhost/app", Some("localhost")),
            ("127.0.0.1:5000/app@sha256:ab", Some("127.0.0.1:5000")),
        ] {
            assert_eq!(registry(reference), host, "{reference}");
        }
    }

    #[test]
    fn how_far_a_pull_is_is_the_sum_of_its_layers() {
        let step = |id: &str, status: &str, bytes: Option<(i64, i64)>| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: bytes
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        };
        let mut layers = Layers::default();
        layers.note(step("15", "Pulling from team/app", None));
        layers.note(step("a", "Downloading", Some((1_000_000, 8_000_000))));
        layers.note(step("b", "Downloading", Some((2_000_000, 4_000_000))));
        assert_eq!(layers.to_string(), "3 of 12 MB");
        layers.note(step("a", "Download complete", None));
        // Another count of the same layer.
        layers.note(step("a", "Extracting", Some((1, 30_000_000))));
        assert_eq!(layers.to_string(), "10 of 12 MB");
    }
}
