//! Everything that is not as it was is noticed, named and counted, and half of everything gone is, too.

use redrill::probe::client::ClientError;
use redrill::probe::{Reply, Request};

use crate::place::{Place, ask, database};

async fn seeded(name: &str) -> Place {
    let place = Place::start(name).await;
    place.serve("live").await;
    let mut prober = place.prober().await;
    let seed = Request::SeedDatabase { target: database("live"), second_role: None, bytes: 300_000, rng: 7 };
    ask(&mut prober, seed).await;
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn every_single_alteration_is_seen_and_named() {
    let place = seeded("altered").await;
    let broken = [
        ("db.people.delete_one({})", "collection people: 1 document missing (199 documents, were 200)"),
        ("db.people.insert_one({'_id': 1})", "collection people: 1 document extra (200 documents, were 199)"),
        (
            "db.documents.update_one({'_id': 7}, {'$set': {'title': 'other'}})",
            "collection documents: 1 document changed (272 documents, were 272)",
        ),
        // The same number, as another type.
        (
            "db.ORDERS.items.update_one({'_id': 1}, {'$set': {'_id': 1, 'case': bson.Int64(1)}})",
            "collection ORDERS.items: 1 document changed (3 documents, were 3)",
        ),
        ("db.fs.chunks.delete_one({'n': 2})", "collection fs.chunks: 1 document missing (5 documents, were 6)"),
        ("db.people.drop_index(\"unique, größer 'n'\")", "index unique, größer 'n' of people: missing"),
        ("db.drop_collection('empty')", "collection empty: missing (had 0 documents)"),
        (
            "db.capped.rename('kept'); db.create_collection('capped'); db.capped.insert_many(db.kept.find()); db.kept.drop()",
            "options of collection capped: no options; was { \"capped\": true, \"max\": 10000, \"size\": 16777216 }",
        ),
        ("db.create_collection('more')", "collection more: not there before (0 documents)"),
    ];
    let mut before = place.fingerprint("live").await;
    for (script, expected) in broken {
        place.python("live", script).await;
        let after = place.fingerprint("live").await;
        let found: Vec<String> = before.differences(&after).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|difference| difference == expected), "{script}: {found:#?}");
        before = after;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_number_gives_the_same_database_and_a_corruption_takes_half_of_it() {
    let place = seeded("corrupted").await;
    let mut prober = place.prober().await;
    let before = place.fingerprint("live").await;
    place.serve("another").await;
    let seed = Request::SeedDatabase { target: database("another"), second_role: None, bytes: 300_000, rng: 7 };
    ask(&mut prober, seed).await;
    let differences = before.differences(&place.fingerprint("another").await);
    assert!(differences.is_empty(), "{differences:?}");

    assert!(matches!(ask(&mut prober, Request::CorruptDatabase { target: database("live") }).await, Reply::Done));
    let after = place.fingerprint("live").await;
    for (name, was) in before.items.iter().filter(|(name, _)| name.starts_with("collection ")) {
        assert_eq!(after.items[name].count, was.count / 2, "{name}");
    }
    assert!(before.differences(&after).iter().all(|difference| difference.item.starts_with("collection ")));

    // Without the ledger's collections a write proves nothing, and the answer is the system's.
    let value = "before".to_owned();
    let write = Request::WriteNonce { target: database("live"), label: "before".to_owned(), value };
    let refused = prober.ask(&write).await;
    assert!(matches!(refused, Err(ClientError::Refused { by_the_system: true, .. })), "{refused:?}");
    ask(&mut prober, Request::PrepareLedger { target: database("live") }).await;
    ask(&mut prober, write).await;
    let Reply::Wrote { .. } =
        ask(&mut prober, Request::FirstWrite { target: database("live"), deadline_millis: 10_000 }).await
    else {
        panic!()
    };
    let Reply::Nonces { values } = ask(&mut prober, Request::ReadNonces { target: database("live") }).await else {
        panic!()
    };
    assert_eq!(values.keys().collect::<Vec<_>>(), ["before", "first-write"]);
    place.end().await;
}
