//! Provisioning: the drill's own pods, the proof that nothing inside reaches outside, then the system as its team has it.

use std::time::{Duration, Instant};

use crate::drill::pace::{self, Baseline, Settled};
use crate::drill::provisioned::Provisioned;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::{self, Stage, ask};
use crate::drill::station;
use crate::drill::unanswered::Unanswered;
use crate::drill::value::Values;
use crate::drill::{Assignment, Logs, account, chart, checkout, finding, programs, seed};
use crate::environment::{Environment, EnvironmentError};
use crate::error::chain;
use crate::kubernetes::look_again;
use crate::outcome::{CheckKind, CheckResult, Phase};
use crate::probe::{Reply, Request};
use crate::redact::Redactor;
use crate::scenario::{Scenario, StoreKind};
use crate::system::Systems;

/// How long the system may take until every workload is ready.
const READY: Duration = Duration::from_secs(180);

impl From<EnvironmentError> for Halt {
    fn from(error: EnvironmentError) -> Self {
        Self::unverified(chain(&error), "run `redrill doctor`")
    }
}

impl From<crate::drill::value::ValueError> for Halt {
    fn from(error: crate::drill::value::ValueError) -> Self {
        Self::unverified(chain(&error), "correct the scenario, or the Secret it names")
    }
}

/// Builds the stage. Nothing of the system starts before the isolation is proven.
pub async fn run(assignment: &Assignment<'_>, environment: &Environment, record: &mut Record) -> Result<Stage, Halt> {
    let clusters = environment.clusters().clone();
    let kubernetes = clusters.home().clone();
    protect(assignment.systems, assignment.scenario, &record.redactor, record);
    let values = Values::new(clusters.clone(), record.redactor.clone(), assignment.rng);
    let mut own = vec![station::namespace(), station::prober()];
    own.extend(station::workstation(&environment.operator_kubeconfig()));
    stage::put_up(&kubernetes, &own).await?;
    let prober = stage::connect_prober(&kubernetes, station::NAMESPACE, station::PROBER).await?;
    let public_names = seed::public_names(assignment.systems, assignment.scenario);
    let logs = Logs::new(assignment.reports.clone(), &format!("{}-{}", assignment.scenario.name, assignment.plan.name));
    let logs = logs.map_err(EnvironmentError::io("make the folder for logs"))?;
    let mut stage =
        Stage::new(clusters, values, prober, logs, assignment.systems, &assignment.scenario.system.namespace);
    stage.public_names = public_names;
    stage.draws_secrets = assignment.scenario.system.chart.is_some();
    isolation(assignment.scenario, environment, &mut stage, record).await?;
    if let Some(checkout) = &assignment.scenario.workstation.checkout {
        stage.folder = Some(checkout::put(&stage.kubernetes, checkout).await?);
    }
    programs::check(assignment, &stage).await?;
    match &assignment.scenario.system.chart {
        Some(chart) => chart::install(&stage, chart, record).await?,
        None => apply(assignment.systems, &stage).await?,
    }
    stores(assignment, environment, &stage, record).await?;
    for (what, why) in environment.provided() {
        record.provided(what, why);
    }
    let ready = pace::settle(&stage.sites, &Baseline::default(), READY).await?;
    match ready {
        Settled::Yes(_) => {
            stage.provisioned = Provisioned::take(&stage.sites).await?;
            Ok(stage)
        }
        Settled::No { last, after } => {
            let state = stage.pod_states().await?;
            let reason = format!("the system is not ready after {}s: {last} ({state})", after.as_secs());
            Err(Halt::unverified(reason, "look at the manifests and at the images they name"))
        }
    }
}

/// Makes what the manifests say.
async fn apply(systems: &Systems, stage: &Stage) -> Result<(), Halt> {
    for (cluster, system) in systems.iter() {
        for object in system.objects() {
            stage.clusters.of(cluster).create(&object.value).await?;
        }
    }
    Ok(())
}

/// Tells the redactor every secret of the system before anything can print one. A value that is also a name (a user, a
/// database, a namespace) is none.
fn protect(systems: &Systems, scenario: &Scenario, redactor: &Redactor, record: &Record) {
    let names = seed::public_names(systems, scenario);
    for secret in systems.secrets() {
        for (key, value) in &secret.values {
            let Some(value) = value else { continue };
            if names.contains(value.expose()) {
                continue;
            }
            if let Err(error) = redactor.add(value) {
                record.notice(&format!("{}: secret {}[{key}]: {error}", secret.source, secret.name));
            }
        }
    }
}

