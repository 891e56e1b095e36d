//! Steps that go wrong in ways that a runbook's author does not think of: never a pass, and the cause is named.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::{self, assert_nothing_runs, below, wait_until};
use crate::program::{Ended, Place, Run};

/// Starts a drill of a copy of Taiga in which a program of the backup image has been changed.
fn start_with(place: &Place, drill: &str, program: &str, old: &str, new: &str) -> Run {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenarios = place.home().join("scenarios");
    copy(&root.join("scenarios/taiga"), &scenarios.join("taiga"));
    copy(&root.join("images"), &place.home().join("images"));
    let program = place.home().join("images/taiga-backup").join(program);
    let text = fs::read_to_string(&program).unwrap();
    assert_eq!(text.matches(old).count(), 1, "{}", program.display());
    fs::write(&program, text.replace(old, new)).unwrap();
    place.start(&["run", "taiga", "--drill", drill, "--scenarios", scenarios.to_str().unwrap()])
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Holds a drill to FAILED at a step, with the words of its cause in the report, and to having torn down.
fn assert_failed(place: &Place, ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = place.results(&place.runs()[0]);
    assert_eq!(results["verdict"], "FAILED", "{results:#}");
    let steps = results["outcome"]["drills"][0]["steps"].as_array().unwrap();
    let failed = steps.iter().find(|step| step["result"] == "failed");
    let failed = failed.unwrap_or_else(|| panic!("no step failed: {results:#}")).to_string();
    for words in words {
        assert!(failed.contains(words), "`{words}` is not in {failed}");
    }
    assert_nothing_runs();
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn a_step_that_waits_for_an_answer_fails_and_its_question_is_shown() {
    let _turn = machine::turn();
    let place = Place::new();
    let asks = "set -euo pipefail\nread -r -p 'Overwrite the old backup? [y/N] ' answer\n";
    let ended = start_with(&place, "manual", "backup.bb", "set -euo pipefail\n", asks).end();
    assert_failed(&place, &ended, &["backup.bb", "Overwrite the old backup?"]);
}

#[test]
fn a_step_that_prints_without_end_does_not_fill_the_memory() {
    let _turn = machine::turn();
    let place = Place::new();
    let prints = "set -euo pipefail\nhead -c 100M /dev/zero | tr '\\0' x | fold -w 99\nexit 7\n";
    let mut run = start_with(&place, "manual", "backup.bb", "set -euo pipefail\n", prints);
    run.until("exit status 7");
    let status = fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    println!("at most {kilobytes} kB");
    assert!(kilobytes < 120 << 10, "{kilobytes} kB");
    let ended = run.end();
    assert_failed(&place, &ended, &["exit status 7"]);
    let log = fs::read_dir(place.reports().join(&place.runs()[0]).join("logs/taiga-manual")).unwrap();
    let longest = log.map(|entry| entry.unwrap().metadata().unwrap().len()).max().unwrap();
    assert!(longest >= 100 << 20, "the log has all of it: {longest}");
}

#[test]
fn a_database_that_is_killed_during_the_restore_is_no_recovery() {
    let _turn = machine::turn();
    let place = Place::new();
    // Half of the dump, and the rest once this test says so: the server is back too soon to be missed by looking at it.
    let held = "sh -c 'head -n 400; sleep 601.25; cat' half-restored";
    let piped = format!("dump latest stdin | {held} | psql_on");
    let run = start_with(&place, "scheduled", "restore.bb", "dump latest stdin | psql_on", &piped);
    let named =
        |pid: u32, name: &str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    let sleepers = || below(run.id(), "sleep 601.25").into_iter().filter(|&pid| named(pid, "sleep"));
    // The back end is scaled down by then, so it is psql that has this connection.
    wait_until("half of the dump in the database", || {
        sleepers().next().is_some() && !below(run.id(), "postgres: taiga taiga").is_empty()
    });
    for server in below(run.id(), "postgres").into_iter().filter(|&pid| named(pid, "postgres")) {
        // Its children end with it, and may have done so.
        let _ = kill(Pid::from_raw(server.try_into().unwrap()), Signal::SIGKILL);
    }
    for sleeper in sleepers() {
        let _ = kill(Pid::from_raw(sleeper.try_into().unwrap()), Signal::SIGKILL);
    }
    let ended = run.end();
    assert_failed(&place, &ended, &["restore.bb", "server"]);
}
