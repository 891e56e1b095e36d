//! A scenario against the manifests of its system, both ways: what the scenario names has to be there, and what is
//! there has to be covered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cluster::kind::of_manifest;
use crate::outcome::{Note, SourceRef};
use crate::runbook::Runbook;
use crate::scenario::problem::suggestion;
use crate::scenario::yaml::{self, Node};
use crate::scenario::{
    Binding, Deed, Escrow, KeyRef, ObjectName, Part, Problem, Problems, Scenario, SlotSource, ValueFrom, Waived,
};

/// What the manifests declare, as far as scenarios speak of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct System {
    secrets: BTreeMap<ObjectName, Keyed>,
    config_maps: BTreeMap<ObjectName, Keyed>,
    claims: BTreeMap<ObjectName, SourceRef>,
    cron_jobs: BTreeMap<ObjectName, SourceRef>,
    images: Vec<(String, SourceRef)>,
    references: Vec<Reference>,
}

/// A Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq)]
struct Keyed {
    keys: BTreeSet<String>,
    source: SourceRef,
}

/// A pod's use of something by name.
#[derive(Debug, Clone, PartialEq)]
struct Reference {
    kind: ReferenceKind,
    object: ObjectName,
    key: Option<String>,
    source: SourceRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReferenceKind {
    Secret,
    ConfigMap,
    Claim,
}

impl System {
    /// Reads every `.yaml` and `.yml` of the scenario's manifests. Errors with every file that cannot be read, text that is
    /// no YAML, and kinds that are not known.
    pub fn read(scenario: &Scenario) -> Result<Self, Problems> {
        let mut system = Self::default();
        let mut problems = Problems::default();
        let mut files = Vec::new();
        for path in &scenario.system.manifests {
            match manifest_files(path) {
                Ok(found) => files.extend(found),
                Err(error) => problems.push(Problem::of_file(path, format!("cannot be read: {error}"))),
            }
        }
        if files.is_empty() && problems.is_empty() {
            problems.push(Problem::new(&scenario.system.source, "there is no .yaml file among the manifests"));
        }
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let (documents, found) = yaml::documents(&file, &text);
                    problems.extend(found);
                    for document in &documents {
                        system.add(&file, document, &mut problems);
                    }
                }
                Err(error) => problems.push(Problem::of_file(&file, format!("cannot be read: {error}"))),
            }
        }
        problems.or(Some(system))
    }

    fn add(&mut self, file: &Path, document: &Node, problems: &mut Problems) {
        let at = |node: &Node| SourceRef { file: file.display().to_string(), line: node.line };
        let word = |node: Option<&Node>| node.and_then(Node::text).unwrap_or_default().to_owned();
        let (version, kind) = (word(document.get("apiVersion")), word(document.get("kind")));
        if kind == "List" {
            for item in document.get("items").map(Node::items).unwrap_or_default() {
                self.add(file, item, problems);
            }
            return;
        }
        if of_manifest(&version, &kind).is_none() {
            let known = crate::cluster::kind::KINDS.iter().map(|known| known.kind);
            let hint = suggestion(&kind, known);
            let source = document.get("kind").map_or_else(|| at(document), at);
            problems.push(Problem::new(&source, format!("unknown kind `{version} {kind}`{hint}")));
            return;
        }
        let metadata = document.get("metadata");
        let own = word(metadata.and_then(|metadata| metadata.get("namespace")));
        let namespace = if own.is_empty() { "default".to_owned() } else { own };
        let name = word(metadata.and_then(|metadata| metadata.get("name")));
        let object = ObjectName { namespace, name };
        let keys = |sections: &[&str]| -> BTreeSet<String> {
            let entries = sections.iter().filter_map(|section| document.get(section)).flat_map(Node::entries);
            entries.map(|(key, _)| key.text.clone()).collect()
        };
        let source = at(document);
        match kind.as_str() {
            "Secret" => drop(self.secrets.insert(object, Keyed { keys: keys(&["data", "stringData"]), source })),
            "ConfigMap" => drop(self.config_maps.insert(object, Keyed { keys: keys(&["data", "binaryData"]), source })),
            "PersistentVolumeClaim" => drop(self.claims.insert(object, source)),
            _ => {
                if kind == "CronJob" {
                    self.cron_jobs.insert(object.clone(), source);
                }
                self.add_references(document, &object.namespace, &at);
            }
        }
    }

    /// Walks a workload for images and for what its pods use by name.
    fn add_references(&mut self, node: &Node, namespace: &str, at: &impl Fn(&Node) -> SourceRef) {
        for (key, value) in node.entries() {
            let (kind, name_field) = match key.text.as_str() {
                "image" => {
                    if let Some(image) = value.text() {
                        self.images.push((image.to_owned(), at(value)));
                    }
                    continue;
                }
                "secretKeyRef" | "secretRef" => (ReferenceKind::Secret, "name"),
                "configMapKeyRef" | "configMapRef" | "configMap" => (ReferenceKind::ConfigMap, "name"),
                "secret" => (ReferenceKind::Secret, "secretName"),
                "persistentVolumeClaim" => (ReferenceKind::Claim, "claimName"),
                _ => {
                    self.add_references(value, namespace, at);
                    continue;
                }
            };
            let is_optional = value.get("optional").and_then(Node::text) == Some("true");
            if let (Some(name), false) = (value.get(name_field).and_then(Node::text), is_optional) {
                let object = ObjectName { namespace: namespace.to_owned(), name: name.to_owned() };
                let key = value.get("key").and_then(Node::text).map(str::to_owned);
                self.references.push(Reference { kind, object, key, source: at(value) });
            }
        }
        for item in node.items() {
            self.add_references(item, namespace, at);
        }
    }
}

