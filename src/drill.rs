//! One scenario on one environment: the only place that orders phases.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Instant;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::drill::credential::Credentials;
use crate::drill::evidence::Evidence;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::Stage;
use crate::environment::Environment;
use crate::objective::Measured;
use crate::outcome::{Aim, DrillOutcome, Note, Phase};
use crate::plan::DrillPlan;
use crate::probe::Request;
use crate::scenario::{Checkpoint, EnvironmentName, Scenario, SeedSize, Writers};
use crate::system::Systems;

pub mod account;
mod answering;
mod archive;
mod chart;
pub mod checkout;
mod chore;
mod credential;
mod cron_job;
pub mod editor;
pub mod escrow;
pub mod event;
mod evidence;
mod fill;
mod finding;
mod first_write;
mod found;
mod identity;
mod logs;
mod loss_proof;
mod operator;
pub mod pace;
mod procedure;
mod programs;
mod provision;
mod provisioned;
mod ran;
pub mod record;
mod restart;
mod schedule;
mod seed;
mod serving;
pub mod site;
pub mod stage;
pub mod station;
mod unanswered;
mod unready;
pub mod value;
mod verify;
mod workload;

pub use logs::Logs;

/// Everything a drill is told before it starts.
pub struct Assignment<'a> {
    pub scenario: &'a Scenario,
    pub systems: &'a Systems,
    pub plan: &'a DrillPlan,
    pub environment: EnvironmentName,
    pub size: SeedSize,
    /// Content and drawn values follow from it.
    pub rng: u64,
    /// Differs from run to run, whatever `rng` is: yesterday's backup must not look like today's.
    pub nonce: &'a str,
    /// The run's reports.
    pub reports: PathBuf,
}

/// Runs a drill to its end, teardown included. `record` holds what was known before it started.
///
/// An interruption ends the phase that runs; teardown follows all the same.
pub async fn run(
    assignment: &Assignment<'_>,
    environment: &Environment,
    mut record: Record,
    interrupt: &CancellationToken,
) -> DrillOutcome {
    let plan = assignment.plan;
    record.started(plan.earlier.len() + plan.backup.len() + plan.restore.len() + plan.reconcile.len());
    let mut measured = Measured::default();
    let started = record.phase_started(Phase::Provision);
    let provisioned =
        interruptible(interrupt, on(environment, provision::run(assignment, environment, &mut record))).await;
    let provisioned = doubted(environment, &mut record, Phase::Provision, provisioned).await;
    let (provisioned, stage) = match provisioned {
        Ok(stage) => (Ok(()), Some(stage)),
        Err(halt) => (Err(halt), None),
    };
    record.phase_finished(Phase::Provision, started, &provisioned);
    let mut reached = Phase::Provision;
    if let Some(stage) = stage {
        let mut course = Course {
            assignment,
            environment,
            stage,
            record: &mut record,
            evidence: Evidence::default(),
            credentials: Credentials::new(assignment.scenario, &assignment.plan.name),
        };
        reached = course.run(interrupt).await;
        measured = course.evidence.measured;
    }
    for phase in phases(&record).filter(|&phase| phase > reached) {
        record.phase_not_reached(phase);
    }
    if plan.aim() == Aim::Recovery {
        let objectives = crate::objective::outcomes(assignment.scenario, assignment.environment, &measured);
        record.outcome.objectives = objectives;
    }
    let unkept =
        |what| Note { source: None, what, why: "the kernel of the engine's machine does not limit it".to_owned() };
    record.outcome.unkept = environment.unkept_limits().await.into_iter().map(unkept).collect();
    tear_down(environment, &mut record).await;
    record.finished()
}

/// A drill that nothing could be done for.
pub fn not_run(mut record: Record, halt: Halt) -> DrillOutcome {
    record.started(0);
    let started = record.phase_started(Phase::Provision);
    record.phase_finished(Phase::Provision, started, &Err(halt));
    for phase in phases(&record) {
        record.phase_not_reached(phase);
    }
    // Nothing was made, so there is nothing to take down.
    let started = record.phase_started(Phase::Teardown);
    record.phase_finished(Phase::Teardown, started, &Ok(()));
    record.finished()
}

/// Between provisioning and teardown.
fn phases(record: &Record) -> impl Iterator<Item = Phase> + use<> {
    record.outcome.aim.phases().filter(|phase| !matches!(phase, Phase::Provision | Phase::Teardown))
}

/// A drill on its way from the first seed to the last check.
struct Course<'a> {
    assignment: &'a Assignment<'a>,
    environment: &'a Environment,
    stage: Stage,
    record: &'a mut Record,
    evidence: Evidence,
    credentials: Credentials<'a>,
}

