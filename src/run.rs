//! `redrill run`: selected drills, one after the other or several at once, into one outcome.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::assignment::{self, Prepared, PreparedScenario, Versions};
use crate::cli::RunArgs;
use crate::console::{self, Console, Times};
use crate::doctor::{self, Requirements, Tools};
use crate::drill::event::{self, DrillId};
use crate::drill::record::{Halt, Record, SharedJournal};
use crate::drill::{self, Assignment};
use crate::error::chain;
use crate::exit_code::ExitCode;
use crate::journal::{Journal, JournalError};
use crate::outcome::{DrillOutcome, Outcome};
use crate::plan::AsWritten;
use crate::problem::Problems;
use crate::redact::Redactor;
use crate::scenario::EnvironmentName;

mod place;

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
    let ready = match make_ready(scenarios, arguments).await {
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
async fn make_ready(scenarios: &Path, arguments: &RunArgs) -> Result<Ready, Problems> {
    let prepare = |versions: &Versions| {
        let names = &arguments.selection.names;
        let prepared = assignment::prepare(scenarios, names, &arguments.drills, as_written(arguments), versions)?;
        match arguments.shard {
            Some(shard) => prepared.shard(shard),
            None => Ok(prepared),
        }
    };
    let prepared = prepare(&BTreeMap::new())?;
    let of_images = of_images(arguments);
    let (tools, obstacle) = machine(&prepared, of_images, arguments.install).await;
    let tools = tools.without(&arguments.simulate);
    let versions = match obstacle {
        None => versions(&prepared, of_images, &tools).await,
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
async fn versions(prepared: &Prepared, environment: EnvironmentName, tools: &Tools) -> Versions {
    let of_machine = prepared.versions(environment, tools);
    match environment {
        #[cfg(feature = "docker")]
        EnvironmentName::Docker | EnvironmentName::Kube => {
            match place::versions(&prepared.scenarios, tools, &of_machine).await {
                Ok(versions) => versions,
                Err(error) => {
                    // Drills find out themselves that the engine cannot be asked.
                    tracing::info!("versions in images are not known: {}", chain(&error));
                    of_machine
                }
            }
        }
        _ => of_machine,
    }
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
                .or_else(|| scenario.missing(&self.tools, &arguments.simulate));
            async move {
                match self.obstacle.as_ref().or(missing.as_ref()) {
                    _ if interrupt.is_cancelled() => drill::not_run(record, drill::interrupted()),
                    Some(halt) => drill::not_run(record, halt.clone()),
                    None => in_its_place(&assignment, scenario, self, arguments, record, interrupt).await,
                }
            }
        });
        stream::iter(drills.collect::<Vec<_>>()).buffered(arguments.jobs.get()).collect().await
    }
}

async fn in_its_place(
    assignment: &Assignment<'_>,
    scenario: &PreparedScenario,
    Ready { tools, .. }: &Ready,
    arguments: &RunArgs,
    mut record: Record,
    interrupt: &CancellationToken,
) -> DrillOutcome {
    let started = match assignment.environment {
        EnvironmentName::Local => place::local(assignment, scenario, tools, &record).await,
        #[cfg(feature = "docker")]
        EnvironmentName::Docker => match place::existing_images(scenario, &record, interrupt).await {
            Ok(existing) => place::docker(assignment, scenario, tools, &record, existing).await,
            Err(halt) => return drill::not_run(record, halt),
        },
        #[cfg(feature = "kube")]
        EnvironmentName::Kube => place::kube(assignment, scenario, tools, &record, &arguments.cluster).await,
        other => {
            let _ = arguments;
            return drill::not_run(record, not_built(other));
        }
    };
    match started {
        Ok(environment) => {
            record.outcome.digests.extend(environment.digests());
            drill::run(assignment, &environment, record, interrupt).await
        }
        Err(error) => drill::not_run(record, Halt::unverified(chain(&error), "run `redrill doctor`")),
    }
}

