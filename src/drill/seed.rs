//! Seeding: fills databases and file trees, and writes down what they hold.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::drill::credential;
use crate::drill::evidence::Evidence;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::{FileProber, Ledger, PodProber, ask};
use crate::drill::unanswered::Unanswered;
use crate::drill::value::{self, ValueError, Values};
use crate::drill::{Assignment, Stage, chore, station};
use crate::fingerprint::Fingerprint;
use crate::kubernetes::wait_for;
use crate::outcome::Aim;
use crate::probe::client::ClientError;
use crate::probe::{DatabaseTarget, Reply, Request};
use crate::scenario::{Database, FileTree, Scenario, ValueFrom};
use crate::system::Systems;

/// Between two rows of the ledger: as a busy application commits, without making the disk the bottleneck.
const LEDGER_PAUSE: Duration = Duration::from_millis(2);
const LEDGER_DEADLINE: Duration = Duration::from_secs(60);
/// Rows that must be there before the backup begins, and again after it, so that a prefix means something.
pub const LEDGER_ROWS: u64 = 25;

/// How long a database may take to listen once its pods are ready.
const LISTENS: Duration = Duration::from_secs(60);

pub async fn run(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    record: &mut Record,
    evidence: &mut Evidence,
) -> Result<(), Halt> {
    let scenario = assignment.scenario;
    chore::run(stage, record, &assignment.plan.prepared, "the applications' own part of the seed, which no page has")
        .await?;
    let ledger = ledger_target(assignment, &stage.values).await?;
    if let Some(target) = &ledger {
        // Before anything is fingerprinted: its tables are part of the schema that has to come back.
        prepare_ledger(&mut stage.prober, target).await?;
    }
    let share = (scenario.seed.databases.len() + scenario.seed.files.len()).max(1) as u64;
    let bytes = assignment.size.bytes() / share;
    for name in &scenario.seed.databases {
        let Some(database) = scenario.databases.get(name) else { continue };
        let target = seeder(database, &stage.values).await?;
        let nothing = Fingerprint::default();
        let fresh = fingerprint_database(&mut stage.prober, target.clone(), &database.live_tables, &nothing).await?;
        evidence.fresh.insert(name.clone(), fresh);
        let second_role = database.second_role.as_ref().map(|role| role.name.clone());
        let request = Request::SeedDatabase { target: target.clone(), second_role, bytes, rng: assignment.rng };
        match ask(&mut stage.prober, request).await? {
            Reply::Seeded { left_out } => drop(evidence.left_out.insert(name.clone(), left_out)),
            other => return Err(Unanswered::unexpected(&other).into()),
        }
        if let Some(role) = &database.second_role {
            let password = stage.values.secret(&role.password).await?;
            let request = Request::SetPassword { target: target.clone(), role: role.name.clone(), password };
            ask(&mut stage.prober, request).await?;
        }
        let fingerprint = fingerprint_database(&mut stage.prober, target, &database.live_tables, &nothing).await?;
        evidence.databases.insert(name.clone(), fingerprint);
    }
    let trees: Vec<_> = scenario.seed.files.iter().filter_map(|name| scenario.files.get_key_value(name)).collect();
    for (name, tree) in trees {
        let mut probe =
            FileProber::put_up(stage.cluster_of(&tree.claim), &tree.claim.namespace, &[(name, tree)]).await?;
        let root = station::tree_root(name, tree);
        let (owner, group, rng) = (tree.owner, tree.group, assignment.rng);
        ask(&mut probe.prober, Request::SeedFiles { root: root.clone(), bytes, rng, owner, group }).await?;
        let fingerprint = fingerprint_files(&mut probe.prober, root).await?;
        probe.take_down().await?;
        evidence.files.insert(name.clone(), fingerprint);
    }
    if let Some(target) = ledger {
        let nonce = value::word(assignment.rng, &format!("nonce before {}", assignment.nonce));
        let request = Request::WriteNonce { target, label: "before".to_owned(), value: nonce.clone() };
        ask(&mut stage.prober, request).await?;
        evidence.nonce_before = Some(nonce);
    }
    Ok(())
}

