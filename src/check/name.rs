//! What a scenario names has to be in the manifests of its system.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::kind::{self, Kind};
use crate::outcome::SourceRef;
use crate::problem::{Problem, suggestion};
use crate::runbook::Runbook;
use crate::scenario::{
    Drill, Escrow, KeyRef, Loss, ObjectName, Part, Scenario, Serving, SlotSource, StoreKind, ValueFrom, Waived,
};
use crate::system::{System, Systems};

/// What parts of a scenario say against each other, whatever the system is.
pub fn within(scenario: &Scenario) -> Vec<Problem> {
    let mut problems: Vec<Problem> = account(scenario).into_iter().collect();
    problems.extend(doubled_hosts(scenario));
    for (name, repository) in &scenario.repositories {
        let Some(store) = scenario.stores.get(&repository.store) else { continue };
        let message = match store.kind {
            StoreKind::S3(_) => continue,
            StoreKind::Charts(_) => format!(
                "repository `{name}`: store `{}` has charts and holds no backups: name one of kind s3",
                repository.store
            ),
            StoreKind::Gcs | StoreKind::Aws(_) => {
                format!("repository `{name}`: restic's passwords are tried out in stores of kind s3 only")
            }
        };
        problems.push(Problem::new(&repository.source, message));
    }
    problems.extend(scenario.losses().flat_map(|loss| contradictions(scenario, loss)));
    problems
}

/// What a loss leaves alone and takes all the same, and what it keeps that holds nothing.
fn contradictions(scenario: &Scenario, loss: &Loss) -> Vec<Problem> {
    let of_charts = loss.escrow.iter().filter_map(|escrow| match escrow {
        Escrow::Store(name) => scenario.stores.get(name).filter(|store| !store.holds_backups()).map(|_| name),
        Escrow::Secret(_) | Escrow::ConfigMap(_) | Escrow::Manifests => None,
    });
    let of_charts = of_charts.map(|name| {
        format!("store `{name}` has charts and holds no backups, and no disaster takes it: take it out of `escrow`")
    });
    let gone = loss
        .databases
        .iter()
        .filter(|name| scenario.databases.get(*name).is_some_and(|database| loss.takes_server_of(database)));
    let gone = gone.map(|name| {
        format!(
            "database `{name}` cannot answer with half of its rows, its server goes with all that is around it: take it out of `databases`"
        )
    });
    of_charts.chain(gone).map(|message| Problem::new(&loss.source, message)).collect()
}

/// Every name that nothing has.
pub fn problems(scenario: &Scenario, systems: &Systems) -> Vec<Problem> {
    let mut problems = Vec::new();
    for value in values(scenario) {
        match value {
            ValueFrom::Secret(key) => problems.extend(lacking_key(systems, &kind::SECRET, key)),
            ValueFrom::ConfigMap(key) => problems.extend(lacking_key(systems, &kind::CONFIG_MAP, key)),
            ValueFrom::Literal(_) | ValueFrom::Generated(_) => {}
        }
    }
    let claims = scenario.losses().flat_map(|loss| loss.claims.iter().map(|claim| (claim, &loss.source)));
    let trees = scenario.files.values().map(|tree| (&tree.claim, &tree.source));
    for (claim, source) in claims.chain(trees) {
        problems.extend(lacking(systems, &kind::CLAIM, claim, source));
    }
    for (namespace, source) in
        scenario.losses().flat_map(|loss| loss.namespaces.iter().map(|name| (name, &loss.source)))
    {
        let objects = systems.iter().flat_map(|(_, system)| system.objects());
        let there: BTreeSet<&str> = objects.map(|object| &*object.namespace).filter(|name| !name.is_empty()).collect();
        if !there.contains(namespace.as_str()) {
            let message =
                format!("nothing of the system is in the namespace `{namespace}`{}", suggestion(namespace, there));
            problems.push(Problem::new(source, message));
        }
    }
    for (escrow, source) in scenario.losses().flat_map(|loss| loss.escrow.iter().map(|kept| (kept, &loss.source))) {
        problems.extend(match escrow {
            Escrow::Secret(name) => lacking(systems, &kind::SECRET, name, source),
            Escrow::ConfigMap(name) => lacking(systems, &kind::CONFIG_MAP, name, source),
            Escrow::Store(_) | Escrow::Manifests => None,
        });
    }
    let of_drill = |drill: &'_ Drill| [&drill.earlier, &drill.backup, &drill.restore, &drill.reconcile].map(Vec::clone);
    for part in scenario.drills.iter().flat_map(of_drill).flatten() {
        problems.extend(match part {
            Part::CronJob { object, source } => lacking(systems, &kind::CRON_JOB, &object, &source),
            Part::BackupPlan { name, source } => lacking_plan(systems, &name, &source),
            Part::Procedure { .. } | Part::Schedule { .. } => None,
        });
    }
    problems.extend(open_parameters(scenario, systems));
    for Serving { workload, source, .. } in scenario.serving.iter().filter(|serving| !serving.is_absence()) {
        let as_deployment = lacking(systems, &kind::DEPLOYMENT, workload, source);
        let is_other = |kind| lacking(systems, kind, workload, source).is_none();
        problems.extend(as_deployment.filter(|_| !is_other(&kind::STATEFUL_SET) && !is_other(&kind::POD)));
    }
    problems.extend(idle_waivers(scenario, systems));
    problems
}

