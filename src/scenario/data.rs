//! The data of a scenario: where it is, who owns it, and what is seeded.

use super::{ObjectName, ValueFrom};
pub use crate::database::DatabaseKind;
use crate::outcome::SourceRef;

#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    pub kind: DatabaseKind,
    /// Of a system of several.
    pub cluster: Option<String>,
    /// As the system's pods name it: `postgresql-service.taiga`.
    pub host: String,
    pub port: u16,
    pub database: ValueFrom,
    pub user: ValueFrom,
    pub password: ValueFrom,
    /// Tables (`schema.name`) that applications write all the time: no fingerprint can hold their rows.
    pub live_tables: Vec<String>,
    /// Seeds and takes fingerprints in place of the owner, where that may not make what a seed makes, or see all roles.
    pub superuser: Option<Login>,
    /// A role beside the owner, made by the seed, with grants of its own.
    pub second_role: Option<SecondRole>,
    /// The database that a restore brings its content back to, where that is another one: a new project's.
    pub restored_in: Option<String>,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    pub user: ValueFrom,
    pub password: ValueFrom,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SecondRole {
    pub name: String,
    pub password: ValueFrom,
}

/// A tree of files in a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTree {
    pub claim: ObjectName,
    /// Below the claim's root.
    pub path: String,
    pub owner: u32,
    pub group: u32,
    pub source: SourceRef,
}

/// A restic repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Repository {
    /// Name of a store, whose keys open it.
    pub store: String,
    /// restic's own notation, to which `/path` is appended.
    pub base: ValueFrom,
    pub path: String,
    pub source: SourceRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedSize {
    Small,
    Medium,
    Large,
    Bytes(u64),
}

impl SeedSize {
    /// Rough total of what is seeded.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Small => 4 << 20,
            Self::Medium => 64 << 20,
            Self::Large => 1 << 30,
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// Names of `databases` and `files`.
    pub databases: Vec<String>,
    pub files: Vec<String>,
    pub size: SeedSize,
    /// What applications put in themselves, beside what redrill does.
    pub commands: Vec<super::Chore>,
}

impl Database {
    /// Of its Service, where its host names one.
    pub fn namespace(&self) -> Option<&str> {
        self.host.split('.').nth(1)
    }

    /// The name that the prober reaches it by, which stands outside of all clusters where there are several.
    pub fn address(&self) -> String {
        match &self.cluster {
            Some(cluster) => format!("{}.{cluster}", self.host),
            None => self.host.clone(),
        }
    }
}
