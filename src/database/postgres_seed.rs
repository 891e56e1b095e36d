//! Fills a PostgreSQL database with the shapes that break restores. Same `rng`, same content.

use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Error;
use super::postgres::{self, Session, quote_name, quote_text};
use crate::probe::DatabaseTarget;

/// The definitions; `%ROLE%` stands for the second role.
const SCHEMA: &str = include_str!("postgres_seed.sql");
/// What is defined once rows are there: what they would slow down, or what is made of them.
const SCHEMA_AFTER_ROWS: &str = include_str!("postgres_seed_after.sql");

/// Rows of the tables that are there for their shape and not for their size.
const ACCOUNTS: i64 = 200;
const EVENTS: i64 = 600;
/// Random bytes of one row of the bulk table: below what PostgreSQL moves out of line or tries to compress.
const BULK_ROW: usize = 1000;
/// A bulk row in its table, headers included: seven of them fit a page.
const BULK_ROW_ON_DISK: u64 = 8192 / 7;
const COPY_CHUNK: usize = 256 << 10;

/// Any number does, as long as two seeds agree on it; those PostgreSQL gives out itself start at 16384.
const LARGE_OBJECTS: [(u32, usize); 3] = [(7_000_001, 300_000), (7_000_002, 0), (7_000_003, 2048)];

pub(super) const TEXTS: [&str; 10] = [
    "plain words",
    "it's \"quoted\" \\ and escaped \\. here",
    "größer als Öl",
    "こんにちは世界",
    "Привет, мир",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "tab\tnewline\ncarriage\rreturn",
    "e\u{301} é 👩‍👩‍👧 \u{202e}reversed",
];

/// Seeds the target's database, which must not have been seeded before, in one transaction. `second_role` is made when it
/// is not there, without a password. The target's user has to be a superuser or at least own the database and be allowed
/// to make roles.
pub async fn seed(target: &DatabaseTarget, second_role: &str, bytes: u64, rng: u64) -> Result<(), Error> {
    let session = postgres::connect(target).await?;
    let mut rng = ChaCha8Rng::seed_from_u64(rng);
    let version = session.version().await?;
    let schema = |sql: &str| for_version(version, sql).replace("%ROLE%", &quote_name(second_role));
    run(&session, "open a transaction", "SET client_min_messages = warning; BEGIN").await?;
    make_role(&session, second_role).await?;
    run(&session, "make tables", &schema(SCHEMA)).await?;
    accounts(&session, &mut rng).await?;
    shapes(&session, version, &mut rng).await?;
    events(&session, &mut rng).await?;
    bulk(&session, bytes, &mut rng).await?;
    for (oid, length) in LARGE_OBJECTS {
        large_object(&session, oid, length, &mut rng).await?;
    }
    run(&session, "make what rests on rows", &schema(SCHEMA_AFTER_ROWS)).await?;
    run(&session, "commit", "COMMIT").await?;
    // So that the first statements after a seed are no slower than later ones; outside of a transaction by its nature.
    run(&session, "collect statistics", "ANALYZE").await
}

/// What older servers lack: the first version that has it, the text, and what stands in its place before it.
const OLDER: &[(i32, &str, &str)] = &[
    (120_000, "GENERATED ALWAYS AS (length(name)) STORED", ""),
    (140_000, "periods datemultirange", "periods daterange[]"),
    (140_000, PERIODS, "ARRAY[daterange('2020-01-01', '2020-02-01'), daterange('2021-01-01', NULL)]"),
];

/// Two ranges in one value.
const PERIODS: &str = "datemultirange(daterange('2020-01-01', '2020-02-01'), daterange('2021-01-01', NULL))";

fn for_version(version: i32, sql: &str) -> String {
    let older = OLDER.iter().filter(|(first, ..)| version < *first);
    older.fold(sql.to_owned(), |sql, (_, text, instead)| sql.replace(text, instead))
}

async fn run(session: &Session, doing: &str, sql: &str) -> Result<(), Error> {
    session.batch_execute(sql).await.map_err(Error::postgres(doing))
}

