//! A scenario against its runbook and its system, without starting anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::refuse;
use crate::doctor::go_module::{self, HELM};
use crate::outcome::Note;
use crate::plan::{AsWritten, Plan};
use crate::problem::{Problem, Problems};
use crate::runbook::{Runbook, RunbookError};
use crate::scenario::{ChartSystem, ImageBinding, Scenario};
use crate::system::chart::ChartSource;
use crate::system::image::{Binding, ExistingImage, Images, LocalImage, PullPolicy};
use crate::system::{System, Systems};

mod coverage;
mod name;
mod text;

/// A scenario that fits its runbook and its system, with all that was read on the way.
#[derive(Debug, Clone)]
pub struct Checked {
    pub runbook: Runbook,
    pub systems: Systems,
    /// What stands for images of the manifests, of those that have a folder.
    pub images: BTreeMap<String, LocalImage>,
    /// Images of the manifests that have none.
    pub existing: BTreeMap<String, ExistingImage>,
    /// Whether it is known what the system holds: a chart is rendered by helm, which may have to be got first.
    pub is_rendered: bool,
    /// Its notes are those of the runbook and of the system.
    pub plan: Plan,
}

impl Checked {
    /// Reads runbook, manifests and images and plans every drill. Errors with every problem of all of them, each once.
    pub fn of(scenario: &Scenario, as_written: AsWritten) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let runbook = problems.keep(read_runbook(scenario));
        let plan = runbook.as_ref().map(|runbook| Plan::build(scenario, runbook, as_written));
        let plan = plan.and_then(|plan| problems.keep(plan));
        problems.extend(name::within(scenario));
        let systems = problems.keep(read_systems(scenario));
        let chart = scenario.system.chart.as_ref();
        let unrendered = chart.filter(|_| go_module::find(&HELM).is_none());
        if let (Some(systems), Some(runbook)) = (&systems, &runbook) {
            problems.extend(name::unheard_of(scenario, systems, runbook));
        }
        let images = systems.as_ref().and_then(|systems| {
            for (_, system) in systems.iter() {
                problems.extend(system.dangling());
                problems.extend(refusals(system));
            }
            if unrendered.is_none() {
                problems.extend(name::problems(scenario, systems));
            }
            problems.keep(images(scenario, systems))
        });
        let checked = runbook.zip(plan).zip(systems.zip(images)).map(|((runbook, mut plan), (systems, images))| {
            let (uncovered, waived) = coverage::notes(scenario, &runbook, &systems);
            plan.uncovered.extend(uncovered);
            plan.waived.extend(waived);
            plan.uncovered.extend(unrendered.map(|chart| Note {
                source: Some(chart.source.clone()),
                what: format!("chart {}", chart.chart.display()),
                why: "helm, which says what is in it, is not there: `redrill doctor --install`".to_owned(),
            }));
            let existing = existing(scenario, &systems);
            Self { runbook, systems, images, existing, is_rendered: unrendered.is_none(), plan }
        });
        problems.or(checked)
    }
}

fn read_runbook(scenario: &Scenario) -> Result<Runbook, Problems> {
    Runbook::of(&scenario.runbook).map_err(|error| match error {
        RunbookError::Unread(problems) => problems,
        RunbookError::Read { .. }
        | RunbookError::UnknownFormat { .. }
        | RunbookError::Git { .. }
        | RunbookError::Revision { .. } => Problem::new(&scenario.source, crate::error::chain(&error)).into(),
    })
}

fn read_systems(scenario: &Scenario) -> Result<Systems, Problems> {
    if let Some(chart) = &scenario.system.chart {
        return read_chart(chart).map(|system| Systems::new(vec![(None, system)]));
    }
    if let Some(stack) = &scenario.system.stack {
        let parameters: Vec<String> = stack.parameters.keys().cloned().collect();
        return System::of_stack(&stack.source, &parameters).map(|system| Systems::new(vec![(None, system)]));
    }
    let mut problems = Problems::default();
    let systems = scenario.system.clusters.iter().filter_map(|cluster| {
        problems.keep(System::read(&cluster.manifests)).map(|system| (cluster.name.clone(), system))
    });
    let systems = systems.collect();
    problems.or(Some(Systems::new(systems)))
}

