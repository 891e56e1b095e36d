//! kubectl: the one on PATH if it is new enough, else Debian's own build, unpacked for this user; or one of the versions that a
//! scenario names, wherever it lies there, `kubectl-1.31` among them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Finding, Fix, Tool, debian, tools_folder};
use crate::command;
use crate::scenario::VersionRange;

/// The first that speaks WebSocket v5 to `exec`, and so tells end of input from end of connection.
const MINIMUM: (u32, u32) = (1, 30);

/// Whether redrill's own API can be asked for an `exec` with it.
pub fn speaks_websocket(version: &str) -> bool {
    number(version) >= Some(MINIMUM)
}

/// What [`super::Tools`] calls one of these versions until it is known whose it is.
pub fn pinned(versions: &VersionRange) -> String {
    format!("kubectl-{}", versions.versions())
}

/// Looks for one of these versions, or for one that every environment can do with.
pub async fn examine(versions: Option<&VersionRange>, needed_by: &BTreeSet<String>) -> Finding {
    match versions {
        Some(versions) => examine_pinned(versions, needed_by).await,
        None => examine_any(needed_by).await,
    }
}

async fn examine_pinned(versions: &VersionRange, needed_by: &BTreeSet<String>) -> Finding {
    let found = best_of(&seen(is_kubectl_of_a_version).await, versions).cloned();
    let tools = tools_folder().unwrap_or_else(|| PathBuf::from("PATH"));
    let remedy = format!("put {versions} into PATH, or into {} as {}", tools.display(), pinned(versions));
    Finding { what: pinned(versions), found, needed_by: needed_by.clone(), remedy, fix: None }
}

async fn examine_any(needed_by: &BTreeSet<String>) -> Finding {
    let seen = seen(|name| name == "kubectl").await;
    let found = best(&seen).cloned();
    let wanted = format!("kubectl {}.{} or newer", MINIMUM.0, MINIMUM.1);
    let fix = debian::can_fetch().then_some(Fix::Kubectl);
    let by_hand = match seen.first() {
        Some(tool) => format!("{} is {}: put {wanted} before it in PATH", tool.path.display(), tool.version),
        None => format!("put {wanted} into PATH"),
    };
    let remedy = match fix {
        Some(_) => format!("`redrill doctor --install` fetches Debian's for this user; or {by_hand}"),
        None => by_hand,
    };
    Finding { what: wanted, found, needed_by: needed_by.clone(), remedy, fix }
}

/// Every program of such a name on PATH and among what was fetched for this user, with its version. What cannot be asked for it is as
/// good as absent.
async fn seen(is_called: impl Fn(&str) -> bool) -> Vec<Tool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(tools_folder()).collect();
    let mut seen = Vec::new();
    for program in candidates(&folders, is_called) {
        if let Some(version) = version(&program).await {
            seen.push(Tool { path: program, version });
        }
    }
    seen
}

/// `kubectl`, `kubectl-1.31`, `kubectl1.31.4`; plugins have other names.
fn is_kubectl_of_a_version(name: &str) -> bool {
    name.strip_prefix("kubectl").is_some_and(|rest| {
        let version = rest.trim_start_matches('-').trim_start_matches('v');
        rest.is_empty() || version.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Programs of such a name, in the order of the folders, and of names in each.
fn candidates(folders: &[PathBuf], is_called: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut programs: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.filter(|entry| entry.file_name().to_str().is_some_and(&is_called)).collect();
        paths.sort_by_key(std::fs::DirEntry::file_name);
        for program in paths.iter().filter_map(|entry| entry.path().canonicalize().ok()) {
            let is_program =
                program.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
            if is_program && !programs.contains(&program) {
                programs.push(program);
            }
        }
    }
    programs
}

/// The first of these versions; one that every environment can do with before others, and one that picks among several kubectls by
/// the server's version not at all.
fn best_of<'a>(seen: &'a [Tool], versions: &VersionRange) -> Option<&'a Tool> {
    let is_one = |tool: &&Tool| versions.contains(&tool.version) == Some(true) && !tool.version.contains("dispatcher");
    let mut fit: Vec<&Tool> = seen.iter().filter(is_one).collect();
    fit.sort_by_key(|tool| !speaks_websocket(&tool.version));
    fit.first().copied()
}

/// The first that is new enough; one that picks among several kubectls by the server's version only if there is no other.
fn best(seen: &[Tool]) -> Option<&Tool> {
    let mut fit: Vec<&Tool> = seen.iter().filter(|tool| speaks_websocket(&tool.version)).collect();
    fit.sort_by_key(|tool| tool.version.contains("dispatcher"));
    fit.first().copied()
}

