//! From names on the command line to everything that drills need, read and checked: nothing has started yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use jiff::Zoned;

use crate::check::Checked;
use crate::doctor::go_module::{GCS_SERVER, HELM, HELM_DIFF};
use crate::doctor::real_program::RealProgram;
use crate::doctor::{Requirements, Tools, kubectl};
use crate::drill::record::Halt;
use crate::outcome::{DrillOutcome, ErratumOutcome, Note, ProgramLabel};
use crate::plan::{AsWritten, DrillPlan};
use crate::problem::{Problem, Problems};
use crate::runtime;
use crate::scenario::{EnvironmentName, Erratum, ImageBinding, Scenario, Scenarios, StoreKind};
use crate::system::image::{self, LocalImage};

/// A scenario with all that it names.
pub struct PreparedScenario {
    pub scenario: Scenario,
    pub checked: Checked,
    /// Names of the drills that were asked for.
    selected: Vec<String>,
}

/// Of tools by name, by the name of the scenario that asks for them.
pub type Versions = BTreeMap<String, BTreeMap<String, String>>;

/// What was asked for, in the order of the names.
pub struct Prepared {
    pub scenarios: Vec<PreparedScenario>,
}

/// Reads everything and returns it, or every problem of every file. Without names: every scenario, every drill.
/// `versions`, by scenario and tool, leave out errata that do not hold for them; where none is known all are at work.
pub fn prepare(
    folder: &Path,
    names: &[String],
    drills: &[String],
    as_written: AsWritten,
    versions: &Versions,
) -> Result<Prepared, Problems> {
    let scenarios = Scenarios::discover(folder, Zoned::now().date())?;
    let mut problems = Problems::default();
    let mut prepared = Vec::new();
    for scenario in scenarios.select(names)? {
        let scenario = scenario.with_tools(versions.get(&scenario.name).unwrap_or(&BTreeMap::new()));
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

/// One of several parts of all drills, counted from 1: every so many-th drill, beginning with that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    part: usize,
    parts: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|&number| number > 0);
        let parsed = text.split_once('/').and_then(|(part, parts)| Some((number(part)?, number(parts)?)));
        match parsed {
            Some((part, parts)) if part <= parts => Ok(Self { part, parts }),
            _ => Err("write it as 2/3: the second of three parts".to_owned()),
        }
    }
}

impl Prepared {
    /// Leaves what a shard has. One without a drill proves nothing, so it is a problem.
    pub fn shard(mut self, shard: Shard) -> Result<Self, Problems> {
        let Shard { part, parts } = shard;
        let mut count = 0..;
        for scenario in &mut self.scenarios {
            scenario.selected.retain(|_| count.next().is_some_and(|number| number % parts == part - 1));
        }
        self.scenarios.retain(|scenario| !scenario.selected.is_empty());
        if self.scenarios.is_empty() {
            let drills = count.start;
            let message = format!("part {part} of {parts} holds none of the {drills} drills: take fewer parts");
            return Err(Problem::of_file(Path::new("--shard"), message).into());
        }
        Ok(self)
    }

    /// Versions of what each scenario asks for.
    pub fn versions(&self, environment: EnvironmentName, tools: &Tools) -> Versions {
        let of_scenario = |scenario: &PreparedScenario| {
            (scenario.scenario.name.clone(), scenario.tools(environment, tools).versions())
        };
        self.scenarios.iter().map(of_scenario).collect()
    }

    /// Whether every erratum holds for these versions of tools, so that preparing for them would come to the same.
    pub fn is_for(&self, versions: &Versions) -> bool {
        self.scenarios.iter().all(|scenario| {
            let versions = versions.get(&scenario.scenario.name);
            let is_there = |real: &RealProgram| versions.is_some_and(|versions| versions.contains_key(real.name));
            if scenario.scenario.real_programs().any(is_there) {
                return false;
            }
            let holds = |erratum: &Erratum| versions.is_none_or(|versions| erratum.versions.holds_for(versions));
            scenario.scenario.errata.iter().all(holds)
        })
    }

    /// Whether it is known of every system what it holds.
    pub fn is_rendered(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.checked.is_rendered)
    }

    /// Every drill that was asked for, with its scenario.
    pub fn drills(&self) -> impl Iterator<Item = (&PreparedScenario, &DrillPlan)> {
        self.scenarios.iter().flat_map(|scenario| {
            let asked = |plan: &&DrillPlan| scenario.selected.contains(&plan.name);
            scenario.checked.plan.drills.iter().filter(asked).map(move |plan| (scenario, plan))
        })
    }

    /// What the machine must have for all of them on an environment.
    pub fn requirements(&self, environment: EnvironmentName) -> Requirements {
        let mut requirements = Requirements::default();
        for scenario in &self.scenarios {
            requirements.extend(scenario.requirements(environment));
        }
        requirements
    }
}

impl PreparedScenario {
    /// What the machine must have for it on an environment.
    pub fn requirements(&self, environment: EnvironmentName) -> Requirements {
        match environment {
            EnvironmentName::Docker | EnvironmentName::Kind | EnvironmentName::Kube => self.on_local().in_containers(),
            EnvironmentName::Local => self.on_local(),
        }
    }

    /// Of what was found for all scenarios of a run, its own.
    pub fn tools(&self, environment: EnvironmentName, found: &Tools) -> Tools {
        found.only(&self.requirements(environment))
    }

