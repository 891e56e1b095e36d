//! Databases: logging in, filling them with what breaks restores, and taking fingerprints of them. What is asked of a database
//! of any kind is asked here; how each kind answers is in a file of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::fingerprint::copy::CopyError;
use crate::fingerprint::server::Known;
use crate::outcome::Observation;
use crate::probe::DatabaseTarget;
use crate::redact::Secret;

mod cockroach;
mod cockroach_catalog;
pub mod cockroach_fingerprint;
pub mod cockroach_schedule;
mod cockroach_seed;
mod mongo;
mod mongo_corrupt;
mod mongo_features;
mod mongo_fingerprint;
mod mongo_ledger;
mod mongo_seed;
pub mod postgres;
mod postgres_catalog;
pub mod postgres_corrupt;
pub mod postgres_fingerprint;
mod postgres_ledger;
pub mod postgres_seed;
mod postgres_server_hash;
mod postgres_types;

/// What kind of server holds a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseKind {
    Postgres,
    Cockroach,
    Mongodb,
}

impl DatabaseKind {
    /// As a scenario writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Cockroach => "cockroach",
            Self::Mongodb => "mongodb",
        }
    }

    /// How a fingerprint's items begin that hold what was seeded.
    pub fn content(self) -> &'static str {
        match self {
            Self::Postgres | Self::Cockroach => "table ",
            Self::Mongodb => "collection ",
        }
    }
}

