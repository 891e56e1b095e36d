//! Rows out of PostgreSQL's binary COPY stream, whatever the chunks it arrives in.
//!
//! The format is in PostgreSQL's manual, at COPY, "Binary Format": an 11 byte signature, flags, a header extension, then
//! per row a field count (i16) and per field a length (i32, -1 for NULL) with that many bytes; a count of -1 ends it.

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
const HEADER: usize = SIGNATURE.len() + 4 + 4;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CopyError {
    #[error("the stream does not start with the signature of a binary COPY")]
    Signature,
    #[error("the stream has flags that this reader does not know: {0:#x}")]
    Flags(u32),
    #[error("a row has a field of {0} bytes")]
    FieldLength(i32),
    #[error("a row has {0} fields")]
    FieldCount(i16),
    #[error("bytes follow the end of the stream")]
    AfterEnd,
    #[error("the stream broke off before its end")]
    Truncated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    Ended,
}

/// Cuts a binary COPY stream into rows. Keeps at most one unfinished row.
#[derive(Debug)]
pub struct CopyReader {
    state: State,
    carry: Vec<u8>,
    /// How far the row in `carry` has been walked, so that a big row in small chunks costs no second look.
    walk: Walk,
}

#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    at: usize,
    /// Fields still to come; `None` before the count was read.
    fields: Option<u16>,
}

enum Step {
    Row(usize),
    Trailer,
    Unfinished,
}

impl Default for CopyReader {
    fn default() -> Self {
        Self { state: State::Header, carry: Vec::new(), walk: Walk::default() }
    }
}

impl CopyReader {
    /// Takes the next chunk and hands every row that is complete now to `row`: its field count, lengths and bytes.
    pub fn feed(&mut self, chunk: &[u8], mut row: impl FnMut(&[u8])) -> Result<(), CopyError> {
        if self.carry.is_empty() {
            let used = self.consume(chunk, &mut row)?;
            self.carry.extend_from_slice(&chunk[used..]);
            return Ok(());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(chunk);
        let used = self.consume(&carry, &mut row)?;
        carry.drain(..used);
        self.carry = carry;
        Ok(())
    }

    /// Errors unless the trailer was seen: a stream that just stops is not a table.
    pub fn finish(self) -> Result<(), CopyError> {
        if self.state == State::Ended { Ok(()) } else { Err(CopyError::Truncated) }
    }

    fn consume(&mut self, bytes: &[u8], row: &mut impl FnMut(&[u8])) -> Result<usize, CopyError> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match self.state {
                State::Header => match header(rest)? {
                    Some(length) => {
                        used += length;
                        self.state = State::Rows;
                    }
                    None => return Ok(used),
                },
                State::Rows => match self.walk.step(rest)? {
                    Step::Row(length) => {
                        row(&rest[..length]);
                        used += length;
                        self.walk = Walk::default();
                    }
                    Step::Trailer => {
                        used += 2;
                        self.state = State::Ended;
                    }
                    Step::Unfinished => return Ok(used),
                },
                State::Ended if rest.is_empty() => return Ok(used),
                State::Ended => return Err(CopyError::AfterEnd),
            }
        }
    }
}

fn header(bytes: &[u8]) -> Result<Option<usize>, CopyError> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(CopyError::Signature);
    }
    let (Some(flags), Some(extension)) = (read::<4>(bytes, 11), read::<4>(bytes, 15)) else {
        return Ok(None);
    };
    // The high half is "critical" by the format's definition; no server that sends OIDs in rows is left either.
    let flags = u32::from_be_bytes(flags);
    if flags >> 16 != 0 {
        return Err(CopyError::Flags(flags));
    }
    let length = HEADER + u32::from_be_bytes(extension) as usize;
    Ok((bytes.len() >= length).then_some(length))
}

