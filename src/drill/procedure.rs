//! Runs the steps of a phase as a person would: looks before typing on, types, reads what comes back.

use std::time::{Duration, Instant};

use crate::drill::event::Happening;
use crate::drill::operator::Operator;
use crate::drill::pace::{self, Baseline, Settled};
use crate::drill::ran::Ran;
use crate::drill::record::{Halt, Record};
use crate::drill::{Assignment, Stage, account, chart, cron_job, fill, schedule, unready};
use crate::outcome::{Phase, StepOutcome, StepResult, Waited};
use crate::plan::{Action, PlannedStep};

/// Runs the steps in order and stops at the first that does not succeed; the others are written down as not run.
///
/// Errs with what the phase has come to: the procedure's fault or the harness's.
pub async fn run(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    record: &mut Record,
    steps: &[PlannedStep],
) -> Result<(), Halt> {
    let started = Instant::now();
    let mut operator = Operator::sit_down(stage, record).await?;
    let baseline = Baseline::take(&stage.sites).await?;
    for (index, step) in steps.iter().enumerate() {
        let halt = match one(assignment, stage, record, &mut operator, &baseline, step).await {
            Ok(()) => continue,
            Err(halt) => halt,
        };
        for skipped in &steps[index + 1..] {
            let reason = format!("an earlier step did not succeed ({})", step.source);
            let ran = Ran::unseen(skipped, StepResult::NotRun { reason });
            record.step(outcome(skipped, ran, Duration::ZERO, Vec::new()));
        }
        return Err(halt);
    }
    // The last step is over when what it touched has settled, as every other.
    let waited = settle(assignment, stage, record, &baseline).await?;
    if let (Some(last), false) = (record.outcome.steps.last_mut(), waited.is_empty()) {
        last.waited.extend(
            waited.into_iter().map(|waited| Waited { condition: format!("then {}", waited.condition), ..waited }),
        );
    }
    operator.leave(stage).await;
    stage.acted_at = Instant::now();
    // For `benches/drill_overhead.rs`: all that a procedure costs, what lies between its steps too.
    tracing::debug!(seconds = started.elapsed().as_secs_f64(), "procedure ran");
    Ok(())
}

async fn one(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    record: &mut Record,
    operator: &mut Operator,
    baseline: &Baseline,
    step: &PlannedStep,
) -> Result<(), Halt> {
    record.events().send(Happening::StepStarted {
        phase: step.phase,
        source: step.source.clone(),
        command: step.title(),
        text: step.label,
        program: step.program,
    });
    let waited = match settle(assignment, stage, record, baseline).await {
        Ok(waited) => waited,
        Err(halt) => {
            let ran =
                Ran::unseen(step, StepResult::NotRun { reason: "what earlier steps touched did not settle".into() });
            record.step(outcome(step, ran, Duration::ZERO, Vec::new()));
            return Err(halt);
        }
    };
    if stage.draws_secrets {
        chart::learn(stage, record).await?;
    }
    let started = Instant::now();
    let ran = match &step.action {
        Action::Human => Ran::unseen(step, StepResult::Succeeded),
        Action::Removed { erratum } => Ran::unseen(step, StepResult::Removed { erratum: erratum.clone() }),
        Action::CronJob { object } => cron_job::run(stage, record, step, object).await,
        Action::BackupPlan { name } => account::run_plan(stage, step, name).await,
        Action::Schedule { name, database } => schedule::run(assignment, stage, step, name, database).await,
        Action::Shell | Action::Edit { .. } | Action::Apply { .. } | Action::Compare { .. } | Action::Editor { .. } => {
            match fill::fill(step, stage, operator).await {
                Ok(filled) => operator.perform(stage, record, step, filled).await,
                Err(halt) => Ran::unseen(step, record.cleaned(halt).into()),
            }
        }
    };
    let halt = match &ran.result {
        StepResult::Succeeded | StepResult::Removed { .. } => None,
        StepResult::Failed { .. } => Some(Halt::failed(format!("the step at {} did not succeed", step.source))),
        StepResult::Unverified { remedy, .. } => {
            Some(Halt::unverified(format!("how the step at {} went is not known", step.source), remedy.clone()))
        }
        StepResult::NotRun { reason } => {
            Some(Halt::unverified(format!("{}: not run: {reason}", step.source), "run the drill again"))
        }
    };
    record.step(outcome(step, ran, started.elapsed(), waited));
    halt.map_or(Ok(()), Err)
}

/// Operator pace: errs as the procedure's fault when what it touched never settles.
async fn settle(
    assignment: &Assignment<'_>,
    stage: &Stage,
    record: &Record,
    baseline: &Baseline,
) -> Result<Vec<Waited>, Halt> {
    let told = |condition: Option<String>| record.events().send(Happening::Waiting { condition });
    told(Some("what earlier steps touched".to_owned()));
    let settled = pace::settle(&stage.sites, baseline, assignment.scenario.patience).await;
    told(None);
    match settled? {
        Settled::Yes(waited) => Ok(waited),
        Settled::No { last, after } => {
            let mut words = vec![last];
            words.extend(unready::anywhere(&stage.sites).await?);
            let (after, words) = (after.as_secs(), words.join("; "));
            let halt = Halt::failed(format!("what earlier steps touched did not settle within {after}s: {words}"));
            Err(record.cleaned(halt))
        }
    }
}

fn outcome(step: &PlannedStep, ran: Ran, duration: Duration, waited: Vec<Waited>) -> StepOutcome {
    StepOutcome {
        phase: step.phase,
        procedure: step.procedure.clone(),
        source: step.source.clone(),
        command: ran.command,
        text: step.label,
        program: ran.program.unwrap_or(step.program),
        result: ran.result,
        duration,
        waited,
        human: step.human.clone(),
        log: ran.log,
        output_tail: ran.tail,
        hidden_failures: ran.hidden,
    }
}

/// Declared human time of the steps of a phase that ran.
pub fn human_time(record: &Record, phase: Phase) -> Duration {
    let steps = record.outcome.steps.iter().filter(|step| step.phase == phase);
    steps.filter_map(|step| step.human.as_ref()).map(|human| human.duration).sum()
}