/// A file itself, or the YAML files of a folder in the order of their names.
fn manifest_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    files.sort();
    Ok(files)
}

/// Names of the scenario, and of the manifests themselves, that nothing has.
pub fn problems(scenario: &Scenario, system: &System) -> Problems {
    let mut problems = Problems::default();
    for value in values(scenario) {
        match value {
            ValueFrom::Secret(key) => problems.extend(missing_key("Secret", key, &system.secrets)),
            ValueFrom::ConfigMap(key) => problems.extend(missing_key("ConfigMap", key, &system.config_maps)),
            ValueFrom::Literal(_) | ValueFrom::Generated(_) => {}
        }
    }
    for Reference { kind, object, key, source } in &system.references {
        let key = KeyRef { object: object.clone(), key: key.clone().unwrap_or_default(), source: source.clone() };
        problems.extend(match kind {
            ReferenceKind::Secret => missing_key("Secret", &key, &system.secrets),
            ReferenceKind::ConfigMap => missing_key("ConfigMap", &key, &system.config_maps),
            ReferenceKind::Claim => missing("PersistentVolumeClaim", object, system.claims.keys(), source),
        });
    }
    let claims = scenario.loss.claims.iter().map(|claim| (claim, &scenario.loss.source));
    let trees = scenario.files.values().map(|tree| (&tree.claim, &tree.source));
    for (claim, source) in claims.chain(trees) {
        problems.extend(missing("PersistentVolumeClaim", claim, system.claims.keys(), source));
    }
    for escrow in &scenario.loss.escrow {
        let source = &scenario.loss.source;
        problems.extend(match escrow {
            Escrow::Secret(name) => missing("Secret", name, system.secrets.keys(), source),
            Escrow::ConfigMap(name) => missing("ConfigMap", name, system.config_maps.keys(), source),
            Escrow::Store(_) | Escrow::Manifests => None,
        });
    }
    let parts = scenario.drills.iter().flat_map(|drill| [&drill.backup, &drill.restore, &drill.reconcile]).flatten();
    for part in parts {
        if let Part::CronJob { object, source } = part {
            problems.extend(missing("CronJob", object, system.cron_jobs.keys(), source));
        }
    }
    problems.extend(image_problems(scenario, system));
    problems.extend(idle_waivers(scenario, system));
    problems
}

/// Waivers of what is not there any more.
fn idle_waivers(scenario: &Scenario, system: &System) -> Vec<Problem> {
    let declared = |what: &str, name: &str, there: Vec<&str>, source: &SourceRef| match there.contains(&name) {
        true => None,
        false => Some(Problem::new(source, format!("no {what} `{name}` is declared{}", suggestion(name, there)))),
    };
    let idle = scenario.waivers.iter().filter_map(|waiver| match &waiver.what {
        Waived::Step(_) => None,
        Waived::Secret(name) => missing("Secret", name, system.secrets.keys(), &waiver.source),
        Waived::Claim(name) => missing("PersistentVolumeClaim", name, system.claims.keys(), &waiver.source),
        Waived::Database(name) => {
            declared("database", name, scenario.databases.keys().map(String::as_str).collect(), &waiver.source)
        }
        Waived::Bucket(name) => {
            let buckets = scenario.stores.values().map(|store| store.bucket.as_str()).collect();
            declared("bucket", name, buckets, &waiver.source)
        }
    });
    idle.map(|problem| Problem { message: format!("waiver: {}", problem.message), ..problem }).collect()
}

