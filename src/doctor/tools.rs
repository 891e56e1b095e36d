//! What was found on this machine, and whose it is.

use std::collections::BTreeMap;

use super::real_program::Absence;
use super::{Finding, Fix, Requirements, Tool, kubectl};

/// What was found, by name.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    found: BTreeMap<String, Tool>,
    /// Programs that something may stand for.
    absent: BTreeMap<String, Absence>,
}

impl Tools {
    pub fn of(findings: &[Finding]) -> Self {
        let mut tools = Self::default();
        for finding in findings {
            let name = finding.what.split(' ').next().unwrap_or_default().to_owned();
            match (&finding.found, &finding.fix) {
                (Some(tool), _) => _ = tools.found.insert(name, tool.clone()),
                (None, Some(Fix::StandIn(absence))) => _ = tools.absent.insert(name, absence.clone()),
                (None, _) => {}
            }
        }
        tools
    }

    /// Without these: stand-ins were asked for in their place.
    pub fn without(mut self, names: &[String]) -> Self {
        self.found.retain(|name, _| !names.contains(name));
        self
    }

    /// Those that these requirements ask for: another scenario's server says nothing about this one's.
    pub fn only(&self, requirements: &Requirements) -> Self {
        let names = requirements.names();
        let mut tools = self.clone();
        // A scenario has one kubectl.
        for versions in requirements.kubectl.keys().flatten() {
            match self.found.get(&kubectl::pinned(versions)) {
                Some(pinned) => tools.found.insert("kubectl".to_owned(), pinned.clone()),
                None => tools.found.remove("kubectl"),
            };
        }
        tools.found.retain(|name, _| names.contains(name.as_str()));
        tools.absent.retain(|name, _| names.contains(name.as_str()));
        tools
    }

    /// By Debian package name, name of a package for Python or of npm, `kubectl` or name of a Go program.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.found.get(name)
    }

    /// How a program that was not found was looked for.
    pub fn absence(&self, name: &str) -> Absence {
        self.absent.get(name).cloned().unwrap_or_default()
    }

    /// By name.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, tool)| (name.to_owned(), tool.version.clone())).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tool)> {
        self.found.iter().map(|(name, tool)| (&**name, tool))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::VersionRange;

    fn finding(what: &str, found: Option<&str>, fix: Option<Fix>) -> Finding {
        let found = found.map(|version| Tool { path: "/usr/bin/x".into(), version: version.to_owned() });
        Finding { what: what.to_owned(), found, needed_by: BTreeSet::new(), remedy: String::new(), fix }
    }

    #[test]
    fn tools_are_what_was_found() {
        let tools = Tools::of(&[finding("kubectl 1.30 or newer", Some("1.32.3"), None), finding("restic", None, None)]);
        assert_eq!(tools.get("kubectl").map(|tool| &*tool.version), Some("1.32.3"));
        assert_eq!(tools.get("restic"), None);
    }

    #[test]
    fn of_all_tools_a_scenario_has_those_that_it_asks_for() {
        let found =
            ["kubectl 1.32", "restic", "postgresql-15", "wal-e 1.1.1 with aws", "@a/b 1.2.3", "kernel namespaces"];
        let findings: Vec<_> = found.iter().map(|what| finding(what, Some("1"), None)).collect();
        let mut requirements = Requirements::default();
        requirements.python("wal-e[aws]==1.1.1", "x");
        requirements.npm("@a/b@1.2.3", "x");
        let mut more = Requirements::default();
        more.package("restic", "y");
        more.kubectl(None, "y");
        requirements.extend(more);
        let tools = Tools::of(&findings).only(&requirements);
        let names: Vec<_> = tools.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["@a/b", "kernel", "kubectl", "restic", "wal-e"]);
    }

    #[test]
    fn a_scenario_has_the_kubectl_that_it_names_and_no_other() {
        let versions = ["kubectl 1.20", "kubectl 1.31+"].map(|text| VersionRange::parse(text).unwrap());
        let found = [("kubectl 1.30 or newer", "1.33.1"), ("kubectl-1.20", "1.20.5")];
        let tools = Tools::of(&found.map(|(what, version)| finding(what, Some(version), None)));
        let kubectl = |versions: Option<&VersionRange>| {
            let mut requirements = Requirements::default();
            requirements.kubectl(versions, "x");
            tools.only(&requirements).versions().remove("kubectl")
        };
        assert_eq!(kubectl(None).as_deref(), Some("1.33.1"));
        assert_eq!(kubectl(Some(&versions[0])).as_deref(), Some("1.20.5"));
        assert_eq!(kubectl(Some(&versions[1])), None, "not found: never another");
    }
}
