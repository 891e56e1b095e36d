//! `redrill run`: selected drills, one after the other or several at once, into one outcome.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::assignment::{self, Prepared, PreparedScenario, Versions};
use crate::cli::{BuildArgs, RunArgs};
use crate::console::{self, Console, Times};
use crate::doctor::Tools;
use crate::drill::event::{self, DrillId};
use crate::drill::record::{Halt, Record, SharedJournal};
use crate::drill::{self, Assignment};
#[cfg(feature = "docker")]
use crate::error::chain;
use crate::exit_code::ExitCode;
use crate::journal::{Journal, JournalError};
use crate::outcome::{DrillOutcome, Outcome};
use crate::plan::AsWritten;
use crate::problem::Problems;
use crate::redact::Redactor;
use crate::scenario::EnvironmentName;

#[cfg(feature = "kube")]
mod image_list;
mod means;
mod place;
mod queue;
mod start;

use means::machine;
pub(crate) use means::{is_built, not_built};
use queue::{Places, in_the_plans_order};
use start::in_its_place;

/// What was asked for, and what the machine has for it.
struct Ready {
    prepared: Prepared,
    tools: Tools,
    versions: Versions,
    /// Keeps every drill from running.
    obstacle: Option<Halt>,
}

/// Runs what was asked for and returns the run's exit code. Everything found out is in the reports by then.
///
/// Errs when not even a report can be written.
pub async fn run(
    scenarios: &Path,
    reports: &Path,
    arguments: &RunArgs,
    interrupt: CancellationToken,
) -> Result<ExitCode, JournalError> {
    let started = Timestamp::now();
    let times = if arguments.no_times { Times::Hidden } else { Times::Shown };
    let run = run_name(started);
    for recovered in crate::journal::recover(reports)? {
        console::err(&format!("run {} was killed: it counts as UNVERIFIED now", recovered.run));
    }
    let ready = match make_ready(scenarios, arguments, &interrupt).await {
        Ok(ready) => ready,
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string).collect();
            let (outcome, directory) = usage(reports, run, started, arguments.rng, problems)?;
            Console::new(times).outcome(&outcome, Some(&directory));
            return Ok(outcome.exit_code());
        }
    };
    let planned = ready.planned(arguments);
    let journal = Journal::start(reports, &run, arguments.rng, planned.clone(), started)?;
    let directory = journal.dir().to_owned();
    let journal: SharedJournal = Arc::new(Mutex::new(Some(journal)));
    let (events, receiver) = event::channel();
    let follower = tokio::spawn(async move {
        let mut console = Console::new(times);
        console.follow(receiver).await;
        console
    });
    let records = planned.into_iter().enumerate().map(|(index, planned)| {
        Record::new(planned, Redactor::new(), events.for_drill(DrillId(index)), index, journal.clone())
    });
    let drills = ready.drills(arguments, &run, &directory, records.collect(), &interrupt).await;
    drop(events);
    let outcome = Outcome { run, started, finished: Timestamp::now(), rng: arguments.rng, drills, usage: Vec::new() };
    let taken = journal.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(journal) = taken {
        journal.finish(&outcome)?;
    }
    let mut console = follower.await.unwrap_or_else(|_| Console::new(times));
    console.outcome(&outcome, Some(&directory));
    Ok(outcome.exit_code())
}

fn as_written(arguments: &RunArgs) -> AsWritten {
    if arguments.as_written { AsWritten::Yes } else { AsWritten::No }
}

/// Reads what was asked for, and looks for what it needs. Which versions the machine has is asked once it is known what is
/// needed of it; the plan is made for these.
async fn make_ready(scenarios: &Path, arguments: &RunArgs, interrupt: &CancellationToken) -> Result<Ready, Problems> {
    let prepare = |versions: &Versions| {
        let names = &arguments.selection.names;
        let prepared = assignment::prepare(scenarios, names, &arguments.drills, as_written(arguments), versions)?;
        match arguments.shard {
            Some(shard) => prepared.shard(shard),
            None => Ok(prepared),
        }
    };
    let prepared = prepare(&BTreeMap::new())?;
    let environment = EnvironmentName::from(arguments.environment);
    let of_images = of_images(arguments);
    let (tools, obstacle) = machine(&prepared, of_images, arguments.install).await;
    // Nothing of the machine's goes into images that are listed, so nothing of it can lack.
    let is_listed = arguments.cluster.images.is_some() && environment == EnvironmentName::Kube;
    let obstacle = obstacle.filter(|_| !is_listed);
    let tools = tools.without(&arguments.simulate);
    let versions = match obstacle {
        None if is_listed => listed_versions(&prepared, environment, &tools, arguments),
        None => versions(&prepared, of_images, &tools, interrupt).await,
        Some(_) => prepared.versions(of_images, &tools),
    };
    let versions = with_cluster(versions, EnvironmentName::from(arguments.environment), arguments).await;
    // What helm has to render is known once helm is there.
    let is_known = prepared.is_for(&versions) && prepared.is_rendered();
    let prepared = if is_known { prepared } else { prepare(&versions)? };
    Ok(Ready { prepared, tools, versions, obstacle })
}

