//! What a run may leave on the machine, looked for from outside of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; reached only by a defect.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// Processes that this test started and knows of; whatever else comes to be below it was left behind by one of them.
static KNOWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn known() -> MutexGuard<'static, BTreeSet<u32>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drills share two processors badly: one at a time.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program whose orphans become this process's children, however they were detached.
pub fn spawn(command: &mut Command) -> Child {
    static REAPER: Once = Once::new();
    REAPER.call_once(|| nix::sys::prctl::set_child_subreaper(true).expect("become a subreaper"));
    let mut known = known();
    let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    known.insert(child.id());
    child
}

/// Parents by process, without those that have ended and wait to be asked for their status.
fn parents() -> BTreeMap<u32, u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        (!field("State:")?.starts_with('Z')).then_some((pid, field("PPid:")?.parse().ok()?))
    })
    .collect()
}

fn ancestors(parents: &BTreeMap<u32, u32>, pid: u32) -> Vec<u32> {
    std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).collect()
}

fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// Processes that belong to a run that is no more.
fn orphans() -> Vec<String> {
    let known = known();
    let parents = parents();
    let of_nobody = |pid: &u32| {
        let line = ancestors(&parents, *pid);
        let ours = line.iter().position(|pid| *pid == std::process::id());
        ours.is_some_and(|ours| ours > 0 && !known.contains(&line[ours - 1]))
    };
    parents.keys().filter(|pid| of_nobody(pid)).map(|pid| format!("{pid} {}", command_line(*pid))).collect()
}

/// Processes below `root` that were started with these words.
pub fn below(root: u32, words: &str) -> Vec<u32> {
    let parents = parents();
    let is_below = |pid: &u32| *pid != root && ancestors(&parents, *pid).contains(&root);
    parents.keys().copied().filter(is_below).filter(|pid| command_line(*pid).contains(words)).collect()
}

/// Waits until no process of a dead run is left; gives how long that took.
///
/// # Panics
/// When one is left after a second: the only time in these tests that is a promise.
pub fn assert_nothing_runs() -> Duration {
    let ended = Instant::now();
    loop {
        let left = orphans();
        if left.is_empty() {
            return ended.elapsed();
        }
        assert!(ended.elapsed() < Duration::from_secs(1), "left running: {left:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Mounts, links and routes of this machine that could be a drill's.
pub fn traces(state: &Path) -> BTreeSet<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let state = state.to_str().expect("a path of this test");
    // Others may mount and route at the same time: a drill's are told by its directory, its bridge, its addresses (10.88.0.0)
    // and the network namespaces that its processes were in.
    let mut marks = vec!["redrill".to_owned(), "drill0".to_owned(), "0000580A".to_owned(), state.to_owned()];
    marks.extend(networks().iter().cloned());
    let of_drill = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    let files = ["/proc/self/mountinfo", "/proc/net/dev", "/proc/net/route"].map(read);
    files.iter().flat_map(|file| file.lines().filter(of_drill)).map(str::to_owned).collect()
}

/// Network namespaces of runs that are about to end.
fn networks() -> MutexGuard<'static, BTreeSet<String>> {
    static NETWORKS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    NETWORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down which networks the processes below `root` are in, as mounts of them would be called.
pub fn remember_networks(root: u32) {
    let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok()?.to_str().map(str::to_owned);
    let own = network(std::process::id());
    let inside = below(root, "").into_iter().filter_map(network).filter(|network| Some(network) != own.as_ref());
    networks().extend(inside);
}

/// Waits for a condition.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The fabric of a run: the first process of a pid namespace that is no container's.
pub fn fabric_below(root: u32) -> Option<u32> {
    let is_fabric = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.last() == Some(&"1")
    };
    below(root, "__fabric").into_iter().find(is_fabric)
}
