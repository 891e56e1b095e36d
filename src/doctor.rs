//! What a drill needs of the machine: whether it is there, in which version, and how to get it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command;
use crate::redact::Secret;

pub mod by_name;
mod debian;
#[cfg(feature = "docker")]
pub mod debian_base;
#[cfg(feature = "docker")]
mod engine;
pub mod go_module;
pub mod kubectl;
pub mod npm;
pub mod package;
pub mod python;
pub mod real_program;
mod requirement;
mod tools;

pub use requirement::Requirements;
pub use tools::Tools;

use real_program::Absence;

/// Something needed that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The program, with links resolved; for what is no program, a file that shows it is there.
    pub path: PathBuf,
    pub version: String,
}

/// How `install` gets what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    Apt(Vec<String>),
    /// Debian's own build of it, unpacked for this user only.
    Kubectl,
    /// Built by Go, for this user only.
    Go(&'static go_module::GoProgram),
    /// Fetched by pip, for this user only.
    Python(String),
    /// Fetched by npm, for this user only.
    Npm(String),
    /// Nothing gets it: where it is not, a stand-in does instead.
    StandIn(Absence),
}

/// One thing that was looked for.
#[derive(Debug, Clone)]
pub struct Finding {
    /// `restic`, `kubectl 1.30 or newer`, `kernel namespaces`.
    pub what: String,
    /// `None`: it is missing, or not as needed.
    pub found: Option<Tool>,
    pub needed_by: BTreeSet<String>,
    /// What a person does about it, when it is missing.
    pub remedy: String,
    pub fix: Option<Fix>,
}

impl Finding {
    pub fn is_missing(&self) -> bool {
        self.found.is_none()
    }

    /// Whether that keeps the machine from running drills, and not just from running some of them on the real program.
    pub fn is_obstacle(&self) -> bool {
        self.is_missing() && !matches!(self.fix, Some(Fix::StandIn(_)))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("run {doing}")]
    Command { doing: String, source: command::Error },
    #[error("{doing}: {said}")]
    Refused { doing: String, said: String },
    #[error("only root installs packages; run: {command}")]
    NeedsRoot { command: String },
    #[error("{doing}")]
    Io { doing: String, source: std::io::Error },
    #[error("{0}")]
    Impossible(String),
}

/// Looks for everything needed. `namespaces` tries whether the kernel lets this user make them; its error is what to do.
pub async fn examine(
    requirements: &Requirements,
    namespaces: impl FnOnce() -> Result<(), String>,
) -> Result<Vec<Finding>, Error> {
    let mut findings = package::examine(&requirements.packages).await?;
    #[cfg(feature = "docker")]
    if !requirements.engine.is_empty() {
        findings.push(engine::examine(&requirements.engine).await);
    }
    for (versions, needed_by) in &requirements.kubectl {
        findings.push(kubectl::examine(versions.as_ref(), needed_by).await);
    }
    let mut go = requirements.go.clone();
    for (program, needed_by) in requirements.real.iter().filter_map(|(name, by)| Some((real_program::of(name)?, by))) {
        let finding = real_program::examine(program, needed_by).await;
        if let Some(stand_in) = program.go_program().filter(|_| finding.is_missing()) {
            go.entry(stand_in).or_default().extend(needed_by.iter().cloned());
        }
        findings.push(finding);
    }
    for (program, needed_by) in &go {
        findings.push(go_module::examine(program, needed_by).await);
    }
    findings.extend(requirements.python.iter().map(|(requirement, needed_by)| python::examine(requirement, needed_by)));
    findings.extend(requirements.npm.iter().map(|(requirement, needed_by)| npm::examine(requirement, needed_by)));
    if !requirements.namespaces.is_empty() {
        let (found, remedy) = match namespaces() {
            Ok(()) => (Some(Tool { path: "/proc/self/ns".into(), version: kernel_release() }), String::new()),
            Err(remedy) => (None, remedy),
        };
        let needed_by = requirements.namespaces.clone();
        findings.push(Finding { what: "kernel namespaces".to_owned(), found, needed_by, remedy, fix: None });
    }
    Ok(findings)
}

/// The kubectl that drills run.
pub async fn kubectl() -> Option<Tool> {
    kubectl::examine(None, &BTreeSet::new()).await.found
}

/// Installs what is missing and can be installed, telling each thing as it begins. Whether it helped is for the next `examine`
/// to say.
pub async fn install(findings: &[Finding], mut tell: impl FnMut(&str)) -> Result<(), Error> {
    let missing = || findings.iter().filter(|finding| finding.is_missing()).filter_map(|finding| finding.fix.as_ref());
    let mut packages = BTreeSet::new();
    for fix in missing() {
        match fix {
            Fix::Apt(names) => packages.extend(names.iter().cloned()),
            Fix::Kubectl | Fix::Go(_) | Fix::Python(_) | Fix::Npm(_) | Fix::StandIn(_) => {}
        }
    }
    if !packages.is_empty() {
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        if !nix::unistd::geteuid().is_root() {
            let command = format!("sudo apt-get install --no-install-recommends {}", packages.join(" "));
            return Err(Error::NeedsRoot { command });
        }
        tell(&format!("installing Debian packages: {}", packages.join(" ")));
        package::install(&packages).await?;
    }
    let mut built_by_go = Vec::new();
    // After the packages, some of which they need.
    for fix in missing() {
        match fix {
            Fix::Apt(_) | Fix::StandIn(_) => {}
            Fix::Kubectl => {
                tell("fetching Debian's kubectl for this user");
                kubectl::install().await?;
            }
            Fix::Go(program) => built_by_go.push(*program),
            Fix::Python(requirement) => {
                tell(&format!("fetching {requirement} with pip for this user"));
                python::install(requirement).await?;
            }
            Fix::Npm(requirement) => {
                tell(&format!("fetching {requirement} with npm for this user"));
                npm::install(requirement).await?;
            }
        }
    }
    let tell_of_go = |what: &str| tell(&format!("building {what} with Go for this user"));
    go_module::install(&built_by_go, tell_of_go).await
}

