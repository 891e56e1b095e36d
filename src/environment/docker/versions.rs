//! Versions of the Debian packages in images: an erratum is at work where the program that drills run is one that it holds for.

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

/// By package; one that images have in different versions is not told. Each image comes with the packages that it installs; of an
/// image that is not on the engine nothing is known.
///
/// Errs when the engine cannot be asked.
pub async fn of(images: &[(Recipe, BTreeSet<String>)]) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let docker = container::connect().await?;
    let Some(base) = base::on_engine(&docker).await? else { return Ok(BTreeMap::new()) };
    let mut run = Taking::begin("versions")?;
    let mut found = Vec::new();
    let mut asked = BTreeSet::new();
    let asking = async {
        for (recipe, packages) in images.iter().filter(|(_, packages)| !packages.is_empty()) {
            let image = build::reference(recipe, &base)?;
            if asked.insert(image.clone()) && container::is_on_engine(&docker, &image).await? {
                let archive = run.take(&image, STATUS).await?;
                let status = text(&archive).map_err(EnvironmentError::io(format!("read {STATUS} of {image}")))?;
                found.push(installed(&status, packages));
            }
        }
        Ok(())
    };
    let done: Result<(), EnvironmentError> = asking.await;
    run.end(done).await?;
    Ok(agreed(found))
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
fn installed(status: &str, packages: &BTreeSet<String>) -> BTreeMap<String, String> {
    let paragraphs = status.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let package = field("Package")?.to_owned();
        let is_there = field("Status")?.ends_with(" installed") && packages.contains(&package);
        Some((package, field("Version").filter(|_| is_there)?.to_owned()))
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
        let packages = ["patch", "restic"].map(str::to_owned).into();
        let found = installed(&STATUS.join("\n"), &packages);
        assert_eq!(found, [("restic".to_owned(), "0.14.0-1+b5".to_owned())].into());
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
