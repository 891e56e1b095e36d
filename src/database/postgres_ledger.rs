//! The ledger and the nonces in a PostgreSQL database.

use std::collections::BTreeMap;

use tokio_postgres::Statement;

use super::postgres::{self, Session};
use super::{Error, LedgerRows};
use crate::probe::DatabaseTarget;

/// The tables that change while a drill runs; a fingerprint leaves their rows out.
pub(super) const LIVE_TABLES: [&str; 2] = ["public.redrill_ledger", "public.redrill_nonce"];

/// Makes both tables, if they are not there yet.
pub(super) async fn prepare(target: &DatabaseTarget) -> Result<(), Error> {
    const TABLES: &str = "
        CREATE TABLE IF NOT EXISTS public.redrill_ledger (k bigint PRIMARY KEY, at timestamptz NOT NULL);
        CREATE TABLE IF NOT EXISTS public.redrill_nonce (label text PRIMARY KEY, value text NOT NULL);";
    let session = postgres::connect(target).await?;
    session.batch_execute(TABLES).await.map_err(Error::postgres("make the ledger's tables"))
}

#[derive(Debug)]
pub(super) struct Writer {
    session: Session,
    insert: Statement,
    last: u64,
}

impl Writer {
    pub(super) async fn open(target: &DatabaseTarget) -> Result<Self, Error> {
        const INSERT: &str = "INSERT INTO public.redrill_ledger (k, at) VALUES ($1, clock_timestamp())";
        let session = postgres::connect(target).await?;
        let on = "SET synchronous_commit = on";
        session.batch_execute(on).await.map_err(Error::postgres("make commits synchronous"))?;
        let last = "SELECT coalesce(max(k), 0) FROM public.redrill_ledger";
        let last = session.query_one(last, &[]).await.map_err(Error::postgres("find the ledger's end"))?;
        let insert = session.prepare(INSERT).await.map_err(Error::postgres("prepare the next row"))?;
        Ok(Self { session, insert, last: last.get::<_, i64>(0).unsigned_abs() })
    }

    pub(super) async fn commit(&mut self) -> Result<u64, Error> {
        let k = self.last + 1;
        let key = i64::try_from(k).unwrap_or(i64::MAX);
        let commit = self.session.execute(&self.insert, &[&key]).await;
        commit.map_err(Error::postgres(format!("commit row {k}")))?;
        self.last = k;
        Ok(k)
    }
}

pub(super) async fn read(target: &DatabaseTarget) -> Result<LedgerRows, Error> {
    const READ: &str = "
        SELECT count(*), min(k), max(k), (extract(epoch FROM max(at)) * 1000000)::bigint FROM public.redrill_ledger";
    let session = postgres::connect(target).await?;
    let row = session.query_one(READ, &[]).await.map_err(Error::postgres("read the ledger"))?;
    let unsigned = |column: usize| row.get::<_, Option<i64>>(column).map(i64::unsigned_abs);
    let (rows, first, last) = (unsigned(0).unwrap_or(0), unsigned(1), unsigned(2));
    let span = first.zip(last).map_or(0, |(first, last)| last - first + 1);
    Ok(LedgerRows { rows, first, last, gaps: span.saturating_sub(rows), last_at_micros: row.get(3) })
}

pub(super) async fn write_nonce(target: &DatabaseTarget, label: &str, value: &str) -> Result<(), Error> {
    const PUT: &str = "
        INSERT INTO public.redrill_nonce (label, value) VALUES ($1, $2)
        ON CONFLICT (label) DO UPDATE SET value = excluded.value";
    let session = postgres::connect(target).await?;
    let put = session.execute(PUT, &[&label, &value]).await;
    put.map_err(Error::postgres(format!("write nonce {label}")))?;
    Ok(())
}

pub(super) async fn read_nonces(target: &DatabaseTarget) -> Result<BTreeMap<String, String>, Error> {
    let session = postgres::connect(target).await?;
    let rows = session.query("SELECT label, value FROM public.redrill_nonce", &[]).await;
    let rows = rows.map_err(Error::postgres("read the nonces"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