impl Course<'_> {
    /// Runs phase after phase until one halts; returns the last one that was begun.
    async fn run(&mut self, interrupt: &CancellationToken) -> Phase {
        for phase in phases(self.record) {
            let started = self.record.phase_started(phase);
            let environment = self.environment;
            let result = interruptible(interrupt, on(environment, self.phase(phase))).await;
            let result = doubted(environment, self.record, phase, result).await;
            self.record.phase_finished(phase, started, &result);
            if result.is_err() {
                return phase;
            }
        }
        Phase::Verify
    }

    async fn phase(&mut self, phase: Phase) -> Result<(), Halt> {
        match phase {
            Phase::Seed => self.seed().await,
            Phase::Backup => self.backup().await,
            Phase::Loss => self.loss().await,
            Phase::Restore => self.restore().await,
            Phase::Reconcile => self.reconcile().await,
            Phase::Verify => {
                verify::run(self.assignment, &mut self.stage, self.record, &mut self.evidence).await;
                Ok(())
            }
            Phase::Provision | Phase::Teardown => Ok(()),
        }
    }

    async fn seed(&mut self) -> Result<(), Halt> {
        seed::run(self.assignment, &mut self.stage, self.record, &mut self.evidence).await?;
        let earlier = &self.assignment.plan.earlier;
        if !earlier.is_empty() {
            procedure::run(self.assignment, &mut self.stage, self.record, earlier).await?;
        }
        self.stage.ledger = seed::start_ledger(self.assignment, &self.stage).await?;
        Ok(())
    }

    /// Keeps or stops the writer as the variant has it, backs up, and goes on writing after it, so that there is something
    /// to lose.
    async fn backup(&mut self) -> Result<(), Halt> {
        let Self { assignment, stage, record, evidence, .. } = self;
        if let Some(ledger) = &mut stage.ledger {
            seed::more_rows(ledger).await?;
            evidence.must_survive = ledger.latest().k;
        }
        if assignment.plan.writers == Writers::Quiet {
            seed::stop_ledger(stage, evidence).await?;
            evidence.must_survive = evidence.acknowledged.last().map_or(0, |row| row.k);
        }
        let started = Instant::now();
        procedure::run(assignment, stage, record, &assignment.plan.backup).await?;
        evidence.measured.backup = Some(started.elapsed());
        seed::since_backup(assignment, stage, record, evidence).await?;
        if assignment.plan.archive.is_some() {
            // Rows that only the log will hold.
            resume_ledger(assignment, stage).await?;
            archive::choose_moment(assignment, stage, evidence).await?;
        }
        if let Some(target) = seed::ledger_target(assignment, &stage.values).await? {
            let nonce = value::word(assignment.rng, &format!("nonce after {}", assignment.nonce));
            let request = Request::WriteNonce { target, label: "after".to_owned(), value: nonce.clone() };
            stage::ask(&mut stage.prober, request).await?;
            evidence.nonce_after = Some(nonce);
        }
        resume_ledger(assignment, stage).await?;
        self.check(Checkpoint::BackedUp, Phase::Backup).await;
        Ok(())
    }

    async fn loss(&mut self) -> Result<(), Halt> {
        let Self { assignment, environment, stage, record, evidence, .. } = self;
        archive::before_the_loss(assignment, stage, evidence).await?;
        let loss = assignment.scenario.loss_in(&assignment.plan.name);
        stage.values.keep(loss).await?;
        account::begin_to_watch(stage).await?;
        seed::corrupt(assignment, stage, &loss.databases).await?;
        crate::loss::strike(&stage.clusters, loss, assignment.systems).await?;
        for cluster in &loss.clusters {
            environment.lose(cluster).await?;
            stage.sites.retain(|site| site.cluster.as_ref() != Some(cluster));
        }
        escrow::lay_out(&stage.kubernetes, &stage.values).await?;
        loss_proof::run(assignment, stage, record, evidence).await?;
        self.check(Checkpoint::Lost, Phase::Loss).await;
        self.stage.lost_at = Some(Instant::now());
        Ok(())
    }

    async fn restore(&mut self) -> Result<(), Halt> {
        procedure::run(self.assignment, &mut self.stage, self.record, &self.assignment.plan.restore).await?;
        let started = Instant::now();
        account::check_undisturbed(&self.stage, self.record).await;
        identity::check(self.assignment, &mut self.stage, self.record, &self.evidence).await?;
        self.stage.looking += started.elapsed();
        if self.assignment.plan.in_service == Checkpoint::Restored {
            self.first_write(Phase::Restore).await?;
        }
        self.check(Checkpoint::Restored, Phase::Restore).await;
        Ok(())
    }

    async fn reconcile(&mut self) -> Result<(), Halt> {
        let steps = &self.assignment.plan.reconcile;
        if !steps.is_empty() {
            procedure::run(self.assignment, &mut self.stage, self.record, steps).await?;
            if self.assignment.plan.in_service == Checkpoint::Reconciled {
                self.first_write(Phase::Reconcile).await?;
            }
            self.check(Checkpoint::Reconciled, Phase::Reconcile).await;
        }
        Ok(())
    }

    /// What has to be so at this moment.
    async fn check(&mut self, checkpoint: Checkpoint, phase: Phase) {
        let started = Instant::now();
        let Stage { values, prober, .. } = &mut self.stage;
        for outcome in self.credentials.check(checkpoint, values, prober).await {
            self.record.credential(outcome);
        }
        self.check_serving(checkpoint, phase).await;
        if self.stage.lost_at.is_some() {
            self.stage.looking += started.elapsed();
        }
    }
}

