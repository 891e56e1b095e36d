//! Versions of the packages in images: an erratum is at work where the program that drills run is one that it holds for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use super::recipe::Recipe;
use super::taking::Taking;
use super::{base, build};
use crate::environment::EnvironmentError;
use crate::runtime::container;

/// Where dpkg keeps what is installed.
const STATUS: &str = "/var/lib/dpkg/status";
/// Where apk does.
const ALPINE: &str = "/lib/apk/db/installed";

/// By package; one that images have in different versions is not told. Each image comes with the packages that it installs; of an
/// image that is not on the engine nothing is known. Of those that exist, by what the engine calls them, the packages are told that
/// are asked for; one that keeps no list of Debian's or Alpine's tells nothing.
///
/// Errs when the engine cannot be asked.
pub async fn of(
    images: &[(Recipe, BTreeSet<String>)],
    existing: &[String],
    is_asked: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let docker = container::connect().await?;
    // Where there is no base nothing is made from one.
    let base = base::on_engine(&docker).await?.unwrap_or_default();
    let mut run = Taking::begin("versions")?;
    let mut found = Vec::new();
    let mut asked = BTreeSet::new();
    let asking = async {
        for (recipe, packages) in images.iter().filter(|(_, packages)| !packages.is_empty()) {
            let image = build::reference(recipe, &base)?;
            if asked.insert(image.clone()) && container::is_on_engine(&docker, &image).await? {
                let archive = run.take(&image, STATUS).await?;
                let status = text(&archive).map_err(EnvironmentError::io(format!("read {STATUS} of {image}")))?;
                found.push(in_debian(&status, |package| packages.contains(package)));
            }
        }
        for image in existing {
            if let Some(status) = list(&mut run, image, STATUS).await {
                found.push(in_debian(&status, &is_asked));
            }
            if let Some(installed) = list(&mut run, image, ALPINE).await {
                found.push(in_alpine(&installed, &is_asked));
            }
        }
        Ok(())
    };
    let done: Result<(), EnvironmentError> = asking.await;
    run.end(done).await?;
    Ok(agreed(found))
}

/// `None` where an image has no such file, or does not give it.
async fn list(run: &mut Taking, image: &str, path: &str) -> Option<String> {
    let archive = run.take(image, path).await.inspect_err(|error| tracing::info!("{}", crate::error::chain(error)));
    text(&archive.ok()?).ok()
}

/// The only file of a tar.
fn text(archive: &Path) -> std::io::Result<String> {
    let mut archive = tar::Archive::new(std::fs::File::open(archive)?);
    let mut text = String::new();
    for entry in archive.entries()? {
        entry?.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Of a file of dpkg's (paragraphs of fields, deb822(5)): those of the packages that are installed.
fn in_debian(status: &str, is_asked: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let paragraphs = status.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let package = field("Package")?;
        let is_there = field("Status")?.ends_with(" installed") && is_asked(package);
        Some((package.to_owned(), field("Version").filter(|_| is_there)?.to_owned()))
    });
    paragraphs.collect()
}

/// Of a file of apk's: paragraphs, too, of fields with one letter.
fn in_alpine(installed: &str, is_asked: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let paragraphs = installed.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        let package = field("P:").filter(|package| is_asked(package))?;
        Some((package.to_owned(), field("V:")?.to_owned()))
    });
    paragraphs.collect()
}

fn agreed(found: Vec<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (package, version) in found.into_iter().flatten() {
        versions.entry(package).or_default().insert(version);
    }
    let only = |(package, versions): (String, BTreeSet<String>)| {
        let mut versions = versions.into_iter();
        match (versions.next(), versions.next()) {
            (Some(version), None) => Some((package, version)),
            _ => None,
        }
    };
    versions.into_iter().filter_map(only).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: [&str; 12] = [
        "Package: restic",
        "Status: install ok installed",
        "Version: 0.14.0-1+b5",
        "Description: a program",
        " Version: of nothing",
        "",
        "Package: patch",
        "Status: deinstall ok config-files",
        "Version: 2.7.6-7\n",
        "Package: gzip",
        "Status: install ok installed",
        "Version: 1.12-1",
    ];

    #[test]
    fn what_is_installed_and_asked_for_is_told() {
        let found = in_debian(&STATUS.join("\n"), |package| ["patch", "restic"].contains(&package));
        assert_eq!(found, [("restic".to_owned(), "0.14.0-1+b5".to_owned())].into());
    }

    #[test]
    fn what_alpine_has_installed_is_told() {
        let installed = "C:Q1x=\nP:restic\nV:0.16.5-r1\nT:V: of nothing\nF:usr\n\nP:musl\nV:1.2.5-r0\n\n";
        let found = in_alpine(installed, |package| package == "restic");
        assert_eq!(found, [("restic".to_owned(), "0.16.5-r1".to_owned())].into());
    }

    #[test]
    fn a_package_that_images_have_in_different_versions_is_not_told() {
        let of = |versions: &[(&str, &str)]| {
            versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        };
        let found = vec![of(&[("a", "1"), ("b", "1")]), of(&[("a", "1"), ("b", "2")])];
        assert_eq!(agreed(found), of(&[("a", "1")]));
    }
}
