//! Builds images on an engine, each once, those that others are made from first.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::path::Path;

use futures::StreamExt as _;
use testcontainers::bollard::query_parameters::{BuildImageOptionsBuilder, ListImagesOptionsBuilder};
use testcontainers::bollard::{Docker, body_try_stream};
use tokio_util::io::ReaderStream;

use super::progress::is_cut;
use super::recipe::{Recipe, is_program};
use crate::environment::EnvironmentError;
use crate::runtime::container::is_on_engine;

/// Says which image it is, on each that is built.
const IMAGE: &str = "redrill.image";
/// Lines of a build that are told when it breaks.
const TOLD: usize = 12;

/// Builds what is not there yet. `tell` hears of each image that is.
pub async fn build(
    docker: &Docker,
    recipes: &[Recipe],
    base: &str,
    mut tell: impl FnMut(&str),
) -> Result<(), EnvironmentError> {
    let mut built = BTreeSet::new();
    for recipe in recipes.iter().flat_map(in_order) {
        let reference = reference(recipe, base)?;
        if !built.insert(reference.clone()) || is_on_engine(docker, &reference).await? {
            continue;
        }
        tell(&reference);
        build_one(docker, recipe, base, &reference).await?;
        if recipe.replaces_older() {
            remove_older(docker, &recipe.name, &reference).await;
        }
    }
    Ok(())
}

/// The name of an image on the engine.
pub fn reference(recipe: &Recipe, base: &str) -> Result<String, EnvironmentError> {
    let doing = format!("read what the image {} is made from", recipe.name);
    recipe.reference(base).map_err(EnvironmentError::io(doing))
}

/// What it is made from, then itself.
fn in_order(recipe: &Recipe) -> Vec<&Recipe> {
    let mut all = recipe.from.as_deref().map(in_order).unwrap_or_default();
    all.push(recipe);
    all
}

async fn build_one(docker: &Docker, recipe: &Recipe, base: &str, reference: &str) -> Result<(), EnvironmentError> {
    let doing = || format!("build the image {reference}");
    let (of, base_name) = (recipe.clone(), base.to_owned());
    let context = tokio::task::spawn_blocking(move || context(&of, &base_name)).await;
    let context = context.map_err(std::io::Error::other).flatten().map_err(EnvironmentError::io(doing()))?;
    let options = BuildImageOptionsBuilder::new()
        .t(reference)
        .rm(true)
        .forcerm(true)
        // Of the host, since a mirror may be one that only the host reaches; nothing of a drill is in it.
        .networkmode("host")
        .buildargs(&HashMap::from([("BASE", base)]))
        .labels(&HashMap::from([(IMAGE, &*recipe.name)]))
        .build();
    let body = body_try_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(context), 1 << 20));
    let mut said = Vec::new();
    let mut steps = std::pin::pin!(docker.build_image(options, None, Some(body)));
    let failed = |reason: &str, said: &[String]| {
        let last = said[said.len().saturating_sub(TOLD)..].join("; ");
        EnvironmentError::Failed { doing: doing(), reason: without_colours(&format!("{reason}: {last}")) }
    };
    while let Some(step) = steps.next().await {
        let step = match step {
            // Whether it is built is asked next.
            Err(error) if is_cut(&error) => break,
            step => step.map_err(|error| failed(&error.to_string(), &said))?,
        };
        if let Some(error) = step.error_detail {
            return Err(failed(&error.message.unwrap_or_default(), &said));
        }
        let lines = step.stream.unwrap_or_default();
        said.extend(lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    match is_on_engine(docker, reference).await? {
        true => Ok(()),
        false => Err(failed("the engine names nothing that went wrong, but has no such image", &said)),
    }
}

/// As the engine marks what a program says on its standard error.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// A tar of what the Dockerfile copies, and the Dockerfile, at its beginning.
fn context(recipe: &Recipe, base: &str) -> std::io::Result<std::fs::File> {
    use std::io::Seek as _;
    let mut archive = tar::Builder::new(tempfile::tempfile()?);
    let mut append = |name: &str, mode: u32, content: &mut dyn std::io::Read, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(size);
        // The engine's cache goes by what is in a context, its times included.
        header.set_mtime(0);
        archive.append_data(&mut header, Path::new(name), content)
    };
    let dockerfile = recipe.dockerfile(base)?;
    append("Dockerfile", 0o644, &mut dockerfile.as_bytes(), dockerfile.len() as u64)?;
    for (name, source) in &recipe.files {
        let mode = if is_program(source)? { 0o755 } else { 0o644 };
        let mut file = std::fs::File::open(source)?;
        let size = file.metadata()?.len();
        append(name, mode, &mut file, size)?;
    }
    let mut file = archive.into_inner()?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}

/// Earlier builds of this redrill, which nothing asks for any more. One that runs somewhere stays.
async fn remove_older(docker: &Docker, name: &str, newest: &str) {
    let filters = HashMap::from([("label", vec![format!("{IMAGE}={name}")])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = docker.list_images(Some(options)).await.unwrap_or_default();
    for tag in
        images.iter().flat_map(|image| &image.repo_tags).filter(|tag| *tag != newest && tag.starts_with("redrill/"))
    {
        let options = testcontainers::bollard::query_parameters::RemoveImageOptions::default();
        if let Err(error) = docker.remove_image(tag, Some(options), None).await {
            tracing::debug!(%error, tag, "an older image stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_says_is_told_without_colours() {
        assert_eq!(without_colours("\u{1b}[91mno such package\u{1b}[0m; gave up"), "no such package; gave up");
    }
}
