//! Images of the team's own, which nobody builds here: taken from the engine, or pulled first as their containers say.

use std::collections::BTreeMap;

use testcontainers::bollard::Docker;

use super::Found;
use super::pull::pull;
use crate::outcome::SourceRef;
use crate::runtime::RuntimeError;
use crate::runtime::container::{self, OnEngine};
use crate::system::image::{ExistingImage, Pull, PullPolicy};

/// Why a drill cannot have its images.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error(transparent)]
    Engine(#[from] RuntimeError),
    /// Each with the places that name it.
    #[error("{0}")]
    Images(String),
}

/// Every one of them, as the engine has it; `tell` hears of each that is pulled. Errs with all that it has not and gets not.
///
/// What is found is named by the engine's digest from then on: every container of the drill runs that very image, whatever its
/// name comes to mean meanwhile.
pub async fn find_existing(
    images: &BTreeMap<String, ExistingImage>,
    mut tell: impl FnMut(&str),
) -> Result<Found, Unavailable> {
    let mut found = Found::default();
    if images.is_empty() {
        return Ok(found);
    }
    let docker = container::connect().await?;
    let mut problems = Vec::new();
    for (reference, image) in images {
        match find(&docker, reference, image, &mut tell).await {
            Ok(mut on_engine) => {
                on_engine.image.reference.clone_from(&on_engine.id);
                found.add(reference, on_engine);
            }
            Err(reason) => problems.push(format!("{}: image {reference}: {reason}", places(&image.places))),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Unavailable::Images(problems.join("; "))) }
}

async fn find(
    docker: &Docker,
    reference: &str,
    image: &ExistingImage,
    mut tell: impl FnMut(&str),
) -> Result<OnEngine, String> {
    let on_engine = || async { container::image(docker, reference).await.map_err(|error| crate::error::chain(&error)) };
    let there = on_engine().await?;
    match (image.pull(there.is_some()), there) {
        (Pull::No, Some(there)) => return Ok(there),
        (Pull::Forbidden, _) => {
            return Err(format!("not on the engine, and imagePullPolicy is {}", PullPolicy::Never.name()));
        }
        (Pull::Yes(policy), _) => {
            tell(reference);
            let said = |reason| format!("cannot be pulled, as imagePullPolicy {} wants: {reason}", policy.name());
            pull(docker, reference, &image.secrets, tell).await.map_err(said)?;
        }
        (Pull::No, None) => {}
    }
    on_engine().await?.ok_or_else(|| "not on the engine, though it was pulled".to_owned())
}

fn places(places: &[SourceRef]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
