//! The programs of the Hasura scenario: PostgreSQL 11 and wal-e between two projects, by the scripts of the backup repository.

mod place;
mod recovery;
mod refusals;
