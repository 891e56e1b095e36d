//! From names on the command line to everything that drills need, read and checked: nothing has started yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use jiff::Zoned;

use crate::check::Checked;
use crate::doctor::{Requirements, Tools};
use crate::outcome::{DrillOutcome, ErratumOutcome};
use crate::plan::{AsWritten, DrillPlan, Plan};
use crate::runbook::Runbook;
use crate::scenario::{EnvironmentName, Scenario, Scenarios};
use crate::system::System;
use crate::system::image::{Binding, Images, LocalImage};

/// A scenario with all that it names.
pub struct PreparedScenario {
    pub scenario: Scenario,
    pub runbook: Runbook,
    pub system: System,
    pub images: BTreeMap<String, LocalImage>,
    pub plan: Plan,
    /// Names of the drills that were asked for.
    selected: Vec<String>,
}

/// What was asked for, in the order of the names.
pub struct Prepared {
    pub scenarios: Vec<PreparedScenario>,
}

/// Reads everything and returns it, or every problem of every file.
pub fn prepare(
    folder: &Path,
    names: &[String],
    drills: &[String],
    as_written: AsWritten,
) -> Result<Prepared, Vec<String>> {
    let today = Zoned::now().date();
    let scenarios = Scenarios::discover(folder, today).map_err(words)?;
    let mut problems = Vec::new();
    let mut prepared = Vec::new();
    for scenario in scenarios.select(names).map_err(words)? {
        match one(scenario, drills, as_written) {
            Ok(scenario) => prepared.push(scenario),
            Err(found) => problems.extend(found),
        }
    }
    match problems.is_empty() {
        true => Ok(Prepared { scenarios: prepared }),
        false => Err(problems),
    }
}

fn one(scenario: &Scenario, drills: &[String], as_written: AsWritten) -> Result<PreparedScenario, Vec<String>> {
    let mut problems = Vec::new();
    let mut keep = |found: Vec<String>| problems.extend(found);
    let selected = scenario.select_drills(drills).map_err(words).map_err(&mut keep).ok();
    let checked = Checked::of(scenario, as_written).map_err(words).map_err(&mut keep).ok();
    let system = System::read(&scenario.system.manifests).map_err(words).map_err(&mut keep).ok();
    let images = system.as_ref().and_then(|system| images(scenario, system).map_err(&mut keep).ok());
    match (selected, checked, system, images) {
        (Some(selected), Some(Checked { runbook, plan }), Some(system), Some(images)) => Ok(PreparedScenario {
            scenario: scenario.clone(),
            runbook,
            system,
            images,
            plan,
            selected: selected.into_iter().map(|drill| drill.name.clone()).collect(),
        }),
        _ => Err(problems),
    }
}

fn images(scenario: &Scenario, system: &System) -> Result<BTreeMap<String, LocalImage>, Vec<String>> {
    let bindings = scenario.images.iter().map(|(reference, image)| {
        let binding = Binding { folder: image.folder.clone(), label: image.program, source: image.source.clone() };
        (reference.clone(), binding)
    });
    let images = Images::new(bindings.collect()).resolve(&system.images()).map_err(words)?;
    let objects: Vec<_> = system.objects().iter().map(|object| object.value.clone()).collect();
    let refusals = crate::cluster::refuse::refusals(&objects);
    match refusals.is_empty() {
        true => Ok(images),
        false => Err(refusals),
    }
}

fn words<T: ToString>(problems: impl IntoIterator<Item = T>) -> Vec<String> {
    problems.into_iter().map(|problem| problem.to_string()).collect()
}

impl Prepared {
    /// Every drill that was asked for, with its scenario.
    pub fn drills(&self) -> impl Iterator<Item = (&PreparedScenario, &DrillPlan)> {
        self.scenarios.iter().flat_map(|scenario| {
            let asked = |plan: &&DrillPlan| scenario.selected.contains(&plan.name);
            scenario.plan.drills.iter().filter(asked).map(move |plan| (scenario, plan))
        })
    }

    /// What the machine must have for all of them on the local environment.
    pub fn requirements(&self) -> Requirements {
        let mut requirements = Requirements::default();
        requirements.sandbox();
        for scenario in &self.scenarios {
            requirements.kubectl.insert(format!("scenario {}", scenario.scenario.name));
            for (reference, image) in &scenario.images {
                for package in &image.packages {
                    requirements.package(package, &format!("image {reference}"));
                }
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
        let accept =
            self.scenario.accept.iter().filter(|accept| accept.drills.is_empty() || accept.drills.contains(&plan.name));
        DrillOutcome {
            scenario: self.scenario.name.clone(),
            variant: plan.name.clone(),
            environment: format!("{environment:?}").to_lowercase(),
            as_written: as_written == AsWritten::Yes,
            phases: Vec::new(),
            steps: Vec::new(),
            checks: Vec::new(),
            credentials: Vec::new(),
            objectives: Vec::new(),
            errata: errata.collect(),
            uncovered: self.plan.uncovered.clone(),
            waived: self.plan.waived.clone(),
            provided: Vec::new(),
            simulated: Vec::new(),
            leftovers: Vec::new(),
            digests: self.digests(),
            versions: tools.iter().map(|(name, tool)| (name.to_owned(), tool.version.clone())).collect(),
            accept: accept.map(|accept| accept.acceptance.clone()).collect(),
        }
    }

    /// blake3 of what ran; a file that cannot be read any more is said to be so.
    fn digests(&self) -> BTreeMap<String, String> {
        // In pieces: redrill with what a debugger needs is far bigger than all it ever holds in memory.
        let digest =
            |path: &Path| blake3::Hasher::new().update_reader(File::open(path)?).map(|hasher| hasher.finalize());
        let of_file = |path: &Path| match digest(path) {
            Ok(digest) => digest.to_hex().to_string(),
            Err(error) => format!("unreadable: {error}"),
        };
        let mut digests = BTreeMap::from([
            ("runbook".to_owned(), blake3::hash(self.runbook.text.as_bytes()).to_hex().to_string()),
            ("scenario".to_owned(), of_file(&self.scenario.file)),
        ]);
        if let Ok(program) = std::env::current_exe() {
            digests.insert("redrill".to_owned(), of_file(&program));
        }
        for (reference, image) in &self.images {
            digests.insert(format!("image {reference}"), image.digest.clone());
        }
        digests
    }
}
