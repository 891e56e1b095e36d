//! Schedules of CockroachDB: one run of a schedule before its time.
//!
//! Versions before 24.1 have no statement for it; what every version with schedules takes is to bring the time of the next run
//! forward (cockroachdb/cockroach#108857).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use super::Error;
use super::postgres::{self, Session};
use crate::probe::DatabaseTarget;

/// Between two looks at the jobs.
const PACE: Duration = Duration::from_millis(100);

/// How the one run of a schedule ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleRun {
    /// No schedule, or several, are called so.
    NoSuchSchedule,
    Ended {
        job: String,
        /// Of a job that did not succeed.
        error: Option<String>,
    },
}

/// Brings the next run of the schedule with this label forward to now and waits until its job has ended. As an administrator: the
/// real scheduler looks once a minute. Errs when no job has ended within `deadline`.
pub async fn run(target: &DatabaseTarget, label: &str, deadline: Duration) -> Result<ScheduleRun, Error> {
    let session = postgres::connect(target).await?;
    let label = label.replace('\'', "''");
    let schedules = rows(&session, &format!("SELECT id FROM [SHOW SCHEDULES] WHERE label = '{label}'")).await?;
    let [schedule] = schedules.as_slice() else { return Ok(ScheduleRun::NoSuchSchedule) };
    let Some(schedule) = schedule.first().filter(|id| id.parse::<i64>().is_ok()) else {
        return Ok(ScheduleRun::NoSuchSchedule);
    };
    let before: BTreeSet<String> = jobs(&session, schedule).await?.into_iter().map(|job| job.id).collect();
    let update = format!("UPDATE system.scheduled_jobs SET next_run = now() WHERE schedule_id = {schedule}");
    session.simple_query(&update).await.map_err(Error::postgres("bring the next run forward"))?;
    let until = Instant::now() + deadline;
    loop {
        let ended =
            jobs(&session, schedule).await?.into_iter().find(|job| job.has_ended() && !before.contains(&job.id));
        match ended {
            Some(Job { id, status, error }) => {
                let error = (status != "succeeded").then(|| format!("{status}: {error}"));
                return Ok(ScheduleRun::Ended { job: id, error });
            }
            None if Instant::now() >= until => {
                return Err(Error::NoEnd { what: "job of the schedule", after: deadline });
            }
            None => tokio::time::sleep(PACE).await,
        }
    }
}

struct Job {
    id: String,
    status: String,
    error: String,
}

impl Job {
    fn has_ended(&self) -> bool {
        ["succeeded", "failed", "canceled", "revert-failed"].contains(&self.status.as_str())
    }
}

async fn jobs(session: &Session, schedule: &str) -> Result<Vec<Job>, Error> {
    let found =
        rows(session, &format!("SELECT job_id, status, error FROM [SHOW JOBS FOR SCHEDULE {schedule}]")).await?;
    let job = |mut row: std::vec::IntoIter<String>| {
        Some(Job { id: row.next()?, status: row.next()?, error: row.next().unwrap_or_default() })
    };
    Ok(found.into_iter().filter_map(|row| job(row.into_iter())).collect())
}

/// Unprepared: what stands in brackets is no table that a plan could be made of beforehand.
async fn rows(session: &Session, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    let answer = session.simple_query(sql).await.map_err(Error::postgres("ask for schedules and jobs"))?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    };
    Ok(answer.iter().filter_map(row).collect())
}