/// Has the ledger grow, by a new writer where none is at work.
async fn resume_ledger(assignment: &Assignment<'_>, stage: &mut Stage) -> Result<(), Halt> {
    match &mut stage.ledger {
        Some(ledger) => seed::more_rows(ledger).await?,
        None => stage.ledger = seed::start_ledger(assignment, stage).await?,
    }
    Ok(())
}

/// Why a drill that a person broke off proves nothing.
pub fn interrupted() -> Halt {
    Halt::unverified("interrupted", "run the drill again")
}

fn environment_lost(environment: &Environment) -> Halt {
    let (reason, remedy) = environment.absence();
    Halt::unverified(reason, remedy)
}

/// Runs `work` unless what it runs on is gone first: whatever it waits for may never come then.
async fn on<T>(environment: &Environment, work: impl Future<Output = Result<T, Halt>>) -> Result<T, Halt> {
    tokio::select! {
        biased;
        result = work => result,
        () = environment.lost() => Err(environment_lost(environment)),
    }
}

/// The result of a phase, if the environment was there until its end, with room for what had to run in it. Else the phase has found
/// out nothing: a step fails when what it runs on is gone, and a check differs, whatever the page says.
async fn doubted<T>(
    environment: &Environment,
    record: &mut Record,
    phase: Phase,
    result: Result<T, Halt>,
) -> Result<T, Halt> {
    let (reason, remedy) = if !environment.is_there().await {
        environment.absence()
    } else if matches!(result, Err(Halt::Failed { .. })) || record.outcome.has_failed_in(phase) {
        let Some(lack) = environment.lack().await else { return result };
        lack
    } else {
        return result;
    };
    record.outcome.doubt(phase, &reason, remedy);
    Err(Halt::unverified(reason, remedy))
}

/// Runs `work` unless the run is interrupted first.
async fn interruptible<T>(
    interrupt: &CancellationToken,
    work: impl Future<Output = Result<T, Halt>>,
) -> Result<T, Halt> {
    tokio::select! {
        biased;
        () = interrupt.cancelled() => Err(interrupted()),
        result = guarded(work) => result,
    }
}

/// Turns a panic, which is a defect of redrill and says nothing about the procedure, into the end of the phase: what comes
/// after it, teardown above all, happens all the same.
async fn guarded<T>(work: impl Future<Output = Result<T, Halt>>) -> Result<T, Halt> {
    // What the phase left half done is not used again: no phase but teardown follows.
    let panic = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => return result,
        Err(panic) => panic,
    };
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let reason = format!("redrill itself broke: {}", said.unwrap_or("a panic without words"));
    Err(Halt::unverified(reason, "report it as a defect of redrill"))
}

async fn tear_down(environment: &Environment, record: &mut Record) {
    let started = record.phase_started(Phase::Teardown);
    let torn_down = async {
        let leftovers = environment.tear_down().await;
        leftovers.map_err(|error| Halt::unverified(crate::error::chain(&error), "run `redrill gc`"))
    };
    let result = guarded(torn_down).await.map(|leftovers| record.outcome.leftovers = leftovers);
    record.phase_finished(Phase::Teardown, started, &result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_phase_as_unverified_and_says_what_broke() {
        let broken = async { Option::<()>::None.map(Ok).expect("the row that was just written") };
        let result = interruptible(&CancellationToken::new(), broken).await;
        let Err(Halt::Unverified { reason, remedy }) = result else { panic!("{result:?}") };
        assert_eq!(reason, "redrill itself broke: the row that was just written");
        assert!(remedy.contains("defect of redrill"), "{remedy}");
    }

    #[tokio::test]
    async fn an_interruption_ends_a_phase_that_would_never_end() {
        let interrupt = CancellationToken::new();
        interrupt.cancel();
        assert_eq!(interruptible::<()>(&interrupt, std::future::pending()).await, Err(interrupted()));
    }
}
