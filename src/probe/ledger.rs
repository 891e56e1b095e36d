//! The ledger and the nonces: rows that tell which moment a restored database is from.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::serve::{Replies, Requests};
use super::{DatabaseTarget, Error, Reply, Request};
use crate::database::{self, LedgerWriter};
use crate::error::chain;

/// The label under which [`first_write`] leaves its row.
pub const FIRST_WRITE: &str = "first-write";

/// A row whose commit the server has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub k: u64,
    /// Microseconds since the epoch, by the prober's clock.
    pub at_micros: i64,
}

/// What came back of a ledger, in the terms of a recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerVerdict {
    /// Rows 1..=`survived` came back and nothing after them.
    Prefix {
        survived: u64,
        /// Acknowledged rows that did not come back.
        lost_rows: u64,
        /// From the last acknowledged row that came back (from the first row where none did) to the last one acknowledged.
        lost: Duration,
    },
    /// Holes, or rows that nobody wrote: no state that the database ever had.
    NotAPrefix { reason: String },
}

/// Rows found in a ledger: [`Reply::Ledger`] without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survived {
    pub rows: u64,
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub gaps: u64,
}

/// Compares what a ledger's writer was promised with what is there now. `acknowledged` is in the order of `k`, from 1.
///
/// One row more than acknowledged may be there: it was committed, and the confirmation was lost with the connection.
pub fn verdict(acknowledged: &[Acknowledged], survived: Survived) -> LedgerVerdict {
    let not = |reason: String| LedgerVerdict::NotAPrefix { reason };
    let (rows, last) = (survived.rows, survived.last.unwrap_or(0));
    if survived.gaps > 0 || rows != last {
        return not(format!("{rows} rows up to row {last}, with {} holes between them", survived.gaps));
    }
    if rows > 0 && survived.first != Some(1) {
        return not(format!("the first row is {:?} and not 1", survived.first));
    }
    let Some(end) = acknowledged.last() else {
        return match rows {
            0 | 1 => LedgerVerdict::Prefix { survived: rows, lost_rows: 0, lost: Duration::ZERO },
            _ => not(format!("{rows} rows, and none was ever acknowledged")),
        };
    };
    if rows > end.k + 1 {
        return not(format!("{rows} rows, and only {} were ever acknowledged", end.k));
    }
    let lost_rows = acknowledged.iter().filter(|row| row.k > rows).count() as u64;
    let start = acknowledged.iter().take_while(|row| row.k <= rows).last().unwrap_or(&acknowledged[0]);
    let lost = Duration::from_micros(u64::try_from(end.at_micros - start.at_micros).unwrap_or(0));
    LedgerVerdict::Prefix { survived: rows, lost_rows, lost }
}

/// Commits rows until stdin ends, `Stop` arrives or the database fails. Errors only when a reply cannot be written.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    target: &DatabaseTarget,
    pause_micros: u64,
    requests: &mut Requests,
    replies: &mut Replies<W>,
) -> io::Result<()> {
    let failed = |error: Error| Reply::error(format!("keep the ledger in {}", target.place()), &error);
    let mut writer = match LedgerWriter::open(target).await {
        Ok(writer) => writer,
        Err(error) => return replies.send(&failed(error.into())).await,
    };
    let mut pace = tokio::time::interval(Duration::from_micros(pause_micros.max(1)));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            request = requests.recv() => return match request {
                None | Some(Ok(Request::Stop)) => replies.send(&Reply::Done).await,
                Some(_) => replies.send(&Reply::Error {
                    doing: format!("keep the ledger in {}", target.place()),
                    reason: "asked for something else than to stop; the ledger ends here".into(),
                    refused: false,
                }).await,
            },
            // A commit is never given up halfway: only the wait for the next one is.
            _ = pace.tick() => match writer.commit().await {
                Ok(k) => replies.send(&Reply::Committed { k, at_micros: now_micros() }).await?,
                Err(error) => return replies.send(&failed(error.into())).await,
            },
        }
    }
}

/// Writes to the nonces' table until it is accepted; when that was, in microseconds since the epoch.
///
/// The table is not made here: a write into an empty database would prove nothing. A server that does not answer has until
/// the deadline; one that answers with a refusal (no such table, wrong password) has [`REFUSING`], as nothing is left that
/// would change its mind.
pub(super) async fn first_write(target: &DatabaseTarget, deadline_millis: u64) -> Result<i64, Error> {
    // No event tells that a database elsewhere takes writes again.
    const POLL: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + Duration::from_millis(deadline_millis);
    let late = |last: String| Error::Deadline { millis: deadline_millis, last };
    let mut last = "no answer".to_owned();
    let mut refused_since = None;
    loop {
        let error = match tokio::time::timeout_at(deadline, write_once(target)).await {
            Ok(Ok(at_micros)) => return Ok(at_micros),
            Ok(Err(error)) => error,
            Err(_) => return Err(late(last)),
        };
        last = chain(&error);
        let now = Instant::now();
        refused_since = error.is_refusal().then(|| refused_since.unwrap_or(now));
        if refused_since.is_some_and(|since| now - since >= REFUSING) {
            return Err(Error::Refused { seconds: REFUSING.as_secs(), last });
        }
        if now + POLL >= deadline {
            return Err(late(last));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How long a server that is up may go on refusing a write.
const REFUSING: Duration = Duration::from_secs(15);

async fn write_once(target: &DatabaseTarget) -> Result<i64, Error> {
    database::write_nonce(target, FIRST_WRITE, &now_micros().to_string()).await?;
    Ok(now_micros())
}

fn now_micros() -> i64 {
    Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acknowledged(rows: u64) -> Vec<Acknowledged> {
        (1..=rows).map(|k| Acknowledged { k, at_micros: k as i64 * 1_000_000 }).collect()
    }

    fn rows(rows: u64) -> Survived {
        Survived { rows, first: (rows > 0).then_some(1), last: (rows > 0).then_some(rows), gaps: 0 }
    }

    proptest! {
        #[test]
        fn lost_rows_are_those_after_the_prefix(
            (written, survived) in (1u64..200).prop_flat_map(|written| (Just(written), 0..=written)),
        ) {
            let lost = Duration::from_secs(written - survived.max(1));
            let expected = LedgerVerdict::Prefix { survived, lost_rows: written - survived, lost };
            prop_assert_eq!(verdict(&acknowledged(written), rows(survived)), expected);
        }
    }

    #[test]
    fn a_commit_whose_confirmation_was_lost_may_be_there() {
        let expected = LedgerVerdict::Prefix { survived: 8, lost_rows: 0, lost: Duration::ZERO };
        assert_eq!(verdict(&acknowledged(7), rows(8)), expected);
        assert!(matches!(verdict(&acknowledged(7), rows(9)), LedgerVerdict::NotAPrefix { .. }));
    }

    #[test]
    fn a_hole_is_no_state_the_database_ever_had() {
        let with_hole = Survived { rows: 6, first: Some(1), last: Some(7), gaps: 1 };
        assert!(matches!(verdict(&acknowledged(7), with_hole), LedgerVerdict::NotAPrefix { .. }));
        let late_start = Survived { rows: 6, first: Some(2), last: Some(7), gaps: 0 };
        assert!(matches!(verdict(&acknowledged(7), late_start), LedgerVerdict::NotAPrefix { .. }));
    }
}