/// Looks for what the drills need, and gets it when asked to. `Some` is what keeps any drill from running.
async fn machine(prepared: &Prepared, environment: EnvironmentName, install: bool) -> (Tools, Option<Halt>) {
    let requirements = prepared.requirements(environment);
    let examined = crate::machine::examine(&requirements, install).await;
    let examined = match examined {
        Ok(findings) if install => get_in_a_container(environment, &requirements, findings).await,
        other => other.map_err(|error| Halt::unverified(chain(&error), "run `redrill doctor --install` as root")),
    };
    match examined {
        Ok(findings) => {
            let missing: Vec<_> = findings.iter().filter(|finding| finding.is_obstacle()).collect();
            let tools = Tools::of(&findings);
            if missing.is_empty() {
                let obstacle = if install { images(prepared, environment, &tools).await.err() } else { None };
                return (tools, obstacle);
            }
            let what: Vec<_> = missing.iter().map(|finding| finding.what.as_str()).collect();
            let mut remedies: Vec<_> = missing.iter().map(|finding| finding.remedy.as_str()).collect();
            if in_containers(environment) && !install {
                remedies.push("`redrill images build` gets in a container what this machine cannot get by itself");
            }
            (tools, Some(Halt::unverified(format!("missing: {}", what.join(", ")), remedies.join("; "))))
        }
        Err(halt) => (Tools::of(&Vec::<doctor::Finding>::new()), Some(halt)),
    }
}

/// Programs that drills in containers need and this machine could not get: it may have nothing but an engine. Looks again then.
async fn get_in_a_container(
    environment: EnvironmentName,
    requirements: &Requirements,
    findings: Vec<doctor::Finding>,
) -> Result<Vec<doctor::Finding>, Halt> {
    let missing = findings.iter().filter(|finding| finding.is_obstacle());
    let names = missing.filter_map(|finding| finding.what.split(' ').next().map(str::to_owned));
    let names: Vec<String> = names.filter(|name| doctor::by_name::is_known(name)).collect();
    if !in_containers(environment) || names.is_empty() {
        return Ok(findings);
    }
    #[cfg(feature = "docker")]
    crate::environment::docker::tools::get(&names, |what| console::err(&format!("build    {what}")))
        .await
        .map_err(|error| Halt::unverified(chain(&error), "put them into PATH"))?;
    let again = crate::machine::examine(requirements, false).await;
    again.map_err(|error| Halt::unverified(chain(&error), "run `redrill doctor`"))
}

/// Builds the images of an environment that has images, where they are not there yet.
async fn images(prepared: &Prepared, environment: EnvironmentName, tools: &Tools) -> Result<(), Halt> {
    match environment {
        #[cfg(feature = "docker")]
        EnvironmentName::Docker | EnvironmentName::Kube => {
            let tell = |what: &str| console::err(&format!("build    {what}"));
            let built = place::build_images(&prepared.scenarios, tools, tell).await;
            built.map_err(|error| Halt::unverified(chain(&error), "run `redrill images build`"))
        }
        _ => {
            let _ = (prepared, tools);
            Ok(())
        }
    }
}

/// `redrill images build`: what drills in containers need, on the engine.
pub async fn build_images(scenarios: &Path, names: &[String]) -> ExitCode {
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
        (_, None) => ExitCode::Passed,
        (_, Some(halt)) => unverified(halt),
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

/// Whether drills there run in images that an engine builds.
fn in_containers(environment: EnvironmentName) -> bool {
    match environment {
        EnvironmentName::Docker | EnvironmentName::Kube | EnvironmentName::Kind => true,
        EnvironmentName::Local => false,
    }
}

/// Whether this program can run drills there.
pub(crate) fn is_built(environment: EnvironmentName) -> bool {
    match environment {
        EnvironmentName::Local => true,
        EnvironmentName::Docker => cfg!(feature = "docker"),
        EnvironmentName::Kube => cfg!(feature = "kube"),
        EnvironmentName::Kind => false,
    }
}

pub(crate) fn not_built(environment: EnvironmentName) -> Halt {
    let name = format!("{environment:?}").to_lowercase();
    if [EnvironmentName::Docker, EnvironmentName::Kube].contains(&environment) {
        let remedy = format!("build it with `--features {name}`, or run with --env local");
        return Halt::unverified(format!("this redrill was built without the {name} environment"), remedy);
    }
    Halt::unverified(format!("the {name} environment is not there yet"), "run with --env local")
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
