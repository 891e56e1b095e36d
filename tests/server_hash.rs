//! A server's help with fingerprints: it may say that a table is as it was, and is never believed too much.

// Tests of the prober use more of it.
#[allow(dead_code)]
#[path = "support/postgres.rs"]
mod postgres;

use postgres::Server;
use redrill::database::postgres_fingerprint::{Help, fingerprint, fingerprint_with};
use redrill::database::postgres_seed::seed;
use redrill::fingerprint::Fingerprint;
use redrill::probe::DatabaseTarget;

/// With the server's help for every table, however small.
async fn helped(target: &DatabaseTarget, before: &Fingerprint) -> Fingerprint {
    let help = Help { from: 0, known: before.known() };
    fingerprint_with(target, &[], &help).await.unwrap_or_else(|error| panic!("{error:?}"))
}

async fn with_help(target: &DatabaseTarget) -> Fingerprint {
    helped(target, &Fingerprint::default()).await
}

/// Values that PostgreSQL calls equal, or whose own hashes are the same, and that a binary COPY tells apart.
const VALUES: &str = "
    CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TYPE colour AS ENUM ('red', 'green'); CREATE DOMAIN word AS text;
    CREATE TABLE v (id int PRIMARY KEY, small smallint, big bigint, at timestamptz, f float8, n numeric, i interval, a int[],
        t text, c text COLLATE any_case, j jsonb, b bytea, e colour, d word, p char(4), r int4range, x regclass);
    INSERT INTO v SELECT k, 1, 1, '2000-01-01 00:00:00.000001Z', 0.0, 1.0, '1 month', '{1,2}', 'a' || k, 'a', '{\"n\": 1.0}', '\\x00', 'red',
        'w', 'x', '[1,3)', 'pg_class' FROM generate_series(1, 3) k;
    INSERT INTO v (id) VALUES (4);
    CREATE TABLE twice (n int); INSERT INTO twice VALUES (1), (2)";

const ALTERATIONS: &[&str] = &[
    "UPDATE v SET small = 2 WHERE id = 1",
    "UPDATE v SET big = 4294967296 WHERE id = 1",
    "UPDATE v SET at = '2000-01-01 01:11:34.967296Z' WHERE id = 1",
    "UPDATE v SET f = '-0' WHERE id = 1",
    "UPDATE v SET n = 1.00 WHERE id = 1",
    "UPDATE v SET i = '30 days' WHERE id = 1",
    "UPDATE v SET a = '{{1,2}}' WHERE id = 1",
    "UPDATE v SET a = '[0:1]={1,2}' WHERE id = 1",
    "UPDATE v SET t = CASE id WHEN 1 THEN 'a2' ELSE 'a1' END WHERE id < 3",
    "UPDATE v SET c = 'A' WHERE id = 1",
    "UPDATE v SET j = '{\"n\": 1.00}' WHERE id = 1",
    "UPDATE v SET b = '' WHERE id = 1",
    "UPDATE v SET b = NULL WHERE id = 1",
    "UPDATE v SET e = 'green' WHERE id = 1",
    "UPDATE v SET d = 'W' WHERE id = 1",
    "UPDATE v SET p = 'y' WHERE id = 1",
    "UPDATE v SET r = '[1,4)' WHERE id = 1",
    "UPDATE v SET x = 'pg_type' WHERE id = 1",
    "DELETE FROM v WHERE id = 4",
    "INSERT INTO twice VALUES (1)",
    "UPDATE twice SET n = 1",
    "ALTER TABLE v ALTER small TYPE int",
    "ALTER TABLE v RENAME big TO bigger",
];

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_have_not_changed_are_not_read_again() {
    let server = Server::start().await;
    let target = server.database("before").await;
    seed(&target, "reader", 1 << 20, 7).await.unwrap();
    let before = with_help(&target).await;
    assert_eq!(before.items, fingerprint(&target, &[]).await.unwrap().items);
    server.database("restored").await;
    server.dump_and_restore("before", "restored");
    let after = helped(&server.target("restored"), &before).await;
    assert_eq!(after.items, before.items);
    // Only what was read row by row has a sketch.
    assert!(after.sketches.is_empty(), "read again: {:?}", after.sketches.keys());
    assert!(before.sketches.len() > 8, "{:?}", before.sketches.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_calls_equal_and_is_not_is_seen_all_the_same() {
    let server = Server::start().await;
    let target = server.database("before").await;
    server.execute("before", VALUES).await;
    let before = with_help(&target).await;
    let unchanged = helped(&server.copy("before", "unchanged").await, &before).await;
    assert!(before.differences(&unchanged).is_empty());
    assert!(unchanged.sketches.is_empty(), "read again: {:?}", unchanged.sketches.keys());
    for (number, alteration) in ALTERATIONS.iter().enumerate() {
        let name = format!("altered {number}");
        let altered = server.copy("before", &name).await;
        server.execute(&name, alteration).await;
        let plain = before.differences(&fingerprint(&altered, &[]).await.unwrap());
        assert!(plain.iter().any(|difference| difference.item.starts_with("table ")) || alteration.contains("RENAME"));
        assert_eq!(before.differences(&helped(&altered, &before).await), plain, "{alteration}");
        server.execute("postgres", &format!("DROP DATABASE \"{name}\"")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_columns_cannot_be_hashed_and_are_read() {
    let server = Server::start().await;
    let target = server.database("odd").await;
    server.execute("odd", "CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES").await;
    let before = with_help(&target).await;
    assert!(!before.server_sums.contains_key("table public.bare"));
    assert_eq!(before.items["table public.bare"].count, 1);
    assert!(before.differences(&helped(&target, &before).await).is_empty());
}
