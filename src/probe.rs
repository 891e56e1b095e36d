//! The prober's protocol: what redrill asks of itself inside the drill, one JSON line each way.
//!
//! `redrill __probe` runs in a pod of the drill. It reads a u32 (big endian) length and that many bytes of JSON,
//! one [`Request`], from stdin, and answers with JSON lines of [`Reply`] on stdout. Framing by length, because
//! servers before 1.30 cannot tell end of file on stdin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::database::DatabaseKind;
use crate::fingerprint::server::Known;
use crate::outcome::{Expectation, Observation};
use crate::redact::Secret;

mod archive;
pub mod client;
mod error;
pub mod files;
mod health;
pub mod isolation;
pub mod ledger;
pub mod login;
pub mod serve;

pub use error::Error;
pub use serve::{main, serve};

/// How to reach a database, as one principal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseTarget {
    pub kind: DatabaseKind,
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Secret,
}

impl DatabaseTarget {
    /// `taiga@10.1.0.4:5432/taiga`, for messages.
    pub fn place(&self) -> String {
        format!("{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// A restic repository and how to open it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResticTarget {
    pub repository: String,
    pub password: Secret,
    /// `AWS_ACCESS_KEY_ID` and the like.
    pub env: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "into", rename_all = "snake_case")]
pub enum LoginTarget {
    Database(DatabaseTarget),
    Restic(ResticTarget),
    /// Basic credentials against an HTTP endpoint: 2xx accepted, 401/403 refused.
    Http {
        url: String,
        user: String,
        password: Secret,
    },
}

/// What it means that a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusals {
    /// Something at the address said so: the packet got there.
    FromThere,
    /// What closes the drill may say so itself: somebody who listens has to have accepted.
    FromTheWay,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Fills a database with the shapes that break restores. `bytes` is the rough size; same `rng`, same content.
    SeedDatabase {
        target: DatabaseTarget,
        second_role: Option<String>,
        bytes: u64,
        rng: u64,
    },
    /// Fills a directory: odd names, empty files, a symlink, modes, owners.
    SeedFiles {
        root: String,
        bytes: u64,
        rng: u64,
        owner: u32,
        group: u32,
    },
    /// Makes the ledger's table, `redrill_ledger(k bigint primary key, at timestamptz)`, and the nonces', `redrill_nonce`.
    PrepareLedger {
        target: DatabaseTarget,
    },
    /// Gives a role of the database a (new) password, as a verifier: the server's log never holds the password.
    SetPassword {
        target: DatabaseTarget,
        role: String,
        password: Secret,
    },
    /// Commits rows 1..k one by one, answering `Reply::Committed` for each, until stdin ends or `Stop` arrives;
    /// then `Reply::Done`, or `Reply::Error` when the database ended it.
    Ledger {
        target: DatabaseTarget,
        pause_micros: u64,
    },
    /// Ends a running ledger. Answered once with `Reply::Done`, whether one is running or not.
    Stop,
    /// What the ledger holds now.
    ReadLedger {
        target: DatabaseTarget,
    },
    WriteNonce {
        target: DatabaseTarget,
        label: String,
        value: String,
    },
    ReadNonces {
        target: DatabaseTarget,
    },
    /// Logs in for real. First with a random password, which must be refused; where one just was, it is not tried again.
    Login {
        target: LoginTarget,
        expected: Expectation,
        random_refused: bool,
    },
    /// Digests of everything that is seeded; tables named in `except` (live data) are left out. Those in `known` are taken over
    /// where the server says that they have not changed.
    FingerprintDatabase {
        target: DatabaseTarget,
        except: Vec<String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        known: BTreeMap<String, Known>,
    },
    FingerprintFiles {
        root: String,
    },
    /// Completes the segment of the log that is being written, and waits until it is shipped. As a superuser.
    DrainArchive {
        target: DatabaseTarget,
        deadline_millis: u64,
    },
    /// How the archiver stands, and what time it is there. As a superuser.
    ReadArchiver {
        target: DatabaseTarget,
    },
    /// Whose data that is: what `initdb` called it, which every physical copy of it keeps.
    ReadIdentifier {
        target: DatabaseTarget,
    },
    /// Takes half of the rows of every table, or of the documents of every collection, away. As whoever seeds.
    CorruptDatabase {
        target: DatabaseTarget,
    },
    /// Has a schedule that the database keeps itself run now, and waits for the end of its job. As an administrator.
    RunSchedule {
        target: DatabaseTarget,
        name: String,
        deadline_millis: u64,
    },
    /// Tries to reach each address (IP:port) from here; none may answer.
    Isolation {
        addresses: Vec<String>,
        refusals: Refusals,
    },
    /// Asks once at each address: `http://IP:port/path` is to answer with a status of 200 to 399, `tcp://IP:port` to take a
    /// connection. Answered with those that do.
    Answering {
        addresses: Vec<String>,
    },
    /// One authenticated write, tried until it succeeds or the deadline (milliseconds) passes.
    FirstWrite {
        target: DatabaseTarget,
        deadline_millis: u64,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Done,
    /// Row k was acknowledged by the server at this moment (microseconds since the epoch).
    Committed {
        k: u64,
        at_micros: i64,
    },
    Ledger {
        rows: u64,
        first: Option<u64>,
        last: Option<u64>,
        gaps: u64,
        last_at_micros: Option<i64>,
    },
    Nonces {
        values: BTreeMap<String, String>,
    },
    Login {
        observed: Observation,
        random_refused: bool,
    },
    Seeded {
        /// What a seed would have, and the server has not.
        left_out: Vec<String>,
    },
    Fingerprint {
        fingerprint: crate::fingerprint::Fingerprint,
    },
    Drained {
        segment: String,
        /// From the segment's completion until it was shipped.
        micros: u64,
    },
    Identifier {
        identifier: String,
    },
    ScheduleRan {
        job: String,
        /// Of a job that did not succeed.
        error: Option<String>,
    },
    NoSuchSchedule,
    Archiver {
        /// `archive_mode`.
        mode: String,
        /// `archive_timeout`; 0 where a segment is shipped only when it is full.
        timeout_seconds: u64,
        /// Complete segments that are not shipped yet.
        waiting: u64,
        /// RFC 3339, with microseconds.
        clock: String,
    },
    Reached {
        addresses: Vec<String>,
    },
    Wrote {
        at_micros: i64,
    },
    /// The prober could not do what was asked; no secrets in it.
    Error {
        doing: String,
        reason: String,
        /// The system has judged what was asked, and gave this as its answer: see [`Error::is_refusal`].
        refused: bool,
    },
}

impl Reply {
    pub(crate) fn error(doing: String, error: &Error) -> Self {
        Self::Error { doing, reason: crate::error::chain(error), refused: error.is_refusal() }
    }
}
