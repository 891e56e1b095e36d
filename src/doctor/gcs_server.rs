//! The server that stands for Google Cloud Storage: built by Go from its module, for this user.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Finding, Fix, Tool, debian, tools_folder, tools_folder_or_error};
use crate::command;
use crate::redact::Secret;

/// Up to 1.53 it answers gsutil's uploads of streams with 404.
const VERSION: &str = "1.56.1";
const MODULE: &str = "github.com/fsouza/fake-gcs-server";
/// The first that gets itself the Go that a module asks for, as any other module.
const MINIMUM_GO: (u32, u32) = (1, 21);
/// Of Debian 13, with its standard library.
const GO_PACKAGES: [&str; 2] = ["golang-1.24-go", "golang-1.24-src"];
const BUILDING: Duration = Duration::from_secs(15 * 60);

pub async fn examine(needed_by: &BTreeSet<String>) -> Finding {
    let program = tools_folder().map(|tools| program(&tools)).filter(|program| program.is_file());
    let found = program.map(|path| Tool { path, version: VERSION.to_owned() });
    let fix = (go().await.is_some() || debian::can_fetch()).then_some(Fix::GcsServer);
    let remedy = match fix {
        Some(_) => "`redrill doctor --install` builds it with Go for this user".to_owned(),
        None => format!("put Go {}.{} or newer into PATH, then `redrill doctor --install`", MINIMUM_GO.0, MINIMUM_GO.1),
    };
    let what = format!("fake-gcs-server {VERSION}");
    Finding { what, found, needed_by: needed_by.clone(), remedy, fix }
}

/// With its version in its name, so that another redrill's is not taken for it.
fn program(tools: &Path) -> PathBuf {
    tools.join(format!("fake-gcs-server-{VERSION}"))
}

/// The Go on PATH, if it is new enough.
async fn go() -> Option<String> {
    let output =
        command::run(&["go", "env", "GOVERSION"], &BTreeMap::new(), b"", Duration::from_secs(20)).await.ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (number(&version) >= Some(MINIMUM_GO)).then(|| "go".to_owned())
}

/// Major and minor of `go1.24.4`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("go")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Builds it with the machine's Go, or with Debian 13's, which is gone afterwards.
pub async fn install() -> Result<(), Error> {
    install_into(&tools_folder_or_error()?).await
}

async fn install_into(tools: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { doing: format!("prepare {}", tools.display()), source };
    std::fs::create_dir_all(tools).map_err(io)?;
    let work = tempfile::Builder::new().prefix(".build-").tempdir_in(tools).map_err(io)?;
    let inside = |folder: &str| work.path().join(folder).display().to_string();
    let mut env = BTreeMap::from([
        ("GOBIN", inside("bin")),
        ("GOPATH", inside("path")),
        ("GOCACHE", inside("cache")),
        ("GOFLAGS", "-trimpath".to_owned()),
        ("CGO_ENABLED", "0".to_owned()),
        // Debian's Go gets itself no newer one unless told to.
        ("GOTOOLCHAIN", "auto".to_owned()),
    ]);
    let go = match go().await {
        Some(go) => go,
        None => {
            let debian = work.path().join("debian");
            debian::fetch(&GO_PACKAGES, &debian).await?;
            let root = debian.join("root/usr/lib/go-1.24").display().to_string();
            env.insert("GOROOT", root.clone());
            format!("{root}/bin/go")
        }
    };
    let env: BTreeMap<_, _> = env.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let module = format!("{MODULE}@v{VERSION}");
    let built =
        super::run_with(&[&go, "install", &module], env.clone(), &format!("go install {module}"), BUILDING).await;
    // Modules are read-only: only root could remove them with the folder.
    super::run_with(&[&go, "clean", "-modcache"], env, "go clean -modcache", BUILDING).await?;
    built?;
    std::fs::rename(work.path().join("bin/fake-gcs-server"), program(tools)).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(number("go1.24.4"), Some((1, 24)));
        assert_eq!(number("go1.26"), Some((1, 26)));
        assert!(number("go1.19.8") < Some(MINIMUM_GO) && number("go1.100") > Some(MINIMUM_GO));
        assert!(number("devel").is_none() && number("").is_none());
    }

    #[tokio::test]
    #[ignore = "fetches 100 MB of modules and builds them"]
    async fn the_server_is_built_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("folder");
        install_into(folder.path()).await.expect("server");
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).expect("folder").map(|e| e.expect("entry").path()).collect();
        assert_eq!(names, [program(folder.path())]);
    }
}
