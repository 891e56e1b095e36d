//! Fills a CockroachDB database with the shapes that break restores, in SQL that PostgreSQL takes too: the stand-in is one. Same
//! `rng`, same content.

use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Error;
use super::postgres::{self, Session, quote_name, quote_text};
use super::postgres_seed::{TEXTS, pick, random_hex, uuid_text};
use crate::probe::DatabaseTarget;

/// The definitions; `%ROLE%` stands for the second role.
const SCHEMA: &str = include_str!("cockroach_seed.sql");
/// What is defined once rows are there.
const SCHEMA_AFTER_ROWS: &str = include_str!("cockroach_seed_after.sql");

/// Rows of the tables that are there for their shape and not for their size.
const ACCOUNTS: i64 = 200;
const SHAPES: usize = 60;
/// Random bytes of one row of the bulk table.
const BULK_ROW: usize = 1000;
/// Rows of it that go in with one statement: a transaction of a few hundred kilobytes.
const BULK_STATEMENT: u64 = 256;

/// Seeds the target's database, which must not have been seeded before. `second_role` is made when it is not there, without a
/// password. Each statement is a transaction of its own: CockroachDB defines and fills a table in one only as far as that goes.
pub async fn seed(target: &DatabaseTarget, second_role: &str, bytes: u64, rng: u64) -> Result<(), Error> {
    let session = postgres::connect(target).await?;
    let mut rng = ChaCha8Rng::seed_from_u64(rng);
    make_role(&session, second_role).await?;
    define(&session, SCHEMA, second_role).await?;
    plans(&session).await?;
    accounts(&session, &mut rng).await?;
    orders(&session).await?;
    shapes(&session, &mut rng).await?;
    small_tables(&session).await?;
    documents(&session, bytes, &mut rng).await?;
    define(&session, SCHEMA_AFTER_ROWS, second_role).await
}

async fn define(session: &Session, sql: &str, role: &str) -> Result<(), Error> {
    for statement in sql.replace("%ROLE%", &quote_name(role)).split(";\n") {
        run(session, "make the tables", statement).await?;
    }
    Ok(())
}

async fn run(session: &Session, doing: &str, sql: &str) -> Result<(), Error> {
    session.batch_execute(sql).await.map_err(Error::postgres(doing))
}

async fn make_role(session: &Session, role: &str) -> Result<(), Error> {
    let there = session.query_opt("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", &[&role]).await;
    if there.map_err(Error::postgres("look for the second role"))?.is_none() {
        run(session, "make the second role", &format!("CREATE ROLE {} LOGIN", quote_name(role))).await?;
    }
    Ok(())
}

async fn plans(session: &Session) -> Result<(), Error> {
    // Their flagships are no foreign keys yet: a cycle between two tables.
    run(session, "fill plans", "INSERT INTO public.plans VALUES ('free', 1), ('team', 2), ('enterprise', NULL)").await
}

async fn accounts(session: &Session, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    let mut rows = Vec::new();
    for id in 1..=ACCOUNTS {
        let profile =
            serde_json::json!({ "n": rng.random::<u32>(), "said": pick(&TEXTS, rng), "list": [1, null, true] });
        let tags = format!("{{{},\"with, comma\",NULL}}", rng.random_range(0..100));
        rows.push(format!(
            "({id}, 'Person{id}@Example.org', {}, '{}', '{}', {}.{:04}, {:e}, '{}', {}, {})",
            quote_text(&format!("{} {id}", pick(&TEXTS, rng))),
            pick(&["free", "team", "enterprise"], rng),
            pick(&["new", "active", "closed"], rng),
            rng.random_range(0..1_000_000_000u64),
            rng.random_range(0..10_000),
            f64::from_bits(rng.random_range(1..0x7fef_ffff_ffff_ffff)),
            moment(rng),
            quote_text(&tags),
            quote_text(&profile.to_string()),
        ));
    }
    let columns = "id, email, name, plan, status, balance, score, opened, tags, profile";
    let sql = format!("INSERT INTO public.accounts ({columns}) VALUES {}", rows.join(", "));
    run(session, "fill accounts", &sql).await?;
    run(session, "connect accounts", &format!("UPDATE public.accounts SET friend = {ACCOUNTS} + 1 - id")).await
}

async fn orders(session: &Session) -> Result<(), Error> {
    let whole = "INSERT INTO \"Odd Schema\".\"Order Items\" (\"Id\", \"Account\", \"what?\", amount)
                 SELECT id, id, 'item ' || id::text, id * 3 FROM public.accounts WHERE id % 2 = 0";
    run(session, "fill order items", whole).await?;
    let parts = "INSERT INTO \"Odd Schema\".\"Order Items\" (\"Id\", \"Account\", \"what?\", amount, parent)
                 SELECT id + 1000, id, 'part of ' || id::text, 1, id FROM public.accounts WHERE id % 4 = 0";
    run(session, "fill parts of order items", parts).await
}