async fn make_role(session: &Session, role: &str) -> Result<(), Error> {
    let there = session.query_opt("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", &[&role]).await;
    if there.map_err(Error::postgres("look for the second role"))?.is_none() {
        let make = format!("CREATE ROLE {} LOGIN CONNECTION LIMIT 25", quote_name(role));
        run(session, "make the second role", &make).await?;
    }
    Ok(())
}

async fn accounts(session: &Session, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    let mut sql = String::from(
        "INSERT INTO public.accounts (email, name, plan, status, balance, score, opened, tags, profile) VALUES ",
    );
    for id in 1..=ACCOUNTS {
        let separator = if id == 1 { "" } else { ", " };
        let name = format!("{} {id}", pick(&TEXTS, rng));
        let profile =
            serde_json::json!({ "n": rng.random::<u32>(), "said": pick(&TEXTS, rng), "list": [1, null, true] });
        let tags = format!("{{{},\"with, comma\",NULL}}", rng.random_range(0..100));
        sql.push_str(&format!(
            "{separator}('Person{id}@Example.org', {}, '{}', '{}', {}.{:04}, {:e}, {}, {}, {})",
            quote_text(&name),
            pick(&["free", "team", "enterprise"], rng),
            pick(&["new", "active", "closed"], rng),
            rng.random_range(0..1_000_000_000u64),
            rng.random_range(0..10_000),
            f64::from_bits(rng.random_range(1..0x7fef_ffff_ffff_ffff)),
            timestamp(rng),
            quote_text(&tags),
            quote_text(&profile.to_string()),
        ));
    }
    run(session, "fill accounts", &sql).await?;
    // Friends point at each other within the same transaction: only a deferred foreign key lets them.
    let befriend = format!("UPDATE public.accounts SET friend = {ACCOUNTS} + 1 - id");
    run(session, "connect accounts", &befriend).await?;
    let orders = format!(
        "INSERT INTO \"Odd Schema\".\"Order Items\" (\"Account\", \"what?\", amount)
         SELECT id, 'item ' || id, id * 3 FROM public.accounts WHERE id % 2 = 0;
         INSERT INTO \"Odd Schema\".\"Order Items\" (\"Account\", \"what?\", amount, parent)
         SELECT id, 'part of ' || id, 1, 100 + (id / 2 - 1) * 10 FROM public.accounts WHERE id % 4 = 0 AND id <= {ACCOUNTS};
         DELETE FROM \"Odd Schema\".\"Order Items\" WHERE \"what?\" = 'part of 200';"
    );
    run(session, "fill order items", &orders).await
}

async fn shapes(session: &Session, version: i32, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    for row in 0..60 {
        let uuid = uuid_text(rng);
        let bytes = random_hex(rng, row * 7);
        let (small, low) = (rng.random::<i32>(), rng.random_range(-1000..1000));
        let numeric =
            ["NaN", "0.000", "1e-20", "-123456789012345678901234567890.5", "1.10"].choose(rng).unwrap_or(&"0");
        let float = ["NaN", "-0", "Infinity", "0.1", "1e-300"].choose(rng).unwrap_or(&"0");
        let sql = format!(
            "INSERT INTO public.shapes (id, bytes, \"number\", real_number, double_number, moment, day, span, bits, address, net, period,
                 periods, money_range, moods, mood, where_, matrix, ids, refers_to, document, small_text, words)
             VALUES ('{uuid}', decode('{bytes}', 'hex'), '{numeric}', {small}::float4 / 7, '{float}', {}, {}::date,
                 '{low} months {small} seconds', B'{:08b}', '10.{}.0.1/8', '2001:db8::{:x}/64',
                 tstzrange({}, NULL), {PERIODS},
                 '[{low},{})', '{{sad,\"very happy\"}}', 'very happy', ROW(1.5, {}, 'ok'), '{{{{1,2}},{{3,{low}}}}}', ARRAY['{uuid}']::uuid[],
                 'public.accounts', '<a>{row}</a>', '{}', to_tsvector('simple', 'one two three{row}'))",
            timestamp(rng),
            timestamp(rng),
            rng.random::<u8>(),
            rng.random::<u8>(),
            rng.random::<u16>(),
            timestamp(rng),
            low + 10,
            quote_text(pick(&TEXTS, rng)),
            ["x", "", "é", "  y "].choose(rng).unwrap_or(&""),
        );
        run(session, "fill shapes", &for_version(version, &sql)).await?;
    }
    // Rows without a key, two of them alike: only counting duplicates tells one from two.
    let twins = "INSERT INTO public.no_key VALUES ('once', 1), ('twice', 2), ('twice', 2), (NULL, NULL), ('', 0)";
    run(session, "fill rows without a key", twins).await
}