/// What has to be absent has to be heard of somewhere, or a slip of the pen would be a check that cannot fail.
pub fn unheard_of(scenario: &Scenario, systems: &Systems, runbook: &Runbook) -> Vec<Problem> {
    let steps = runbook.procedures.iter().flat_map(|procedure| &procedure.steps);
    let texts: Vec<&str> = steps.map(|step| step.kind.text()).collect();
    let is_heard_of = |name: &str| {
        let objects = systems.iter().flat_map(|(_, system)| system.objects());
        texts.iter().any(|text| text.contains(name)) || objects.into_iter().any(|object| object.name == name)
    };
    let absent = scenario.serving.iter().filter(|serving| serving.is_absence());
    let problem = |serving: &Serving| {
        let name = &serving.workload.name;
        let message = format!("neither a step of the runbook nor the system names `{name}`: its absence says nothing");
        Problem::new(&serving.source, message)
    };
    absent.filter(|serving| !is_heard_of(&serving.workload.name)).map(problem).collect()
}

fn lacking_plan(systems: &Systems, name: &str, source: &SourceRef) -> Option<Problem> {
    let stacks = || systems.iter().filter_map(|(_, system)| system.stack());
    let plans: Vec<&str> = stacks().flat_map(|stack| stack.plans.values().map(|plan| plan.name.as_str())).collect();
    let hint = (!plans.contains(&name)).then(|| suggestion(name, plans))?;
    Some(Problem::new(source, format!("no backup plan of the template is called `{name}`{hint}")))
}

/// A stack is in an account, which is for nothing else.
fn account(scenario: &Scenario) -> Option<Problem> {
    let accounts: Vec<_> =
        scenario.stores.values().filter_map(|store| Some((store.account()?, &store.source))).collect();
    match (&scenario.system.stack, accounts.as_slice()) {
        (None, []) => None,
        (None, [(_, source), ..]) => {
            Some(Problem::new(source, "an account is for a system that is a stack: take it out"))
        }
        (Some(stack), [(aws, source)]) => (aws.region != stack.source.region).then(|| {
            Problem::new(
                source,
                format!("the stack is in {}, this account answers in {}", stack.source.region, aws.region),
            )
        }),
        (Some(_), _) => {
            let message = "a stack needs its account: name one store, as in `account: { kind: aws, region: .. }`";
            Some(Problem::new(&scenario.system.source, message))
        }
    }
}

/// Values of parameters that the template calls secrets, and that stand in the scenario for all to read.
fn open_parameters(scenario: &Scenario, systems: &Systems) -> Vec<Problem> {
    let stack = systems.iter().find_map(|(_, system)| system.stack());
    let (Some(system), Some(stack)) = (&scenario.system.stack, stack) else { return Vec::new() };
    let is_open = |(name, from): &(&String, &ValueFrom)| {
        matches!(from, ValueFrom::Literal(_)) && stack.parameters.get(*name) == Some(&true)
    };
    let problem = |(name, _): (&String, &ValueFrom)| {
        let message =
            format!("parameter `{name}` is NoEcho, so its value does not belong into this file: {{generated: NAME}}");
        Problem::new(&scenario.system.source, message)
    };
    system.parameters.iter().filter(is_open).map(problem).collect()
}