async fn shapes(session: &Session, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    for row in 0..SHAPES {
        let uuid = uuid_text(rng);
        let numeric =
            ["NaN", "0.000", "1e-20", "-123456789012345678901234567890.5", "1.10"].choose(rng).unwrap_or(&"0");
        let float = ["NaN", "-0", "Infinity", "0.1", "1e-300"].choose(rng).unwrap_or(&"0");
        let sql = format!(
            "INSERT INTO public.shapes VALUES ('{uuid}', decode('{}', 'hex'), '{numeric}', '{}', '{float}', {}, {}, '{}', '{}', '{}', \
             '{:02}:00:00.25', '{} months {} seconds', B'{:08b}', '10.{}.0.1/8', 'very happy', ARRAY['{uuid}', NULL]::uuid[], \
             ARRAY[{}, NULL, -1]::bigint[], '{{\"row\": {row}, \"none\": null}}', {})",
            random_hex(rng, row * 7),
            f32::from_bits(rng.random_range(1..0x7f00_0000)),
            rng.random::<bool>(),
            rng.random::<i16>(),
            moment(rng),
            moment(rng).trim_end_matches("+00"),
            &moment(rng)[..10],
            rng.random_range(0..24),
            rng.random_range(-1000..1000),
            rng.random_range(-100_000..100_000),
            rng.random::<u8>(),
            rng.random::<u8>(),
            rng.random::<u32>(),
            quote_text(pick(&TEXTS, rng)),
        );
        run(session, "fill shapes", &sql).await?;
    }
    run(session, "fill a row of nothing", &format!("INSERT INTO public.shapes (id) VALUES ('{}')", uuid_text(rng)))
        .await
}

async fn small_tables(session: &Session) -> Result<(), Error> {
    const ROWS: [&str; 4] = [
        // Rows without a key, two of them alike: only counting duplicates tells one from two.
        "INSERT INTO public.no_key VALUES ('once', 1), ('twice', 2), ('twice', 2), (NULL, NULL), ('', 0)",
        "INSERT INTO public.two_keys SELECT id, 'a', 'first' FROM public.accounts WHERE id <= 5",
        "INSERT INTO public.two_keys SELECT id, 'b', 'second' FROM public.accounts WHERE id <= 5",
        "INSERT INTO public.invoices (what) VALUES ('one'), ('two'), ('three')",
    ];
    for rows in ROWS {
        run(session, "fill the small tables", rows).await?;
    }
    Ok(())
}

/// About `bytes` of table in rows that do not compress.
async fn documents(session: &Session, bytes: u64, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    const INSERT: &str = "INSERT INTO public.documents (id, tag, title, body)
        SELECT t.a, t.b::uuid, t.c, t.d FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[]) AS t (a, b, c, d)";
    let failed = || Error::postgres("fill documents");
    let insert = session.prepare(INSERT).await.map_err(failed())?;
    let rows = (bytes / BULK_ROW as u64).max(10);
    let mut from = 1;
    while from <= rows {
        let to = rows.min(from + BULK_STATEMENT - 1);
        let ids: Vec<i64> = (from..=to).map(|id| id as i64).collect();
        let tags: Vec<String> = ids.iter().map(|_| uuid_text(rng)).collect();
        let titles: Vec<&str> = ids.iter().map(|_| pick(&TEXTS, rng)).collect();
        let bodies: Vec<Vec<u8>> = ids.iter().map(|_| random_bytes(rng)).collect();
        session.execute(&insert, &[&ids, &tags, &titles, &bodies]).await.map_err(failed())?;
        from = to + 1;
    }
    Ok(())
}

fn random_bytes(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; BULK_ROW];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A moment between 1970 and 2033 with microseconds, never the time of the seed: `2001-02-03 04:05:06.000007+00`.
fn moment(rng: &mut ChaCha8Rng) -> String {
    let micros = rng.random_range(0..2_000_000_000_000_000_i64);
    let moment = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    format!("{}+00", moment.strftime("%Y-%m-%d %H:%M:%S.%6f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_microseconds_and_a_zone() {
        let moment = moment(&mut ChaCha8Rng::seed_from_u64(1));
        let digits: String = moment.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(digits, "0000-00-00 00:00:00.000000+00");
    }

    #[test]
    fn definitions_are_cut_into_single_statements() {
        for sql in [SCHEMA, SCHEMA_AFTER_ROWS] {
            for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
                let verb = statement.trim_start().split(' ').next().unwrap_or("");
                assert!(["CREATE", "ALTER", "GRANT"].contains(&verb), "{statement}");
                assert!(!statement.trim_end().trim_end_matches(';').contains(';'), "{statement}");
            }
        }
    }
}
