//! Fingerprints of PostgreSQL databases, from the client's side and in one snapshot. For big tables the server may say first that
//! nothing changed.

use std::collections::BTreeMap;

use futures::{TryStreamExt, pin_mut};
use tokio_postgres::Row;

use super::Error;
use super::postgres::{self, Session};
use super::postgres_catalog::{self, DEFINITIONS, GRANTS, LARGE_OBJECTS, PASSWORDS, SEQUENCES, TABLES, settled};
use super::postgres_ledger::LIVE_TABLES;
use super::postgres_server_hash::{HASHES_ROWS, ServerHash};
use super::postgres_types::Types;
use crate::fingerprint::rows::TableDigest;
use crate::fingerprint::server::Known;
use crate::fingerprint::{Fingerprint, Item};
use crate::probe::DatabaseTarget;

/// Everything that decides how a value is written as text, and `row_security` so that rows which a policy hides are an
/// error and not simply gone. Rows that are only handed on come faster from one process; where the server hashes them
/// ([`super::postgres_server_hash`]) it may use several.
const SETTINGS: &str = "
    SET search_path = ''; SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmlbinary = 'base64';
    SET quote_all_identifiers = off; SET row_security = off; SET statement_timeout = 0; SET lock_timeout = 0;
    SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0";

/// How much of a large object is read at once.
const LARGE_OBJECT_CHUNK: i32 = 1 << 20;

/// How much the server helps.
#[derive(Debug, Clone)]
pub struct Help {
    /// Tables of fewer bytes on disk are read sooner than the server is asked.
    pub from: u64,
    /// Tables as they were: their rows are only read when the server does not say that they still are.
    pub known: BTreeMap<String, Known>,
}

impl Default for Help {
    fn default() -> Self {
        Self { from: 8 << 20, known: BTreeMap::new() }
    }
}

/// Fingerprints the database as one user sees it. `except`: tables (`public.sessions`) whose rows change while a drill
/// runs; their definitions still count, and those of the ledger's tables are always left out.
pub async fn fingerprint(target: &DatabaseTarget, except: &[String]) -> Result<Fingerprint, Error> {
    fingerprint_with(target, except, &Help::default()).await
}

/// The same, with more or less of the server's help.
pub async fn fingerprint_with(target: &DatabaseTarget, except: &[String], help: &Help) -> Result<Fingerprint, Error> {
    let session = postgres::connect(target).await?;
    let version = session.version().await?;
    session.batch_execute(SETTINGS).await.map_err(Error::postgres("open a snapshot"))?;
    let mut fingerprint = Fingerprint::default();
    let catalog = Catalog { session: &session, version };
    definitions(&catalog, &mut fingerprint).await?;
    grants(&catalog, &mut fingerprint).await?;
    sequences(&catalog, except, &mut fingerprint).await?;
    large_objects(&session, &mut fingerprint).await?;
    let helper = if version >= HASHES_ROWS { Some(ServerHash::new(&session).await?) } else { None };
    tables(&catalog, except, help, helper.as_ref(), &mut fingerprint).await?;
    Ok(fingerprint)
}

fn is_live(table: &str, except: &[String]) -> bool {
    LIVE_TABLES.contains(&table) || except.iter().any(|name| name == table)
}

/// A server's catalog, asked in the words of its version.
struct Catalog<'s> {
    session: &'s Session,
    version: i32,
}

impl Catalog<'_> {
    async fn query(&self, what: &str, sql: &str) -> Result<Vec<Row>, Error> {
        let sql = postgres_catalog::query(self.version, sql);
        self.session.query(&sql, &[]).await.map_err(Error::postgres(format!("read the {what}")))
    }
}

async fn definitions(catalog: &Catalog<'_>, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for (what, sql) in DEFINITIONS {
        put_texts(catalog.query(what, sql).await?, fingerprint);
    }
    let session = catalog.session;
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

async fn grants(catalog: &Catalog<'_>, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for row in catalog.query("grants", GRANTS).await? {
        let count: i64 = row.get(1);
        let privileges: Option<String> = row.get(2);
        let item = Item::of_text(count.unsigned_abs(), &privileges.unwrap_or_default());
        fingerprint.items.insert(row.get(0), item);
    }
    Ok(())
}

async fn sequences(catalog: &Catalog<'_>, except: &[String], fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for row in catalog.query("sequences", SEQUENCES).await? {
        let (item, name, parameters): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let of_live_table = |table: &str| parameters.contains(&format!("owned by {table}."));
        let live =
            LIVE_TABLES.iter().any(|table| of_live_table(table)) || except.iter().any(|table| of_live_table(table));
        let text = if live {
            parameters
        } else {
            let position = catalog.session.query_one(&format!("SELECT last_value, is_called FROM {name}"), &[]).await;
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

async fn tables(
    catalog: &Catalog<'_>,
    except: &[String],
    help: &Help,
    helper: Option<&ServerHash<'_>>,
    fingerprint: &mut Fingerprint,
) -> Result<(), Error> {
    let session = catalog.session;
    let types = Types::read(session).await?;
    for row in catalog.query("tables", TABLES).await? {
        let table = Table::from_row(&row, &types);
        if is_live(&table.name, except) {
            continue;
        }
        if row.get(6) {
            fingerprint.unlogged.insert(table.item.clone());
        }
        let sum = match helper {
            Some(helper) if table.bytes >= help.from || help.known.contains_key(&table.item) => {
                helper.sum(&table.name, &table.hashable).await?
            }
            Some(_) | None => None,
        };
        let unchanged = sum.as_ref().and_then(|sum| help.known.get(&table.item)?.unless_changed(sum));
        match unchanged {
            Some(item) => drop(fingerprint.items.insert(table.item.clone(), item.clone())),
            None => digest(session, &table, fingerprint).await?,
        }
        fingerprint.server_sums.extend(sum.map(|sum| (table.item, sum)));
    }
    Ok(())
}

struct Table {
    item: String,
    name: String,
    select: String,
    /// Each as the server hashes it, and of what type it is.
    hashable: Vec<(String, u32)>,
    key: Vec<usize>,
    key_names: Vec<String>,
    bytes: u64,
}

impl Table {
    fn from_row(row: &Row, types: &Types) -> Self {
        let name: String = row.get(1);
        let (columns, column_types): (Vec<String>, Vec<u32>) = (row.get(2), row.get(3));
        let key: Vec<usize> = row.get::<_, Vec<i32>>(4).iter().map(|position| *position as usize).collect();
        let typed = || columns.iter().zip(&column_types);
        let selected = typed()
            .map(|(column, oid)| if types.needs_text(*oid) { format!("{column}::text") } else { column.clone() });
        let selected = selected.collect::<Vec<_>>().join(", ");
        Self {
            item: row.get(0),
            select: format!("COPY (SELECT {selected} FROM ONLY {name}) TO STDOUT (FORMAT binary)"),
            hashable: typed().map(|(column, oid)| (types.hashable(column, *oid), *oid)).collect(),
            key_names: key.iter().filter_map(|position| columns.get(*position).cloned()).collect(),
            key,
            name,
            bytes: row.get::<_, i64>(5).unsigned_abs(),
        }
    }
}

async fn digest(session: &Session, table: &Table, fingerprint: &mut Fingerprint) -> Result<(), Error> {
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
