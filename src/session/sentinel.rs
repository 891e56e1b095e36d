//! Sentinels: how a session learns that a command has ended.
//!
//! The prompts themselves are the sentinels. A shell prints its prompt exactly when it has finished one
//! command and reads the next one, so a prompt that carries a random number and `$?` reports every
//! command's end and status without anything being typed behind the command. Nothing lies in the
//! terminal's input while a program runs, so a program that reads the terminal finds nothing to eat.
//!
//! A mark is `@@rd<32 hex>:<kind>:<fields>@`. What is typed to make a program print one never holds it
//! in one piece, so an echo of the typing is not taken for it; and the fields must have been expanded to
//! numbers, so `set` or `declare -p`, which show the prompt's definition, do not pass for a prompt.

use memchr::memmem;

/// What a mark may hold behind its opening, closing `@` included: a longer one is ordinary output.
const LONGEST_BODY: usize = 512;

/// The random part of a session's marks.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    pub fn random() -> Self {
        Self::from_bits(rand::random())
    }

    fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// What a mark begins with, without its first character: programs are made to print that one separately.
    pub fn opening_tail(&self) -> String {
        format!("@rd{}:", self.0)
    }

    /// Whether some text shows this nonce: what was typed to prepare a program, echoed.
    pub fn occurs_in(&self, text: &[u8]) -> bool {
        memmem::find(text, self.0.as_bytes()).is_some()
    }

    fn opening(&self) -> Vec<u8> {
        format!("@{}", self.opening_tail()).into_bytes()
    }
}

impl std::fmt::Debug for Nonce {
    // Whoever reads a log must not be able to forge a prompt from it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// One of the programs of a session, counted from 1 in the order they were entered; never used twice.
pub type LevelId = u32;

/// What a program of the session has said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A shell is ready for the next command; how the last one ended. `pipe` is empty where the shell cannot tell.
    Ready { level: LevelId, status: i32, pipe: Vec<i32> },
    /// A shell has read part of a command and wants the rest.
    More { level: LevelId },
    /// psql is ready; `failed` is `None` where it has no `:ERROR` (before version 11), and of `cockroach sql`.
    SqlReady { level: LevelId, failed: Option<bool>, sqlstate: String },
    /// psql has read part of a statement.
    SqlMore { level: LevelId },
    /// psql reads rows of `COPY ... FROM STDIN`.
    CopyData { level: LevelId },
    /// The answer to a probe; `status` is `$?` before it, 0 from psql.
    Answer { number: u32, status: i32 },
}

impl Mark {
    fn parse(body: &str) -> Option<Self> {
        let (kind, fields) = body.split_once(':')?;
        let (first, rest) = fields.split_once(':').unwrap_or((fields, ""));
        let level = first.parse().ok()?;
        // The last field of these is a number that the program filled in: it proves that the prompt was expanded.
        let expanded = |mark: Mark| rest.parse::<u32>().ok().map(|_| mark);
        match kind {
            "R" => {
                let (status, pipe) = rest.split_once(':')?;
                let pipe = pipe.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
                Some(Self::Ready { level, status: status.parse().ok()?, pipe })
            }
            "M" => expanded(Self::More { level }),
            "Q" => {
                let mut fields = rest.split(':');
                let failed = match fields.next()? {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                };
                Some(Self::SqlReady { level, failed, sqlstate: fields.next()?.to_owned() })
            }
            "P" => expanded(Self::SqlReady { level, failed: None, sqlstate: String::new() }),
            "q" => expanded(Self::SqlMore { level }),
            "c" => expanded(Self::CopyData { level }),
            "A" => Some(Self::Answer { number: level, status: rest.parse().ok()? }),
            _ => None,
        }
    }
}

/// Takes marks out of a stream of output, however the stream is cut into pieces. Holds back at most one
/// mark's length.
pub struct Scanner {
    opening: Vec<u8>,
    pending: Vec<u8>,
}

/// A part of the stream, in its order.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a [u8]),
    Mark(Mark),
}

impl Scanner {
    pub fn new(nonce: &Nonce) -> Self {
        Self { opening: nonce.opening(), pending: Vec::new() }
    }

