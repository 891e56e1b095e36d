//! Which rows differ between two tables, from two small summaries made at different times.
//!
//! When a difference shows, the table that it differs from is long gone. A sketch is an invertible Bloom lookup table
//! (Goodrich and Mitzenmacher, 2011): every row is added into three cells; subtracting the sketch of one table from that
//! of the other cancels what both have, and from cells that hold a single row the rest is peeled off. It takes constant
//! memory and gives the differing rows exactly, as long as there are no more than some five hundred of them and no two share
//! all three cells (of a hundred rows about one set in three thousand has such a pair); else it says so.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PARTS: usize = 3;
const CELLS_PER_PART: usize = 256;
const CELLS: usize = PARTS * CELLS_PER_PART;
const ENCODED_CELL: usize = 2 + 8 + 3 * 16;

/// A summary of a bag of rows, each known by a digest of its key and a digest of the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    key: Vec<String>,
    cells: Vec<Cell>,
}

/// Sums stay exact integers: 64 bit digests in 128 bits, so that `n` copies of one row divide by `n`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cell {
    count: i64,
    key: i128,
    row: i128,
    check: i128,
}

/// A row that one side has more often than the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Surplus {
    pub key: u64,
    pub row: u64,
    /// Positive: the first side has it that many times more.
    pub copies: i64,
}

impl Sketch {
    /// `key`: names of the columns that the key digests are made of.
    pub fn new(key: Vec<String>) -> Self {
        Self { key, cells: vec![Cell::default(); CELLS] }
    }

    /// Adds one row.
    pub fn add(&mut self, key: u64, row: u64) {
        for index in places(key, row) {
            self.cells[index].add(key, row, 1);
        }
    }

    /// The rows in which two tables differ; `None` when they are too many, or told apart by different keys.
    pub(super) fn surplus(&self, other: &Self) -> Option<Vec<Surplus>> {
        if self.key != other.key {
            return None;
        }
        let mut cells: Vec<Cell> = self.cells.iter().zip(&other.cells).map(|(one, two)| one.minus(two)).collect();
        let mut found: BTreeMap<(u64, u64), i64> = BTreeMap::new();
        let mut queue: Vec<usize> = (0..CELLS).collect();
        while let Some(index) = queue.pop() {
            let Some(Surplus { key, row, copies }) = cells[index].only_row(index) else { continue };
            *found.entry((key, row)).or_default() += copies;
            for place in places(key, row) {
                cells[place].add(key, row, -copies);
                queue.push(place);
            }
        }
        let all = cells.iter().all(|cell| *cell == Cell::default());
        let rows = found.into_iter().filter(|(_, copies)| *copies != 0);
        all.then(|| rows.map(|((key, row), copies)| Surplus { key, row, copies }).collect())
    }
}

impl Cell {
    fn add(&mut self, key: u64, row: u64, copies: i64) {
        let times = i128::from(copies);
        self.count += copies;
        self.key += i128::from(key) * times;
        self.row += i128::from(row) * times;
        self.check += i128::from(mix(key, row)) * times;
    }

    fn minus(&self, other: &Self) -> Self {
        Self {
            count: self.count - other.count,
            key: self.key - other.key,
            row: self.row - other.row,
            check: self.check - other.check,
        }
    }

    /// The row that this cell holds, if it holds copies of just one.
    fn only_row(&self, index: usize) -> Option<Surplus> {
        let copies = i128::from(self.count);
        if copies == 0 || self.key % copies != 0 || self.row % copies != 0 {
            return None;
        }
        let key = u64::try_from(self.key / copies).ok()?;
        let row = u64::try_from(self.row / copies).ok()?;
        let whole = i128::from(mix(key, row)) * copies == self.check && places(key, row).contains(&index);
        whole.then_some(Surplus { key, row, copies: self.count })
    }
}

fn places(key: u64, row: u64) -> [usize; PARTS] {
    let mixed = mix(row, key);
    std::array::from_fn(|part| {
        let place = (mixed >> (part * 20)) as usize % CELLS_PER_PART;
        part * CELLS_PER_PART + place
    })
}

