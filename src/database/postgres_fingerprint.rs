//! Fingerprints of PostgreSQL databases, from the client's side and in one snapshot.

use futures::{TryStreamExt, pin_mut};
use tokio_postgres::{Client, Row};

use super::Error;
use super::postgres::{self, Session};
use super::postgres_catalog::{DEFINITIONS, GRANTS, LARGE_OBJECTS, PASSWORDS, PRELUDE, SEQUENCES, TABLES, settled};
use super::postgres_types::Types;
use crate::fingerprint::rows::TableDigest;
use crate::fingerprint::{Fingerprint, Item};
use crate::probe::PostgresTarget;
use crate::probe::ledger::LIVE_TABLES;

/// Everything that decides how a value is written as text, and `row_security` so that rows which a policy hides are an
/// error and not simply gone.
const SETTINGS: &str = "
    SET search_path = ''; SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmlbinary = 'base64';
    SET quote_all_identifiers = off; SET row_security = off; SET statement_timeout = 0; SET lock_timeout = 0;
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How much of a large object is read at once.
const LARGE_OBJECT_CHUNK: i32 = 1 << 20;

/// Fingerprints the database as one user sees it. `except`: tables (`public.sessions`) whose rows change while a drill
/// runs; their definitions still count, and those of the ledger's tables are always left out.
pub async fn fingerprint(target: &PostgresTarget, except: &[String]) -> Result<Fingerprint, Error> {
    let session = postgres::connect(target).await?;
    supported(&session).await?;
    session.batch_execute(SETTINGS).await.map_err(Error::postgres("open a snapshot"))?;
    let mut fingerprint = Fingerprint::default();
    definitions(&session, &mut fingerprint).await?;
    grants(&session, &mut fingerprint).await?;
    sequences(&session, except, &mut fingerprint).await?;
    large_objects(&session, &mut fingerprint).await?;
    tables(&session, except, &mut fingerprint).await?;
    Ok(fingerprint)
}

async fn supported(session: &Session) -> Result<(), Error> {
    let row = session.query_one("SELECT current_setting('server_version_num')::int4, version()", &[]).await;
    let row = row.map_err(Error::postgres("ask for the server's version"))?;
    if row.get::<_, i32>(0) < 120_000 { Err(Error::TooOld { version: row.get(1) }) } else { Ok(()) }
}

fn is_live(table: &str, except: &[String]) -> bool {
    LIVE_TABLES.contains(&table) || except.iter().any(|name| name == table)
}

async fn query(client: &Client, what: &str, sql: &str) -> Result<Vec<Row>, Error> {
    let sql = format!("{PRELUDE}{sql}");
    client.query(&sql, &[]).await.map_err(Error::postgres(format!("read the {what}")))
}

async fn definitions(session: &Session, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for (what, sql) in DEFINITIONS {
        put_texts(query(session, what, sql).await?, fingerprint);
    }
    let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    if session.query_one(superuser, &[]).await.map_err(Error::postgres("ask who we are"))?.get(0) {
        let passwords = session.query(PASSWORDS, &[]).await;
        put_texts(passwords.map_err(Error::postgres("see which roles have a password"))?, fingerprint);
    }
    Ok(())
}

fn put_texts(rows: Vec<Row>, fingerprint: &mut Fingerprint) {
    for row in rows {
        let definition: Option<String> = row.get(1);
        let item = Item::of_text(1, &settled(&definition.unwrap_or_default()));
        fingerprint.items.insert(row.get(0), item);
    }
}

async fn grants(session: &Session, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for row in query(session, "grants", GRANTS).await? {
        let count: i64 = row.get(1);
        let privileges: Option<String> = row.get(2);
        let item = Item::of_text(count.unsigned_abs(), &privileges.unwrap_or_default());
        fingerprint.items.insert(row.get(0), item);
    }
    Ok(())
}