    /// Takes the next bytes of the stream and gives what is certain so far.
    pub fn feed(&mut self, bytes: &[u8], mut piece: impl FnMut(Piece<'_>)) {
        self.pending.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(at) = memmem::find(&self.pending[done..], &self.opening) {
            let start = done + at;
            let body = start + self.opening.len();
            match Body::read(&self.pending[body..]) {
                Body::Mark(mark, length) => {
                    text(&self.pending[done..start], &mut piece);
                    piece(Piece::Mark(mark));
                    done = body + length;
                }
                Body::Unfinished => {
                    text(&self.pending[done..start], &mut piece);
                    self.pending.drain(..start);
                    return;
                }
                Body::NotOne => {
                    text(&self.pending[done..body], &mut piece);
                    done = body;
                }
            }
        }
        let keep = self.start_of_opening(done);
        text(&self.pending[done..keep], &mut piece);
        self.pending.drain(..keep);
    }

    /// Gives up what was held back: the stream has ended.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Where the longest end of the pending bytes begins that could become an opening.
    fn start_of_opening(&self, from: usize) -> usize {
        let pending = &self.pending[from..];
        let longest = pending.len().min(self.opening.len() - 1);
        let kept = (1..=longest).rev().find(|&n| pending.ends_with(&self.opening[..n])).unwrap_or(0);
        self.pending.len() - kept
    }
}

fn text(bytes: &[u8], piece: &mut impl FnMut(Piece<'_>)) {
    if !bytes.is_empty() {
        piece(Piece::Text(bytes));
    }
}

enum Body {
    /// With its length, closing `@` included.
    Mark(Mark, usize),
    Unfinished,
    NotOne,
}

impl Body {
    fn read(bytes: &[u8]) -> Self {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b' ');
        let length = bytes.iter().take(LONGEST_BODY).take_while(|&byte| allowed(byte)).count();
        match bytes.get(length) {
            None if length < LONGEST_BODY => Self::Unfinished,
            Some(b'@') => {
                // Every byte of it is ASCII: checked above.
                let body = String::from_utf8_lossy(&bytes[..length]);
                Mark::parse(&body).map_or(Self::NotOne, |mark| Self::Mark(mark, length + 1))
            }
            None | Some(_) => Self::NotOne,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nonce() -> Nonce {
        Nonce::from_bits(0x0123_4567)
    }

    fn mark(body: &str) -> Vec<u8> {
        [nonce().opening(), body.as_bytes().to_vec(), b"@".to_vec()].concat()
    }

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Mark>) {
        let mut scanner = Scanner::new(&nonce());
        let (mut plain, mut marks) = (Vec::new(), Vec::new());
        for bytes in pieces {
            scanner.feed(bytes, |piece| match piece {
                Piece::Text(bytes) => plain.extend_from_slice(bytes),
                Piece::Mark(mark) => marks.push(mark),
            });
        }
        plain.extend(scanner.finish());
        (plain, marks)
    }

    #[test]
    fn a_definition_of_the_prompt_is_not_a_prompt() {
        for body in ["R:3:$?:${PIPESTATUS[@]}", "R:3::", "M:3:$?", "q:2:%l", "Q:2:%:ERROR::%:SQLSTATE:", "X:1:1"] {
            let stream = mark(body);
            assert_eq!(scan([stream.as_slice()]), (stream.clone(), vec![]), "{body}");
        }
    }

    #[test]
    fn another_sessions_mark_is_output() {
        let stream = b"@@rdffffffffffffffffffffffffffffffff:R:1:0:0@".as_slice();
        assert_eq!(scan([stream]), (stream.to_vec(), vec![]));
    }

    #[test]
    fn an_endless_body_is_given_up_as_output() {
        let stream = [nonce().opening(), vec![b'1'; 4 * LONGEST_BODY]].concat();
        assert_eq!(scan([stream.as_slice()]), (stream.clone(), vec![]));
    }

    #[test]
    fn statuses_of_a_pipeline_are_read() {
        let stream = mark("R:12:3:1 0 3");
        let ready = Mark::Ready { level: 12, status: 3, pipe: vec![1, 0, 3] };
        assert_eq!(scan([stream.as_slice()]).1, [ready]);
    }

    proptest! {
        #[test]
        fn marks_are_found_wherever_the_stream_is_cut(
            before in proptest::collection::vec(any::<u8>(), 0..80),
            after in "[@rd:0-9a-f]{0,60}",
            cuts in proptest::collection::btree_set(0_usize..240, 0..12),
        ) {
            let stream = [before.clone(), mark("R:1:7:7"), after.clone().into_bytes(), mark("M:1:0")].concat();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().filter(|&cut| cut < stream.len()).chain([stream.len()]) {
                pieces.push(&stream[from..cut]);
                from = cut;
            }
            let (plain, marks) = scan(pieces);
            prop_assert_eq!(plain, [before, after.into_bytes()].concat());
            prop_assert_eq!(marks, vec![Mark::Ready { level: 1, status: 7, pipe: vec![7] }, Mark::More { level: 1 }]);
        }
    }
}