    fn on_local(&self) -> Requirements {
        let mut requirements = Requirements::default();
        requirements.sandbox();
        let kubectl = self.scenario.workstation.kubectl.as_ref();
        requirements.kubectl(kubectl, &format!("scenario {}", self.scenario.name));
        for (reference, image) in &self.checked.images {
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
        if self.scenario.stores.values().any(|store| store.kind == StoreKind::Gcs) {
            requirements.go(&GCS_SERVER, &format!("scenario {}", self.scenario.name));
        }
        for real in self.scenario.real_programs() {
            requirements.real(real.name, &format!("scenario {}", self.scenario.name));
        }
        let has_charts = self.scenario.stores.values().any(|store| matches!(store.kind, StoreKind::Charts(_)));
        if self.scenario.system.chart.is_some() || has_charts {
            requirements.go(&HELM, &format!("scenario {}", self.scenario.name));
        }
        if self.checked.runbook.text.contains("helm diff") {
            requirements.go(&HELM_DIFF, &format!("scenario {}", self.scenario.name));
        }
        for package in &self.scenario.workstation.packages {
            requirements.package(package, &format!("the workstation of scenario {}", self.scenario.name));
        }
        if self.scenario.has_account() {
            requirements.operator_of_an_account(&format!("scenario {}", self.scenario.name));
        }
        if !self.scenario.repositories.is_empty() {
            requirements.package("restic", "the prober");
        }
        requirements
    }

    /// Why it cannot run: a program is not there whose stand-in may not take its place.
    pub fn missing(&self, tools: &Tools, simulate: &[String]) -> Option<Halt> {
        let absent = self.scenario.real_programs().filter(|real| tools.get(real.name).is_none());
        let mut absent = absent.map(|real| (real, tools.absence(real.name)));
        let (missing, absence) = absent.find(|(real, absence)| !real.may_be_stood_for(absence, simulate))?;
        Some(Halt::unverified(format!("missing: {}", missing.wanted()), missing.remedy(&absence)))
    }

    /// Why an environment that serves its API itself cannot run it: the kubectl that the scenario names is too old for that.
    pub fn needs_a_cluster(&self, environment: EnvironmentName, tools: &Tools) -> Option<Halt> {
        let versions = self.scenario.workstation.kubectl.as_ref()?;
        let tools = self.tools(environment, tools);
        let is_served = matches!(environment, EnvironmentName::Local | EnvironmentName::Docker);
        let kubectl = tools.get("kubectl").filter(|tool| is_served && !kubectl::speaks_websocket(&tool.version))?;
        Some(Halt::unverified(
            format!(
                "the workstation has {versions} ({}), whose `exec` no API of redrill's own serves",
                kubectl.version
            ),
            "run with --env kube or --env kind, or name `kubectl: 1.30+` at `workstation`",
        ))
    }

    /// Why an environment that runs nothing but what folders describe cannot run it: some of its images exist, and have none.
    pub fn needs_an_engine(&self, environment: EnvironmentName) -> Option<Halt> {
        if environment != EnvironmentName::Local || self.checked.existing.is_empty() {
            return None;
        }
        let (references, places): (Vec<_>, Vec<_>) =
            self.checked.existing.iter().map(|(reference, image)| (&**reference, image.binding.to_string())).unzip();
        Some(Halt::unverified(
            format!("no folder stands for {}, and the local environment pulls no images", references.join(", ")),
            format!("run with --env docker, or name a `folder` with a Dockerfile at {}", places.join(", ")),
        ))
    }

    /// An image as it runs: with the real program where this machine has it.
    pub fn image(&self, reference: &str, image: &LocalImage, tools: &Tools) -> runtime::Image {
        let real = self.scenario.images.get(reference).and_then(|binding| binding.real);
        match real.and_then(|real| Some((real, tools.get(real.name)?))) {
            Some((real, tool)) => image.with_real(real, &tool.path),
            None => image.image.clone(),
        }
    }

    /// What is known of a drill before it starts.
    pub fn outcome(
        &self,
        plan: &DrillPlan,
        environment: EnvironmentName,
        as_written: AsWritten,
        tools: &Tools,
    ) -> DrillOutcome {
        let tools = &self.tools(environment, tools);
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
            prepared: Vec::new(),
            left_out: self.left_out(&plan.name),
            unkept: Vec::new(),
            simulated: self.simulated(tools),
            leftovers: Vec::new(),
            digests: self.digests(tools),
            versions: tools.versions(),
            accept: self.scenario.accepted_for(&plan.name).cloned().collect(),
        }
    }

    /// Images in which something stands for a program that nobody can have here.
    fn simulated(&self, tools: &Tools) -> Vec<Note> {
        let images = self.scenario.images.iter().filter(|(_, image)| image.program == ProgramLabel::Simulated);
        let note = |(reference, image): (&String, &ImageBinding)| {
            let why = match image.real {
                Some(real) => real.why_simulated(&tools.absence(real.name)),
                None => "the scenario says that it is a stand-in".to_owned(),
            };
            Note { source: Some(image.source.clone()), what: format!("image {reference}"), why }
        };
        images.map(note).collect()
    }

    /// Errata of this drill that do not hold for the versions that are there.
    fn left_out(&self, drill: &str) -> Vec<Note> {
        let note = |erratum: &Erratum| Note {
            source: Some(erratum.source.clone()),
            what: format!("erratum {} ({})", erratum.id, erratum.versions),
            why: erratum.reason.clone(),
        };
        self.scenario.left_out.iter().filter(|erratum| erratum.holds_in(drill)).map(note).collect()
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
        if let Some(stack) = &self.scenario.system.stack {
            digests.insert(format!("stack {}", stack.source.stack), of_file(&stack.source.template));
        }
        if let Some(checkout) = &self.scenario.workstation.checkout {
            let digest = image::digest(&checkout.folder).unwrap_or_else(|error| format!("unreadable: {error}"));
            digests.insert(format!("workstation {}", checkout.name), digest);
        }
        for (reference, image) in &self.checked.images {
            digests.insert(format!("image {reference}"), image.digest.clone());
        }
        digests
    }
}

#[cfg(test)]
mod tests;
