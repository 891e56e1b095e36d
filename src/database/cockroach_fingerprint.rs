//! Fingerprints of CockroachDB databases, from the client's side and in one transaction. Rows are read as text, each type cast in
//! one way: a server without binary COPY answers as one that has it.

use futures::{TryStreamExt, pin_mut};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::Error;
use super::cockroach_catalog::{COLUMNS, DEFINITIONS, GRANTS, SEQUENCES, TABLES};
use super::postgres::{self, Session, quote_name};
use super::postgres_catalog::settled;
use super::postgres_ledger::LIVE_TABLES;
use crate::fingerprint::rows::RowsDigest;
use crate::fingerprint::{Fingerprint, Item};
use crate::probe::DatabaseTarget;

/// What decides how a value is written as text, and a moment to which all answers belong.
const SETTINGS: [&str; 6] = [
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
];

/// Fingerprints the database as one user sees it. `except`: tables (`public.sessions`) whose rows change while a drill runs; their
/// definitions still count, and the rows of the ledger's tables are always left out.
pub async fn fingerprint(target: &DatabaseTarget, except: &[String]) -> Result<Fingerprint, Error> {
    let session = postgres::connect(target).await?;
    for setting in SETTINGS {
        session.batch_execute(setting).await.map_err(Error::postgres("open a snapshot"))?;
    }
    let mut fingerprint = Fingerprint::default();
    for (what, sql) in DEFINITIONS {
        for row in query(&session, what, sql).await? {
            let definition: Option<String> = row.get(1);
            fingerprint.items.insert(row.get(0), Item::of_text(1, &settled(&definition.unwrap_or_default())));
        }
    }
    for row in query(&session, "grants", GRANTS).await? {
        let privileges: Option<String> = row.get(2);
        let item = Item::of_text(row.get::<_, i64>(1).unsigned_abs(), &privileges.unwrap_or_default());
        fingerprint.items.insert(row.get(0), item);
    }
    sequences(&session, &mut fingerprint).await?;
    for row in query(&session, "tables", TABLES).await? {
        let (schema, name): (String, String) = (row.get(2), row.get(3));
        let plain = format!("{schema}.{name}");
        if LIVE_TABLES.contains(&plain.as_str()) || except.contains(&plain) {
            continue;
        }
        let table = Table { item: row.get(0), written: row.get(1), schema, name };
        digest(&session, &table, &mut fingerprint).await?;
    }
    Ok(fingerprint)
}

async fn query(session: &Session, what: &str, sql: &str) -> Result<Vec<Row>, Error> {
    session.query(sql, &[]).await.map_err(Error::postgres(format!("read the {what}")))
}

async fn sequences(session: &Session, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    for row in query(session, "sequences", SEQUENCES).await? {
        let (item, written, parameters): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        // Without preparation: a sequence is a table in which CockroachDB and PostgreSQL agree on names, not on types.
        let position = session.simple_query(&format!("SELECT last_value, is_called FROM {written}")).await;
        let position = position.map_err(Error::postgres(format!("read {item}")))?;
        let found = position.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())),
            _ => None,
        });
        let (last, called) = found.unwrap_or_default();
        fingerprint
            .items
            .insert(item, Item::of_text(1, &format!("last_value {last}, given out {called}, {parameters}")));
    }
    Ok(())
}

struct Table {
    item: String,
    written: String,
    schema: String,
    name: String,
}

async fn digest(session: &Session, table: &Table, fingerprint: &mut Fingerprint) -> Result<(), Error> {
    let failed = || Error::postgres(format!("read the rows of {}", table.written));
    let columns = session.query(COLUMNS, &[&table.schema, &table.name]).await.map_err(failed())?;
    let mut key: Vec<(i64, usize, String)> = Vec::new();
    let mut selected = Vec::new();
    for (position, column) in columns.iter().enumerate() {
        let (name, data_type): (String, String) = (column.get(0), column.get(1));
        key.extend(column.get::<_, Option<i64>>(2).map(|place| (place, position, name.clone())));
        selected.push(as_text(&quote_name(&name), &data_type));
    }
    key.sort();
    let (positions, names): (Vec<_>, Vec<_>) = key.into_iter().map(|(_, position, name)| (position, name)).unzip();
    let mut digest = RowsDigest::new(names);
    // A table may have no column at all: then its rows are told by their number.
    let select = if selected.is_empty() { "''::text".to_owned() } else { selected.join(", ") };
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = session.query_raw(&format!("SELECT {select} FROM {}", table.written), none).await.map_err(failed())?;
    pin_mut!(rows);
    let mut encoded = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(failed())? {
        encode(&row, &mut encoded).map_err(failed())?;
        digest.add_fields(&encoded, &positions);
    }
    digest.finish(table.item.clone(), fingerprint);
    Ok(())
}

/// A column as text that tells its values apart exactly, and the same before and after a restore.
fn as_text(column: &str, data_type: &str) -> String {
    match data_type {
        "bytea" => format!("encode({column}, 'hex')"),
        // In the session's own time zone otherwise, whose spelling the two have in different ways.
        "timestamp with time zone" => format!("({column} AT TIME ZONE 'UTC')::text"),
        _ => format!("{column}::text"),
    }
}

/// As a binary COPY has a row.
fn encode(row: &Row, encoded: &mut Vec<u8>) -> Result<(), tokio_postgres::Error> {
    encoded.clear();
    encoded.extend((row.len() as i16).to_be_bytes());
    for column in 0..row.len() {
        match row.try_get::<_, Option<&str>>(column)? {
            Some(text) => {
                encoded.extend((text.len() as i32).to_be_bytes());
                encoded.extend(text.as_bytes());
            }
            None => encoded.extend((-1i32).to_be_bytes()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_form_as_text() {
        assert_eq!(as_text("\"a\"", "bytea"), "encode(\"a\", 'hex')");
        assert_eq!(as_text("\"a\"", "timestamp with time zone"), "(\"a\" AT TIME ZONE 'UTC')::text");
        assert_eq!(as_text("\"a\"", "jsonb"), "\"a\"::text");
    }
}
