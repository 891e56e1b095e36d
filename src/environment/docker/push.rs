//! Images that were built here, in a registry that the nodes of a cluster pull from.

use std::collections::BTreeMap;

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::PushImageInfo;
use testcontainers::bollard::query_parameters::{PushImageOptionsBuilder, TagImageOptionsBuilder};

use super::progress::heard;
use super::pull::{credentials, registry};
use crate::environment::EnvironmentError;
use crate::runtime::container;

/// Pushes each of the images, and gives them by what the registry calls them: `PREFIX/NAME:TAG`. `tell` hears of each.
pub async fn push(
    images: &BTreeMap<String, String>,
    prefix: &str,
    mut tell: impl FnMut(&str),
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let docker = container::connect().await?;
    let mut pushed = BTreeMap::new();
    let mut there = BTreeMap::new();
    for (reference, built) in images {
        if !there.contains_key(built) {
            let name = in_registry(built, prefix);
            tell(&name);
            push_one(&docker, built, &name)
                .await
                .map_err(|reason| EnvironmentError::Failed { doing: format!("push {name}"), reason })?;
            there.insert(built.clone(), name);
        }
        pushed.insert(reference.clone(), there[built].clone());
    }
    Ok(pushed)
}

/// `redrill/postgres:abc` as the registry has it.
fn in_registry(built: &str, prefix: &str) -> String {
    let name = built.rsplit('/').next().unwrap_or(built);
    format!("{}/{name}", prefix.trim_end_matches('/'))
}

async fn push_one(docker: &Docker, built: &str, name: &str) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| crate::error::chain(error);
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
    docker.tag_image(built, Some(options)).await.map_err(|error| said(&error))?;
    let (credentials, unread) = match credentials(registry(name).map(str::to_owned)).await {
        Ok(credentials) => (credentials, String::new()),
        Err(why) => (None, format!(" ({why})")),
    };
    let options = PushImageOptionsBuilder::new().tag(tag).build();
    let ask = || docker.push_image(repository, Some(options.clone()), credentials.clone());
    let hear = |step: PushImageInfo| step.error_detail.map_or(Ok(()), |error| Err(error.message.unwrap_or_default()));
    heard(ask, hear).await.map_err(|reason| reason + &unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_an_image_under_its_prefix() {
        let name = "registry.example:5000/team/postgres:abc";
        for prefix in ["registry.example:5000/team", "registry.example:5000/team/"] {
            assert_eq!(in_registry("redrill/postgres:abc", prefix), name);
        }
    }
}
