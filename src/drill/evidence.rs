//! What a drill knows from before the loss, to hold against what came back.

use std::collections::BTreeMap;

use crate::fingerprint::Fingerprint;
use crate::probe::ledger::Acknowledged;

/// Grows from phase to phase; verification reads it.
#[derive(Debug, Default)]
pub struct Evidence {
    /// As seeded, by the scenario's name of the database.
    pub databases: BTreeMap<String, Fingerprint>,
    /// Before anything was seeded: what a fresh start makes by itself, which says nothing about a loss.
    pub fresh: BTreeMap<String, Fingerprint>,
    /// What is not in it, since its server does not have it, by the scenario's name of the database.
    pub left_out: BTreeMap<String, Vec<String>>,
    /// As seeded, by the scenario's name of the tree.
    pub files: BTreeMap<String, Fingerprint>,
    /// Written before the backup began; must be there.
    pub nonce_before: Option<String>,
    /// Written after the backup ended: must not be there, unless its log comes back too.
    pub nonce_after: Option<String>,
    /// Rows of the ledger that were committed before the moment that comes back: none of these may be missing.
    pub must_survive: u64,
    /// Every acknowledged row of the ledger, up to the loss.
    pub acknowledged: Vec<Acknowledged>,
    /// Whether the first write after the restore was made: then it must still be there at the end.
    pub first_write: bool,
    /// What `initdb` called the data whose log is shipped: no other is called so.
    pub identifier: Option<String>,
    /// Where the log of the system went that was lost.
    pub prefix: Option<String>,
    pub measured: crate::objective::Measured,
}