async fn isolation(
    scenario: &Scenario,
    environment: &Environment,
    stage: &mut Stage,
    record: &mut Record,
) -> Result<(), Halt> {
    let started = Instant::now();
    let addresses = environment.outside_addresses();
    let (closes_within, refusals) = environment.closing();
    let detail = format!("tried {}, and one that nothing leads to", environment.tried_outside());
    // Until it is closed no data lands; a way out that closes by then was never open to any.
    let reached = loop {
        let request = Request::Isolation { addresses: addresses.clone(), refusals };
        let reached = ask(&mut stage.prober, request).await;
        let is_open = matches!(&reached, Ok(Reply::Reached { addresses }) if !addresses.is_empty());
        if !is_open || started.elapsed() >= closes_within {
            break reached;
        }
        tokio::time::sleep(look_again(started.elapsed())).await;
    };
    let finding = match reached {
        Ok(Reply::Reached { addresses }) if addresses.is_empty() => Ok((CheckResult::Held, detail)),
        Ok(Reply::Reached { addresses }) if environment.is_ours_to_close() => {
            Ok((CheckResult::Differs { difference: format!("reached {}", addresses.join(", ")) }, detail))
        }
        Ok(Reply::Reached { addresses }) => {
            let open = format!(
                "the cluster does not carry out the policy that closes a drill: reached {}",
                addresses.join(", ")
            );
            match &scenario.open_cluster {
                Some(accepted) => Ok((CheckResult::Accepted { difference: open, by: accepted.words() }, detail)),
                None => Err(Halt::unverified(open, environment.way_to_close())),
            }
        }
        Ok(other) => Err(Unanswered::unexpected(&other).into()),
        Err(unanswered) => Err(unanswered.into()),
    };
    let held = matches!(finding, Ok((CheckResult::Held | CheckResult::Accepted { .. }, _)));
    if matches!(finding, Ok((CheckResult::Held, _))) {
        environment.closed().await;
    }
    finding::write(record, "nothing inside reaches outside", CheckKind::Isolation, Phase::Provision, started, finding);
    match held {
        true => Ok(()),
        false => Err(Halt::unverified("the drill is not isolated, so no data lands in it", environment.way_to_close())),
    }
}

async fn stores(
    assignment: &Assignment<'_>,
    environment: &Environment,
    stage: &Stage,
    record: &mut Record,
) -> Result<(), Halt> {
    for (name, store) in &assignment.scenario.stores {
        let certificate = environment.certificate(&store.hosts())?;
        let (objects, address, server) = match &store.kind {
            StoreKind::S3(s3) => {
                let access = stage.values.secret(&s3.access_key).await?;
                let secret = stage.values.secret(&s3.secret_key).await?;
                let objects = station::s3(name, &store.bucket, &access, &secret, &certificate);
                (objects, format!("https://{}/{}", s3.host, store.bucket), "an S3 server")
            }
            StoreKind::Aws(aws) => {
                account::put_up(assignment, environment, stage, name, aws, certificate).await?;
                provided_by_the_account(record, &aws.region);
                continue;
            }
            StoreKind::Gcs => {
                let objects = station::gcs(name, &store.bucket, &certificate);
                (objects, format!("gs://{}", store.bucket), "a server for Google Cloud Storage")
            }
            StoreKind::Charts(charts) => {
                let objects = station::charts(name, &chart::repository(charts).await?, &certificate);
                (objects, format!("https://{}", charts.host), "a chart repository")
            }
        };
        stage::put_up(&stage.kubernetes, &objects).await?;
        let why = format!("{server} inside the drill answers under this name; a real disaster needs the real one");
        record.provided(&address, &why);
    }
    Ok(())
}

/// Nobody has these at home: what answers in their place, and what of it is a store and what the environment's scheduler.
fn provided_by_the_account(record: &mut Record, region: &str) {
    let parts = [
        ("EFS and AWS Backup", "file systems are claims and a recovery point is a copy of one, file by file"),
        (
            "CloudFormation and ECS",
            "redrill reads the template and makes the pods of its tasks, as its scheduler would",
        ),
    ];
    for (what, why) in parts {
        let why = format!("{why}; a real disaster needs the real one");
        record.provided(&format!("{what} of {region}"), &why);
    }
}
