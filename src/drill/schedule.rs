//! A schedule that a database keeps itself: one run of it, as its clock would start it.

use std::time::Duration;

use crate::drill::ran::Ran;
use crate::drill::record::Halt;
use crate::drill::stage::{Stage, ask};
use crate::drill::unanswered::Unanswered;
use crate::drill::{Assignment, seed};
use crate::outcome::StepResult;
use crate::plan::PlannedStep;
use crate::probe::{Reply, Request};

/// A backup that takes longer than this has not been waited for.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Has the database run the schedule of this name now, and waits for the end of the job that comes of it.
pub async fn run(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    step: &PlannedStep,
    name: &str,
    database: &str,
) -> Ran {
    let mut ran = Ran::unseen(step, StepResult::Succeeded);
    ran.command = format!("schedule {name} of {database}, one run");
    ran.result = match one(assignment, stage, name, database).await {
        Ok(Reply::ScheduleRan { job, error: None }) => {
            ran.log = stage.logs.keep(step, &format!("job {job} succeeded\n"));
            StepResult::Succeeded
        }
        Ok(Reply::ScheduleRan { job, error: Some(error) }) => {
            StepResult::Failed { reason: format!("job {job}: {error}"), exit: None }
        }
        Ok(Reply::NoSuchSchedule) => StepResult::Failed { reason: format!("there is no schedule {name}"), exit: None },
        Ok(other) => Halt::from(Unanswered::unexpected(&other)).into(),
        Err(halt) => halt.into(),
    };
    ran
}

async fn one(assignment: &Assignment<'_>, stage: &mut Stage, name: &str, database: &str) -> Result<Reply, Halt> {
    let Some(database) = assignment.scenario.databases.get(database) else {
        return Err(Halt::unverified(
            "a schedule of a database that the scenario does not have",
            "correct the scenario",
        ));
    };
    let target = seed::seeder(database, &stage.values).await?;
    let deadline_millis = DEADLINE.as_millis().try_into().unwrap_or(u64::MAX);
    Ok(ask(&mut stage.prober, Request::RunSchedule { target, name: name.to_owned(), deadline_millis }).await?)
}
