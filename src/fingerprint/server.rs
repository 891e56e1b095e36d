//! What a server says of the rows of a table: a short cut to "equal", and never more than that.
//!
//! The server hashes each row, from the bytes that a binary COPY would show, hashes that hash again, and adds up. Hashing
//! again keeps the sum from being linear in the columns: without it, two values that swapped their rows would cancel out, since
//! a row's hash is itself a sum over its columns.
//!
//! Two tables that differ pass for equal when the hashes coincide. The hash (Jenkins' lookup3, 64 bit) is none that withstands
//! somebody who looks for collisions, but a restore that went wrong does not look for them: its hashes are as good as drawn anew,
//! and the sum comes out as before once in 2^64 tables that differ. The sums are never held against each other to find a
//! difference: where they are not the same, for whatever reason (another version, another encoding, a type made anew), every row is read.

use serde::{Deserialize, Serialize};

use super::Item;

/// The server's sums over the rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSum {
    /// What was hashed: the server's encoding, the columns, and how each was made hashable.
    pub of: String,
    pub rows: u64,
    /// Of the rows' hashes, an exact integer.
    pub sum: String,
}

/// A table as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub item: Item,
    pub sum: ServerSum,
}

impl Known {
    /// The table's item, if the server's sums say that it has not changed.
    pub fn unless_changed(&self, now: &ServerSum) -> Option<&Item> {
        (self.sum == *now && self.item.count == now.rows).then_some(&self.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let sum = ServerSum { of: "UTF8: id".into(), rows: 3, sum: "1".into() };
        Known { item: Item::of_text(3, "rows"), sum }
    }

    #[test]
    fn equal_sums_give_the_item_as_it_was() {
        assert_eq!(known().unless_changed(&known().sum), Some(&Item::of_text(3, "rows")));
    }

    #[test]
    fn anything_that_is_not_the_same_has_the_rows_read() {
        let changes: [fn(&mut ServerSum); 3] =
            [|sum| sum.of = "LATIN1: id".into(), |sum| sum.rows = 4, |sum| sum.sum = "3".into()];
        for change in changes {
            let mut now = known().sum;
            change(&mut now);
            assert_eq!(known().unless_changed(&now), None, "{now:?}");
        }
        let miscounted = Known { item: Item::of_text(2, "rows"), ..known() };
        assert_eq!(miscounted.unless_changed(&known().sum), None);
    }
}
