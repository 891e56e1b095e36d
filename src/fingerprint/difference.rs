//! What two fingerprints say differs, in words for the person who has to act on it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fingerprint, Item};

/// One item that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `table public.users`.
    pub item: String,
    #[serde(flatten)]
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    Missing {
        was: Item,
    },
    Extra {
        is: Item,
    },
    Changed {
        was: Item,
        is: Item,
        /// For what has rows, when it could be told which.
        rows: Option<RowDifference>,
    },
}

/// How the rows of a table differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDifference {
    pub missing: u64,
    pub extra: u64,
    /// Same key, other content.
    pub changed: u64,
    /// Digests of the keys of the first few of them: data of a drill stays out of its reports.
    pub keys: Vec<String>,
}

const KEYS_SHOWN: usize = 10;

pub(super) fn between(before: &Fingerprint, after: &Fingerprint) -> Vec<Difference> {
    let missing = before.items.iter().filter_map(|(name, was)| match after.items.get(name) {
        None => Some((name, Change::Missing { was: was.clone() })),
        Some(is) if is.count == was.count && is.digest == was.digest => None,
        Some(is) => {
            let rows = row_difference(name, before, after);
            Some((name, Change::Changed { was: was.clone(), is: is.clone(), rows }))
        }
    });
    let extra = after.items.iter().filter(|(name, _)| !before.items.contains_key(*name));
    let extra = extra.map(|(name, is)| (name, Change::Extra { is: is.clone() }));
    let sorted: BTreeMap<&String, Change> = missing.chain(extra).collect();
    sorted.into_iter().map(|(item, change)| Difference { item: item.clone(), change }).collect()
}

fn row_difference(name: &str, before: &Fingerprint, after: &Fingerprint) -> Option<RowDifference> {
    let surplus = match (before.sketches.get(name), after.sketches.get(name)) {
        (Some(before), Some(after)) => before.surplus(after)?,
        // An empty table has no sketch: all rows of the other side are the difference.
        _ => return None,
    };
    let mut by_key: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for row in surplus {
        let (missing, extra) = by_key.entry(row.key).or_default();
        if row.copies > 0 {
            *missing += row.copies.unsigned_abs();
        } else {
            *extra += row.copies.unsigned_abs();
        }
    }
    let mut rows = RowDifference::default();
    for (key, (missing, extra)) in by_key {
        let changed = missing.min(extra);
        rows.changed += changed;
        rows.missing += missing - changed;
        rows.extra += extra - changed;
        if rows.keys.len() < KEYS_SHOWN {
            rows.keys.push(format!("{key:016x}"));
        }
    }
    Some(rows)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.item)?;
        match (&self.change, self.content()) {
            (Change::Missing { was }, Some(content)) => write!(f, "missing (had {})", content.count(was.count)),
            (Change::Missing { .. }, None) => f.write_str("missing"),
            (Change::Extra { is }, Some(content)) => write!(f, "not there before ({})", content.count(is.count)),
            (Change::Extra { .. }, None) => f.write_str("not there before"),
            (Change::Changed { was, is, rows: Some(rows) }, content) => {
                let content = content.unwrap_or(Content::Rows);
                let changed = content.say(rows);
                write!(f, "{changed} ({}, were {})", content.count(is.count), was.count)
            }
            (Change::Changed { was, is, rows: None }, Some(content)) => content.write(f, was.count, is.count),
            (Change::Changed { was, is, rows: None }, None) => write_texts(f, was, is),
        }
    }
}

impl Difference {
    /// What the item holds, where it is there to hold something.
    fn content(&self) -> Option<Content> {
        match self.item.split(' ').next() {
            Some("table" | "materialized") => Some(Content::Rows),
            Some("collection") => Some(Content::Documents),
            _ => None,
        }
    }
}

/// What a table or collection consists of.
#[derive(Clone, Copy)]
enum Content {
    Rows,
    Documents,
}