/// Changes the living system as the drill says that it was since its backup. What it holds now has to come back.
pub async fn since_backup(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    record: &mut Record,
    evidence: &mut Evidence,
) -> Result<(), Halt> {
    let chores = &assignment.plan.since_backup;
    if chores.is_empty() {
        return Ok(());
    }
    chore::run(stage, record, chores, "what changed the system between the backup and the loss").await?;
    for name in &assignment.scenario.seed.databases {
        let Some(database) = assignment.scenario.databases.get(name) else { continue };
        let target = seeder(database, &stage.values).await?;
        let nothing = Fingerprint::default();
        let changed = fingerprint_database(&mut stage.prober, target, &database.live_tables, &nothing).await?;
        evidence.databases.insert(name.clone(), changed);
    }
    Ok(())
}

/// Has the databases of a loss go on with half of their rows.
pub async fn corrupt(assignment: &Assignment<'_>, stage: &mut Stage, names: &[String]) -> Result<(), Halt> {
    let databases = names.iter().filter_map(|name| assignment.scenario.databases.get(name));
    for database in databases {
        let target = seeder(database, &stage.values).await?;
        ask(&mut stage.prober, Request::CorruptDatabase { target }).await?;
    }
    Ok(())
}

/// Starts a writer on the ledger, where the scenario keeps one, and returns once it has committed [`LEDGER_ROWS`].
pub async fn start_ledger(assignment: &Assignment<'_>, stage: &Stage) -> Result<Option<Ledger>, Halt> {
    let Some(target) = ledger_target(assignment, &stage.values).await? else { return Ok(None) };
    // A cluster leads to a pod a moment after it calls it ready.
    let kept = wait_for("the database takes the ledger's rows", LISTENS, async || {
        let prober = stage.another_prober().await?;
        Ok(match prober.keep_ledger(&target, LEDGER_PAUSE).await {
            Ok(ledger) => Ok(Ok(ledger)),
            Err(error @ ClientError::Refused { by_the_system: false, .. }) => Err(crate::error::chain(&error)),
            Err(error) => Ok(Err(unwritten(error))),
        })
    });
    let mut ledger = kept.await??;
    more_rows(&mut ledger).await?;
    Ok(Some(ledger))
}

/// Waits until the ledger has grown by [`LEDGER_ROWS`].
pub async fn more_rows(ledger: &mut Ledger) -> Result<(), Halt> {
    let wanted = ledger.latest().k + LEDGER_ROWS;
    match tokio::time::timeout(LEDGER_DEADLINE, ledger.reached(wanted)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Halt::unverified("the ledger's writer ended by itself", "look at the database's log")),
        Err(_) => Err(Halt::unverified("the ledger does not grow", "look at the database's log")),
    }
}

/// The first thing that is asked of a database: one whose pod has no probe is there before it listens.
async fn prepare_ledger(prober: &mut PodProber, target: &DatabaseTarget) -> Result<(), Halt> {
    let prepared = wait_for("the database answers", LISTENS, async || {
        Ok(match ask(prober, Request::PrepareLedger { target: target.clone() }).await {
            Ok(_) => Ok(Ok(())),
            Err(Unanswered::Unknown { reason }) => Err(reason),
            Err(other) => Ok(Err(Halt::from(other))),
        })
    });
    prepared.await?
}

/// Stops the writer, where one runs, and keeps what it was promised.
pub async fn stop_ledger(stage: &mut Stage, evidence: &mut Evidence) -> Result<(), Halt> {
    let Some(ledger) = stage.ledger.take() else { return Ok(()) };
    let end = ledger.stop(LEDGER_DEADLINE).await.map_err(unwritten)?;
    // A writer that starts anew goes on counting where the table ends.
    evidence.acknowledged.extend(end.acknowledged);
    match end.broken {
        None => Ok(()),
        Some(reason) => {
            Err(Halt::unverified(format!("the ledger's writer was cut off: {reason}"), "look at the database's log"))
        }
    }
}

pub fn unwritten(error: ClientError) -> Halt {
    let reason = format!("the ledger cannot be written: {}", crate::error::chain(&error));
    Halt::unverified(reason, "look at the database's log")
}

/// The database as its owner, the application, reaches it.
pub async fn owner(database: &Database, values: &Values) -> Result<DatabaseTarget, ValueError> {
    let password = values.secret(&database.password).await?;
    credential::database_as(database, &database.user, password, values).await
}

