//! Proof that the disaster took what it was to take: a restore onto data that never left proves nothing.

use std::time::{Duration, Instant};

use crate::drill::evidence::Evidence;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::Stage;
use crate::drill::unanswered::Unanswered;
use crate::drill::{Assignment, finding, seed};
use crate::fingerprint::Fingerprint;
use crate::kubernetes::{self, KubernetesError};
use crate::outcome::{CheckKind, CheckResult, Phase};
use crate::probe::DatabaseTarget;
use crate::redact::Secret;
use crate::scenario::Database;

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
    for cluster in &assignment.scenario.loss_in(&assignment.plan.name).clusters {
        let started = Instant::now();
        let result = cluster_is_gone(stage, cluster).await;
        still_there.extend(matches!(result, CheckResult::Differs { .. }).then(|| format!("cluster {cluster}")));
        let finding = Ok((result, "nobody answers for it".to_owned()));
        finding::write(record, &format!("loss of cluster {cluster}"), CheckKind::Loss, Phase::Loss, started, finding);
    }
    let loss = assignment.scenario.loss_in(&assignment.plan.name);
    for namespace in &loss.namespaces {
        let started = Instant::now();
        let result = namespace_is_gone(stage, namespace).await;
        still_there.extend(matches!(result, CheckResult::Differs { .. }).then(|| format!("namespace {namespace}")));
        let finding = Ok((result, "it is not there, and nothing is in it".to_owned()));
        finding::write(
            record,
            &format!("loss of namespace {namespace}"),
            CheckKind::Loss,
            Phase::Loss,
            started,
            finding,
        );
    }
    // Volumes, namespaces and clusters are gone with all that was in them, a corruption hits the databases that it names.
    let takes_all = !loss.claims.is_empty() || !loss.clusters.is_empty() || !loss.namespaces.is_empty();
    for (name, expected) in evidence.databases.iter().filter(|(name, _)| takes_all || loss.databases.contains(name)) {
        let started = Instant::now();
        let result = match database(assignment, stage, name).await? {
            Some(found) => {
                let content = assignment.scenario.databases.get(name).map_or("table ", |lost| lost.kind.content());
                gone(&beside(expected, evidence.fresh.get(name)), &found, content)
            }
            None => CheckResult::Held,
        };
        still_there.extend(matches!(result, CheckResult::Differs { .. }).then(|| format!("database {name}")));
        let finding = Ok((result, expected.summary()));
        finding::write(record, &format!("loss of database {name}"), CheckKind::Loss, Phase::Loss, started, finding);
    }
    for (name, expected) in evidence.files.iter().filter(|_| takes_all) {
        let started = Instant::now();
        let Some(tree) = assignment.scenario.files.get(name) else { continue };
        let result = match (loss.takes_all_around(&tree.claim), &tree.claim.cluster) {
            (true, Some(cluster)) => cluster_is_gone(stage, cluster).await,
            (true, None) => namespace_is_gone(stage, &tree.claim.namespace).await,
            (false, _) => gone(expected, &seed::tree(stage, name, tree).await?, "file "),
        };
        still_there.extend(matches!(result, CheckResult::Differs { .. }).then(|| format!("files {name}")));
        let finding = Ok((result, expected.summary()));
        finding::write(record, &format!("loss of files {name}"), CheckKind::Loss, Phase::Loss, started, finding);
    }
    match still_there.is_empty() {
        true => Ok(()),
        false => Err(Halt::failed(format!("the loss did not happen: {} still there", still_there.join(", ")))),
    }
}

async fn namespace_is_gone(stage: &Stage, namespace: &str) -> CheckResult {
    let kubernetes = stage.clusters.of(None);
    let there = async {
        let object = kubernetes.get(kubernetes::NAMESPACE, "", namespace).await?;
        Ok::<_, KubernetesError>((object.is_some(), kubernetes.list(kubernetes::CLAIM, namespace).await?.len()))
    };
    match there.await {
        Ok((false, 0)) => CheckResult::Held,
        Ok((_, claims)) => CheckResult::Differs { difference: format!("it is there, with {claims} claims") },
        Err(error) => CheckResult::NotRun { reason: crate::error::chain(&error) },
    }
}

async fn cluster_is_gone(stage: &Stage, cluster: &str) -> CheckResult {
    match stage.clusters.of(Some(cluster)).list(kubernetes::NAMESPACE, "").await {
        Ok(namespaces) => {
            CheckResult::Differs { difference: format!("its API answers, with {} namespaces", namespaces.len()) }
        }
        Err(error) if error.is_answer() => {
            CheckResult::Differs { difference: format!("its API answers: {}", crate::error::chain(&error)) }
        }
        Err(_) => CheckResult::Held,
    }
}

/// Asks until the emptied server answers; what it holds then. `None`: its cluster is gone, and nobody answers in its place.
async fn database(assignment: &Assignment<'_>, stage: &mut Stage, name: &str) -> Result<Option<Fingerprint>, Halt> {
    let Some(database) = assignment.scenario.databases.get(name) else { return Ok(None) };
    let nothing = Fingerprint::default();
    if assignment.scenario.loss_in(&assignment.plan.name).takes_server_of(database) {
        let target = evidence_target(database);
        let found = seed::fingerprint_database(&mut stage.prober, target, &[], &nothing).await;
        return match found {
            Ok(found) => Ok(Some(found)),
            Err(Unanswered::Unknown { .. }) => Ok(None),
            // A server that refuses is a server that is there.
            Err(Unanswered::Refused { reason }) => Err(Halt::failed(format!("the loss did not happen: {reason}"))),
            Err(Unanswered::NoProber(halt)) => Err(halt),
        };
    }
    let until = Instant::now() + ANSWERS;
    loop {
        let target = seed::seeder(database, &stage.values).await?;
        match seed::fingerprint_database(&mut stage.prober, target, &[], &nothing).await {
            Ok(found) => return Ok(Some(found)),
            Err(unanswered) if Instant::now() >= until => return Err(unanswered.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Whoever answers there after the loss is one too many, whatever the login: its Secret went with the cluster.
fn evidence_target(database: &Database) -> DatabaseTarget {
    DatabaseTarget {
        kind: database.kind,
        host: database.address(),
        port: database.port,
        database: "postgres".to_owned(),
        user: "postgres".to_owned(),
        password: Secret::new("lost with its cluster"),
    }
}

/// What was not there before the seed: a server that starts anew on nothing makes the rest by itself.
fn beside(expected: &Fingerprint, fresh: Option<&Fingerprint>) -> Fingerprint {
    let mut seeded = expected.clone();
    seeded.items.retain(|name, item| fresh.and_then(|fresh| fresh.items.get(name)) != Some(item));
    seeded
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
    fn what_a_fresh_start_makes_by_itself_says_nothing_about_a_loss() {
        let fresh = fingerprint(&[("table public.settings", 3), ("table public.users", 1)]);
        let seeded = fingerprint(&[("table public.settings", 3), ("table public.users", 2), ("table public.a", 3)]);
        let proof = beside(&seeded, Some(&fresh));
        assert_eq!(proof.items.keys().collect::<Vec<_>>(), ["table public.a", "table public.users"]);
        assert_eq!(gone(&proof, &fresh, "table "), CheckResult::Held);
        assert_eq!(beside(&seeded, None).items.len(), 3);
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