fn image_problems(scenario: &Scenario, system: &System) -> Vec<Problem> {
    let bound = || scenario.images.keys().map(String::as_str);
    let unbound =
        system.images.iter().filter(|(image, _)| !scenario.images.contains_key(image)).map(|(image, source)| {
            let file = scenario.file.display();
            Problem::new(
                source,
                format!(
                    "image `{image}` has no folder: name it under `images:` in {file}{}",
                    suggestion(image, bound())
                ),
            )
        });
    let used = || system.images.iter().map(|(image, _)| image.as_str());
    let idle =
        scenario.images.iter().filter(|(image, _)| !used().any(|used| used == *image)).map(|(image, binding)| {
            let hint = suggestion(image, used().collect::<BTreeSet<_>>());
            Problem::new(&binding.source, format!("image `{image}` is in no manifest{hint}"))
        });
    unbound.chain(idle).collect()
}

fn missing<'a>(
    kind: &str,
    name: &ObjectName,
    there: impl Iterator<Item = &'a ObjectName>,
    source: &SourceRef,
) -> Option<Problem> {
    let there: Vec<String> = there.map(ToString::to_string).collect();
    let written = name.to_string();
    if there.contains(&written) {
        return None;
    }
    let hint = suggestion(&written, there.iter().map(String::as_str));
    Some(Problem::new(source, format!("no {kind} `{written}` is in the manifests{hint}")))
}

/// An empty key asks for the object alone.
fn missing_key(kind: &str, wanted: &KeyRef, there: &BTreeMap<ObjectName, Keyed>) -> Option<Problem> {
    let Some(object) = there.get(&wanted.object) else {
        return missing(kind, &wanted.object, there.keys(), &wanted.source);
    };
    if wanted.key.is_empty() || object.keys.contains(&wanted.key) {
        return None;
    }
    let hint = suggestion(&wanted.key, object.keys.iter().map(String::as_str));
    let message = format!("{kind} `{}` ({}) has no key `{}`{hint}", wanted.object, object.source, wanted.key);
    Some(Problem::new(&wanted.source, message))
}

/// Every value that the scenario takes from somewhere.
fn values(scenario: &Scenario) -> Vec<&ValueFrom> {
    let mut values = Vec::new();
    for store in scenario.stores.values() {
        values.extend([&store.access_key, &store.secret_key]);
    }
    for database in scenario.databases.values() {
        values.extend([&database.database, &database.user, &database.password]);
        values.extend(database.second_role.as_ref().map(|role| &role.password));
    }
    values.extend(scenario.repositories.values().map(|repository| &repository.base));
    for credential in &scenario.credentials {
        values.push(&credential.secret);
        values.extend(&credential.user);
    }
    let slots = scenario.bindings.iter().flat_map(|binding| &binding.slots).chain(&scenario.slots);
    values.extend(slots.filter_map(|slot| match &slot.from {
        SlotSource::Value(value) => Some(value),
        SlotSource::Output { .. } | SlotSource::Selector { .. } => None,
    }));
    values
}

/// Claims, Secrets, databases and buckets that no procedure and no declaration covers, and those that are waived.
pub fn notes(scenario: &Scenario, runbook: &Runbook, system: &System) -> (Vec<Note>, Vec<Note>) {
    let mut open = Vec::new();
    let typed = typed(scenario, runbook);
    let declared: BTreeSet<&ObjectName> = values(scenario)
        .into_iter()
        .filter_map(|value| match value {
            ValueFrom::Secret(key) => Some(&key.object),
            ValueFrom::ConfigMap(_) | ValueFrom::Literal(_) | ValueFrom::Generated(_) => None,
        })
        .collect();
    for (name, secret) in &system.secrets {
        let kept = scenario.loss.escrow.iter().any(|escrow| matches!(escrow, Escrow::Secret(kept) if kept == name));
        if !kept && !declared.contains(name) && !typed.contains(&name.name) {
            let why = "no procedure, credential or escrow names it";
            open.push((Waived::Secret(name.clone()), format!("Secret {name}"), &secret.source, why));
        }
    }
    for (name, source) in &system.claims {
        let is_tree = scenario.files.values().any(|tree| tree.claim == *name);
        if !is_tree && !scenario.loss.claims.contains(name) && !typed.contains(&name.name) {
            let why = "no drill loses it and no file tree or procedure names it";
            open.push((Waived::Claim(name.clone()), format!("claim {name}"), source, why));
        }
    }
    for (name, database) in &scenario.databases {
        if !scenario.seed.databases.contains(name) {
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
    for (name, store) in &scenario.stores {
        let kept = scenario.loss.escrow.iter().any(|escrow| matches!(escrow, Escrow::Store(kept) if kept == name));
        if !kept && !scenario.repositories.values().any(|repository| repository.store == *name) {
            let (what, why) = (format!("bucket {}", store.bucket), "no repository is in it and it is no escrow");
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
        Deed::Human => None,
    });
    let words = |text: &'_ str| -> Vec<String> {
        let inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        text.split(|c: char| !inner(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    steps.chain(deeds).flat_map(words).collect()
}