/// Why a database could not be worked with. The database's own words are in the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Postgres { doing: String, source: tokio_postgres::Error },
    #[error("{doing}")]
    Mongodb { doing: String, source: mongo::Said },
    #[error("there is no collection {name}")]
    NoCollection { name: String },
    #[error("the ledger holds a row whose number is {row}")]
    Ledger { row: String },
    #[error("the server did not carry out all of it: {what}")]
    NotStored { what: String },
    #[error("{what} is of PostgreSQL, and {place} is a database of kind {}", .kind.name())]
    OfPostgres { what: &'static str, kind: DatabaseKind, place: String },
    #[error("read the rows of {table}")]
    Copy { table: String, source: CopyError },
    #[error("PostgreSQL {version} is older than 11, the first that this fingerprint can read")]
    TooOld { version: String },
    #[error("`{host}` is no TCP address: a local socket may trust anyone, so a login over it proves nothing")]
    Socket { host: String },
    #[error("no {what} has ended after {}s", after.as_secs())]
    NoEnd { what: &'static str, after: std::time::Duration },
    #[error("{what} is of CockroachDB, and {place} is a database of kind {}", .kind.name())]
    OfCockroach { what: &'static str, kind: DatabaseKind, place: String },
    #[error("configure TLS")]
    Tls(#[source] rustls::Error),
    #[error("no random numbers for a password's salt")]
    Random(#[source] std::io::Error),
}

impl Error {
    pub(crate) fn postgres(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Postgres { doing, source }
    }

    /// Whether a server that is up has judged the statement, the login or its own data, and is not just busy, starting or
    /// stopping: then it is of the system that something is missing.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => postgres::is_judgement(source),
            Self::Mongodb { source, .. } => mongo::is_judgement(source),
            Self::NoCollection { .. } | Self::Ledger { .. } | Self::NotStored { .. } => true,
            Self::OfPostgres { .. }
            | Self::OfCockroach { .. }
            | Self::NoEnd { .. }
            | Self::Copy { .. }
            | Self::TooOld { .. }
            | Self::Socket { .. }
            | Self::Tls(_)
            | Self::Random(_) => false,
        }
    }
}

/// What a ledger holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRows {
    pub rows: u64,
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// Numbers between the first and the last that no row has.
    pub gaps: u64,
    /// When the last was written, in microseconds since the epoch.
    pub last_at_micros: Option<i64>,
}

/// Refuses a host that is a local socket.
pub(crate) fn require_tcp(target: &DatabaseTarget) -> Result<(), Error> {
    match target.host.is_empty() || target.host.starts_with(['/', '@']) {
        true => Err(Error::Socket { host: target.host.clone() }),
        false => Ok(()),
    }
}

/// One run of a schedule of the database's own, before its time; only CockroachDB keeps any.
pub async fn run_schedule(
    target: &DatabaseTarget,
    name: &str,
    deadline: std::time::Duration,
) -> Result<cockroach_schedule::ScheduleRun, Error> {
    match target.kind {
        DatabaseKind::Cockroach => cockroach_schedule::run(target, name, deadline).await,
        kind @ (DatabaseKind::Postgres | DatabaseKind::Mongodb) => {
            Err(Error::OfCockroach { what: "a schedule", kind, place: target.place() })
        }
    }
}

/// Errors for a database that has no such thing. `what`: `a log that is shipped`.
pub(crate) fn require_postgres(target: &DatabaseTarget, what: &'static str) -> Result<(), Error> {
    match target.kind {
        DatabaseKind::Postgres => Ok(()),
        kind @ (DatabaseKind::Mongodb | DatabaseKind::Cockroach) => {
            Err(Error::OfPostgres { what, kind, place: target.place() })
        }
    }
}

/// Tries a login with another password than the target's own.
pub async fn log_in(target: &DatabaseTarget, password: &Secret) -> Observation {
    match target.kind {
        DatabaseKind::Postgres | DatabaseKind::Cockroach => postgres::log_in(target, password).await,
        DatabaseKind::Mongodb => mongo::log_in(target, password).await,
    }
}

/// Gives a principal of the database another password, which no log of the server's gets to see.
pub async fn set_password(target: &DatabaseTarget, role: &str, password: &Secret) -> Result<(), Error> {
    match target.kind {
        DatabaseKind::Postgres | DatabaseKind::Cockroach => postgres::set_password(target, role, password).await,
        DatabaseKind::Mongodb => require_postgres(target, "a second role"),
    }
}

/// Fills a database that has not been seeded before with about so many bytes; same `rng`, same content. `second_role`, where a
/// kind has roles, is made and gets grants; without one they go to whoever seeds. Gives what is not in it, since the server does not
/// have it.
pub async fn seed(
    target: &DatabaseTarget,
    second_role: Option<&str>,
    bytes: u64,
    rng: u64,
) -> Result<Vec<String>, Error> {
    match target.kind {
        DatabaseKind::Postgres => {
            let seeded = postgres_seed::seed(target, second_role.unwrap_or(&target.user), bytes, rng).await;
            seeded.map(|()| Vec::new())
        }
        DatabaseKind::Cockroach => {
            let seeded = cockroach_seed::seed(target, second_role.unwrap_or(&target.user), bytes, rng).await;
            seeded.map(|()| Vec::new())
        }
        DatabaseKind::Mongodb => mongo_seed::seed(target, bytes, rng).await,
    }
}

/// Digests of everything that is in a database. `except`: tables or collections whose rows change while a drill runs. The rows of `known` tables
/// may be taken over where the server says that they have not changed.
pub async fn fingerprint(
    target: &DatabaseTarget,
    except: &[String],
    known: BTreeMap<String, Known>,
) -> Result<Fingerprint, Error> {
    match target.kind {
        DatabaseKind::Postgres => {
            let help = postgres_fingerprint::Help { known, ..Default::default() };
            postgres_fingerprint::fingerprint_with(target, except, &help).await
        }
        DatabaseKind::Cockroach => cockroach_fingerprint::fingerprint(target, except).await,
        DatabaseKind::Mongodb => mongo_fingerprint::fingerprint(target, except).await,
    }
}

/// Takes half of the rows of every table, or of the documents of every collection, away.
pub async fn corrupt(target: &DatabaseTarget) -> Result<(), Error> {
    match target.kind {
        DatabaseKind::Postgres => postgres_corrupt::corrupt(target).await,
        DatabaseKind::Cockroach => cockroach::corrupt(target).await,
        DatabaseKind::Mongodb => mongo_corrupt::corrupt(target).await,
    }
}

/// Makes what holds the ledger and the nonces, where it is not there yet.
pub async fn prepare_ledger(target: &DatabaseTarget) -> Result<(), Error> {
    match target.kind {
        DatabaseKind::Postgres | DatabaseKind::Cockroach => postgres_ledger::prepare(target).await,
        DatabaseKind::Mongodb => mongo_ledger::prepare(target).await,
    }
}

/// What the ledger holds now.
pub async fn read_ledger(target: &DatabaseTarget) -> Result<LedgerRows, Error> {
    match target.kind {
        DatabaseKind::Postgres | DatabaseKind::Cockroach => postgres_ledger::read(target).await,
        DatabaseKind::Mongodb => mongo_ledger::read(target).await,
    }
}

/// Writes a value under its label, over the one that is there. Makes nothing that holds them: see [`prepare_ledger`].
pub async fn write_nonce(target: &DatabaseTarget, label: &str, value: &str) -> Result<(), Error> {
    match target.kind {
        DatabaseKind::Postgres | DatabaseKind::Cockroach => postgres_ledger::write_nonce(target, label, value).await,
        DatabaseKind::Mongodb => mongo_ledger::write_nonce(target, label, value).await,
    }
}

/// Every value by its label.
pub async fn read_nonces(target: &DatabaseTarget) -> Result<BTreeMap<String, String>, Error> {
    match target.kind {
        DatabaseKind::Postgres | DatabaseKind::Cockroach => postgres_ledger::read_nonces(target).await,
        DatabaseKind::Mongodb => mongo_ledger::read_nonces(target).await,
    }
}

/// Commits rows to a ledger over one connection.
#[derive(Debug)]
pub struct LedgerWriter(Writer);

#[derive(Debug)]
enum Writer {
    Postgres(postgres_ledger::Writer),
    Mongodb(mongo_ledger::Writer),
}

impl LedgerWriter {
    /// Goes on where the ledger ends. Errors where there is none.
    pub async fn open(target: &DatabaseTarget) -> Result<Self, Error> {
        Ok(Self(match target.kind {
            DatabaseKind::Postgres | DatabaseKind::Cockroach => {
                Writer::Postgres(postgres_ledger::Writer::open(target).await?)
            }
            DatabaseKind::Mongodb => Writer::Mongodb(mongo_ledger::Writer::open(target).await?),
        }))
    }

    /// Commits the next row, durably, and gives its number.
    pub async fn commit(&mut self) -> Result<u64, Error> {
        match &mut self.0 {
            Writer::Postgres(writer) => writer.commit().await,
            Writer::Mongodb(writer) => writer.commit().await,
        }
    }
}
