//! Objects of a cluster, in memory, with resource versions, watches and deletion as an API server has them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::kind::{self, Kind};
use super::status::details;

/// An error as the API answers it: becomes a `Status` object and an HTTP code.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
}

impl ApiError {
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: format!("{} \"{name}\" not found", kind.resource()),
            details: Some(details(name, kind.group, kind.plural)),
        }
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self {
            code: 409,
            reason: "AlreadyExists",
            message: format!("{} \"{name}\" already exists", kind.resource()),
            details: Some(details(name, kind.group, kind.plural)),
        }
    }

    pub fn conflict(kind: &Kind, name: &str) -> Self {
        Self {
            code: 409,
            reason: "Conflict",
            message: format!(
                "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; \
                 please apply your changes to the latest version and try again",
                kind.resource()
            ),
            details: Some(details(name, kind.group, kind.plural)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Added,
    Modified,
    Deleted,
}

/// One change of one object, in the order of resource versions.
#[derive(Debug, Clone)]
pub struct Event {
    pub resource_version: u64,
    pub event: EventType,
    pub kind: &'static Kind,
    pub object: Arc<Value>,
    /// The object before the change: by it a watch with a selector tells what comes in and what goes out.
    pub previous: Option<Arc<Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What a delete asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteOptions {
    pub propagation: Propagation,
    /// Seconds; `None` takes the object's own.
    pub grace: Option<i64>,
}

/// By (`Kind::resource`, namespace or "", name).
type Key = (String, String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, (&'static Kind, Arc<Value>)>,
    resource_version: u64,
    log: VecDeque<Event>,
    /// The highest version that has left the log: a watch from before it is answered 410.
    forgotten: u64,
}

/// How many changes a watch can look back.
const LOG: usize = 20_000;

/// All objects of one cluster. Every change goes through here and is seen by every watcher.
pub struct Store {
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

impl Default for Store {
    fn default() -> Self {
        let state = State { resource_version: 1, ..State::default() };
        Self { state: Mutex::new(state), events: broadcast::channel(4096).0 }
    }
}

impl Store {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn resource_version(&self) -> u64 {
        self.state().resource_version
    }

    pub fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.state().objects.get(&key(kind, namespace, name)).map(|(_, object)| object.clone())
    }

    /// Objects of a kind in one namespace or in all, by namespace and name, with the version of the list.
    pub fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> (u64, Vec<Arc<Value>>) {
        let state = self.state();
        let objects = state
            .objects
            .iter()
            .filter(|((resource, in_namespace, _), _)| {
                *resource == kind.resource() && namespace.is_none_or(|namespace| namespace == in_namespace)
            })
            .map(|(_, (_, object))| object.clone())
            .collect();
        (state.resource_version, objects)
    }

    /// Everything in a namespace, of whatever kind.
    pub fn list_namespace(&self, namespace: &str) -> Vec<(&'static Kind, Arc<Value>)> {
        let state = self.state();
        let inside = state.objects.iter().filter(|((_, in_namespace, _), _)| in_namespace == namespace);
        inside.map(|(_, (kind, object))| (*kind, object.clone())).collect()
    }

    /// Adds an object; gives it resourceVersion and creationTimestamp, a uid unless it has one, and generation 1 where its kind
    /// counts them.
    pub fn create(&self, kind: &'static Kind, mut object: Value) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(&object);
        let mut state = self.state();
        if state.objects.contains_key(&key(kind, &namespace, &name)) {
            return Err(ApiError::already_exists(kind, &name));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if !object["metadata"]["uid"].is_string() {
            object["metadata"]["uid"] = json!(random_uid());
        }
        object["metadata"]["creationTimestamp"] = json!(now());
        if kind.has_generation() {
            object["metadata"]["generation"] = json!(1);
        }
        if kind == &kind::CLAIM {
            add_finalizer(&mut object, "kubernetes.io/pvc-protection");
        }
        Ok(self.write(&mut state, kind, EventType::Added, object))
    }

    /// Replaces an object. A resourceVersion in it must be the current one. A changed spec raises the generation; a
    /// write that changes nothing raises nothing. An object whose deletion was only waiting for finalizers goes.
    pub fn update(&self, kind: &'static Kind, mut object: Value) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(&object);
        let mut state = self.state();
        let Some((_, current)) = state.objects.get(&key(kind, &namespace, &name)).cloned() else {
            return Err(ApiError::not_found(kind, &name));
        };
        let asked = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !asked.is_empty() && Some(asked) != current["metadata"]["resourceVersion"].as_str() {
            return Err(ApiError::conflict(kind, &name));
        }
        for field in ["uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp"] {
            match current["metadata"].get(field) {
                Some(value) => object["metadata"][field] = value.clone(),
                None => drop(object["metadata"].as_object_mut().map(|metadata| metadata.remove(field))),
            }
        }
        object["apiVersion"] = current["apiVersion"].clone();
        object["kind"] = current["kind"].clone();
        if object == *current {
            return Ok(current);
        }
        if object.get("spec") != current.get("spec") || changes_notes(kind, &object, &current) {
            raise_generation(kind, &mut object);
        }
        if is_deleting(&object) && !has_finalizers(&object) && kind != &kind::POD && kind != &kind::NAMESPACE {
            return Ok(self.erase(&mut state, kind, object));
        }
        Ok(self.write(&mut state, kind, EventType::Modified, object))
    }

    /// Reads, changes and writes under one lock, so that it cannot conflict.
    pub fn modify(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut Value),
    ) -> Result<Arc<Value>, ApiError> {
        loop {
            let current = self.get(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind, name))?;
            let mut object = (*current).clone();
            change(&mut object);
            match self.update(kind, object) {
                Err(error) if error.reason == "Conflict" => continue,
                result => return result,
            }
        }
    }

    /// Begins a deletion, as an API server does. Pods, namespaces, claims and whatever has finalizers get a deletionTimestamp
    /// and stay until the reconciler calls [`Store::remove`] (or clears the finalizers); everything else goes at once.
    /// Foreground adds the finalizer `foregroundDeletion`; orphan cuts the dependents' ownerReferences first.
    pub fn delete(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Arc<Value>, ApiError> {
        let mut state = self.state();
        let Some((_, current)) = state.objects.get(&key(kind, namespace, name)).cloned() else {
            return Err(ApiError::not_found(kind, name));
        };
        let mut object = (*current).clone();
        match options.propagation {
            Propagation::Foreground => add_finalizer(&mut object, "foregroundDeletion"),
            Propagation::Orphan => self.orphan(&mut state, &object),
            Propagation::Background => {}
        }
        let waits = [&kind::POD, &kind::NAMESPACE, &kind::CLAIM].contains(&kind) || has_finalizers(&object);
        if !waits {
            return Ok(self.erase(&mut state, kind, object));
        }
        if !is_deleting(&object) {
            object["metadata"]["deletionTimestamp"] = json!(now());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            raise_generation(kind, &mut object);
        }
        if kind == &kind::POD {
            let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
            object["metadata"]["deletionGracePeriodSeconds"] = json!(options.grace.unwrap_or(own));
        }
        if kind == &kind::NAMESPACE {
            object["status"]["phase"] = json!("Terminating");
        }
        if object == *current {
            return Ok(current);
        }
        Ok(self.write(&mut state, kind, EventType::Modified, object))
    }

    /// Ends a deletion: the object is gone now. Of something that is not there: nothing happens.
    pub fn remove(&self, kind: &'static Kind, namespace: &str, name: &str) {
        let mut state = self.state();
        if let Some((_, object)) = state.objects.get(&key(kind, namespace, name)).cloned() {
            self.erase(&mut state, kind, (*object).clone());
        }
    }

    /// Changes after `resource_version` and a receiver for all that follow, with nothing between lost or doubled.
    /// `None`: too long ago (HTTP 410).
    pub fn watch(&self, resource_version: u64) -> Option<(Vec<Event>, broadcast::Receiver<Event>)> {
        let state = self.state();
        if resource_version < state.forgotten {
            return None;
        }
        let missed = state.log.iter().filter(|event| event.resource_version > resource_version).cloned().collect();
        Some((missed, self.events.subscribe()))
    }

    fn orphan(&self, state: &mut State, owner: &Value) {
        let uid = &owner["metadata"]["uid"];
        let dependents: Vec<_> = state
            .objects
            .values()
            .filter(|(_, object)| owner_references(object).any(|reference| &reference["uid"] == uid))
            .cloned()
            .collect();
        for (kind, object) in dependents {
            let mut object = (*object).clone();
            if let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() {
                references.retain(|reference| &reference["uid"] != uid);
            }
            self.write(state, kind, EventType::Modified, object);
        }
    }

    fn write(&self, state: &mut State, kind: &'static Kind, event: EventType, mut object: Value) -> Arc<Value> {
        state.resource_version += 1;
        object["metadata"]["resourceVersion"] = json!(state.resource_version.to_string());
        let (namespace, name) = names(&object);
        let object = Arc::new(object);
        let previous = state.objects.insert(key(kind, &namespace, &name), (kind, object.clone()));
        self.tell(state, kind, event, &object, previous.map(|(_, object)| object));
        object
    }

    fn erase(&self, state: &mut State, kind: &'static Kind, mut object: Value) -> Arc<Value> {
        state.resource_version += 1;
        object["metadata"]["resourceVersion"] = json!(state.resource_version.to_string());
        let (namespace, name) = names(&object);
        let previous = state.objects.remove(&key(kind, &namespace, &name));
        let object = Arc::new(object);
        self.tell(state, kind, EventType::Deleted, &object, previous.map(|(_, object)| object));
        object
    }

    fn tell(
        &self,
        state: &mut State,
        kind: &'static Kind,
        event: EventType,
        object: &Arc<Value>,
        previous: Option<Arc<Value>>,
    ) {
        let event = Event { resource_version: state.resource_version, event, kind, object: object.clone(), previous };
        state.log.push_back(event.clone());
        if state.log.len() > LOG {
            state.forgotten = state.log.pop_front().map_or(0, |event| event.resource_version);
        }
        // Nobody watching is fine.
        let _ = self.events.send(event);
    }
}

/// Namespace ("" where there is none) and name of an object.
pub fn names(object: &Value) -> (String, String) {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (field("namespace"), field("name"))
}

pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub fn owner_references(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

/// The moment as the API writes it: whole seconds, never rounded up.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    (kind.resource(), namespace.to_owned(), name.to_owned())
}

/// A deployment's annotations count as its spec does, but for the one that its controller writes.
fn changes_notes(kind: &Kind, object: &Value, current: &Value) -> bool {
    let notes = |object: &Value| {
        let annotations = object["metadata"]["annotations"].as_object().into_iter().flatten();
        let own = annotations.filter(|(key, _)| *key != "deployment.kubernetes.io/revision");
        own.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    kind == &kind::DEPLOYMENT && notes(object) != notes(current)
}

fn raise_generation(kind: &Kind, object: &mut Value) {
    if kind.has_generation() {
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
        object["metadata"]["generation"] = json!(generation);
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(finalizers) if finalizers.iter().any(|present| present == finalizer) => {}
        Some(finalizers) => finalizers.push(json!(finalizer)),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

/// A version 4 UUID.
pub fn random_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
