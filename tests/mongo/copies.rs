//! Files of a server that are copied to another directory, as a restore of a file system does it.

use std::time::Duration;

use redrill::outcome::Observation;
use redrill::probe::ledger::{LedgerVerdict, Survived, verdict};
use redrill::probe::{Reply, Request};

use crate::place::{Place, ask, database, target};

/// Between two rows of the ledger.
const PAUSE: Duration = Duration::from_millis(2);
/// Rows that are committed while a single file is copied.
const ROWS: u64 = 15;
const COPIES: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_copied_while_nothing_wrote_comes_back_whole_for_whom_it_knew() {
    let place = Place::start("stopped").await;
    place.serve("live").await;
    let mut prober = place.prober().await;
    ask(&mut prober, Request::PrepareLedger { target: database("live") }).await;
    let seed = Request::SeedDatabase { target: database("live"), second_role: None, bytes: 1 << 20, rng: 7 };
    let Reply::Seeded { left_out } = ask(&mut prober, seed).await else { panic!() };
    let is_left_out = left_out.contains(&"decimal128 values".to_owned());
    assert_eq!(is_left_out, place.is_stand_in, "{left_out:?}");
    let before = place.fingerprint("live").await;
    assert!(before.items["collection documents"].count > 900, "{}", before.summary());

    place.stop("live").await;
    place.sh("cp -a /efs/live /efs/restored").await;
    place.serve("restored").await;
    let differences = before.differences(&place.fingerprint("restored").await);
    assert!(differences.is_empty(), "{differences:?}");

    assert_eq!(place.log_in(database("restored")).await, (Observation::Accepted, true));
    let (observed, random_refused) = place.log_in(target("restored", "wrong")).await;
    assert!(matches!(observed, Observation::Refused { .. }) && random_refused, "{observed:?}");
    let nobody = redrill::probe::DatabaseTarget { user: "nobody".into(), ..database("restored") };
    assert!(matches!(place.log_in(nobody).await.0, Observation::Refused { .. }));
    let (observed, _) = place.log_in(database("live")).await;
    assert!(matches!(observed, Observation::Unknown { .. }), "nobody serves there any more: {observed:?}");

    // Whoever reads GridFS finds what the seed laid out by hand.
    let script = "print(sum(len(file.read()) for file in gridfs.GridFS(db).find()))";
    assert_eq!(place.python("restored", script).await, format!("{}\n", 1 + 4 * (255 << 10) + 17));
    place.end().await;
}

/// A file system's backup is no moment's picture: each file is copied after the one before it, and people go on writing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_copied_file_by_file_while_it_was_written_is_a_prefix() {
    let place = Place::start("written").await;
    if !place.is_stand_in {
        // mongod promises nothing of the kind, so nothing is asked of it.
        return place.end().await;
    }
    place.serve("live").await;
    let mut prober = place.prober().await;
    ask(&mut prober, Request::PrepareLedger { target: database("live") }).await;
    let seed = Request::SeedDatabase { target: database("live"), second_role: None, bytes: 1 << 20, rng: 7 };
    ask(&mut prober, seed).await;
    let before = place.fingerprint("live").await;
    let mut ledger = place.prober().await.keep_ledger(&database("live"), PAUSE).await.unwrap();

    let mut least = Vec::new();
    for copy in 0..COPIES {
        assert!(ledger.reached(ledger.latest().k + ROWS).await);
        least.push(ledger.latest().k);
        for file in place.sh(&format!("mkdir /efs/copy{copy} && ls /efs/live | LC_ALL=C sort")).await.lines() {
            place.sh(&format!("cp -a /efs/live/{file} /efs/copy{copy}/")).await;
            assert!(ledger.reached(ledger.latest().k + ROWS).await);
        }
    }
    let end = ledger.stop(Duration::from_secs(60)).await.unwrap();
    assert_eq!(end.broken, None);

    for (copy, least) in least.into_iter().enumerate() {
        let copy = format!("copy{copy}");
        place.serve(&copy).await;
        let read = Request::ReadLedger { target: database(&copy) };
        let Reply::Ledger { rows, first, last, gaps, .. } = ask(&mut prober, read).await else { panic!() };
        let found = verdict(&end.acknowledged, Survived { rows, first, last, gaps });
        let LedgerVerdict::Prefix { survived, .. } = found else { panic!("{copy}: {found:?}") };
        assert!(survived >= least, "{copy}: {survived} rows, and {least} were there before it began");
        let differences = before.differences(&place.fingerprint(&copy).await);
        assert!(differences.is_empty(), "{copy}: {differences:?}");
        place.stop(&copy).await;
    }
    place.end().await;
}
