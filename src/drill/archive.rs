//! The log of a system that ships it as it is written: how far it is at the loss, and whether it is shipped again after it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::drill::evidence::Evidence;
use crate::drill::finding::Finding;
use crate::drill::record::Halt;
use crate::drill::stage::ask;
use crate::drill::unanswered::Unanswered;
use crate::drill::{Assignment, Stage, seed};
use crate::objective::Shipped;
use crate::outcome::CheckResult;
use crate::probe::{DatabaseTarget, Reply, Request};
use crate::scenario::{Archive, Database, RecoveryPoint};

/// How long the archiver may take with everything that waits.
const SHIPPING: Duration = Duration::from_secs(300);
/// How long it may take to ship one segment of a database that has just come back.
const FIRST_SEGMENT: Duration = Duration::from_secs(60);

/// How an archiver stands.
struct Archiver {
    mode: String,
    timeout: Duration,
    waiting: u64,
    clock: String,
}

/// What is known of the database whose log this drill is about: the one that keeps the ledger.
pub fn archived<'a>(assignment: &'a Assignment<'_>) -> Option<&'a Database> {
    let name = assignment.scenario.ledger.as_ref()?;
    assignment.scenario.archiving_of(name)?;
    assignment.scenario.databases.get(name)
}

/// Takes the moment that will have to come back, between two commits, where the drill has one: nobody writes while it is
/// chosen, so that the next commit is that of the value which must not be there.
pub async fn choose_moment(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    evidence: &mut Evidence,
) -> Result<(), Halt> {
    let Some(database) = archived(assignment) else { return Ok(()) };
    if assignment.plan.recovers_to != RecoveryPoint::Moment {
        return Ok(());
    }
    seed::stop_ledger(stage, evidence).await?;
    evidence.must_survive = evidence.acknowledged.last().map_or(0, |row| row.k);
    let target = seed::seeder(database, &stage.values).await?;
    stage.recovery_target = Some(state(stage, target).await?.clock);
    Ok(())
}

/// Brings the log to where the drill wants it at the loss, and the ledger's writer to its end.
pub async fn before_the_loss(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    evidence: &mut Evidence,
) -> Result<(), Halt> {
    let (Some(database), Some(archive)) = (archived(assignment), assignment.plan.archive) else {
        return seed::stop_ledger(stage, evidence).await;
    };
    let name = assignment.scenario.ledger.as_deref().unwrap_or_default();
    if let Some(archiving) = assignment.scenario.archiving_of(name) {
        evidence.prefix = Some(stage.values.name(&archiving.prefix).await?);
    }
    let target = seed::seeder(database, &stage.values).await?;
    evidence.identifier = Some(identifier(stage, target.clone()).await?);
    let mut shipped_rows = None;
    let shipping = if archive == Archive::Backlog {
        shipped_rows = stage.ledger.as_ref().map(|ledger| ledger.latest().k);
        let shipping = drain(stage, target.clone(), SHIPPING).await?;
        if let Some(ledger) = &mut stage.ledger {
            seed::more_rows(ledger).await?;
        }
        seed::stop_ledger(stage, evidence).await?;
        shipping
    } else {
        seed::stop_ledger(stage, evidence).await?;
        drain(stage, target.clone(), SHIPPING).await?
    };
    if assignment.plan.recovers_to == RecoveryPoint::EndOfLog {
        let last = evidence.acknowledged.last().map_or(0, |row| row.k);
        evidence.must_survive = shipped_rows.unwrap_or(last);
    }
    let Archiver { timeout, waiting, .. } = state(stage, target).await?;
    let drained = archive == Archive::Drained;
    evidence.measured.shipped = Some(Shipped { waiting, drained, timeout, shipping });
    Ok(())
}

/// Whether what is written to the recovered database is shipped again, and not to where the lost one's backups are.
/// `None` where nothing says that its log is shipped.
pub async fn ships_again(assignment: &Assignment<'_>, stage: &mut Stage, evidence: &Evidence) -> Option<Finding> {
    let ledger = assignment.scenario.ledger.as_ref()?;
    let name = assignment.scenario.databases.get(ledger)?.restored_in.as_ref().unwrap_or(ledger);
    let archiving = assignment.scenario.archiving_of(name)?;
    assignment.plan.archive?;
    let database = assignment.scenario.databases.get(name)?;
    Some(find_shipping(stage, database, archiving, evidence.prefix.as_deref()).await)
}

