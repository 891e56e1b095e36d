//! The ledger and the nonces in a MongoDB database, and half of its documents gone.

use std::collections::BTreeMap;

use mongodb::Collection;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;

use super::mongo::{Session, text};
use super::{Error, LedgerRows};
use crate::probe::DatabaseTarget;

const LEDGER: &str = "redrill_ledger";
const NONCES: &str = "redrill_nonce";

/// The collections that change while a drill runs; a fingerprint leaves their documents out.
pub(super) const LIVE_COLLECTIONS: [&str; 2] = [LEDGER, NONCES];

/// Makes both collections, if they are not there yet.
pub(super) async fn prepare(target: &DatabaseTarget) -> Result<(), Error> {
    let session = Session::open(target).await?;
    let there = session.collections().await?;
    for name in LIVE_COLLECTIONS {
        if !there.iter().any(|listed| listed.name == name) {
            session.run("make the ledger's collections", doc! { "create": name }).await?;
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct Writer {
    ledger: Collection<RawDocumentBuf>,
    last: u64,
}

impl Writer {
    pub(super) async fn open(target: &DatabaseTarget) -> Result<Self, Error> {
        let session = Session::open(target).await?;
        let ledger = session.require(LEDGER).await?;
        let last = ledger.clone_with_type::<Document>().find_one(doc! {}).sort(doc! { "_id": -1 }).await;
        let last = last.map_err(Error::mongo("find the ledger's end"))?;
        let last = last.and_then(|document| number(document.get("_id")?)).unwrap_or(0);
        Ok(Self { ledger, last })
    }

    /// Confirmed once the server says that a majority has it in its journal.
    pub(super) async fn commit(&mut self) -> Result<u64, Error> {
        let k = self.last + 1;
        let row = doc! { "_id": i64::try_from(k).unwrap_or(i64::MAX), "at": DateTime::now() };
        let written = self.ledger.clone_with_type::<Document>().insert_one(row).await;
        written.map_err(Error::mongo(format!("commit row {k}")))?;
        self.last = k;
        Ok(k)
    }
}

/// Every row is looked at: no aggregation, which stand-ins have in part only.
pub(super) async fn read(target: &DatabaseTarget) -> Result<LedgerRows, Error> {
    let failed = || Error::mongo("read the ledger");
    let session = Session::open(target).await?;
    let ledger = session.require(LEDGER).await?.clone_with_type::<Document>();
    let mut cursor = ledger.find(doc! {}).sort(doc! { "_id": 1 }).await.map_err(failed())?;
    let mut found = LedgerRows { rows: 0, first: None, last: None, gaps: 0, last_at_micros: None };
    while cursor.advance().await.map_err(failed())? {
        let row = cursor.deserialize_current().map_err(failed())?;
        let k =
            row.get("_id").and_then(number).ok_or_else(|| Error::Ledger { row: format!("{:?}", row.get("_id")) })?;
        found.gaps += found.last.map_or(0, |last| k.saturating_sub(last + 1));
        found.first.get_or_insert(k);
        found.last = Some(k);
        found.rows += 1;
        let at = row.get_datetime("at").ok().map(|at| at.timestamp_millis() * 1000);
        found.last_at_micros = found.last_at_micros.max(at);
    }
    Ok(found)
}

fn number(value: &Bson) -> Option<u64> {
    let number = value.as_i64().or_else(|| value.as_i32().map(i64::from))?;
    u64::try_from(number).ok()
}

pub(super) async fn write_nonce(target: &DatabaseTarget, label: &str, value: &str) -> Result<(), Error> {
    let session = Session::open(target).await?;
    let nonces = session.require(NONCES).await?.clone_with_type::<Document>();
    let put = nonces.find_one_and_update(doc! { "_id": label }, doc! { "$set": { "value": value } });
    let put = put.upsert(true).return_document(ReturnDocument::After).await;
    let stored = put.map_err(Error::mongo(format!("write nonce {label}")))?;
    match stored.is_some_and(|stored| text(&stored, "value") == value) {
        true => Ok(()),
        false => Err(Error::NotStored { what: format!("write nonce {label}") }),
    }
}

pub(super) async fn read_nonces(target: &DatabaseTarget) -> Result<BTreeMap<String, String>, Error> {
    let failed = || Error::mongo("read the nonces");
    let session = Session::open(target).await?;
    let nonces = session.require(NONCES).await?.clone_with_type::<Document>();
    let mut cursor = nonces.find(doc! {}).await.map_err(failed())?;
    let mut values = BTreeMap::new();
    while cursor.advance().await.map_err(failed())? {
        let nonce = cursor.deserialize_current().map_err(failed())?;
        values.insert(text(&nonce, "_id"), text(&nonce, "value"));
    }
    Ok(values)
}
