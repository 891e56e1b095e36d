//! What all images are made from: Debian 12, from a registry or, where none answers, from the packages of this machine's mirror.

use futures::StreamExt as _;
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;
use testcontainers::bollard::{Docker, body_try_stream};
use tokio_util::io::ReaderStream;

use super::progress::is_cut;
use super::pull::pull;
use crate::doctor::debian_base;
use crate::environment::EnvironmentError;
use crate::runtime::container::image;

/// As registries have it.
const OFFICIAL: (&str, &str) = ("debian", "bookworm");
/// As it is made here.
const MADE: (&str, &str) = ("redrill/base", "bookworm");

/// The one that the engine has, by the engine's own name for what is in it, so that what is made from another is another image.
pub async fn on_engine(docker: &Docker) -> Result<Option<String>, EnvironmentError> {
    for one in [OFFICIAL, MADE] {
        if let Some(found) = image(docker, &name(one)).await? {
            return Ok(Some(found.id));
        }
    }
    Ok(None)
}

/// The one that the engine has, or has from now on.
pub async fn provide(docker: &Docker, mut tell: impl FnMut(&str)) -> Result<String, EnvironmentError> {
    if let Some(base) = on_engine(docker).await? {
        return Ok(base);
    }
    let (official, made) = (name(OFFICIAL), name(MADE));
    let failed = |reason: String| EnvironmentError::Failed {
        doing: "provide the image that all others are made from".to_owned(),
        reason,
    };
    tell(&format!("{official}, from its registry"));
    if let Err(refused) = pull(docker, &official, &[], &mut tell).await {
        tell(&format!("{made}, from Debian's packages, since no registry gives {official}"));
        let reason = |error| failed(format!("pull {official}: {refused}; {}", crate::error::chain(&error)));
        make(docker).await.map_err(reason)?;
    }
    on_engine(docker).await?.ok_or_else(|| failed("the engine has it not, though nothing went wrong".to_owned()))
}

fn name((repository, tag): (&str, &str)) -> String {
    format!("{repository}:{tag}")
}

async fn make(docker: &Docker) -> Result<(), EnvironmentError> {
    let failed = |reason: String| EnvironmentError::Failed { doing: format!("make {}", name(MADE)), reason };
    let work = tempfile::Builder::new().prefix("redrill-base-").tempdir_in("/var/tmp");
    let work = work.map_err(EnvironmentError::io("make a folder in /var/tmp"))?;
    let archive = debian_base::make(work.path()).await.map_err(|error| failed(crate::error::chain(&error)))?;
    let archive = tokio::fs::File::open(&archive).await.map_err(EnvironmentError::io("read what was made"))?;
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(MADE.0).tag(MADE.1).build();
    let body = body_try_stream(ReaderStream::with_capacity(archive, 1 << 20));
    let mut progress = std::pin::pin!(docker.create_image(Some(options), Some(body), None));
    while let Some(step) = progress.next().await {
        match step {
            // Whether it is there is asked next.
            Err(error) if is_cut(&error) => break,
            step => step.map_err(|error| failed(error.to_string()))?,
        };
    }
    Ok(())
}
