//! Verification: holds what came back against what was there, from the outside.

use std::time::Instant;

use crate::drill::evidence::Evidence;
use crate::drill::record::{Halt, Record};
use crate::drill::seed;
use crate::drill::stage::{ask, pod_state};
use crate::drill::unanswered::Unanswered;
use crate::drill::{Assignment, Stage};
use crate::fingerprint::Fingerprint;
use crate::kubernetes;
use crate::outcome::{CheckKind, CheckResult, Phase};
use crate::probe::ledger::{self, LedgerVerdict, Survived};
use crate::probe::{Reply, Request};

/// What a check came to before it is written down: its result and what was compared.
type Finding = Result<(CheckResult, String), Halt>;

/// Runs every check of the scenario; one that cannot run is written down as not run, and the others still run.
pub async fn run(assignment: &Assignment<'_>, stage: &mut Stage, record: &mut Record, evidence: &mut Evidence) {
    let phase = Phase::Verify;
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
    if assignment.scenario.ledger.is_some() {
        let started = Instant::now();
        let finding = nonces(assignment, stage, evidence).await;
        write(record, "point in time", CheckKind::PointInTime, phase, started, finding);
        let started = Instant::now();
        let finding = ledger_prefix(assignment, stage, evidence).await;
        write(record, "ledger is a gap-free prefix", CheckKind::PointInTime, phase, started, finding);
    }
    let started = Instant::now();
    let finding = serving(stage).await;
    write(record, "every workload serves again", CheckKind::Other, phase, started, finding);
}

/// Writes a finding down.
pub fn write(record: &mut Record, name: &str, kind: CheckKind, phase: Phase, started: Instant, finding: Finding) {
    let (result, detail) = finding.unwrap_or_else(|halt| match halt {
        // The database refuses what it answered before the loss: that is the recovery's fault.
        Halt::Failed { reason } => (CheckResult::Differs { difference: reason }, String::new()),
        Halt::Unverified { reason, .. } => (CheckResult::NotRun { reason }, String::new()),
    });
    record.check(name, kind, phase, &detail, started, result);
}

async fn database(assignment: &Assignment<'_>, stage: &mut Stage, evidence: &Evidence, name: &str) -> Finding {
    let (Some(expected), Some(database)) = (evidence.databases.get(name), assignment.scenario.restored(name)) else {
        return Err(Halt::unverified("nothing was seeded to compare with", "look at the seed phase"));
    };
    let target = seed::seeder(database, &stage.values).await?;
    let found = seed::fingerprint_database(&mut stage.prober, target, &database.live_tables, expected).await;
    let found = found.map_err(Unanswered::of_a_recovery)?;
    Ok(compare(expected, &found))
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
    const DATA: [&str; 6] = ["table ", "materialized view ", "large object ", "sequence ", "role ", "file "];
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
    let mut wrong = Vec::new();
    if found.get("before") != Some(before) {
        wrong.push("the value written before the backup is not there: this is not the state that was backed up");
    }
    if found.values().any(|value| value == after) {
        wrong.push("the value written after the backup is there: this is not the backup's state");
    }
    if evidence.first_write && !found.contains_key(ledger::FIRST_WRITE) {
        wrong.push("the first write after the restore is gone again");
    }
    let detail = "value from before the backup there, value from after it not, first write still there".to_owned();
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
    let detail = "rows 1 to k of what was committed, up to the backup at least, and nothing else".to_owned();
    Ok(match ledger::verdict(&evidence.acknowledged, survived) {
        LedgerVerdict::NotAPrefix { reason } => (CheckResult::Differs { difference: reason }, detail),
        LedgerVerdict::Prefix { survived, lost_rows, lost } => {
            evidence.measured.lost = Some(lost);
            evidence.measured.lost_rows = Some(lost_rows);
            (reaches_the_backup(survived, evidence.committed_before_backup), detail)
        }
    })
}

/// A prefix that ends before the backup began is an older backup's.
fn reaches_the_backup(survived: u64, committed: u64) -> CheckResult {
    if survived >= committed {
        return CheckResult::Held;
    }
    let difference = format!("{committed} rows were committed before the backup began, {survived} came back");
    CheckResult::Differs { difference }
}

/// Deployments and StatefulSets at what they ask for: the applications are let in and answer their probes.
async fn serving(stage: &Stage) -> Finding {
    let mut down = Vec::new();
    let mut count = 0;
    for site in &stage.sites {
        let before = down.len();
        for workload in site.list(&[kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET]).await? {
            count += 1;
            let wanted = stage.wanted_replicas(site, &workload);
            let ready = workload["status"]["readyReplicas"].as_i64().unwrap_or_default();
            if ready != wanted {
                down.push(format!("{} has {ready} of {wanted} ready", site.describe(&workload)));
            }
        }
        if down.len() > before {
            for pod in site.list(&[kubernetes::POD]).await? {
                down.push(format!("{}: {}", site.describe(&pod), pod_state(&pod)));
            }
        }
    }
    let detail = format!("{count} workloads");
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
