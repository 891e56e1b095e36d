//! Programs that no package registry carries: the real one is taken where this machine has it, and a stand-in of redrill's otherwise,
//! for some of them only when it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Finding, Fix, Tool};
use crate::command;

/// When a stand-in takes the place of the real program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// With `--simulate`: without it, and without the real program, a drill is UNVERIFIED.
    WhenAskedFor,
}

/// A program that has a stand-in.
#[derive(Debug, PartialEq, Eq)]
pub struct RealProgram {
    /// As PATH has it, and the image's file in whose place it is put.
    pub name: &'static str,
    /// The environment variable that names one elsewhere.
    pub setting: &'static str,
    /// What it is asked for its version.
    asking: &'static [&'static str],
    /// What stands before the version in its answer.
    before: &'static str,
    minimum: (u32, u32),
    pub stand_in: StandIn,
}

pub static REAL_PROGRAMS: [RealProgram; 1] = [RealProgram {
    name: "cockroach",
    setting: "REDRILL_COCKROACH",
    asking: &["version", "--build-tag"],
    before: "v",
    minimum: (22, 2),
    stand_in: StandIn::WhenAskedFor,
}];

/// The one of this name.
pub fn of(name: &str) -> Option<&'static RealProgram> {
    REAL_PROGRAMS.iter().find(|program| program.name == name)
}

/// What `--simulate` may be given.
pub fn simulated_when_asked_for() -> Vec<&'static str> {
    let asked = REAL_PROGRAMS.iter().filter(|program| program.stand_in == StandIn::WhenAskedFor);
    asked.map(|program| program.name).collect()
}

impl RealProgram {
    /// `cockroach 22.2 or newer`
    pub fn wanted(&self) -> String {
        format!("{} {}.{} or newer", self.name, self.minimum.0, self.minimum.1)
    }

    /// What a person does about it when it is not there.
    pub fn remedy(&self) -> String {
        let Self { name, setting, .. } = self;
        format!("put {} into PATH or name it by {setting}, or run with `--simulate {name}`", self.wanted())
    }

    /// The version in an answer; `None` where that is none of the real one's.
    fn version(&self, answer: &str) -> Option<String> {
        let version = answer.lines().next()?.trim().strip_prefix(self.before)?;
        number(version).map(|_| version.to_owned())
    }
}

/// Looks for it where its setting says, else in PATH.
pub async fn examine(program: &RealProgram, needed_by: &BTreeSet<String>) -> Finding {
    let setting = std::env::var_os(program.setting).filter(|path| !path.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let (found, seen) = look(program, &candidates(program.name, setting.as_ref(), &path)).await;
    let remedy = match seen.or_else(|| setting.map(|path| format!("{} is no program", Path::new(&path).display()))) {
        Some(seen) => format!("{seen}: {}", program.remedy()),
        None => program.remedy(),
    };
    let fix = Some(Fix::StandIn);
    Finding { what: program.wanted(), found, needed_by: needed_by.clone(), remedy, fix }
}

/// One that is named is the only one that is meant.
fn candidates(name: &str, setting: Option<&OsString>, path: &OsString) -> Vec<PathBuf> {
    let named = match setting {
        Some(program) => vec![PathBuf::from(program)],
        None => std::env::split_paths(path).map(|folder| folder.join(name)).collect(),
    };
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    named.into_iter().filter_map(|path| path.canonicalize().ok()).filter(is_program).collect()
}

/// The first that is the real one and new enough; of what is not, what is wrong with the first.
async fn look(program: &RealProgram, candidates: &[PathBuf]) -> (Option<Tool>, Option<String>) {
    let mut seen = None;
    for path in candidates {
        let version = ask(program, path).await;
        match version {
            Some(version) if number(&version) >= Some(program.minimum) => {
                return (Some(Tool { path: path.clone(), version }), None);
            }
            Some(version) => _ = seen.get_or_insert(format!("{} is {version}", path.display())),
            None => _ = seen.get_or_insert(format!("{} does not say that it is a release", path.display())),
        }
    }
    (None, seen)
}

async fn ask(program: &RealProgram, path: &Path) -> Option<String> {
    let mut argv = vec![path.to_str()?];
    argv.extend(program.asking);
    let output = command::run(&argv, &BTreeMap::new(), b"", Duration::from_secs(20)).await.ok()?;
    program.version(&String::from_utf8_lossy(&output.stdout)).filter(|_| output.status.success())
}

/// Major and minor of `22.2.19`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cockroach() -> &'static RealProgram {
        of("cockroach").expect("cockroach")
    }

    fn program(folder: &Path, says: &str) -> PathBuf {
        let path = folder.join("cockroach");
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        path
    }

    #[tokio::test]
    async fn a_release_that_is_new_enough_is_the_real_one() {
        let folder = tempfile::tempdir().expect("folder");
        let path = program(folder.path(), "v22.2.19");
        let (found, _) = look(cockroach(), std::slice::from_ref(&path)).await;
        assert_eq!(found, Some(Tool { path, version: "22.2.19".to_owned() }));
    }

    #[tokio::test]
    async fn what_is_older_or_a_stand_in_is_not_and_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        for (says, reason) in [("v21.1.0", "is 21.1.0"), ("redrill-stand-in", "does not say that it is a release")] {
            let path = program(folder.path(), says);
            let (found, seen) = look(cockroach(), &[path]).await;
            assert!(found.is_none() && seen.as_deref().is_some_and(|seen| seen.ends_with(reason)), "{seen:?}");
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/cockroach/cockroach");
        assert_eq!(look(cockroach(), &[own]).await.0, None, "the stand-in itself");
    }

    #[test]
    fn a_program_that_is_named_is_the_only_one_that_is_meant() {
        let folder = tempfile::tempdir().expect("folder");
        let path = program(folder.path(), "v22.2.19");
        let in_path = OsString::from(folder.path());
        assert_eq!(candidates("cockroach", None, &in_path), [path.canonicalize().expect("path")]);
        assert!(candidates("cockroach", Some(&OsString::from("/none")), &in_path).is_empty());
    }

    #[test]
    fn the_remedy_names_every_way_out() {
        let remedy = cockroach().remedy();
        for way in ["cockroach 22.2 or newer", "REDRILL_COCKROACH", "--simulate cockroach"] {
            assert!(remedy.contains(way), "{remedy}");
        }
    }
}