async fn events(session: &Session, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    let mut sql = String::from("INSERT INTO public.events (account, at, kind, payload) VALUES ");
    for event in 0..EVENTS {
        let separator = if event == 0 { "" } else { ", " };
        let month = rng.random_range(1..=12);
        let (day, second) = (rng.random_range(1..=28), rng.random_range(0..86_400));
        let account = rng.random_range(1..=ACCOUNTS);
        sql.push_str(&format!(
            "{separator}({account}, '2024-{month:02}-{day:02} 00:00:00+00'::timestamptz + '{second} s', '{}', '{{\"n\": {event}}}')",
            pick(&["login", "edit", "delete"], rng),
        ));
    }
    run(session, "fill partitions", &sql).await
}

/// About `bytes` of table in rows that do not compress, by binary COPY.
async fn bulk(session: &Session, bytes: u64, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    let failed = || Error::postgres("fill documents");
    let copy = "COPY public.documents (id, tag, title, body) FROM STDIN (FORMAT binary)";
    let sink = session.copy_in::<_, Bytes>(copy).await.map_err(failed())?;
    futures::pin_mut!(sink);
    let rows = (bytes / BULK_ROW_ON_DISK).max(10);
    let mut chunk = BytesMut::with_capacity(COPY_CHUNK + 2 * BULK_ROW);
    chunk.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for id in 1..=rows {
        put_document(&mut chunk, id, rng);
        if chunk.len() >= COPY_CHUNK {
            sink.send(chunk.split().freeze()).await.map_err(failed())?;
            chunk.reserve(COPY_CHUNK + 2 * BULK_ROW);
        }
    }
    chunk.put_i16(-1);
    sink.send(chunk.freeze()).await.map_err(failed())?;
    sink.finish().await.map_err(failed())?;
    let advance = format!("SELECT setval('public.documents_id_seq', {rows})");
    run(session, "advance the documents' sequence", &advance).await
}

fn put_document(row: &mut BytesMut, id: u64, rng: &mut ChaCha8Rng) {
    row.put_i16(4);
    row.put_i32(8);
    row.put_u64(id);
    row.put_i32(16);
    put_random(row, 16, rng);
    let title = pick(&TEXTS, rng).as_bytes();
    row.put_i32(title.len() as i32);
    row.put_slice(title);
    row.put_i32(BULK_ROW as i32);
    put_random(row, BULK_ROW, rng);
}

fn put_random(row: &mut BytesMut, length: usize, rng: &mut ChaCha8Rng) {
    let start = row.len();
    row.put_bytes(0, length);
    rng.fill_bytes(&mut row[start..]);
}

async fn large_object(session: &Session, oid: u32, length: usize, rng: &mut ChaCha8Rng) -> Result<(), Error> {
    let mut content = vec![0; length];
    rng.fill_bytes(&mut content);
    let made = session.execute("SELECT pg_catalog.lo_from_bytea($1, $2)", &[&oid, &content]).await;
    made.map_err(Error::postgres(format!("make large object {oid}")))?;
    Ok(())
}

pub(super) fn pick<'a>(choices: &[&'a str], rng: &mut ChaCha8Rng) -> &'a str {
    choices.choose(rng).copied().unwrap_or("")
}

/// A moment between 1970 and 2033 with microseconds, never the time of the seed.
fn timestamp(rng: &mut ChaCha8Rng) -> String {
    let micros = rng.random_range(0..2_000_000_000_000_000u64);
    // Apart, because older servers take no more than 32 bits of either.
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    format!("('1970-01-01 00:00:00+00'::timestamptz + interval '{seconds} seconds {micros} microseconds')")
}

pub(super) fn random_hex(rng: &mut ChaCha8Rng, length: usize) -> String {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    hex::encode(bytes)
}

pub(super) fn uuid_text(rng: &mut ChaCha8Rng) -> String {
    let hex = random_hex(rng, 16);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