impl Walk {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, CopyError> {
        let mut fields = match self.fields {
            Some(fields) => fields,
            None => {
                let Some(count) = read::<2>(bytes, 0) else { return Ok(Step::Unfinished) };
                let count = i16::from_be_bytes(count);
                if count == -1 {
                    return Ok(Step::Trailer);
                }
                self.at = 2;
                u16::try_from(count).map_err(|_| CopyError::FieldCount(count))?
            }
        };
        while fields > 0 {
            self.fields = Some(fields);
            let Some(length) = read::<4>(bytes, self.at) else { return Ok(Step::Unfinished) };
            let end = self.at + 4 + field_length(i32::from_be_bytes(length))?;
            if end > bytes.len() {
                return Ok(Step::Unfinished);
            }
            self.at = end;
            fields -= 1;
        }
        self.fields = Some(0);
        Ok(Step::Row(self.at))
    }
}

fn field_length(length: i32) -> Result<usize, CopyError> {
    if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_| CopyError::FieldLength(length)) }
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The raw field (its length prefix and its bytes) at each of `positions`, counted from 0; for rows that a [`CopyReader`] gave.
pub fn for_fields(row: &[u8], positions: &[usize], mut field: impl FnMut(&[u8])) {
    let mut at = 2;
    let mut position = 0;
    let Some(last) = positions.iter().max() else { return };
    while position <= *last {
        let Some(length) = read::<4>(row, at) else { return };
        let end = at + 4 + usize::try_from(i32::from_be_bytes(length)).unwrap_or(0);
        if positions.contains(&position) {
            field(&row[at..end]);
        }
        at = end;
        position += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn encode(rows: &[Row]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for row in rows {
            bytes.extend(encode_row(row));
        }
        bytes.extend((-1i16).to_be_bytes());
        bytes
    }

    fn encode_row(row: &Row) -> Vec<u8> {
        let mut bytes = (row.len() as i16).to_be_bytes().to_vec();
        for field in row {
            match field {
                Some(field) => {
                    bytes.extend((field.len() as i32).to_be_bytes());
                    bytes.extend(field);
                }
                None => bytes.extend((-1i32).to_be_bytes()),
            }
        }
        bytes
    }

    fn read_in_chunks(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>, CopyError> {
        let (mut reader, mut rows, mut at, mut turn) = (CopyReader::default(), Vec::new(), 0, 0);
        while at < bytes.len() {
            let end = (at + sizes[turn % sizes.len()]).min(bytes.len());
            reader.feed(&bytes[at..end], |row| rows.push(row.to_vec()))?;
            (at, turn) = (end, turn + 1);
        }
        reader.finish().map(|()| rows)
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let field = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        prop::collection::vec(prop::collection::vec(field, 0..6), 0..20)
    }

    proptest! {
        #[test]
        fn rows_are_the_same_whatever_the_chunks(rows in rows(), sizes in prop::collection::vec(1usize..70, 1..8)) {
            let expected: Vec<_> = rows.iter().map(encode_row).collect();
            prop_assert_eq!(read_in_chunks(&encode(&rows), &sizes).unwrap(), expected);
        }

        #[test]
        fn a_stream_that_breaks_off_is_an_error(rows in rows(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&rows);
            let cut = cut.index(bytes.len());
            prop_assert_eq!(read_in_chunks(&bytes[..cut], &[13]), Err(CopyError::Truncated));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut stream = encode(&[]);
            stream.truncate(HEADER);
            stream.extend(bytes);
            let _ = read_in_chunks(&stream, &[7, 3]);
        }
    }

    #[test]
    fn what_is_no_binary_copy_is_refused() {
        assert_eq!(read_in_chunks(b"1\tAnna\n2\tBen\n", &[4]), Err(CopyError::Signature));
    }

    #[test]
    fn bytes_after_the_trailer_are_refused() {
        let mut bytes = encode(&[vec![None]]);
        bytes.push(0);
        assert_eq!(read_in_chunks(&bytes, &[100]), Err(CopyError::AfterEnd));
    }

    #[test]
    fn fields_are_found_by_position() {
        let row = encode_row(&vec![Some(b"a".to_vec()), None, Some(b"ccc".to_vec())]);
        let mut found = Vec::new();
        for_fields(&row, &[0, 2], |field| found.push(field[4..].to_vec()));
        assert_eq!(found, [b"a".to_vec(), b"ccc".to_vec()]);
    }
}
