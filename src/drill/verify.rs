//! Verification: holds what came back against what was there, from the outside.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::drill::evidence::Evidence;
use crate::drill::finding::{Finding, write};
use crate::drill::record::{Halt, Record};
use crate::drill::seed;
use crate::drill::stage::ask;
use crate::drill::unanswered::Unanswered;
use crate::drill::{Assignment, Stage, archive, restart, serving, unready};
use crate::fingerprint::Fingerprint;
use crate::kubernetes;
use crate::outcome::{Aim, CheckKind, CheckResult, Phase};
use crate::probe::ledger::{self, LedgerVerdict, Survived};
use crate::probe::{Reply, Request};
use crate::scenario::{Archive, RecoveryPoint};

/// Runs every check of the scenario; one that cannot run is written down as not run, and the others still run.
pub async fn run(assignment: &Assignment<'_>, stage: &mut Stage, record: &mut Record, evidence: &mut Evidence) {
    let phase = Phase::Verify;
    if assignment.plan.aim() == Aim::Maintenance && hold_what_was_committed(stage, record, evidence).await.is_err() {
        return;
    }
    for name in &assignment.scenario.seed.databases {
        let started = Instant::now();
        let finding = database(assignment, stage, evidence, name).await;
        write(record, &format!("content of database {name}"), CheckKind::Content, phase, started, finding);
    }
    for name in &assignment.scenario.seed.files {
        let started = Instant::now();
        let finding = files(assignment, stage, evidence, name).await;
        write(record, &format!("content of files {name}"), CheckKind::Content, phase, started, finding);
    }
    let mut came_back = false;
    if assignment.scenario.ledger.is_some() {
        let started = Instant::now();
        let finding = nonces(assignment, stage, evidence).await;
        came_back = matches!(finding, Ok((CheckResult::Held, _)));
        write(record, "point in time", CheckKind::PointInTime, phase, started, finding);
        let started = Instant::now();
        let finding = ledger_prefix(assignment, stage, evidence).await;
        write(record, "ledger is a gap-free prefix", CheckKind::PointInTime, phase, started, finding);
    }
    let started = Instant::now();
    let finding = every_workload(stage, &left_behind(assignment)).await;
    write(record, "every workload serves again", CheckKind::Other, phase, started, finding);
    let started = Instant::now();
    if let Some(finding) = archive::stopped(assignment, stage).await {
        write(record, "nothing is shipped any more", CheckKind::Other, phase, started, finding);
    }
    match assignment.plan.aim() {
        Aim::Recovery if came_back => after_the_recovery(assignment, stage, record, evidence).await,
        Aim::Recovery => {
            record.notice("the database is not restarted: what had to come back is not there to begin with")
        }
        Aim::Maintenance => {}
    }
}

/// What a recovery leaves behind for the next disaster.
async fn after_the_recovery(assignment: &Assignment<'_>, stage: &mut Stage, record: &mut Record, evidence: &Evidence) {
    let started = Instant::now();
    if let Some(finding) = archive::ships_again(assignment, stage, evidence).await {
        write(record, "the log is shipped again", CheckKind::Other, Phase::Verify, started, finding);
    }
    let started = Instant::now();
    if let Some(finding) = restart::run(assignment, stage, evidence).await {
        write(record, "a restart loses nothing", CheckKind::Other, Phase::Verify, started, finding);
    }
}

/// Of a system that lost nothing, everything that was ever committed has to be there.
async fn hold_what_was_committed(stage: &mut Stage, record: &mut Record, evidence: &mut Evidence) -> Result<(), ()> {
    let started = Instant::now();
    let stopped = seed::stop_ledger(stage, evidence).await;
    evidence.must_survive = evidence.acknowledged.last().map_or(0, |row| row.k);
    stopped.map_err(|halt| {
        write(record, "the database stays writable", CheckKind::PointInTime, Phase::Verify, started, Err(halt));
    })
}

/// Clusters whose databases were brought back to another: what is still there of them serves nobody.
fn left_behind<'a>(assignment: &Assignment<'a>) -> BTreeSet<&'a str> {
    if assignment.plan.aim() == Aim::Maintenance {
        return BTreeSet::new();
    }
    let seeded = assignment.scenario.seed.databases.iter();
    let moved = seeded.filter_map(|name| {
        let (from, to) = (assignment.scenario.databases.get(name)?, assignment.scenario.restored(name)?);
        from.cluster.as_deref().filter(|_| from.cluster != to.cluster)
    });
    moved.collect()
}

