//! Debian packages: what is installed, and installing what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Finding, Fix, Tool};
use crate::command;

/// Whether a word is the name of a package (Debian policy 5.6.1), so that no shell syntax passes for one.
pub fn is_name(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    word.len() > 1 && word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(allowed)
}

/// Files that show that a package's programs are there, whoever put them there. Below /usr, which sandboxes show.
fn evidence(package: &str) -> PathBuf {
    match package {
        "postgresql-15" => "/usr/lib/postgresql/15/bin/postgres".into(),
        "postgresql-client-15" => "/usr/lib/postgresql/15/bin/psql".into(),
        "postgresql-common" => "/usr/bin/pg_lsclusters".into(),
        "python3-dev" => "/usr/bin/python3-config".into(),
        "python3-pip" => "/usr/bin/pip3".into(),
        "python3-psycopg2" => "/usr/lib/python3/dist-packages/psycopg2/__init__.py".into(),
        "python3-gridfs" => "/usr/lib/python3/dist-packages/gridfs/__init__.py".into(),
        "python3-pymongo" => "/usr/lib/python3/dist-packages/pymongo/__init__.py".into(),
        // Only asked to fetch, never shown: wherever it is.
        "npm" => on_path("npm").unwrap_or_else(|| "/usr/bin/npm".into()),
        "busybox-static" => "/usr/bin/busybox".into(),
        "libxml2-utils" => "/usr/bin/xmllint".into(),
        "ca-certificates" => "/usr/sbin/update-ca-certificates".into(),
        "coreutils" => "/usr/bin/env".into(),
        "daemontools" => "/usr/bin/envdir".into(),
        "iproute2" => "/usr/sbin/ip".into(),
        "procps" => "/usr/bin/ps".into(),
        "uidmap" => "/usr/bin/newuidmap".into(),
        "util-linux" => "/usr/bin/setpriv".into(),
        other => Path::new("/usr/bin").join(other),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// Looks for all of them with one question to dpkg, and by their files where dpkg does not know them.
pub async fn examine(packages: &BTreeMap<String, BTreeSet<String>>) -> Result<Vec<Finding>, Error> {
    let versions = installed(packages.keys().map(String::as_str)).await?;
    let can_install = super::is_debian();
    let finding = |(package, needed_by): (&String, &BTreeSet<String>)| {
        let path = evidence(package);
        let found = match versions.get(package) {
            Some(version) => Some(Tool { path: resolved(&path), version: version.clone() }),
            None if path.exists() => Some(Tool { path: resolved(&path), version: "not from a package".to_owned() }),
            None => None,
        };
        let (remedy, fix) = if can_install {
            (format!("apt-get install {package}"), Some(Fix::Apt(vec![package.clone()])))
        } else {
            (format!("install what Debian calls {package}, so that {} exists", path.display()), None)
        };
        Finding { what: package.clone(), found, needed_by: needed_by.clone(), remedy, fix }
    };
    Ok(packages.iter().map(finding).collect())
}

fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Versions of those that are installed.
async fn installed(packages: impl Iterator<Item = &str>) -> Result<BTreeMap<String, String>, Error> {
    let mut argv = vec!["dpkg-query", "--show", "--showformat", "${Package}\\t${db:Status-Status}\\t${Version}\\n"];
    let options = argv.len();
    argv.extend(packages);
    if argv.len() == options || !Path::new("/usr/bin/dpkg-query").exists() {
        return Ok(BTreeMap::new());
    }
    // Its status is 1 as soon as one of them is unknown.
    let output = command::run(&argv, &BTreeMap::new(), b"", Duration::from_secs(30))
        .await
        .map_err(|source| Error::Command { doing: "dpkg-query".to_owned(), source })?;
    Ok(versions(&String::from_utf8_lossy(&output.stdout)))
}

fn versions(listing: &str) -> BTreeMap<String, String> {
    let fields = listing.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let installed = fields.filter_map(|fields| match &*fields {
        [package, "installed", version] => Some(((*package).to_owned(), (*version).to_owned())),
        _ => None,
    });
    installed.collect()
}

/// Keeps the installation of PostgreSQL from making a cluster and starting a server on the person's machine: drills make
/// their own.
struct NoCluster;

impl NoCluster {
    const FILE: &str = "/etc/postgresql-common/createcluster.d/redrill.conf";

    fn begin() -> Result<Self, Error> {
        let file = Path::new(Self::FILE);
        let io = |source| Error::Io { doing: format!("write {}", Self::FILE), source };
        // Before the file is there, so that it goes whatever happens next.
        let guard = Self;
        std::fs::create_dir_all(file.parent().unwrap_or(file)).map_err(io)?;
        std::fs::write(file, "create_main_cluster = false\n").map_err(io)?;
        Ok(guard)
    }
}

impl Drop for NoCluster {
    fn drop(&mut self) {
        // Nothing to be done about one that stays: it says in its name whose it is.
        let _ = std::fs::remove_file(Self::FILE);
        // Stays where others keep files in it.
        let _ = Path::new(Self::FILE).parent().map(std::fs::remove_dir);
    }
}

const INSTALLING: Duration = Duration::from_secs(20 * 60);

/// `apt-get update` once, then all of them in one go.
pub async fn install(packages: &[&str]) -> Result<(), Error> {
    let no_cluster = NoCluster::begin()?;
    // One broken source among many is common, and says nothing about the packages wanted.
    let update = super::run(&["apt-get", "update", "--quiet"], "apt-get update", INSTALLING).await;
    let mut argv = vec!["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "--"];
    argv.extend(packages);
    let installed = super::run(&argv, &format!("apt-get install {}", packages.join(" ")), INSTALLING).await;
    drop(no_cluster);
    match (installed, update) {
        (Ok(_), _) => Ok(()),
        (Err(Error::Refused { doing, said }), Err(update)) => {
            Err(Error::Refused { doing, said: format!("{said} (before that, {update})") })
        }
        (Err(error), _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_packages_with_their_settings_left_do_not_count() {
        let listing =
            "restic\tinstalled\t0.14.0-1+b5\npostgresql-15\tconfig-files\t15.20-0+deb12u1\nx\tnot-installed\t\n";
        assert_eq!(versions(listing), BTreeMap::from([("restic".to_owned(), "0.14.0-1+b5".to_owned())]));
    }

    #[tokio::test]
    async fn an_installed_package_is_found_with_its_version_and_program() {
        let packages = BTreeMap::from([("coreutils".to_owned(), BTreeSet::new())]);
        let findings = examine(&packages).await.expect("findings");
        let tool = findings[0].found.as_ref().expect("coreutils");
        assert_eq!(tool.path, Path::new("/usr/bin/env").canonicalize().expect("env"));
    }
}
