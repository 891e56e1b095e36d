use nix::sys::signal::Signal;

use crate::machine::{self, assert_nothing_runs, below, wait_until};
use crate::program::{Place, Run, SCHEDULED};

/// Holds an interrupted run to having torn down in order.
fn assert_torn_down(place: &Place, run: Run) {
    let ended = run.end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("interrupted, tearing down"), "{ended:?}");
    assert_nothing_runs();
    assert_eq!(place.files(), Vec::<String>::new());
    assert_eq!(machine::traces(&place.state()), [].into());
    let run = place.runs().pop().expect("a run");
    place.assert_unverified(&run);
    assert!(place.junit(&run).contains("interrupted"), "{}", place.junit(&run));
    assert!(ended.stdout.contains("interrupted"), "{}", ended.stdout);
}

#[test]
fn interrupted_while_the_environment_starts_it_tears_down() {
    let _turn = machine::turn();
    let place = Place::new();
    let run = place.start(&SCHEDULED);
    wait_until("the drill's directory", || !place.files().is_empty());
    run.signal(Signal::SIGINT);
    assert_torn_down(&place, run);
}

#[test]
fn terminated_while_a_step_runs_in_a_pod_it_tears_down() {
    let _turn = machine::turn();
    let place = Place::new();
    let run = place.start(&["run", "taiga", "--drill", "manual"]);
    wait_until("the runbook's backup running", || !below(run.id(), "exec -it deploy/backup-restore").is_empty());
    run.signal(Signal::SIGTERM);
    assert_torn_down(&place, run);
}

#[test]
fn interrupted_during_teardown_it_still_tears_down_and_keeps_what_was_found_out() {
    let _turn = machine::turn();
    let place = Place::new();
    let mut run = place.start(&SCHEDULED);
    run.until("done       verify");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("interrupted, tearing down"), "{ended:?}");
    assert_nothing_runs();
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn a_second_interrupt_gives_up_at_once_and_gc_removes_the_files() {
    let _turn = machine::turn();
    let place = Place::new();
    let mut run = place.start(&SCHEDULED);
    run.until("nothing inside reaches outside");
    run.signal(Signal::SIGINT);
    run.until("interrupted, tearing down");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("redrill gc"), "{ended:?}");
    assert_nothing_runs();
    assert_eq!(machine::traces(&place.state()), [].into());
    assert_ne!(place.files(), Vec::<String>::new(), "it did not wait for files to be removed");
    let swept = place.run(&["gc"]);
    assert_eq!((swept.code, place.files()), (Some(0), Vec::new()), "{swept:?}");
    place.assert_unverified(&place.runs().pop().expect("a run"));
}