async fn database(assignment: &Assignment<'_>, stage: &mut Stage, evidence: &Evidence, name: &str) -> Finding {
    let (Some(expected), Some(database)) = (evidence.databases.get(name), seed::held(assignment, name)) else {
        return Err(Halt::unverified("nothing was seeded to compare with", "look at the seed phase"));
    };
    let target = seed::seeder(database, &stage.values).await?;
    let found = seed::fingerprint_database(&mut stage.prober, target, &database.live_tables, expected).await;
    let found = found.map_err(Unanswered::of_a_recovery)?;
    let left_out = not_seeded(evidence.left_out.get(name).map(Vec::as_slice).unwrap_or_default());
    if assignment.plan.archive.is_none() || assignment.plan.aim() == Aim::Maintenance {
        let (result, detail) = compare(expected, &found);
        return Ok((result, detail + &left_out));
    }
    let (expected, emptied) = expected.as_a_log_has_it(&found);
    let (result, detail) = compare(&expected, &found);
    let emptied =
        if emptied.is_empty() { String::new() } else { format!("; unlogged, so empty: {}", emptied.join(", ")) };
    Ok((result, detail + &emptied + &left_out))
}

/// What nothing is proven of, since the server does not have it.
fn not_seeded(left_out: &[String]) -> String {
    match left_out {
        [] => String::new(),
        left_out => format!("; not in it, as the server does not have them: {}", left_out.join(", ")),
    }
}

async fn files(assignment: &Assignment<'_>, stage: &Stage, evidence: &Evidence, name: &str) -> Finding {
    let (Some(expected), Some(tree)) = (evidence.files.get(name), assignment.scenario.files.get(name)) else {
        return Err(Halt::unverified("nothing was seeded to compare with", "look at the seed phase"));
    };
    let found = seed::tree(stage, name, tree).await?;
    Ok(compare(expected, &found))
}

/// An empty expectation proves nothing, so it is not compared.
pub fn compare(expected: &Fingerprint, found: &Fingerprint) -> (CheckResult, String) {
    if expected.items.is_empty() {
        return (CheckResult::NotRun { reason: "the seed left nothing to compare with".to_owned() }, String::new());
    }
    let differences = expected.differences(found);
    let detail = expected.summary();
    match differences.is_empty() {
        true => (CheckResult::Held, detail),
        false => (CheckResult::Differs { difference: shorten(&differences) }, detail),
    }
}

/// The first differences in words, data before definitions and grants, and how many more there are.
fn shorten(differences: &[crate::fingerprint::Difference]) -> String {
    const SHOWN: usize = 12;
    const DATA: [&str; 7] =
        ["table ", "collection ", "materialized view ", "large object ", "sequence ", "role ", "file "];
    let rank = |item: &str| DATA.iter().position(|kind| item.starts_with(kind)).unwrap_or(DATA.len());
    let mut ordered: Vec<_> = differences.iter().collect();
    ordered.sort_by_key(|difference| rank(&difference.item));
    let mut lines: Vec<String> = ordered.iter().take(SHOWN).map(ToString::to_string).collect();
    if let Some(more) = differences.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("; ")
}

async fn nonces(assignment: &Assignment<'_>, stage: &mut Stage, evidence: &Evidence) -> Finding {
    let Some(target) = seed::restored_ledger(assignment, &stage.values).await? else {
        return Err(Halt::unverified("the scenario keeps no ledger", "name one in the scenario"));
    };
    let (Some(before), Some(after)) = (&evidence.nonce_before, &evidence.nonce_after) else {
        return Err(Halt::unverified("the nonces were not written", "look at the seed and backup phases"));
    };
    let found = match ask(&mut stage.prober, Request::ReadNonces { target }).await.map_err(Unanswered::of_a_recovery)? {
        Reply::Nonces { values } => values,
        other => return Err(Unanswered::unexpected(&other).into()),
    };
    let recovers_to = match assignment.plan.aim() {
        Aim::Recovery => assignment.plan.recovers_to,
        // Nothing was lost, so everything is there.
        Aim::Maintenance => RecoveryPoint::EndOfLog,
    };
    let mut wrong = archive::nonces_of_a_log(recovers_to, &found, before, after);
    if evidence.first_write && !found.contains_key(ledger::FIRST_WRITE) {
        wrong.push("the first write after the restore is gone again");
    }
    let later = match recovers_to {
        RecoveryPoint::EndOfLog => "value from after it there too",
        RecoveryPoint::Backup => "value from after it not, first write still there",
        RecoveryPoint::Moment => "value from after the moment not, first write still there",
    };
    let detail = format!("value from before the backup there, {later}");
    Ok(match wrong.is_empty() {
        true => (CheckResult::Held, detail),
        false => (CheckResult::Differs { difference: wrong.join("; ") }, detail),
    })
}

