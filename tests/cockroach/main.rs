//! CockroachDB's stand-in as a pod: its backup and restore as a page has them typed, and what the prober makes of it.

mod drill;
mod ending;
mod place;
mod recovery;