/// The environment whose images drills have: a cluster that redrill serves has those of the local one.
fn of_images(arguments: &RunArgs) -> EnvironmentName {
    match arguments.environment.into() {
        EnvironmentName::Kube if arguments.cluster.served => EnvironmentName::Local,
        environment => environment,
    }
}

/// Of what the machine has for the scenarios, and of what their images have.
async fn versions(
    prepared: &Prepared,
    environment: EnvironmentName,
    tools: &Tools,
    interrupt: &CancellationToken,
) -> Versions {
    let of_machine = prepared.versions(environment, tools);
    match environment {
        #[cfg(feature = "docker")]
        EnvironmentName::Docker | EnvironmentName::Kube | EnvironmentName::Kind => {
            match place::versions(&prepared.scenarios, tools, &of_machine, interrupt).await {
                Ok(versions) => versions,
                Err(error) => {
                    // Drills find out themselves that the engine cannot be asked.
                    tracing::info!("versions in images are not known: {}", chain(&error));
                    of_machine
                }
            }
        }
        _ => {
            let _ = interrupt;
            of_machine
        }
    }
}

/// Of what is in images that are listed. A list that cannot be read the drills tell of.
fn listed_versions(prepared: &Prepared, environment: EnvironmentName, tools: &Tools, arguments: &RunArgs) -> Versions {
    let mut versions = prepared.versions(environment, tools);
    #[cfg(feature = "kube")]
    if let Some(Ok(list)) = arguments.cluster.images.as_deref().map(image_list::ImageList::read) {
        for (scenario, known) in &mut versions {
            let listed = list.of_scenario(scenario).map(|listed| listed.versions.clone());
            known.extend(listed.unwrap_or_default());
        }
    }
    let _ = (arguments, &mut versions);
    versions
}

/// With the version of the cluster that was named. Where it cannot be asked, drills find that out themselves.
async fn with_cluster(mut versions: Versions, environment: EnvironmentName, arguments: &RunArgs) -> Versions {
    #[cfg(feature = "kube")]
    if environment == EnvironmentName::Kube {
        match crate::environment::kube::version(&(&arguments.cluster).into()).await {
            Ok(version) => versions.values_mut().for_each(|known| {
                known.insert("Kubernetes".to_owned(), version.clone());
            }),
            Err(error) => tracing::info!("the cluster's version is not known: {}", chain(&error)),
        }
    }
    let _ = (environment, arguments, &mut versions);
    versions
}

impl Ready {
    /// What is known of every drill before it starts.
    fn planned(&self, arguments: &RunArgs) -> Vec<DrillOutcome> {
        let environment = EnvironmentName::from(arguments.environment);
        let outcome = |(scenario, plan): (&PreparedScenario, &_)| {
            let mut outcome = scenario.outcome(plan, environment, as_written(arguments), &self.tools);
            outcome.versions.extend(self.versions.get(&outcome.scenario).cloned().unwrap_or_default());
            outcome
        };
        self.prepared.drills().map(outcome).collect()
    }

