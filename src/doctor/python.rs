//! Programs in Python that Debian does not have: from the package index, each in a folder of its own, for this user.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Finding, Fix, Tool, make_readable, tools_folder, tools_folder_or_error};

const INSTALLING: Duration = Duration::from_secs(10 * 60);

/// Where `pip install --target` puts a requirement like `gsutil==5.34`; `None` where this user has no place for tools.
pub fn folder(requirement: &str) -> Option<PathBuf> {
    Some(folder_in(&tools_folder()?, requirement))
}

fn folder_in(tools: &Path, requirement: &str) -> PathBuf {
    tools.join("python").join(requirement.replace("==", "-"))
}

/// Whether a requirement names one package in one version, so that it means the same tomorrow; extras (`wal-e[aws]==1.1.1`) may
/// stand behind the name.
pub fn is_pinned(requirement: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    requirement.split_once("==").is_some_and(|(package, version)| {
        let (name, extras) = name_and_extras(package);
        word(name) && extras.is_none_or(|extras| extras.split(',').all(word)) && word(version)
    })
}

/// `wal-e` and `aws` of `wal-e[aws]`.
fn name_and_extras(package: &str) -> (&str, Option<&str>) {
    match package.strip_suffix(']').and_then(|package| package.split_once('[')) {
        Some((name, extras)) => (name, Some(extras)),
        None => (package, None),
    }
}

/// The `aws` command, in its first version, which is Python throughout.
pub const AWSCLI: &str = "awscli==1.46.3";

/// Of the package alone.
pub fn name(requirement: &str) -> &str {
    name_and_extras(requirement.split_once("==").map_or(requirement, |(package, _)| package)).0
}

pub fn examine(requirement: &str, needed_by: &BTreeSet<String>) -> Finding {
    let (package, version) = requirement.split_once("==").unwrap_or((requirement, ""));
    let (name, extras) = name_and_extras(package);
    let found = folder(requirement).filter(|folder| folder.is_dir());
    let found = found.map(|folder| Tool { path: evidence(&folder, name), version: version.to_owned() });
    let remedy = "`redrill doctor --install` gets it with pip for this user".to_owned();
    let fix = Some(Fix::Python(requirement.to_owned()));
    let with_extras = extras.map(|extras| format!(" with {extras}")).unwrap_or_default();
    Finding { what: format!("{name} {version}{with_extras}"), found, needed_by: needed_by.clone(), remedy, fix }
}

/// The program of that name, or the folder of a package that has none.
fn evidence(folder: &Path, name: &str) -> PathBuf {
    let program = folder.join("bin").join(name);
    if program.is_file() { program } else { folder.to_owned() }
}

/// Asks Debian's own Python, which is the one that sandboxes show, for the package and what it depends on.
pub async fn install(requirement: &str) -> Result<(), Error> {
    install_into(&tools_folder_or_error()?, requirement).await
}

async fn install_into(tools: &Path, requirement: &str) -> Result<(), Error> {
    let target = folder_in(tools, requirement);
    let io = |source| Error::Io { doing: format!("prepare {}", target.display()), source };
    let parent = target.parent().unwrap_or(tools);
    std::fs::create_dir_all(parent).map_err(io)?;
    // Beside its place, so that it appears there in one move, complete.
    let work = tempfile::Builder::new().prefix(".pip-").tempdir_in(parent).map_err(io)?;
    let made = work.path().join("target").display().to_string();
    let argv = [
        "/usr/bin/python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-warn-script-location",
        "--root-user-action=ignore",
        "--target",
        &made,
        "--",
        requirement,
    ];
    super::run(&argv, &format!("pip install {requirement}"), INSTALLING).await?;
    make_readable(Path::new(&made)).map_err(io)?;
    std::fs::rename(&made, &target).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_package_in_one_version_is_pinned() {
        for pinned in ["gsutil==5.34", "wal-e[aws]==1.1.1", "wal-e[aws,google]==1.1.1"] {
            assert!(is_pinned(pinned), "{pinned}");
        }
        for loose in [
            "a[]==1",
            "a[b==1",
            "a[b,]==1",
            "[b]==1",
            "a[b]c==1",
            "a[b/../c]==1",
            "a[b]",
            "gsutil",
            "gsutil>=5",
            "gsutil==",
            "==1",
            "git+https://x==1",
            "gsutil==5.34;x",
            "a==1 b==2",
        ] {
            assert!(!is_pinned(loose), "{loose}");
        }
    }

    #[test]
    fn what_is_not_there_is_missing_under_its_name_and_version() {
        let finding = examine("redrill-no-such==1.2", &BTreeSet::new());
        assert_eq!((&*finding.what, finding.is_missing()), ("redrill-no-such 1.2", true));
        assert_eq!(finding.fix, Some(Fix::Python("redrill-no-such==1.2".to_owned())));
    }

    #[test]
    fn extras_belong_to_the_folder_and_not_to_the_name() {
        let folder = |requirement| folder_in(Path::new("/t"), requirement);
        assert_eq!(folder("wal-e[aws]==1.1.1"), Path::new("/t/python/wal-e[aws]-1.1.1"));
        assert_ne!(folder("wal-e[aws]==1.1.1"), folder("wal-e==1.1.1"));
        let what = examine("redrill-no-such[aws]==1.2", &BTreeSet::new()).what;
        assert_eq!(what, "redrill-no-such 1.2 with aws");
    }

    #[tokio::test]
    #[ignore = "fetches 10 MB from a package index"]
    async fn gsutil_is_fetched_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("folder");
        install_into(folder.path(), "gsutil==5.34").await.expect("gsutil");
        let names: Vec<_> = std::fs::read_dir(folder.path().join("python"))
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["gsutil-5.34"]);
        assert!(folder.path().join("python/gsutil-5.34/bin/gsutil").is_file());
    }
}