async fn version(program: &Path) -> Option<String> {
    let argv = [program.to_str()?, "version", "--client", "--output=json"];
    let output = command::run(&argv, &BTreeMap::new(), b"", Duration::from_secs(20)).await.ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(answer["clientVersion"]["gitVersion"].as_str()?.trim_start_matches('v').to_owned())
}

/// Major and minor of `1.32.4-dispatcher`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Fetches Debian's kubectl.
pub async fn install() -> Result<(), Error> {
    install_into(&super::tools_folder_or_error()?).await
}

async fn install_into(tools: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { doing: format!("prepare {}", tools.display()), source };
    std::fs::create_dir_all(tools).map_err(io)?;
    // Beside its place, so that the program appears there in one move.
    let work = tempfile::Builder::new().prefix(".fetch-").tempdir_in(tools).map_err(io)?;
    debian::fetch(&["kubectl"], work.path()).await?;

    let program = work.path().join("root/usr/bin/kubectl");
    let version = version(&program).await.unwrap_or_default();
    if number(&version) < Some(MINIMUM) {
        let said = format!("it is `{version}`: put a newer one into PATH");
        return Err(Error::Refused { doing: "try Debian's kubectl".to_owned(), said });
    }
    std::fs::rename(&program, tools.join("kubectl")).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(version: &str) -> Tool {
        Tool { path: PathBuf::from("/x/kubectl"), version: version.to_owned() }
    }

    #[test]
    fn the_first_that_is_new_enough_is_taken() {
        let seen = [tool("1.29.9"), tool("1.30.0"), tool("1.33.1")];
        assert_eq!(best(&seen), Some(&seen[1]));
        assert_eq!(best(&seen[..1]), None);
        assert_eq!(best(&[tool("garbage")]), None);
        assert!(number("1.100.0") > Some(MINIMUM), "compared as numbers");
    }

    #[test]
    fn a_dispatcher_is_taken_only_for_want_of_the_program_itself() {
        let seen = [tool("1.32.4-dispatcher"), tool("1.31.0")];
        assert_eq!(best(&seen), Some(&seen[1]));
        assert_eq!(best(&seen[..1]), Some(&seen[0]));
    }

    #[test]
    fn one_of_the_versions_that_a_scenario_names_is_taken() {
        let seen = [tool("1.20.5"), tool("1.31.0-dispatcher"), tool("1.29.3"), tool("1.31.2"), tool("1.32.0")];
        let one_of = |versions: &str| best_of(&seen, &VersionRange::parse(versions).unwrap());
        assert_eq!(one_of("kubectl 1.20"), Some(&seen[0]));
        assert_eq!(one_of("kubectl 1.29+"), Some(&seen[3]), "not 1.29.3, which local has no use for");
        assert_eq!(one_of("kubectl 1.31.2"), Some(&seen[3]));
        assert_eq!(one_of("kubectl 1.31.0"), None, "a dispatcher is of no version");
        assert_eq!(one_of("kubectl 1.33"), None);
    }

    #[test]
    fn a_plugin_is_no_kubectl() {
        for (name, is_one) in [
            ("kubectl", true),
            ("kubectl-1.31", true),
            ("kubectl-v1.20.5", true),
            ("kubectl1.31", true),
            ("kubectl-neat", false),
            ("kubectl_complete-x", false),
            ("oc", false),
        ] {
            assert_eq!(is_kubectl_of_a_version(name), is_one, "{name}");
        }
    }

    #[tokio::test]
    #[ignore = "fetches 30 MB from a Debian mirror"]
    async fn debians_kubectl_is_fetched_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("folder");
        install_into(folder.path()).await.expect("kubectl");
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(names, ["kubectl"]);
        assert!(number(&version(&folder.path().join("kubectl")).await.expect("version")) >= Some(MINIMUM));
    }

    #[test]
    fn one_program_under_two_names_is_looked_at_once() {
        let folder = tempfile::tempdir().expect("folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir_all(&real).expect("folder");
        std::fs::write(real.join("kubectl"), "").expect("write");
        assert_eq!(
            candidates(std::slice::from_ref(&real), |name| name == "kubectl"),
            Vec::<PathBuf>::new(),
            "not executable"
        );
        std::fs::set_permissions(real.join("kubectl"), std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::os::unix::fs::symlink(&real, &link).expect("link");
        assert_eq!(
            candidates(&[link, real.clone()], |name| name == "kubectl"),
            [real.join("kubectl").canonicalize().expect("path")]
        );
    }
}
