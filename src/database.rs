//! Databases: logging in, filling them with what breaks restores, and taking fingerprints of them.

use serde::{Deserialize, Serialize};

use crate::fingerprint::copy::CopyError;

pub mod postgres;
mod postgres_catalog;
pub mod postgres_corrupt;
pub mod postgres_fingerprint;
pub mod postgres_seed;
mod postgres_server_hash;
mod postgres_types;

/// What kind of server holds a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseKind {
    Postgres,
}

/// Why a database could not be worked with. The database's own words are in the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Postgres { doing: String, source: tokio_postgres::Error },
    #[error("read the rows of {table}")]
    Copy { table: String, source: CopyError },
    #[error("PostgreSQL {version} is older than 11, the first that this fingerprint can read")]
    TooOld { version: String },
    #[error("`{host}` is no TCP address: a local socket may trust anyone, so a login over it proves nothing")]
    Socket { host: String },
    #[error("no random numbers for a password's salt")]
    Random(#[source] std::io::Error),
}

impl Error {
    pub(crate) fn postgres(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Postgres { doing, source }
    }
}
