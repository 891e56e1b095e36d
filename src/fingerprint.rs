//! Fingerprints: counts and order-independent content digests of what was seeded, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub mod copy;
pub mod difference;
pub mod rows;
pub mod server;
pub mod sketch;
pub mod tree;

pub use difference::{Change, Difference, RowDifference};
use server::{Known, ServerSum};
use sketch::Sketch;

/// Items by name (`table public.users`, `sequence public.users_id_seq`, `role taiga`, `file user/a.png`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub items: BTreeMap<String, Item>,
    /// For items that have rows: which rows differ, as long as they are few. By the item's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sketches: BTreeMap<String, Sketch>,
    /// For big tables: what the server itself says of their rows. By the item's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server_sums: BTreeMap<String, ServerSum>,
    /// Items whose rows no log holds: they are empty after a crash, and after a recovery from a log.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unlogged: BTreeSet<String>,
}

/// One thing: how many rows (1 where it has none) and a digest, in hex, that two things share only if equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub count: u64,
    pub digest: String,
    /// Where it is short, what was digested: so that a difference can say `last_value 120, now 100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
}

/// Longer definitions are digested and not kept.
const SHOWN_LIMIT: usize = 160;

impl Item {
    /// An item that is fully said by a text: a definition, a setting, a list of privileges.
    pub fn of_text(count: u64, text: &str) -> Self {
        let shown = (text.len() <= SHOWN_LIMIT && !text.is_empty()).then(|| text.to_owned());
        Self { count, digest: blake3::hash(text.as_bytes()).to_hex().to_string(), shown }
    }
}

impl Fingerprint {
    /// What differs when `self` is how it was and `after` how it is now, in the order of the items' names.
    pub fn differences(&self, after: &Self) -> Vec<Difference> {
        difference::between(self, after)
    }

    /// How it has to be after a recovery from a log that came to `after`: with its unlogged items empty, those of them that are.
    /// Their names are given, too.
    pub fn as_a_log_has_it(&self, after: &Self) -> (Self, Vec<String>) {
        let mut expected = self.clone();
        let mut emptied = Vec::new();
        for name in &self.unlogged {
            let (Some(item), Some(now)) = (expected.items.get_mut(name), after.items.get(name)) else { continue };
            if now.count == 0 && item.count > 0 {
                *item = now.clone();
                emptied.push(name.clone());
            }
        }
        (expected, emptied)
    }

    /// What a second fingerprint may take over instead of reading it again, where the server's sums are the same.
    pub fn known(&self) -> BTreeMap<String, Known> {
        let sums = self.server_sums.iter();
        sums.filter_map(|(name, sum)| {
            let item = self.items.get(name)?.clone();
            Some((name.clone(), Known { item, sum: sum.clone() }))
        })
        .collect()
    }

    /// How many items there are, the kinds that hold data first: `12 tables with 4093 rows, 3 large objects, 8 sequences,
    /// 340 other things`. For reports.
    pub fn summary(&self) -> String {
        const KINDS: [(&str, &str); 9] = [
            ("table ", "tables"),
            ("collection ", "collections"),
            ("large object ", "large objects"),
            ("sequence ", "sequences"),
            ("role ", "roles"),
            ("user ", "users"),
            ("grant ", "grants"),
            ("file ", "files"),
            ("directory ", "directories"),
        ];
        let mut counted = Vec::new();
        let mut others = self.items.len();
        for (prefix, plural) in KINDS {
            let count = self.items.keys().filter(|name| name.starts_with(prefix)).count();
            others -= count;
            match (count, prefix) {
                (0, _) => {}
                (_, "table ") => counted.push(format!("{count} {plural} with {} rows", self.rows(prefix))),
                (_, "collection ") => counted.push(format!("{count} {plural} with {} documents", self.rows(prefix))),
                (_, _) => counted.push(format!("{count} {plural}")),
            }
        }
        if others > 0 {
            counted.push(format!("{others} other things"));
        }
        counted.join(", ")
    }

    /// How many rows (1 for what has none) the items whose name starts with `kind` have together.
    pub fn rows(&self, kind: &str) -> u64 {
        self.items.iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, item)| item.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(counts: [(&str, u64); 3]) -> Fingerprint {
        let items = counts.map(|(name, count)| (name.to_owned(), Item::of_text(count, &count.to_string())));
        Fingerprint { items: items.into(), unlogged: ["a".to_owned(), "b".to_owned()].into(), ..Fingerprint::default() }
    }

    #[test]
    fn only_unlogged_items_may_come_back_empty_and_only_empty() {
        let before = fingerprint([("a", 1), ("b", 2), ("c", 3)]);
        let after = fingerprint([("a", 0), ("b", 1), ("c", 0)]);
        let (expected, emptied) = before.as_a_log_has_it(&after);
        assert_eq!(emptied, ["a"]);
        let differing: Vec<_> = expected.differences(&after).into_iter().map(|difference| difference.item).collect();
        assert_eq!(differing, ["b", "c"]);
    }
}