fn kernel_release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

/// Where programs are kept that were fetched for this user; `None` where nothing says what is this user's.
pub fn tools_folder() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()).map(PathBuf::from);
    let data = data.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".local/share")))?;
    Some(data.join("redrill/tools"))
}

fn tools_folder_or_error() -> Result<PathBuf, Error> {
    tools_folder().ok_or_else(|| Error::Impossible("neither XDG_DATA_HOME nor HOME is set".to_owned()))
}

/// Lets every user read what is below `folder`, whatever this one's umask: inside a sandbox its owner is somebody else.
fn make_readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::symlink_metadata(folder)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let readable = if mode & 0o100 == 0 { mode | 0o444 } else { mode | 0o555 };
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(readable))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            make_readable(&entry?.path())?;
        }
    }
    Ok(())
}

/// Runs a program that must succeed; gives its stdout.
async fn run(argv: &[&str], doing: &str, deadline: Duration) -> Result<String, Error> {
    run_with(argv, BTreeMap::new(), doing, deadline).await
}

/// As [`run`], with these variables beside the machine's own.
async fn run_with(
    argv: &[&str],
    mut env: BTreeMap<String, Secret>,
    doing: &str,
    deadline: Duration,
) -> Result<String, Error> {
    env.insert("LC_ALL".to_owned(), Secret::new("C.UTF-8"));
    env.insert("DEBIAN_FRONTEND".to_owned(), Secret::new("noninteractive"));
    let output = command::run(argv, &env, b"", deadline)
        .await
        .map_err(|source| Error::Command { doing: doing.to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Refused { doing: doing.to_owned(), said: last_lines(&said, 8) })
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("; ")
}

/// A field of os-release(5).
fn os_release(text: &str, field: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Whether apt-get can be asked: Debian, or something made of it.
fn is_debian() -> bool {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let like =
        format!("{} {}", os_release(&text, "ID").unwrap_or_default(), os_release(&text, "ID_LIKE").unwrap_or_default());
    like.split(' ').any(|id| id == "debian") && Path::new("/usr/bin/apt-get").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(what: &str, found: Option<&str>, fix: Option<Fix>) -> Finding {
        let found = found.map(|version| Tool { path: "/usr/bin/x".into(), version: version.to_owned() });
        Finding { what: what.to_owned(), found, needed_by: BTreeSet::new(), remedy: String::new(), fix }
    }

    #[tokio::test]
    async fn what_the_drill_of_taiga_needs_is_named_with_what_needs_it() {
        let mut requirements = Requirements::default();
        requirements.namespaces.insert("the local environment".to_owned());
        requirements.package("bash", "images/taiga-backup");
        requirements.package("redrill-no-such-package", "images/a");
        requirements.package("redrill-no-such-package", "images/b");
        let findings = examine(&requirements, || Err("allow them".to_owned())).await.expect("findings");
        let bash = &findings[0];
        assert_eq!(bash.what, "bash");
        assert!(!bash.found.as_ref().expect("bash").version.is_empty());
        let missing = &findings[1];
        assert!(missing.is_missing());
        assert_eq!(missing.needed_by.iter().cloned().collect::<Vec<_>>(), ["images/a", "images/b"]);
        assert!(missing.remedy.contains("redrill-no-such-package"), "{}", missing.remedy);
        let namespaces = &findings[2];
        assert_eq!((&*namespaces.what, &*namespaces.remedy), ("kernel namespaces", "allow them"));
    }

    #[tokio::test]
    async fn nothing_is_installed_when_nothing_is_missing() {
        let fix = Some(Fix::Apt(vec!["redrill-no-such-package".to_owned()]));
        let mut told = Vec::new();
        install(&[finding("x", Some("1"), fix)], |text| told.push(text.to_owned())).await.expect("nothing to do");
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn what_was_fetched_can_be_read_and_run_by_every_user() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("folder");
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).expect("folder");
        for (name, mode) in [("program", 0o700), ("file", 0o600)] {
            std::fs::write(inside.join(name), "").expect("write");
            std::fs::set_permissions(inside.join(name), std::fs::Permissions::from_mode(mode)).expect("mode");
        }
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o700)).expect("mode");
        let outside = folder.path().join("outside");
        std::fs::write(&outside, "").expect("write");
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).expect("mode");
        symlink(&outside, inside.join("link")).expect("link");
        make_readable(&inside).expect("readable");
        let mode = |path: &Path| std::fs::metadata(path).expect("file").permissions().mode() & 0o777;
        assert_eq!((mode(&inside), mode(&inside.join("program")), mode(&inside.join("file"))), (0o755, 0o755, 0o644));
        assert_eq!(mode(&outside), 0o600, "links are not followed");
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let text = "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_CODENAME='bookworm'\n";
        assert_eq!(os_release(text, "ID").as_deref(), Some("debian"));
        assert_eq!(os_release(text, "VERSION_CODENAME").as_deref(), Some("bookworm"));
        assert_eq!(os_release(text, "ID_LIKE"), None);
    }
}
