use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::machine::{self, assert_nothing_runs};
use crate::program::{Place, Run, SCHEDULED};

/// Kills so long after a line on stderr (or after the start): where, within how many milliseconds, how often.
const MOMENTS: [(Option<&str>, u64, usize); 7] = [
    (None, 1500, 4),
    (Some("drill      taiga"), 6000, 6),
    (Some("done       provision"), 2500, 3),
    (Some("done       seed"), 8000, 3),
    (Some("done       backup"), 8000, 2),
    (Some("done       loss"), 8000, 1),
    (Some("done       verify"), 3000, 1),
];

/// Moments all over a run, most of them early, where most of what could be left behind is made. Taken from the end, where one
/// stands that is over in a second or two: a neighbour that was started before it outlives it.
fn moments(random: &mut ChaCha8Rng) -> Vec<(Option<&'static str>, Duration)> {
    let mut moments = Vec::new();
    for (after, within, times) in MOMENTS {
        moments.extend((0..times).map(|_| (after, Duration::from_millis(random.random_range(0..within)))));
    }
    moments.shuffle(random);
    let last = moments.len() - 1;
    if let Some(short) = moments.iter().position(|(after, _)| after.is_none()) {
        moments.swap(short, last);
    }
    moments
}

/// Kills a run; gives how long its last process outlived it, or `None` when the run was through before.
fn kill_at(place: &Place, after: Option<&str>, delay: Duration) -> Option<Duration> {
    let mut run = place.start(&SCHEDULED);
    if let Some(line) = after {
        run.until(line);
    }
    // Any moment will do, and this is how one is picked.
    std::thread::sleep(delay);
    let was_running = run.is_running();
    run.kill();
    let gone = assert_nothing_runs();
    was_running.then_some(gone)
}

#[test]
fn killed_at_twenty_random_moments_nothing_is_left_and_a_neighbour_goes_on() {
    let _turn = machine::turn();
    let seed = std::env::var("REDRILL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    println!("REDRILL_TEST_SEED={seed}");
    let place = Place::new();
    // Started first, with the same state and reports: what `gc` must tell apart from the dead ones.
    let mut neighbour = Some(place.start(&SCHEDULED));
    neighbour.as_mut().unwrap().until("done       provision");
    let neighbours_files = place.files();
    let neighbours_run = place.runs();
    assert_eq!((neighbours_files.len(), neighbours_run.len()), (2, 1), "{neighbours_files:?} {neighbours_run:?}");
    let mut swept_beside_it = 0;
    let mut moments = moments(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut killed = 0;
    while let Some((after, delay)) = moments.pop() {
        let began = Instant::now();
        let before = place.runs();
        let gone = kill_at(&place, after, delay);
        assert_eq!(machine::traces(&place.state()), [].into(), "{after:?} + {delay:?}");
        let runs: Vec<String> = place.runs().into_iter().filter(|run| !before.contains(run)).collect();
        assert!(runs.len() == 1 || after.is_none(), "{after:?} + {delay:?}: {runs:?}");
        // A run that was quicker than its killer has its verdict, and keeps it; the moment is tried again, earlier.
        let through = gone.is_none() || runs.iter().any(|run| place.has_verdict(run));
        let lived = neighbour.as_mut().is_some_and(Run::is_running);
        let swept = place.run(&["gc"]);
        assert_eq!(swept.code, Some(0), "{swept:?}");
        let alive = neighbour.as_mut().is_some_and(Run::is_running);
        match (lived, alive) {
            (true, true) => assert_eq!(place.files(), neighbours_files, "{after:?} + {delay:?}: {swept:?}"),
            (false, false) => assert_eq!(place.files(), Vec::<String>::new(), "{after:?} + {delay:?}: {swept:?}"),
            // It ended meanwhile.
            _ => {}
        }
        swept_beside_it += usize::from(alive);
        match through {
            true => moments.push((after, delay / 2)),
            false => killed += 1,
        }
        for run in &runs {
            match through {
                true => assert_eq!(place.results(run)["verdict"], "CORRECTED"),
                false => place.assert_unverified(run),
            }
            let names = crate::program::names(&place.reports().join(run));
            assert!(!names.iter().any(|name| name.starts_with('.')), "half a file: {names:?}");
        }
        println!("{after:?} + {delay:?}: gone after {gone:?}, all in {:?}", began.elapsed());
        if !alive && let Some(neighbour) = neighbour.take() {
            let ended = neighbour.end();
            assert_eq!(ended.code, Some(3), "{ended:?}");
            assert_eq!(place.results(&neighbours_run[0])["verdict"], "CORRECTED");
        }
    }
    assert_eq!(killed, MOMENTS.iter().map(|(_, _, times)| times).sum::<usize>(), "each moment found its run alive");
    assert!(swept_beside_it > 0, "the neighbour lived through one `gc` at least");
    assert!(neighbour.is_none(), "the neighbour came to its end");
}

#[test]
fn the_next_run_gives_a_killed_one_its_reports() {
    let _turn = machine::turn();
    let place = Place::new();
    kill_at(&place, Some("drill      taiga"), Duration::ZERO).expect("killed before it was through");
    let killed = place.runs().pop().expect("a run");
    assert!(place.listed(&killed).contains("killed"), "{}", place.listed(&killed));
    let next = place.run(&["run", "no-such-scenario"]);
    assert!(next.stderr.contains(&format!("run {killed} was killed: it counts as UNVERIFIED now")), "{next:?}");
    place.assert_unverified(&killed);
}

#[test]
fn a_fabric_that_hangs_ends_with_its_redrill() {
    let _turn = machine::turn();
    let place = Place::new();
    let mut run = place.start(&SCHEDULED);
    run.until("nothing inside reaches outside");
    let fabric = machine::fabric_below(run.id()).expect("a fabric");
    // As good as one that is busy with a request that takes long.
    kill(Pid::from_raw(fabric.try_into().unwrap()), Signal::SIGSTOP).expect("stop the fabric");
    run.kill();
    assert_nothing_runs();
    assert_eq!(place.run(&["gc"]).code, Some(0));
    assert_eq!(place.files(), Vec::<String>::new());
}