impl Content {
    fn count(self, count: u64) -> String {
        let word = match (self, count) {
            (Self::Rows, 1) => "row",
            (Self::Rows, _) => "rows",
            (Self::Documents, 1) => "document",
            (Self::Documents, _) => "documents",
        };
        format!("{count} {word}")
    }

    fn say(self, rows: &RowDifference) -> String {
        let counts = [("missing", rows.missing), ("extra", rows.extra), ("changed", rows.changed)];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(word, count)| format!("{} {word}", self.count(count))).collect::<Vec<_>>().join(", ")
    }

    fn write(self, f: &mut fmt::Formatter<'_>, was: u64, is: u64) -> fmt::Result {
        let now = self.count(is);
        match is.cmp(&was) {
            std::cmp::Ordering::Less => write!(f, "{now}, were {was}: {} fewer", was - is),
            std::cmp::Ordering::Greater => write!(f, "{now}, were {was}: {} more", is - was),
            std::cmp::Ordering::Equal => write!(f, "{now} as before, many with other content"),
        }
    }
}

fn write_texts(f: &mut fmt::Formatter<'_>, was: &Item, is: &Item) -> fmt::Result {
    match (&was.shown, &is.shown) {
        (Some(was), Some(is)) => write!(f, "{is}; was {was}"),
        _ => f.write_str("changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::TableDigest;
    use super::*;

    fn table(rows: &[(i32, &str)]) -> Fingerprint {
        let mut stream = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for (id, name) in rows {
            stream.extend([0, 2, 0, 0, 0, 4]);
            stream.extend(id.to_be_bytes());
            stream.extend((name.len() as i32).to_be_bytes());
            stream.extend(name.as_bytes());
        }
        stream.extend([0xff, 0xff]);
        let mut digest = TableDigest::new(vec![0], vec!["id".into()]);
        digest.feed(&stream).unwrap();
        let mut fingerprint = Fingerprint::default();
        digest.finish("table public.users".into(), &mut fingerprint).unwrap();
        fingerprint
    }

    fn said(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
        before.differences(after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_swapped_values_are_two_changed_rows() {
        let before = table(&[(1, "Anna"), (2, "Ben"), (3, "Cleo")]);
        let after = table(&[(1, "Ben"), (2, "Anna"), (3, "Cleo")]);
        assert_eq!(said(&before, &after), ["table public.users: 2 rows changed (3 rows, were 3)"]);
    }

    #[test]
    fn missing_and_extra_rows_are_counted_apart() {
        let before = table(&[(1, "Anna"), (2, "Ben"), (3, "Cleo")]);
        let after = table(&[(1, "Anna"), (4, "Dora"), (4, "Dora")]);
        assert_eq!(said(&before, &after), ["table public.users: 2 rows missing, 2 rows extra (3 rows, were 3)"]);
    }

    #[test]
    fn an_emptied_table_says_how_many_are_gone() {
        let before = table(&[(1, "Anna"), (2, "Ben")]);
        assert_eq!(said(&before, &table(&[])), ["table public.users: 0 rows, were 2: 2 fewer"]);
    }

    #[test]
    fn a_short_text_is_said_before_and_after() {
        let with = |text: &str| Fingerprint {
            items: BTreeMap::from([("sequence public.s".into(), Item::of_text(1, text))]),
            ..Default::default()
        };
        assert_eq!(
            said(&with("last_value 120"), &with("last_value 100")),
            ["sequence public.s: last_value 100; was last_value 120"]
        );
        assert_eq!(said(&with("x"), &Fingerprint::default()), ["sequence public.s: missing"]);
        assert_eq!(said(&Fingerprint::default(), &with("x")), ["sequence public.s: not there before"]);
    }

    #[test]
    fn equal_fingerprints_have_no_difference() {
        assert!(said(&table(&[(1, "Anna"), (2, "Ben")]), &table(&[(2, "Ben"), (1, "Anna")])).is_empty());
    }
}