async fn find_shipping(
    stage: &mut Stage,
    database: &Database,
    archiving: &crate::scenario::Archiving,
    lost_prefix: Option<&str>,
) -> Finding {
    let target = seed::seeder(database, &stage.values).await?;
    let detail = "the segment that was being written was completed and shipped".to_owned();
    let differs = |difference: String| Ok((CheckResult::Differs { difference }, String::new()));
    let Archiver { mode, .. } = ask_state(stage, target.clone()).await.map_err(Unanswered::of_a_recovery)?;
    if mode == "off" {
        return differs("archive_mode is off: what is written from now on is in no backup".to_owned());
    }
    let request = Request::DrainArchive { target, deadline_millis: millis(FIRST_SEGMENT) };
    match ask(&mut stage.prober, request).await {
        Ok(Reply::Drained { .. }) => {}
        Ok(other) => return Err(Unanswered::unexpected(&other).into()),
        Err(unanswered) => match unanswered.at_a_deadline() {
            Halt::Failed { reason } => return differs(reason),
            halt @ Halt::Unverified { .. } => return Err(halt),
        },
    }
    let prefix = match stage.values.name(&archiving.prefix).await {
        Ok(prefix) => prefix,
        Err(error) => return differs(format!("nothing says where to: {}", crate::error::chain(&error))),
    };
    match lost_prefix.filter(|lost| lost.trim_end_matches('/') == prefix.trim_end_matches('/')) {
        Some(lost) => differs(format!("shipped to {lost}, where the backups are that it came back from")),
        None => Ok((CheckResult::Held, format!("{detail} to {prefix}"))),
    }
}

/// Whether nothing is shipped any more.
pub async fn stopped(assignment: &Assignment<'_>, stage: &mut Stage) -> Option<Finding> {
    let database = archived(assignment).filter(|_| assignment.plan.archive == Some(Archive::Stopped))?;
    let target = match seed::seeder(database, &stage.values).await {
        Ok(target) => target,
        Err(error) => return Some(Err(error.into())),
    };
    Some(ask_state(stage, target).await.map_err(Unanswered::of_a_recovery).map(|archiver| match &*archiver.mode {
        "off" => (CheckResult::Held, "archive_mode is off".to_owned()),
        mode => {
            let difference = format!("archive_mode is {mode}, and {} segments wait", archiver.waiting);
            (CheckResult::Differs { difference }, String::new())
        }
    }))
}

async fn state(stage: &mut Stage, target: DatabaseTarget) -> Result<Archiver, Halt> {
    Ok(ask_state(stage, target).await?)
}

async fn ask_state(stage: &mut Stage, target: DatabaseTarget) -> Result<Archiver, Unanswered> {
    match ask(&mut stage.prober, Request::ReadArchiver { target }).await? {
        Reply::Archiver { mode, timeout_seconds, waiting, clock } => {
            Ok(Archiver { mode, timeout: Duration::from_secs(timeout_seconds), waiting, clock })
        }
        other => Err(Unanswered::unexpected(&other)),
    }
}

async fn identifier(stage: &mut Stage, target: DatabaseTarget) -> Result<String, Halt> {
    match ask(&mut stage.prober, Request::ReadIdentifier { target }).await? {
        Reply::Identifier { identifier } => Ok(identifier),
        other => Err(Unanswered::unexpected(&other).into()),
    }
}

/// Has everything shipped that is committed. A log that does not get shipped is the backup procedure's failure.
async fn drain(stage: &mut Stage, target: DatabaseTarget, deadline: Duration) -> Result<Duration, Halt> {
    let mode = state(stage, target.clone()).await?.mode;
    if mode == "off" {
        return Err(Halt::failed("archive_mode is off: the log is not shipped"));
    }
    let request = Request::DrainArchive { target, deadline_millis: millis(deadline) };
    match ask(&mut stage.prober, request).await {
        Ok(Reply::Drained { micros, .. }) => Ok(Duration::from_micros(micros)),
        Ok(other) => Err(Unanswered::unexpected(&other).into()),
        Err(unanswered) => Err(unanswered.at_a_deadline()),
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// What is wrong with the nonces that came back; `after` has to be there where its log was shipped.
pub fn nonces_of_a_log(
    recovers_to: RecoveryPoint,
    found: &BTreeMap<String, String>,
    before: &str,
    after: &str,
) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if found.get("before").is_none_or(|value| value != before) {
        wrong.push("the value written before the backup is not there: this is not the state that was backed up");
    }
    let is_there = found.values().any(|value| value == after);
    match recovers_to {
        RecoveryPoint::Backup if is_there => {
            wrong.push("the value written after the backup is there: this is not the backup's state");
        }
        RecoveryPoint::Moment if is_there => {
            wrong.push("the value written after the moment to recover to is there: recovery went too far");
        }
        RecoveryPoint::EndOfLog if !is_there => {
            wrong.push("the value written after the backup is not there, though its log was shipped");
        }
        RecoveryPoint::Backup | RecoveryPoint::Moment | RecoveryPoint::EndOfLog => {}
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_later_value_has_to_be_there_only_where_its_log_comes_back() {
        let both = found(&[("before", "a"), ("after", "b")]);
        let one = found(&[("before", "a")]);
        let wrong = |point, found: &BTreeMap<String, String>| nonces_of_a_log(point, found, "a", "b").len();
        for (point, with, without) in
            [(RecoveryPoint::Backup, 1, 0), (RecoveryPoint::Moment, 1, 0), (RecoveryPoint::EndOfLog, 0, 1)]
        {
            assert_eq!((wrong(point, &both), wrong(point, &one)), (with, without), "{point:?}");
        }
        assert_eq!(wrong(RecoveryPoint::EndOfLog, &found(&[("after", "b")])), 1);
        assert_eq!(wrong(RecoveryPoint::EndOfLog, &found(&[("before", "of another run"), ("after", "b")])), 1);
    }
}
