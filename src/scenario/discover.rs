//! Finds the scenarios of a folder and picks from them.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;

use super::Scenario;
use crate::problem::{Problem, Problems, suggestion};

/// The scenarios of a folder, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenarios {
    pub scenarios: BTreeMap<String, Scenario>,
    /// The folder, as named by the caller.
    folder: std::path::PathBuf,
}

impl Scenarios {
    /// Reads every `<folder>/*/scenario.yaml`. Errors with all problems of all of them, two of one name included.
    pub fn discover(folder: &Path, today: Date) -> Result<Self, Problems> {
        let unreadable = |error| Problem::of_file(folder, format!("folder of scenarios cannot be read: {error}"));
        let entries = std::fs::read_dir(folder).map_err(unreadable)?;
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let mut files: Vec<_> = entries.iter().map(|entry| entry.path().join("scenario.yaml")).collect();
        files.retain(|file| file.is_file());
        files.sort();
        let mut scenarios: BTreeMap<String, Scenario> = BTreeMap::new();
        let mut problems = Problems::default();
        for file in files {
            match Scenario::read(&file, today) {
                Err(found) => problems.extend(found),
                Ok(scenario) => match scenarios.get(&scenario.name) {
                    Some(first) => {
                        let message = format!(
                            "a second scenario `{}`, the first is in {}: give it a name of its own",
                            scenario.name, first.source
                        );
                        problems.push(Problem::new(&scenario.source, message));
                    }
                    None => drop(scenarios.insert(scenario.name.clone(), scenario)),
                },
            }
        }
        problems.or(Some(Self { scenarios, folder: folder.to_owned() }))
    }

    /// The scenarios of these names, each once and by name; no names: all. Nothing to run is a problem.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Scenario>, Problems> {
        let mut problems = Problems::default();
        let known = || self.scenarios.keys().map(String::as_str);
        for name in names.iter().filter(|name| !self.scenarios.contains_key(*name)) {
            let hint = suggestion(name, known());
            problems.push(Problem::of_file(&self.folder, format!("no scenario `{name}` here{hint}")));
        }
        let selected: Vec<_> =
            self.scenarios.values().filter(|scenario| names.is_empty() || names.contains(&scenario.name)).collect();
        if selected.is_empty() && problems.is_empty() {
            let message = "no scenario here: make <name>/scenario.yaml, or name another folder";
            problems.push(Problem::of_file(&self.folder, message));
        }
        problems.or(Some(selected))
    }
}

impl Scenario {
    /// The drills of these names in the file's order; no names: all.
    pub fn select_drills(&self, names: &[String]) -> Result<Vec<&super::Drill>, Problems> {
        let mut problems = Problems::default();
        for name in names.iter().filter(|name| !self.drills.iter().any(|drill| drill.name == **name)) {
            let hint = suggestion(name, self.drills.iter().map(|drill| drill.name.as_str()));
            problems.push(Problem::of_file(&self.file, format!("no drill `{name}` in scenario `{}`{hint}", self.name)));
        }
        let wanted = |drill: &&super::Drill| names.is_empty() || names.contains(&drill.name);
        problems.or(Some(self.drills.iter().filter(wanted).collect()))
    }
}
