//! Images as an engine has them.

use std::str::FromStr as _;

use nix::sys::signal::Signal;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{ImageConfig, ImageInspect};

use super::engine::is_status;
use crate::runtime::{Image, RuntimeError, failed, not_found};

/// Whether the engine has an image of this name.
pub async fn is_on_engine(docker: &Docker, reference: &str) -> Result<bool, RuntimeError> {
    inspect(docker, reference).await.map(|found| found.is_some())
}

/// testcontainers pulls an image that is not there: a drill must not run what it happens to find outside.
pub(super) async fn must_be_there(docker: &Docker, reference: &str) -> Result<(), RuntimeError> {
    match is_on_engine(docker, reference).await? {
        true => Ok(()),
        false => Err(not_found("image on the engine", reference)),
    }
}

/// An image of the engine.
#[derive(Debug, Clone)]
pub struct OnEngine {
    pub image: Image,
    /// The engine's digest of it.
    pub id: String,
    /// `repository@digest` of the registries that it came from or went to.
    pub in_registries: Vec<String>,
}

/// An image by its name or id; `None` where the engine has none.
pub async fn image(docker: &Docker, reference: &str) -> Result<Option<OnEngine>, RuntimeError> {
    let Some(found) = inspect(docker, reference).await? else { return Ok(None) };
    let image = described(reference, found.config.unwrap_or_default());
    Ok(Some(OnEngine {
        image,
        id: found.id.unwrap_or_default(),
        in_registries: found.repo_digests.unwrap_or_default(),
    }))
}

async fn inspect(docker: &Docker, reference: &str) -> Result<Option<ImageInspect>, RuntimeError> {
    match docker.inspect_image(reference).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_status(&error, &[404]) => Ok(None),
        Err(error) => Err(failed(format!("look for the image {reference}"), error)),
    }
}

fn described(reference: &str, config: ImageConfig) -> Image {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let variables = config.env.unwrap_or_default();
    let variables = variables.iter().filter_map(|variable| variable.split_once('='));
    Image {
        reference: reference.to_owned(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        env: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        user: filled(config.user),
        working_dir: filled(config.working_dir).map(Into::into),
        stop_signal: filled(config.stop_signal).and_then(|signal| number(&signal)),
        files: Vec::new(),
    }
}

/// `SIGINT`, `INT` or `2`, as a Dockerfile may have it.
fn number(signal: &str) -> Option<i32> {
    let named = if signal.starts_with("SIG") { signal.to_owned() } else { format!("SIG{signal}") };
    Signal::from_str(&named).ok().map(|signal| signal as i32).or_else(|| signal.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_says_of_its_process_is_what_a_pod_gets() {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let config = ImageConfig {
            entrypoint: words(&["/entrypoint"]),
            cmd: words(&["postgres"]),
            env: words(&["PATH=/a:/b", "EMPTY="]),
            user: Some(String::new()),
            working_dir: Some("/data".to_owned()),
            stop_signal: Some("SIGINT".to_owned()),
            ..ImageConfig::default()
        };
        let image = described("x:1", config);
        assert_eq!((image.entrypoint.len(), image.cmd.len(), image.user), (1, 1, None));
        assert_eq!(image.env[1], ("EMPTY".to_owned(), String::new()));
        assert_eq!(image.stop_signal, Some(libc::SIGINT));
        assert_eq!(number("15"), Some(libc::SIGTERM));
    }
}