    /// Runs them all, as many at once as was asked for. Nothing of a drill begins before its turn, and the outcomes are in the
    /// plan's order, however they end.
    async fn drills(
        &self,
        arguments: &RunArgs,
        run: &str,
        reports: &Path,
        records: Vec<Record>,
        interrupt: &CancellationToken,
    ) -> Vec<DrillOutcome> {
        let places = Places::default();
        let places = &places;
        let drills = self.prepared.drills().zip(records).map(|((scenario, plan), record)| {
            let assignment = Assignment {
                scenario: &scenario.scenario,
                systems: &scenario.checked.systems,
                plan,
                environment: EnvironmentName::from(arguments.environment),
                size: arguments.size.unwrap_or(scenario.scenario.seed.size),
                rng: arguments.rng,
                nonce: run,
                reports: reports.to_owned(),
            };
            let missing = scenario
                .needs_an_engine(of_images(arguments))
                .or_else(|| scenario.needs_a_cluster(assignment.environment, &self.tools))
                .or_else(|| scenario.missing(&self.tools, &arguments.simulate));
            async move {
                match self.obstacle.as_ref().or(missing.as_ref()) {
                    _ if interrupt.is_cancelled() => drill::not_run(record, drill::interrupted()),
                    Some(halt) => drill::not_run(record, halt.clone()),
                    None => in_its_place(&assignment, scenario, self, places, arguments, record, interrupt).await,
                }
            }
        });
        in_the_plans_order(drills.collect(), arguments.jobs.get()).await
    }
}

/// `redrill images build`: what drills in containers need, on the engine and, where it is asked for, in a registry and in a list.
pub async fn build_images(scenarios: &Path, arguments: &BuildArgs) -> ExitCode {
    let names = &arguments.selection.names;
    let prepared = match assignment::prepare(scenarios, names, &[], AsWritten::No, &BTreeMap::new()) {
        Ok(prepared) => prepared,
        Err(problems) => {
            console::err(&problems.to_string());
            return ExitCode::Usage;
        }
    };
    if !is_built(EnvironmentName::Docker) {
        return unverified(not_built(EnvironmentName::Docker));
    }
    // What goes into images is got with them.
    match machine(&prepared, EnvironmentName::Docker, true).await {
        (tools, None) => hand_on(&prepared, &tools, arguments).await,
        (_, Some(halt)) => unverified(halt),
    }
}

/// Pushes what was built and writes down what it is called, as far as either was asked for.
#[cfg(feature = "kube")]
async fn hand_on(prepared: &Prepared, tools: &Tools, arguments: &BuildArgs) -> ExitCode {
    if arguments.push.is_none() && arguments.list.is_none() {
        return ExitCode::Passed;
    }
    let tell = |what: &str| console::err(&format!("push     {what}"));
    let handed_on = async {
        let of_machine = prepared.versions(EnvironmentName::Docker, tools);
        let list = place::image_list(&prepared.scenarios, tools, &of_machine, arguments.push.as_deref(), tell).await?;
        arguments.list.as_ref().map_or(Ok(()), |file| list.write(file))
    };
    match handed_on.await {
        Ok(()) => ExitCode::Passed,
        Err(error) => unverified(Halt::unverified(chain(&error), "look at the registry, and at `docker login`")),
    }
}

#[cfg(not(feature = "kube"))]
async fn hand_on(_: &Prepared, _: &Tools, arguments: &BuildArgs) -> ExitCode {
    match arguments.push.is_none() && arguments.list.is_none() {
        true => ExitCode::Passed,
        false => unverified(not_built(EnvironmentName::Kube)),
    }
}

/// Says what keeps redrill from finding out.
pub(crate) fn unverified(halt: Halt) -> ExitCode {
    let words = match halt {
        Halt::Failed { reason } => reason,
        Halt::Unverified { reason, remedy } => format!("{reason}\n{remedy}"),
    };
    console::err(&format!("redrill: {words}"));
    ExitCode::Unverified
}

/// A command line that asks for a run and is not understood: written down as what it is.
///
/// Errs when not even a report can be written.
pub fn misused(reports: &Path, problem: String) -> Result<(), JournalError> {
    let now = Timestamp::now();
    usage(reports, run_name(now), now, 0, vec![problem]).map(drop)
}

/// Bad input is an outcome, too: with its reports, so that a CI that reads junit.xml sees why nothing ran.
fn usage(
    reports: &Path,
    run: String,
    started: Timestamp,
    rng: u64,
    problems: Vec<String>,
) -> Result<(Outcome, PathBuf), JournalError> {
    let journal = Journal::start(reports, &run, rng, Vec::new(), started)?;
    let directory = journal.dir().to_owned();
    let outcome = Outcome { run, started, finished: Timestamp::now(), rng, drills: Vec::new(), usage: problems };
    journal.finish(&outcome)?;
    Ok((outcome, directory))
}

/// Sorts by time, and differs between runs of the same second.
fn run_name(now: Timestamp) -> String {
    let random: u32 = rand::random();
    format!("{}-{:06x}", now.strftime("%Y%m%d-%H%M%S"), random & 0xff_ffff)
}
