//! From names on the command line to everything that drills need, read and checked: nothing has started yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use jiff::Zoned;

use crate::check::Checked;
use crate::doctor::{Requirements, Tools};
use crate::outcome::{DrillOutcome, ErratumOutcome};
use crate::plan::{AsWritten, DrillPlan};
use crate::problem::Problems;
use crate::scenario::{EnvironmentName, Scenario, Scenarios, StoreKind};
use crate::system::image;

/// A scenario with all that it names.
pub struct PreparedScenario {
    pub scenario: Scenario,
    pub checked: Checked,
    /// Names of the drills that were asked for.
    selected: Vec<String>,
}

/// What was asked for, in the order of the names.
pub struct Prepared {
    pub scenarios: Vec<PreparedScenario>,
}

/// Reads everything and returns it, or every problem of every file. Without names: every scenario, every drill.
/// `versions`, by tool, leave out errata that do not hold for them; where none is known all are at work.
pub fn prepare(
    folder: &Path,
    names: &[String],
    drills: &[String],
    as_written: AsWritten,
    versions: &BTreeMap<String, String>,
) -> Result<Prepared, Problems> {
    let scenarios = Scenarios::discover(folder, Zoned::now().date())?;
    let mut problems = Problems::default();
    let mut prepared = Vec::new();
    for scenario in scenarios.select(names)? {
        let scenario = scenario.with_tools(versions);
        let selected = problems.keep(scenario.select_drills(drills));
        let selected = selected.map(|drills| drills.into_iter().map(|drill| drill.name.clone()).collect());
        let checked = problems.keep(Checked::of(&scenario, as_written));
        prepared.extend(selected.zip(checked).map(|(selected, checked)| PreparedScenario {
            scenario,
            checked,
            selected,
        }));
    }
    problems.or(Some(Prepared { scenarios: prepared }))
}

impl Prepared {
    /// Whether every erratum holds for these versions of tools, so that preparing for them would come to the same.
    pub fn is_for(&self, versions: &BTreeMap<String, String>) -> bool {
        let mut errata = self.scenarios.iter().flat_map(|scenario| &scenario.scenario.errata);
        errata.all(|erratum| erratum.versions.holds_for(versions))
    }

    /// Every drill that was asked for, with its scenario.
    pub fn drills(&self) -> impl Iterator<Item = (&PreparedScenario, &DrillPlan)> {
        self.scenarios.iter().flat_map(|scenario| {
            let asked = |plan: &&DrillPlan| scenario.selected.contains(&plan.name);
            scenario.checked.plan.drills.iter().filter(asked).map(move |plan| (scenario, plan))
        })
    }

    /// What the machine must have for all of them on the local environment.
    pub fn requirements(&self) -> Requirements {
        let mut requirements = Requirements::default();
        requirements.sandbox();
        for scenario in &self.scenarios {
            requirements.kubectl.insert(format!("scenario {}", scenario.scenario.name));
            for (reference, image) in &scenario.checked.images {
                for package in &image.packages {
                    requirements.package(package, &format!("image {reference}"));
                }
                for requirement in &image.python {
                    requirements.python(requirement, &format!("image {reference}"));
                }
                for requirement in &image.npm {
                    requirements.npm(requirement, &format!("image {reference}"));
                }
            }
            if scenario.scenario.stores.values().any(|store| store.kind == StoreKind::Gcs) {
                requirements.gcs_server.insert(format!("scenario {}", scenario.scenario.name));
            }
            if !scenario.scenario.repositories.is_empty() {
                requirements.package("restic", "the prober");
            }
        }
        requirements
    }
}

impl PreparedScenario {
    /// What is known of a drill before it starts.
    pub fn outcome(
        &self,
        plan: &DrillPlan,
        environment: EnvironmentName,
        as_written: AsWritten,
        tools: &Tools,
    ) -> DrillOutcome {
        let errata = plan.errata.iter().map(|erratum| ErratumOutcome {
            id: erratum.id.clone(),
            source: erratum.source.clone(),
            documented: erratum.documented.clone(),
            correction: erratum.correction.clone(),
            reason: erratum.reason.clone(),
            answer: erratum.answer.clone(),
            versions: erratum.versions.clone(),
        });
        DrillOutcome {
            scenario: self.scenario.name.clone(),
            variant: plan.name.clone(),
            environment: format!("{environment:?}").to_lowercase(),
            as_written: as_written == AsWritten::Yes,
            aim: plan.aim(),
            phases: Vec::new(),
            steps: Vec::new(),
            checks: Vec::new(),
            credentials: Vec::new(),
            objectives: Vec::new(),
            errata: errata.collect(),
            uncovered: self.checked.plan.uncovered.clone(),
            waived: self.checked.plan.waived.clone(),
            provided: plan.provided.clone(),
            simulated: Vec::new(),
            leftovers: Vec::new(),
            digests: self.digests(tools),
            versions: tools.versions(),
            accept: self.scenario.accepted_for(&plan.name).cloned().collect(),
        }
    }

    /// blake3 of what ran; a file that cannot be read any more is said to be so.
    fn digests(&self, tools: &Tools) -> BTreeMap<String, String> {
        // In pieces: redrill with what a debugger needs is far bigger than all it ever holds in memory.
        let digest =
            |path: &Path| blake3::Hasher::new().update_reader(File::open(path)?).map(|hasher| hasher.finalize());
        let of_file = |path: &Path| match digest(path) {
            Ok(digest) => digest.to_hex().to_string(),
            Err(error) => format!("unreadable: {error}"),
        };
        let mut digests = BTreeMap::from([
            ("runbook".to_owned(), blake3::hash(self.checked.runbook.text.as_bytes()).to_hex().to_string()),
            ("scenario".to_owned(), of_file(&self.scenario.file)),
        ]);
        if let Ok(program) = std::env::current_exe() {
            digests.insert("redrill".to_owned(), of_file(&program));
        }
        // What stands for no single program (a package, the kernel) is told by its version alone.
        for (name, tool) in tools.iter().filter(|(_, tool)| tool.path.is_file()) {
            digests.insert(format!("program {name}"), of_file(&tool.path));
        }
        if let Some(workstation) = &self.scenario.workstation {
            let digest = image::digest(&workstation.folder).unwrap_or_else(|error| format!("unreadable: {error}"));
            digests.insert(format!("workstation {}", workstation.name), digest);
        }
        for (reference, image) in &self.checked.images {
            digests.insert(format!("image {reference}"), image.digest.clone());
        }
        digests
    }
}
