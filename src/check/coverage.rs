//! What a system has, some procedure or declaration has to cover.

use std::collections::BTreeSet;

use super::name;
use crate::cluster::kind::{self, Kind};
use crate::outcome::Note;
use crate::runbook::Runbook;
use crate::scenario::{Binding, Deed, Escrow, ObjectName, Scenario, ValueFrom, Waived};
use crate::system::{Object, System, Systems};

/// Claims, Secrets, databases and buckets that no procedure and no declaration covers, and those that are waived.
pub fn notes(scenario: &Scenario, runbook: &Runbook, systems: &Systems) -> (Vec<Note>, Vec<Note>) {
    let mut open = Vec::new();
    let typed = typed(scenario, runbook);
    let escrow = || scenario.losses().flat_map(|loss| &loss.escrow);
    let declared: BTreeSet<&ObjectName> = name::values(scenario)
        .into_iter()
        .filter_map(|value| match value {
            ValueFrom::Secret(key) => Some(&key.object),
            ValueFrom::ConfigMap(_) | ValueFrom::Literal(_) | ValueFrom::Generated(_) => None,
        })
        .collect();
    for (secret, name) in &objects_of(systems, &kind::SECRET) {
        let kept = escrow().any(|escrow| matches!(escrow, Escrow::Secret(kept) if kept == name));
        if !kept && !declared.contains(name) && !typed.contains(&name.name) {
            let why = "no procedure, credential or escrow names it";
            open.push((Waived::Secret(name.clone()), format!("Secret {name}"), &secret.source, why));
        }
    }
    for (claim, name) in &objects_of(systems, &kind::CLAIM) {
        let is_tree = scenario.files.values().any(|tree| tree.claim == *name);
        let is_lost = scenario.losses().any(|loss| loss.claims.contains(name) || loss.takes_all_around(name));
        if !is_tree && !is_lost && !typed.contains(&name.name) {
            let why = "no drill loses it and no file tree or procedure names it";
            open.push((Waived::Claim(name.clone()), format!("claim {name}"), &claim.source, why));
        }
    }
    // One that another's content comes back to is compared as that one.
    let restored_to = |name: &String| {
        let mut seeded = scenario.seed.databases.iter().filter_map(|seeded| scenario.databases.get(seeded));
        seeded.any(|database| database.restored_in.as_ref() == Some(name))
    };
    for (name, database) in &scenario.databases {
        if !scenario.seed.databases.contains(name) && !restored_to(name) {
            let what = format!("database {name}");
            open.push((Waived::Database(name.clone()), what, &database.source, "nothing seeds and compares it"));
        }
    }
    for (name, tree) in &scenario.files {
        if !scenario.seed.files.contains(name) {
            let what = format!("file tree {name}");
            open.push((Waived::Claim(tree.claim.clone()), what, &tree.source, "nothing seeds and compares it"));
        }
    }
    for (name, store) in scenario.stores.iter().filter(|(_, store)| store.holds_backups()) {
        let kept = escrow().any(|escrow| matches!(escrow, Escrow::Store(kept) if kept == name));
        if !kept && !scenario.repositories.values().any(|repository| repository.store == *name) {
            let what = store.account().map_or_else(|| format!("bucket {}", store.bucket), |_| store.bucket.clone());
            let why = "no repository is in it and it is no escrow";
            open.push((Waived::Bucket(store.bucket.clone()), what, &store.source, why));
        }
    }
    let mut notes = (Vec::new(), Vec::new());
    for (waived, what, source, why) in open {
        let reason = scenario.waivers.iter().find(|waiver| waiver.what == waived).map(|waiver| waiver.reason.clone());
        let list = if reason.is_some() { &mut notes.1 } else { &mut notes.0 };
        let why = reason.unwrap_or_else(|| why.to_owned());
        list.push(Note { source: Some(source.clone()), what, why });
    }
    notes
}

/// Every word of what the runbook and its bindings type or apply.
fn typed(scenario: &Scenario, runbook: &Runbook) -> BTreeSet<String> {
    let steps = runbook.procedures.iter().flat_map(|procedure| &procedure.steps).map(|step| step.kind.text());
    let deeds = scenario.bindings.iter().filter_map(|Binding { deed, .. }| match deed {
        Deed::Run(command) | Deed::Compare(command) => Some(command.as_str()),
        Deed::Edit { script, .. } | Deed::Editor(script) => Some(script.as_str()),
        Deed::Human | Deed::Provided(_) => None,
    });
    let words = |text: &'_ str| -> Vec<String> {
        let inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        text.split(|c: char| !inner(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    steps.chain(deeds).flat_map(words).collect()
}

fn objects_of<'s>(systems: &'s Systems, kind: &'static Kind) -> Vec<(&'s Object, ObjectName)> {
    let named = |(cluster, system): (Option<&'s str>, &'s System)| {
        system.objects_of(kind).map(move |object| {
            let (namespace, name) = (object.namespace.clone(), object.name.clone());
            (object, ObjectName { cluster: cluster.map(str::to_owned), namespace, name })
        })
    };
    systems.iter().flat_map(named).collect()
}
