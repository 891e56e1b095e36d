//! Files out of an image.

use std::path::Path;

use futures::StreamExt as _;
use testcontainers::bollard::models::ContainerCreateBody;
use testcontainers::bollard::query_parameters::{CreateContainerOptions, DownloadFromContainerOptionsBuilder};
use tokio::io::AsyncWriteExt as _;

use super::engine::Engine;
use crate::runtime::{RuntimeError, failed};

/// Writes a tar of what is at `path` in an image. For that there is a container that never runs; `lock` says who it belongs to.
pub async fn take_out(image: &str, path: &str, lock: &Path, archive: &Path) -> Result<(), RuntimeError> {
    let doing = || format!("take {path} out of the image {image}");
    let name = lock.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let engine = Engine::connect(&name, lock).await?;
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(engine.labels(&[])),
        cmd: Some(vec!["true".to_owned()]),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    };
    let made = engine.docker.create_container(None::<CreateContainerOptions>, body).await;
    let taken = match made {
        Ok(made) => copy(&engine, &made.id, path, archive).await.map_err(|error| failed(doing(), error)),
        Err(error) => Err(failed(doing(), error)),
    };
    let left = engine.sweep().await?.left;
    taken?;
    match left.is_empty() {
        true => Ok(()),
        false => Err(failed(doing(), format!("{} could not be removed", left.join(", ")))),
    }
}

async fn copy(engine: &Engine, container: &str, path: &str, archive: &Path) -> std::io::Result<()> {
    let mut file = tokio::fs::File::create_new(archive).await?;
    let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
    let mut pieces = std::pin::pin!(engine.docker.download_from_container(container, Some(options)));
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece.map_err(std::io::Error::other)?).await?;
    }
    file.flush().await
}
