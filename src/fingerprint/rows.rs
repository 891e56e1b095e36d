//! A digest of a bag of rows: their order does not matter, everything else does.

use super::copy::{self, CopyError, CopyReader};
use super::sketch::Sketch;
use super::{Fingerprint, Item};

/// The sum, modulo 2^256, of the rows' BLAKE3 digests.
///
/// A sum and not an exclusive or, because a row that is there twice would take itself out of the latter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowSum {
    rows: u64,
    lanes: [u64; 4],
}

impl RowSum {
    fn add(&mut self, digest: &[u8; 32]) {
        self.rows += 1;
        let mut carry = false;
        for (lane, bytes) in self.lanes.iter_mut().zip(digest.as_chunks::<8>().0) {
            let (sum, first) = lane.overflowing_add(u64::from_le_bytes(*bytes));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*lane, carry) = (sum, first || second);
        }
    }

    fn item(&self) -> Item {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.rows.to_le_bytes());
        for lane in self.lanes {
            hasher.update(&lane.to_le_bytes());
        }
        Item { count: self.rows, digest: hasher.finalize().to_hex().to_string(), shown: None }
    }
}

/// Digests one table from its binary COPY stream, in constant memory.
#[derive(Debug)]
pub struct TableDigest {
    reader: CopyReader,
    sum: RowSum,
    sketch: Sketch,
    key: Vec<usize>,
}

impl TableDigest {
    /// `key`: positions (from 0) and names of the columns that tell rows apart; empty where a table has no primary key.
    pub fn new(key: Vec<usize>, key_names: Vec<String>) -> Self {
        Self { reader: CopyReader::default(), sum: RowSum::default(), sketch: Sketch::new(key_names), key }
    }

    /// Takes the next chunk of the stream.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), CopyError> {
        let Self { reader, sum, sketch, key } = self;
        reader.feed(chunk, |row| {
            let digest = blake3::hash(row);
            sum.add(digest.as_bytes());
            let of_row = first_word(digest.as_bytes());
            let of_key = if key.is_empty() { of_row } else { key_digest(row, key) };
            sketch.add(of_key, of_row);
        })
    }

    /// Puts the digest into a fingerprint under this name. Errors when the stream has not ended properly.
    pub fn finish(self, name: String, fingerprint: &mut Fingerprint) -> Result<(), CopyError> {
        self.reader.finish()?;
        if self.sum.rows > 0 {
            fingerprint.sketches.insert(name.clone(), self.sketch);
        }
        fingerprint.items.insert(name, self.sum.item());
        Ok(())
    }
}

fn key_digest(row: &[u8], key: &[usize]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    copy::for_fields(row, key, |field| {
        hasher.update(field);
    });
    first_word(hasher.finalize().as_bytes())
}

fn first_word(digest: &[u8; 32]) -> u64 {
    u64::from_le_bytes(digest.as_chunks::<8>().0[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(rows: &[Vec<u8>]) -> Item {
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add(blake3::hash(row).as_bytes()));
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
        fn a_flipped_bit_is_seen(rows in rows(), row in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut changed = rows.clone();
            let row = row.get_mut(&mut changed);
            prop_assume!(!row.is_empty());
            *at.get_mut(row) ^= 1 << bit;
            prop_assert_ne!(sum(&rows), sum(&changed));
        }
    }

    #[test]
    fn a_carry_goes_into_the_next_lane() {
        let mut sum = RowSum::default();
        sum.add(&[0xff; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        sum.add(&one);
        assert_eq!(sum.lanes, [0; 4]);
    }
}
