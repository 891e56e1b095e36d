//! Fingerprints: counts and order-independent content digests of what was seeded, and how two of them differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Items by name (`table public.users`, `sequence public.users_id_seq`, `role taiga`, `file user/a.png`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub items: BTreeMap<String, Item>,
}

/// One thing: how many rows (1 where it has none) and a digest, in hex, that two things share only if equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub count: u64,
    pub digest: String,
}