/// A cheap bijective-in-each-argument mixer (the finaliser of SplitMix64): its inputs are digests already.
fn mix(one: u64, two: u64) -> u64 {
    let mut mixed = one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ two.rotate_left(29);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[derive(Serialize, Deserialize)]
struct Stored {
    key: Vec<String>,
    /// Base64 of the cells that are not empty, each with its index, little endian.
    cells: String,
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        for (index, cell) in self.cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::default()) {
            bytes.extend((index as u16).to_le_bytes());
            bytes.extend(cell.count.to_le_bytes());
            for sum in [cell.key, cell.row, cell.check] {
                bytes.extend(sum.to_le_bytes());
            }
        }
        Stored { key: self.key.clone(), cells: BASE64.encode(bytes) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let stored = Stored::deserialize(deserializer)?;
        let bytes = BASE64.decode(&stored.cells).map_err(Error::custom)?;
        let (cells, []) = bytes.as_chunks::<ENCODED_CELL>() else {
            return Err(Error::custom("a sketch of broken length"));
        };
        let mut sketch = Self::new(stored.key);
        for cell in cells {
            let (index, cell) = decode_cell(cell);
            *sketch.cells.get_mut(index).ok_or_else(|| Error::custom("a sketch with too many cells"))? = cell;
        }
        Ok(sketch)
    }
}

fn decode_cell(bytes: &[u8; ENCODED_CELL]) -> (usize, Cell) {
    fn part<const N: usize>(bytes: &[u8; ENCODED_CELL], at: usize) -> [u8; N] {
        std::array::from_fn(|index| bytes[at + index])
    }
    let cell = Cell {
        count: i64::from_le_bytes(part(bytes, 2)),
        key: i128::from_le_bytes(part(bytes, 10)),
        row: i128::from_le_bytes(part(bytes, 26)),
        check: i128::from_le_bytes(part(bytes, 42)),
    };
    (usize::from(u16::from_le_bytes(part(bytes, 0))), cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(rows: &[(u64, u64)]) -> Sketch {
        let mut sketch = Sketch::new(vec!["id".into()]);
        rows.iter().for_each(|(key, row)| sketch.add(*key, *row));
        sketch
    }

    proptest! {
        /// Now and then two rows share all their cells: then none are named rather than wrong ones.
        #[test]
        fn no_rows_but_those_that_differ_are_found(
            common in prop::collection::vec(any::<(u64, u64)>(), 0..2000),
            lost in prop::collection::btree_set(any::<(u64, u64)>(), 0..120),
            copies in 1i64..5,
        ) {
            let mut before = common.clone();
            for _ in 0..copies {
                before.extend(&lost);
            }
            let expected: Vec<_> = lost.iter().map(|(key, row)| Surplus { key: *key, row: *row, copies }).collect();
            let found = sketch(&before).surplus(&sketch(&common));
            prop_assert!(found.is_none_or(|found| found == expected));
        }

        #[test]
        fn a_stored_sketch_is_the_sketch(rows in prop::collection::vec(any::<(u64, u64)>(), 0..100)) {
            let sketch = sketch(&rows);
            let stored = serde_json::to_string(&sketch).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sketch>(&stored).unwrap(), sketch);
        }
    }

    #[test]
    fn the_rows_that_differ_are_found() {
        let rows = |table: u64, count: u64| (0..count).map(move |n| (mix(table, n), mix(n, table + 1_000_000)));
        for table in 0..200 {
            let common: Vec<(u64, u64)> = rows(table, 300).collect();
            let lost: Vec<(u64, u64)> = rows(table + 1000, 1 + table % 120).collect();
            let before: Vec<(u64, u64)> = common.iter().chain(&lost).copied().collect();
            let mut expected: Vec<_> = lost.iter().map(|&(key, row)| Surplus { key, row, copies: 1 }).collect();
            expected.sort();
            assert_eq!(sketch(&before).surplus(&sketch(&common)), Some(expected), "table {table}");
        }
    }

    #[test]
    fn too_many_differences_are_admitted_and_not_guessed() {
        let rows: Vec<(u64, u64)> = (0..5000).map(|n| (mix(n, 1), mix(n, 2))).collect();
        assert_eq!(sketch(&rows).surplus(&sketch(&[])), None);
    }

    #[test]
    fn sketches_with_different_keys_are_not_compared() {
        assert_eq!(Sketch::new(vec!["id".into()]).surplus(&Sketch::new(vec![])), None);
    }
}
