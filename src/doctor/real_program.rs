//! Programs that no package registry carries: the real one is taken where this machine has it, and a stand-in otherwise, for some of
//! them only when it is asked for. [`REAL_PROGRAMS`] is all that is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::go_module::{FERRETDB, GoProgram};
use super::{Finding, Fix, Tool};
use crate::command;

/// What stands for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandIn {
    /// The file of the image's folder that is called like it.
    Folder,
    /// A program that Go builds; the folder has no such file.
    Go(&'static GoProgram),
}

/// When a stand-in takes the place of the real program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// Wherever the real program is not.
    Always,
    /// With `--simulate`: without it, and without the real program, a drill is UNVERIFIED.
    WhenAskedFor,
}

/// A program that has a stand-in.
#[derive(Debug, PartialEq, Eq)]
pub struct RealProgram {
    /// As PATH has it, and as a Dockerfile copies what it takes the place of.
    pub name: &'static str,
    /// The environment variable that names one elsewhere.
    pub setting: &'static str,
    /// What it is asked for its version.
    asking: &'static [&'static str],
    /// What stands before the version in its answer.
    before: &'static str,
    minimum: (u32, u32),
    stand_in: StandIn,
    leave: Leave,
    /// What a drill on the stand-in does not prove.
    unproven: &'static str,
}

pub static REAL_PROGRAMS: [RealProgram; 2] = [
    RealProgram {
        name: "cockroach",
        setting: "REDRILL_COCKROACH",
        asking: &["version", "--build-tag"],
        before: "v",
        minimum: (22, 2),
        stand_in: StandIn::Folder,
        leave: Leave::WhenAskedFor,
        unproven: "it proves the procedure, not what CockroachDB's own storage, jobs and SQL make of it",
    },
    RealProgram {
        name: "mongod",
        setting: "REDRILL_MONGOD",
        asking: &["--version"],
        before: "db version v",
        minimum: (4, 2),
        stand_in: StandIn::Go(&FERRETDB),
        leave: Leave::Always,
        unproven: "it proves the procedure, not how mongod recovers from files that were copied one by one while it wrote",
    },
];

/// How it was looked for in vain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absence {
    /// What is there and is not it: `/usr/bin/mongod is 3.6.8`.
    pub seen: Option<String>,
    /// Whether its setting named one, which is the only one that is meant then.
    pub is_named: bool,
}

/// The one of this name.
pub fn of(name: &str) -> Option<&'static RealProgram> {
    REAL_PROGRAMS.iter().find(|program| program.name == name)
}

/// What `--simulate` may be given.
pub fn simulated_when_asked_for() -> Vec<&'static str> {
    let asked = REAL_PROGRAMS.iter().filter(|program| program.leave == Leave::WhenAskedFor);
    asked.map(|program| program.name).collect()
}

impl RealProgram {
    /// `cockroach 22.2 or newer`
    pub fn wanted(&self) -> String {
        format!("{} {}.{} or newer", self.name, self.minimum.0, self.minimum.1)
    }

    /// What a person does about it when it is not there.
    pub fn remedy(&self, absence: &Absence) -> String {
        let (Self { name, setting, .. }, wanted) = (self, self.wanted());
        let way = match (self.leave, absence.is_named) {
            (Leave::WhenAskedFor, _) => {
                format!("put {wanted} into PATH or name it by {setting}, or run with `--simulate {name}`")
            }
            (Leave::Always, false) => {
                format!("put {wanted} into PATH or name it by {setting}; without it {} stands for it", self.stand_in())
            }
            (Leave::Always, true) => {
                format!("name {wanted} by {setting}, or unset that and {} stands for it", self.stand_in())
            }
        };
        absence.seen.iter().map(|seen| format!("{seen}: ")).chain([way]).collect()
    }

    /// Whether a drill may run on the stand-in: not on one that nobody asked for, and not in place of a program that somebody named.
    pub fn may_be_stood_for(&self, absence: &Absence, simulate: &[String]) -> bool {
        match self.leave {
            Leave::Always => !absence.is_named,
            Leave::WhenAskedFor => simulate.iter().any(|name| name == self.name),
        }
    }

    /// What reports say of a drill on the stand-in.
    pub fn why_simulated(&self, absence: &Absence) -> String {
        let Self { name, setting, unproven, .. } = self;
        let why = match (self.leave, &absence.seen) {
            (Leave::WhenAskedFor, _) => format!("with `--simulate {name}` only"),
            (Leave::Always, Some(seen)) => format!("{} being needed, and {seen}", self.wanted()),
            (Leave::Always, None) => format!("which is neither in PATH nor named by {setting}"),
        };
        format!("{} stands for {name}, {why}: {unproven}", self.stand_in())
    }

    /// The stand-in, where Go builds it.
    pub fn go_program(&self) -> Option<&'static GoProgram> {
        match self.stand_in {
            StandIn::Folder => None,
            StandIn::Go(program) => Some(program),
        }
    }

    fn stand_in(&self) -> String {
        match self.stand_in {
            StandIn::Folder => format!("redrill's own `{}`", self.name),
            StandIn::Go(GoProgram { name, version, .. }) => format!("{name} {version}"),
        }
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
    let is_named = setting.is_some();
    let seen = seen.or_else(|| setting.map(|path| format!("{} is no program", Path::new(&path).display())));
    let absence = Absence { seen, is_named };
    let remedy = program.remedy(&absence);
    Finding { what: program.wanted(), found, needed_by: needed_by.clone(), remedy, fix: Some(Fix::StandIn(absence)) }
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
mod tests;
