//! The archiver of a PostgreSQL server: whether the log is shipped, how far it is, and shipping the rest of it.
//!
//! What still has to be shipped is in the server's own bookkeeping: a file `SEGMENT.ready` in `pg_wal/archive_status` stands for
//! a segment that is complete and not shipped yet (PostgreSQL's manual, 26.3.1 and `src/backend/postmaster/pgarch.c`).

use std::time::Duration;

use tokio::time::Instant;

use super::{DatabaseTarget, Error, Reply};
use crate::database::postgres::{self, Session};
use crate::database::{self, Error as DatabaseError};

const LOG: &str = "a log that is shipped";

/// Completes the segment that is being written and waits until it is shipped, and with it everything before it.
pub(super) async fn drain(target: &DatabaseTarget, deadline_millis: u64) -> Result<Reply, Error> {
    // Nothing tells that a segment has been shipped.
    const POLL: Duration = Duration::from_millis(20);
    const SWITCH: &str = "SELECT pg_walfile_name(pg_switch_wal())";
    database::require_postgres(target, LOG)?;
    let session = postgres::connect(target).await?;
    let started = Instant::now();
    let deadline = started + Duration::from_millis(deadline_millis);
    let switched = session.query_one(SWITCH, &[]).await.map_err(DatabaseError::postgres("complete a segment"))?;
    let segment: String = switched.get(0);
    loop {
        let waiting = waiting_up_to(&session, &segment).await?;
        if waiting == 0 {
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            return Ok(Reply::Drained { segment, micros });
        }
        if Instant::now() + POLL >= deadline {
            let last = format!("{waiting} segments up to {segment} wait; {}", failure(&session).await?);
            return Err(Error::Deadline { millis: deadline_millis, last });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How the archiver stands.
pub(super) async fn state(target: &DatabaseTarget) -> Result<Reply, Error> {
    const SETTINGS: &str = "
        SELECT current_setting('archive_mode'),
               (SELECT setting::bigint FROM pg_settings WHERE name = 'archive_timeout'),
               to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    database::require_postgres(target, LOG)?;
    let session = postgres::connect(target).await?;
    let row =
        session.query_one(SETTINGS, &[]).await.map_err(DatabaseError::postgres("read the archiver's settings"))?;
    let mode: String = row.get(0);
    let waiting = match &*mode {
        "off" => 0,
        _ => waiting_up_to(&session, "G").await?,
    };
    Ok(Reply::Archiver { mode, timeout_seconds: row.get::<_, i64>(1).unsigned_abs(), waiting, clock: row.get(2) })
}

/// Whose data it is.
pub(super) async fn identifier(target: &DatabaseTarget) -> Result<Reply, Error> {
    const IDENTIFIER: &str = "SELECT system_identifier::text FROM pg_control_system()";
    database::require_postgres(target, "the identifier of a server")?;
    let session = postgres::connect(target).await?;
    let row = session.query_one(IDENTIFIER, &[]).await.map_err(DatabaseError::postgres("read the control file"))?;
    Ok(Reply::Identifier { identifier: row.get(0) })
}

/// Complete segments that are not shipped yet, up to one. Names of segments are in the order of the log.
async fn waiting_up_to(session: &Session, segment: &str) -> Result<u64, Error> {
    const WAITING: &str = "
        SELECT count(*) FROM pg_ls_dir('pg_wal/archive_status') AS file
        WHERE file LIKE '%.ready' COLLATE \"C\" AND left(file, 24) COLLATE \"C\" <= $1 COLLATE \"C\"";
    let row = session.query_one(WAITING, &[&segment]).await;
    let row = row.map_err(DatabaseError::postgres("count segments that are not shipped"))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// What the archiver says of its failures.
async fn failure(session: &Session) -> Result<String, Error> {
    const FAILED: &str = "SELECT failed_count, coalesce(last_failed_wal, '') FROM pg_stat_archiver";
    let row = session.query_one(FAILED, &[]).await.map_err(DatabaseError::postgres("ask the archiver"))?;
    Ok(match (row.get::<_, i64>(0), row.get::<_, String>(1)) {
        (0, _) => "archive_command has not failed".to_owned(),
        (times, last) => format!("archive_command failed {times} times, last for {last}"),
    })
}