/// Empty where helm is not there to render it.
fn read_chart(chart: &ChartSystem) -> Result<System, Problems> {
    let Some(helm) = go_module::find(&HELM) else { return Ok(System::default()) };
    let ChartSystem { chart, release, namespace, values, source, set: _ } = chart;
    System::of_chart(&ChartSource { chart, release, namespace, values, source }, &helm.path)
}

fn images(scenario: &Scenario, systems: &Systems) -> Result<BTreeMap<String, LocalImage>, Problems> {
    let mut problems = Problems::default();
    let bindings = scenario.images.iter().map(|(reference, image)| {
        let binding = Binding { folder: image.folder.clone(), label: image.program, source: image.source.clone() };
        (reference.clone(), binding)
    });
    let mut wanted = systems.images();
    if scenario.system.chart.is_some() {
        // With other values a chart has other images, and a procedure may give it others.
        for (reference, image) in &scenario.images {
            wanted.entry(reference.clone()).or_default().push(image.source.clone());
        }
    }
    let images = problems.keep(Images::new(bindings.collect()).resolve(&wanted));
    for (reference, image) in images.iter().flatten() {
        let Some(binding) = scenario.images.get(reference) else { continue };
        problems.extend(stand_in_problems(binding, image).into_iter().map(|text| Problem::new(&binding.source, text)));
    }
    problems.or(images)
}

fn existing(scenario: &Scenario, systems: &Systems) -> BTreeMap<String, ExistingImage> {
    let (mut places, mut policies, mut secrets) = (systems.images(), systems.pull_policies(), systems.pull_secrets());
    let without_folder = scenario.images.iter().filter(|(_, image)| image.folder.is_none());
    let existing = without_folder.map(|(reference, image)| {
        let binding = image.source.clone();
        // Of a chart's other values, and of a stack, no container says it.
        let by_tag = || BTreeSet::from([PullPolicy::by_tag(reference)]);
        let policies = policies.remove(reference).unwrap_or_else(by_tag);
        let places = places.remove(reference).unwrap_or_else(|| vec![binding.clone()]);
        let secrets = secrets.remove(reference).unwrap_or_default();
        (reference.clone(), ExistingImage { policies, secrets, places, binding })
    });
    existing.collect()
}

/// What an image has a stand-in for and what the scenario says of it have to be the same: nothing that is one may be labelled otherwise.
fn stand_in_problems(binding: &ImageBinding, image: &LocalImage) -> Vec<String> {
    let unused = binding.real.filter(|real| !image.has_stand_in_for(real)).map(|real| {
        format!("the image's Dockerfile copies no file called `{}`, whose place the real one could take", real.name)
    });
    let unsaid: BTreeSet<&str> = image.stand_ins.iter().map(|(_, program)| program.name).collect();
    let unsaid = unsaid.into_iter().filter(|name| binding.real.is_none_or(|real| real.name != *name)).map(|name| {
        format!(
            "the image's Dockerfile copies `{name}`, which stands for the real one: say `real: {name}` in place of `program`, or copy a file \
             of another name"
        )
    });
    unused.into_iter().chain(unsaid).collect()
}

/// What the manifests ask for and the cluster does not have.
fn refusals(system: &System) -> Vec<Problem> {
    let objects = system.objects();
    let refusals = refuse::refusals(objects.iter().map(|object| &object.value));
    let problem = |refusal: &refuse::Refusal| {
        Problem::new(&objects[refusal.object].source_of(&refusal.pointer()), refusal.to_string())
    };
    refusals.iter().map(problem).collect()
}
