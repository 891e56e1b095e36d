//! A digest of a bag of rows: their order does not matter, everything else does.

use twox_hash::{XxHash3_64, XxHash3_128};

use super::copy::{self, CopyError, CopyReader};
use super::sketch::Sketch;
use super::{Fingerprint, Item};

/// The sum, modulo 2^128, of the rows' XXH3-128 digests (the xxHash specification, version 0.2.0).
///
/// A sum and not an exclusive or, because a row that is there twice would take itself out of the latter. XXH3 is none that
/// withstands somebody who looks for collisions, but it reads as fast as memory gives, and a restore that went wrong does not look
/// for them: two tables that differ come out the same once in 2^128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowSum {
    rows: u64,
    sum: u128,
}

impl RowSum {
    fn add(&mut self, digest: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(digest);
    }

    fn item(&self) -> Item {
        Item { count: self.rows, digest: format!("{:032x}", self.sum), shown: None }
    }
}

/// Digests rows that are handed over one by one, in constant memory.
#[derive(Debug)]
pub struct RowsDigest {
    sum: RowSum,
    sketch: Sketch,
}

impl RowsDigest {
    /// `key`: names of what tells rows apart; empty where nothing does.
    pub fn new(key: Vec<String>) -> Self {
        Self { sum: RowSum::default(), sketch: Sketch::new(key) }
    }

    /// Adds one row, known by its key.
    pub fn add(&mut self, key: &[u8], row: &[u8]) {
        self.add_known(row, |_| XxHash3_64::oneshot(key));
    }

    /// Adds one row as a binary COPY has it: its field count, then per field its length (-1 for NULL) and its bytes. It is known by
    /// the fields at the positions of `key`, or by all of it where there are none.
    pub fn add_fields(&mut self, row: &[u8], key: &[usize]) {
        self.add_known(row, |of_row| if key.is_empty() { of_row } else { key_digest(row, key) });
    }

    fn add_known(&mut self, row: &[u8], key: impl FnOnce(u64) -> u64) {
        let digest = XxHash3_128::oneshot(row);
        self.sum.add(digest);
        // Half of it tells rows apart well enough to name the ones that differ.
        let of_row = digest as u64;
        self.sketch.add(key(of_row), of_row);
    }

    /// Puts the digest into a fingerprint under this name.
    pub fn finish(self, name: String, fingerprint: &mut Fingerprint) {
        if self.sum.rows > 0 {
            fingerprint.sketches.insert(name.clone(), self.sketch);
        }
        fingerprint.items.insert(name, self.sum.item());
    }
}

/// Digests one table from its binary COPY stream, in constant memory.
#[derive(Debug)]
pub struct TableDigest {
    reader: CopyReader,
    rows: RowsDigest,
    key: Vec<usize>,
}

impl TableDigest {
    /// `key`: positions (from 0) and names of the columns that tell rows apart; empty where a table has no primary key.
    pub fn new(key: Vec<usize>, key_names: Vec<String>) -> Self {
        Self { reader: CopyReader::default(), rows: RowsDigest::new(key_names), key }
    }

    /// Takes the next chunk of the stream.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), CopyError> {
        let Self { reader, rows, key } = self;
        reader.feed(chunk, |row| rows.add_fields(row, key))
    }

    /// Puts the digest into a fingerprint under this name. Errors when the stream has not ended properly.
    pub fn finish(self, name: String, fingerprint: &mut Fingerprint) -> Result<(), CopyError> {
        self.reader.finish()?;
        self.rows.finish(name, fingerprint);
        Ok(())
    }
}

fn key_digest(row: &[u8], key: &[usize]) -> u64 {
    let mut digest = 0;
    copy::for_fields(row, key, |field| digest = XxHash3_64::oneshot_with_seed(digest, field));
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(rows: &[Vec<u8>]) -> Item {
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add(XxHash3_128::oneshot(row)));
        sum.item()
    }

    fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..30)
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(rows in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))) {
            prop_assert_eq!(sum(&rows.0), sum(&rows.1));
        }

        #[test]
        fn a_doubled_row_is_seen_even_when_doubled_twice(rows in rows()) {
            let mut twice = rows.clone();
            twice.push(rows[0].clone());
            prop_assert_ne!(sum(&rows).digest, sum(&twice).digest);
            twice.push(rows[0].clone());
            prop_assert_ne!(sum(&rows).digest, sum(&twice).digest);
        }

        #[test]
        fn a_flipped_bit_is_seen(rows in rows(), row in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let mut changed = rows.clone();
            let row = row.get_mut(&mut changed);
            prop_assume!(!row.is_empty());
            *at.get_mut(row) ^= 1u8 << bit;
            prop_assert_ne!(sum(&rows), sum(&changed));
        }
    }
}