async fn sequences(session: &Session, except: &[String], fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for row in query(session, "sequences", SEQUENCES).await? {
        let (item, name, parameters): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let of_live_table = |table: &str| parameters.contains(&format!("owned by {table}."));
        let live =
            LIVE_TABLES.iter().any(|table| of_live_table(table)) || except.iter().any(|table| of_live_table(table));
        let text = if live {
            parameters
        } else {
            let position = session.query_one(&format!("SELECT last_value, is_called FROM {name}"), &[]).await;
            let position = position.map_err(Error::postgres(format!("read {item}")))?;
            let (last, called): (i64, bool) = (position.get(0), position.get(1));
            format!("last_value {last}{}, {parameters}", if called { "" } else { " (not given out yet)" })
        };
        fingerprint.items.insert(item, Item::of_text(1, &text));
    }
    Ok(())
}

async fn large_objects(session: &Session, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    let objects = session.query(LARGE_OBJECTS, &[]).await.map_err(Error::postgres("list the large objects"))?;
    let read =
        session.prepare("SELECT lo_get($1, $2, $3)").await.map_err(Error::postgres("prepare to read large objects"))?;
    for object in objects {
        let oid: u32 = object.get(0);
        let owner: String = object.get(1);
        let mut hasher = blake3::Hasher::new();
        let mut offset: i64 = 0;
        loop {
            let row = session.query_one(&read, &[&oid, &offset, &LARGE_OBJECT_CHUNK]).await;
            let row = row.map_err(Error::postgres(format!("read large object {oid}")))?;
            let bytes: &[u8] = row.get(0);
            hasher.update(bytes);
            offset += bytes.len() as i64;
            if bytes.len() < LARGE_OBJECT_CHUNK as usize {
                break;
            }
        }
        let item =
            Item { count: 1, digest: hasher.finalize().to_hex().to_string(), shown: Some(format!("{offset} bytes")) };
        fingerprint.items.insert(format!("large object {oid}"), item);
        fingerprint.items.insert(format!("owner of large object {oid}"), Item::of_text(1, &owner));
    }
    Ok(())
}

async fn tables(session: &Session, except: &[String], fingerprint: &mut Fingerprint) -> Result<(), Error> {
    let types = Types::read(session).await?;
    for row in query(session, "tables", TABLES).await? {
        let table = Table::from_row(&row, &types);
        if !is_live(&table.name, except) {
            digest(session, table, fingerprint).await?;
        }
    }
    Ok(())
}

struct Table {
    item: String,
    name: String,
    select: String,
    key: Vec<usize>,
    key_names: Vec<String>,
}

impl Table {
    fn from_row(row: &Row, types: &Types) -> Self {
        let name: String = row.get(1);
        let (columns, column_types): (Vec<String>, Vec<u32>) = (row.get(2), row.get(3));
        let key: Vec<usize> = row.get::<_, Vec<i32>>(4).iter().map(|position| *position as usize).collect();
        let selected = columns
            .iter()
            .zip(&column_types)
            .map(|(column, oid)| if types.needs_text(*oid) { format!("{column}::text") } else { column.clone() });
        let selected = selected.collect::<Vec<_>>().join(", ");
        Self {
            item: row.get(0),
            select: format!("COPY (SELECT {selected} FROM ONLY {name}) TO STDOUT (FORMAT binary)"),
            key_names: key.iter().filter_map(|position| columns.get(*position).cloned()).collect(),
            key,
            name,
        }
    }
}

async fn digest(session: &Session, table: Table, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    let failed = || Error::postgres(format!("read the rows of {}", table.name));
    let broken = |source| Error::Copy { table: table.name.clone(), source };
    let mut digest = TableDigest::new(table.key.clone(), table.key_names.clone());
    let stream = session.copy_out(&table.select).await.map_err(failed())?;
    pin_mut!(stream);
    while let Some(chunk) = stream.try_next().await.map_err(failed())? {
        digest.feed(&chunk).map_err(broken)?;
    }
    digest.finish(table.item.clone(), fingerprint).map_err(broken)
}
