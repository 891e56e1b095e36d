//! The work queue: each key is handled by one worker at a time and at least once after its last change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Who looks at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Deployment,
    ReplicaSet,
    StatefulSet,
    Job,
    CronJob,
    Namespace,
    Claim,
    Service,
    Garbage,
    Pod,
    Hosts,
}

/// One object that one controller is to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub controller: Controller,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(controller: Controller, namespace: &str, name: &str) -> Self {
        Self { controller, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Default)]
struct State {
    ready: VecDeque<Key>,
    /// What `ready` holds, and what waits for the end of its present handling.
    dirty: BTreeSet<Key>,
    running: BTreeSet<Key>,
    later: BTreeMap<Key, Instant>,
}

/// Keys to handle, now or at a given moment.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `key` handled soon. One that is being handled is handled once more afterwards.
    pub fn add(&self, key: Key) {
        let mut state = self.state();
        if state.dirty.insert(key.clone()) && !state.running.contains(&key) {
            state.ready.push_back(key);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub fn add_all(&self, keys: impl IntoIterator<Item = Key>) {
        keys.into_iter().for_each(|key| self.add(key));
    }

    /// Has `key` handled once `delay` has passed; of several delays the shortest counts.
    pub fn add_after(&self, key: Key, delay: Duration) {
        let due = Instant::now() + delay;
        let mut state = self.state();
        let at = state.later.entry(key).or_insert(due);
        *at = due.min(*at);
        drop(state);
        self.changed.notify_one();
    }

    /// The next key; it stays the caller's until [`Queue::done`].
    pub async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let earliest = match self.take() {
                Ok(key) => return key,
                Err(earliest) => earliest,
            };
            match earliest {
                Some(due) => {
                    tokio::select! { () = changed => {}, () = sleep_until(due) => {} }
                }
                None => changed.await,
            }
        }
    }

    /// Gives a key back.
    pub fn done(&self, key: &Key) {
        let mut state = self.state();
        state.running.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Nothing to do now and nothing being done; timers do not count.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.ready.is_empty() && state.running.is_empty()
    }

    fn take(&self) -> Result<Key, Option<Instant>> {
        let mut state = self.state();
        let now = Instant::now();
        let due: Vec<Key> = state.later.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            state.later.remove(&key);
            if state.dirty.insert(key.clone()) && !state.running.contains(&key) {
                state.ready.push_back(key);
            }
        }
        let Some(key) = state.ready.pop_front() else {
            return Err(state.later.values().min().copied());
        };
        state.dirty.remove(&key);
        state.running.insert(key.clone());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(Controller::Job, "shop", name)
    }

    #[tokio::test]
    async fn a_key_added_twice_is_handled_once() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        queue.done(&queue.next().await);
        assert!(queue.is_idle());
    }

    #[tokio::test]
    async fn a_key_added_while_handled_is_handled_again_afterwards() {
        let queue = Queue::default();
        queue.add(key("a"));
        let first = queue.next().await;
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(queue.next().await, key("b"), "a must not be handled twice at once");
        queue.done(&first);
        assert_eq!(queue.next().await, key("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_key_comes_when_it_is_due_and_not_before() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(20));
        queue.add_after(key("a"), Duration::from_secs(10));
        assert!(queue.is_idle());
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}
