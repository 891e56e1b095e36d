//! Proof that the disaster took what it was to take: a restore onto data that never left proves nothing.

use std::time::{Duration, Instant};

use crate::drill::evidence::Evidence;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::Stage;
use crate::drill::{Assignment, seed, verify};
use crate::fingerprint::Fingerprint;
use crate::outcome::{CheckKind, CheckResult, Phase};

/// How long the emptied server may take to answer again.
const ANSWERS: Duration = Duration::from_secs(120);

/// Looks for everything that was seeded and errs, as a failed drill, when any of it is still there.
pub async fn run(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    record: &mut Record,
    evidence: &Evidence,
) -> Result<(), Halt> {
    let mut still_there = Vec::new();
    for (name, expected) in &evidence.databases {
        let started = Instant::now();
        let found = database(assignment, stage, name).await?;
        let result = gone(expected, &found, "table ");
        still_there.extend(matches!(result, CheckResult::Differs { .. }).then(|| format!("database {name}")));
        verify::write(
            record,
            &format!("loss of database {name}"),
            CheckKind::Loss,
            Phase::Loss,
            started,
            Ok((result, expected.summary())),
        );
    }
    for (name, expected) in &evidence.files {
        let started = Instant::now();
        let Some(tree) = assignment.scenario.files.get(name) else { continue };
        let found = seed::tree(stage, name, tree).await?;
        let result = gone(expected, &found, "file ");
        still_there.extend(matches!(result, CheckResult::Differs { .. }).then(|| format!("files {name}")));
        verify::write(
            record,
            &format!("loss of files {name}"),
            CheckKind::Loss,
            Phase::Loss,
            started,
            Ok((result, expected.summary())),
        );
    }
    match still_there.is_empty() {
        true => Ok(()),
        false => Err(Halt::failed(format!("the loss did not happen: {} still there", still_there.join(", ")))),
    }
}

/// Asks until the emptied server answers; what it holds then.
async fn database(assignment: &Assignment<'_>, stage: &mut Stage, name: &str) -> Result<Fingerprint, Halt> {
    let Some(database) = assignment.scenario.databases.get(name) else { return Ok(Fingerprint::default()) };
    let until = Instant::now() + ANSWERS;
    loop {
        let target = seed::owner(database, &stage.values).await?;
        match seed::fingerprint_database(&mut stage.prober, target, &[], &Fingerprint::default()).await {
            Ok(found) => return Ok(found),
            Err(unanswered) if Instant::now() >= until => return Err(unanswered.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Nothing that was seeded and holds content may be there as it was.
fn gone(expected: &Fingerprint, found: &Fingerprint, kind: &str) -> CheckResult {
    let seeded: Vec<_> =
        expected.items.iter().filter(|(name, item)| name.starts_with(kind) && item.count > 0).collect();
    if seeded.is_empty() {
        return CheckResult::NotRun { reason: "nothing was seeded that could be lost".to_owned() };
    }
    let there: Vec<&str> = seeded
        .iter()
        .filter(|(name, item)| found.items.get(*name) == Some(*item))
        .map(|(name, _)| name.as_str())
        .collect();
    match there.is_empty() {
        true => CheckResult::Held,
        false => {
            let named = there.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            CheckResult::Differs { difference: format!("{} of {} still there: {named}", there.len(), seeded.len()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Item;

    fn fingerprint(items: &[(&str, u64)]) -> Fingerprint {
        let items = items.iter().map(|&(name, count)| (name.to_owned(), Item::of_text(count, name)));
        Fingerprint { items: items.collect(), ..Fingerprint::default() }
    }

    #[test]
    fn data_that_is_still_there_is_no_loss() {
        let seeded = fingerprint(&[("table public.a", 3), ("table public.b", 2), ("role x", 1)]);
        let CheckResult::Differs { difference } = gone(&seeded, &fingerprint(&[("table public.b", 2)]), "table ")
        else {
            panic!("believed the loss")
        };
        assert_eq!(difference, "1 of 2 still there: table public.b");
        assert_eq!(gone(&seeded, &fingerprint(&[("role x", 1)]), "table "), CheckResult::Held);
    }

    #[test]
    fn a_loss_of_nothing_is_not_a_check() {
        assert!(matches!(gone(&Fingerprint::default(), &Fingerprint::default(), "table "), CheckResult::NotRun { .. }));
        assert!(matches!(
            gone(&fingerprint(&[("table public.e", 0)]), &Fingerprint::default(), "table "),
            CheckResult::NotRun { .. }
        ));
    }
}