/// Stores that would answer under one outside name.
fn doubled_hosts(scenario: &Scenario) -> Vec<Problem> {
    let mut seen = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, store) in &scenario.stores {
        // Of kinds with several names, two stores share all of them: one is enough to say.
        let Some(host) = store.hosts().into_iter().find(|host| seen.contains_key(host)) else {
            seen.extend(store.hosts().into_iter().map(|host| (host, name)));
            continue;
        };
        let message = format!("store `{name}`: `{host}` leads to the store `{}` already", seen[host]);
        problems.push(Problem::new(&store.source, message));
    }
    problems
}

/// Waivers of what is not there any more.
fn idle_waivers(scenario: &Scenario, systems: &Systems) -> Vec<Problem> {
    let declared = |what: &str, name: &str, there: Vec<&str>, source: &SourceRef| match there.contains(&name) {
        true => None,
        false => Some(Problem::new(source, format!("no {what} `{name}` is declared{}", suggestion(name, there)))),
    };
    let idle = scenario.waivers.iter().filter_map(|waiver| match &waiver.what {
        Waived::Step(_) => None,
        Waived::Secret(name) => lacking(systems, &kind::SECRET, name, &waiver.source),
        Waived::Claim(name) => lacking(systems, &kind::CLAIM, name, &waiver.source),
        Waived::Database(name) => {
            declared("database", name, scenario.databases.keys().map(String::as_str).collect(), &waiver.source)
        }
        Waived::Bucket(name) => {
            let stores = scenario.stores.values().filter(|store| store.holds_backups());
            let buckets = stores.map(|store| store.bucket.as_str()).collect();
            declared("bucket", name, buckets, &waiver.source)
        }
    });
    idle.map(|problem| Problem { message: format!("waiver: {}", problem.message), ..problem }).collect()
}

fn lacking(systems: &Systems, kind: &Kind, name: &ObjectName, source: &SourceRef) -> Option<Problem> {
    let message = match system_of(systems, name) {
        Ok(system) => system.lacks(kind, &name.namespace, &name.name, None)?,
        Err(message) => message,
    };
    Some(Problem::new(source, message))
}

fn lacking_key(systems: &Systems, kind: &Kind, wanted: &KeyRef) -> Option<Problem> {
    let ObjectName { namespace, name, .. } = &wanted.object;
    let message = match system_of(systems, &wanted.object) {
        Ok(system) => system.lacks(kind, namespace, name, Some(&wanted.key))?,
        Err(message) => message,
    };
    Some(Problem::new(&wanted.source, message))
}

/// The manifests that a name is looked for in, or why none are.
fn system_of<'s>(systems: &'s Systems, name: &ObjectName) -> Result<&'s System, String> {
    systems.of(name.cluster.as_deref()).ok_or_else(|| {
        let clusters: Vec<&str> = systems.names().collect();
        match &name.cluster {
            None => format!("`{name}` may be in {}: write cluster/namespace/name", clusters.join(" or ")),
            Some(_) if clusters.is_empty() => format!("`{name}`: there is one cluster, write namespace/name"),
            Some(cluster) => format!("`{name}`: no cluster `{cluster}`{}", suggestion(cluster, clusters)),
        }
    })
}

/// Every value that the scenario takes from somewhere.
pub fn values(scenario: &Scenario) -> Vec<&ValueFrom> {
    let mut values = Vec::new();
    for store in scenario.stores.values() {
        values.extend(store.values());
    }
    values.extend(scenario.system.stack.iter().flat_map(|stack| stack.parameters.values()));
    for database in scenario.databases.values() {
        values.extend([&database.database, &database.user, &database.password]);
        values.extend(database.second_role.as_ref().map(|role| &role.password));
        values.extend(database.superuser.iter().flat_map(|login| [&login.user, &login.password]));
    }
    values.extend(scenario.repositories.values().map(|repository| &repository.base));
    for credential in &scenario.credentials {
        values.push(&credential.secret);
        values.extend(&credential.user);
    }
    let slots = scenario.bindings.iter().flat_map(|binding| &binding.slots).chain(&scenario.slots);
    values.extend(slots.filter_map(|slot| match &slot.from {
        SlotSource::Value(value) => Some(value),
        SlotSource::Output { .. } | SlotSource::Selector { .. } | SlotSource::RecoveryTarget => None,
    }));
    values
}