/// The database as whoever seeds it and takes its fingerprint.
pub async fn seeder(database: &Database, values: &Values) -> Result<DatabaseTarget, ValueError> {
    let Some(superuser) = &database.superuser else { return owner(database, values).await };
    let password = values.secret(&superuser.password).await?;
    credential::database_as(database, &superuser.user, password, values).await
}

pub async fn ledger_target(assignment: &Assignment<'_>, values: &Values) -> Result<Option<DatabaseTarget>, ValueError> {
    let name = assignment.scenario.ledger.as_ref();
    match name.and_then(|name| assignment.scenario.databases.get(name)) {
        Some(database) => Ok(Some(owner(database, values).await?)),
        None => Ok(None),
    }
}

/// The ledger where a restore brings it back to.
pub async fn restored_ledger(
    assignment: &Assignment<'_>,
    values: &Values,
) -> Result<Option<DatabaseTarget>, ValueError> {
    match held_ledger(assignment) {
        Some(database) => Ok(Some(owner(database, values).await?)),
        None => Ok(None),
    }
}

/// The database that holds the ledger at the end.
pub fn held_ledger<'a>(assignment: &Assignment<'a>) -> Option<&'a Database> {
    held(assignment, assignment.scenario.ledger.as_ref()?)
}

/// The database that holds what was seeded into that one at the end: where a restore brings it back to.
pub fn held<'a>(assignment: &Assignment<'a>, name: &str) -> Option<&'a Database> {
    match assignment.plan.aim() {
        Aim::Recovery => assignment.scenario.restored(name),
        Aim::Maintenance => assignment.scenario.databases.get(name),
    }
}

/// What the database holds. `before`: how it was, for the server to say what has not changed since; an empty one has every
/// row read.
pub async fn fingerprint_database(
    prober: &mut PodProber,
    target: DatabaseTarget,
    live: &[String],
    before: &Fingerprint,
) -> Result<Fingerprint, Unanswered> {
    match ask(prober, Request::FingerprintDatabase { target, except: live.to_vec(), known: before.known() }).await? {
        Reply::Fingerprint { fingerprint } => Ok(fingerprint),
        other => Err(Unanswered::unexpected(&other)),
    }
}

pub async fn fingerprint_files(prober: &mut PodProber, root: String) -> Result<Fingerprint, Unanswered> {
    match ask(prober, Request::FingerprintFiles { root }).await? {
        Reply::Fingerprint { fingerprint } => Ok(fingerprint),
        other => Err(Unanswered::unexpected(&other)),
    }
}

/// The fingerprint of one tree, through a prober made for it.
pub async fn tree(stage: &Stage, name: &str, tree: &FileTree) -> Result<Fingerprint, Unanswered> {
    let mut probe = FileProber::put_up(stage.cluster_of(&tree.claim), &tree.claim.namespace, &[(name, tree)]).await?;
    let fingerprint = fingerprint_files(&mut probe.prober, station::tree_root(name, tree)).await;
    probe.take_down().await?;
    fingerprint
}

/// Values of Secrets that are names and no secrets: users, databases, and whatever objects are called.
pub fn public_names(systems: &Systems, scenario: &Scenario) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for object in systems.iter().flat_map(|(_, system)| system.objects()) {
        names.insert(object.name.clone());
        names.insert(object.namespace.clone());
    }
    let users = scenario.databases.values().flat_map(|database| [&database.user, &database.database]);
    let users =
        users.chain(scenario.databases.values().filter_map(|database| Some(&database.superuser.as_ref()?.user)));
    let principals = scenario.credentials.iter().filter_map(|credential| credential.user.as_ref());
    for from in users.chain(principals) {
        let ValueFrom::Secret(key) = from else { continue };
        let secrets = systems.of(key.object.cluster.as_deref()).map(|system| system.secrets()).unwrap_or_default();
        let object =
            secrets.iter().find(|secret| secret.name == key.object.name && secret.namespace == key.object.namespace);
        let value = object.and_then(|secret| secret.values.get(&key.key)).and_then(Option::as_ref);
        names.extend(value.map(|value| value.expose().to_owned()));
    }
    names
}