async fn ledger_prefix(assignment: &Assignment<'_>, stage: &mut Stage, evidence: &mut Evidence) -> Finding {
    let Some(target) = seed::restored_ledger(assignment, &stage.values).await? else {
        return Err(Halt::unverified("the scenario keeps no ledger", "name one in the scenario"));
    };
    let survived =
        match ask(&mut stage.prober, Request::ReadLedger { target }).await.map_err(Unanswered::of_a_recovery)? {
            Reply::Ledger { rows, first, last, gaps, last_at_micros: _ } => Survived { rows, first, last, gaps },
            other => return Err(Unanswered::unexpected(&other).into()),
        };
    if evidence.acknowledged.is_empty() {
        return Err(Halt::unverified("no row of the ledger was ever acknowledged", "look at the seed phase"));
    }
    // How many is a matter of time, and said where times are: in the measured RPO.
    let least = match (assignment.plan.recovers_to, assignment.plan.archive) {
        (RecoveryPoint::Backup, _) => "up to the backup at least",
        (RecoveryPoint::Moment, _) => "up to the moment at least",
        (RecoveryPoint::EndOfLog, Some(Archive::Backlog)) => "up to the last that was shipped at least",
        (RecoveryPoint::EndOfLog, _) => "up to the last",
    };
    let detail = format!("rows 1 to k of what was committed, {least}, and nothing else");
    Ok(match ledger::verdict(&evidence.acknowledged, survived) {
        LedgerVerdict::NotAPrefix { reason } => (CheckResult::Differs { difference: reason }, detail),
        LedgerVerdict::Prefix { survived, lost_rows, lost } => {
            if assignment.plan.recovers_to == RecoveryPoint::Moment {
                let why = format!("{lost_rows} rows were committed after the moment, and left out on purpose");
                evidence.measured.left_out = Some(why);
            } else {
                evidence.measured.lost = Some(lost);
                evidence.measured.lost_rows = Some(lost_rows);
            }
            (reaches(survived, evidence.must_survive), detail)
        }
    })
}

/// A prefix that ends before the moment that was to come back is an older one's.
fn reaches(survived: u64, must_survive: u64) -> CheckResult {
    if survived >= must_survive {
        return CheckResult::Held;
    }
    let difference = format!("{must_survive} rows had to come back, {survived} did");
    CheckResult::Differs { difference }
}

/// Deployments and StatefulSets at what they ask for: the applications are let in and answer their probes.
async fn every_workload(stage: &mut Stage, left_behind: &BTreeSet<&str>) -> Finding {
    let mut down = Vec::new();
    let mut count = 0;
    for site in stage.sites.clone() {
        if site.cluster.as_deref().is_some_and(|cluster| left_behind.contains(cluster)) {
            continue;
        }
        let workloads = site.list(&[kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET]).await?;
        serving::until_told(stage, &site.kubernetes, &workloads).await?;
        for workload in site.list(&[kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET]).await? {
            count += 1;
            let wanted = stage.wanted_replicas(&site, &workload);
            let ready = workload["status"]["readyReplicas"].as_i64().unwrap_or_default();
            if ready != wanted {
                down.push(format!("{} has {ready} of {wanted} ready", site.describe(&workload)));
                down.extend(unready::reasons(&site.kubernetes, &workload).await?);
            }
        }
    }
    for service in crate::drill::account::services(stage).await? {
        count += 1;
        down.extend(service.shortfall());
    }
    let mut detail = format!("{count} workloads");
    for cluster in left_behind {
        detail += &format!("; {cluster} was left behind");
    }
    Ok(match (count, down.is_empty()) {
        (0, _) => (CheckResult::NotRun { reason: "the system has no workloads".to_owned() }, detail),
        (_, true) => (CheckResult::Held, detail),
        (_, false) => (CheckResult::Differs { difference: down.join("; ") }, detail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Item;

    fn fingerprint(names: &[String]) -> Fingerprint {
        let items = names.iter().map(|name| (name.clone(), Item::of_text(1, name)));
        Fingerprint { items: items.collect(), ..Fingerprint::default() }
    }

    #[test]
    fn a_missing_table_is_named_before_the_many_definitions_that_went_with_it() {
        let mut names: Vec<String> = (0..40).map(|n| format!("constraint c{n:02}")).collect();
        names.push("table public.users".to_owned());
        let (CheckResult::Differs { difference }, _) = compare(&fingerprint(&names), &Fingerprint::default()) else {
            panic!("held")
        };
        assert!(difference.starts_with("table public.users"), "{difference}");
        assert!(difference.ends_with("and 29 more"), "{difference}");
    }

    #[test]
    fn an_expectation_of_nothing_is_no_check() {
        let (result, _) = compare(&Fingerprint::default(), &Fingerprint::default());
        assert!(matches!(result, CheckResult::NotRun { .. }));
    }
}
