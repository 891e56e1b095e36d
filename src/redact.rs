//! Secrets, and taking them out of what programs print.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod forms;

/// A value that must never be printed: no `Display`, and a `Debug` that says nothing.
///
/// It serialises in plain, because it has to reach the prober over its own pipe: a type that is
/// written into a report never holds one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The plain value, for handing to the program that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What stands where a secret stood.
pub const MARKER: &str = "[redacted]";

/// Secrets shorter than this are not taken out: `pg` as a password would blank half of every log and prove nothing.
pub const SHORTEST: usize = 4;

/// A secret that cannot be told from ordinary text.
#[derive(Debug, thiserror::Error)]
#[error("a secret of {length} bytes cannot be kept out of logs (give it at least {SHORTEST})")]
pub struct TooShort {
    pub length: usize,
}

/// How much of a pattern is searched for: what stands behind it is compared where that was found. A certificate has some sixty
/// forms of a few thousand bytes each, and an automaton of all of it takes seconds to build, with every secret that is added.
const BEGINNING: usize = 16;

/// Takes known secrets out of bytes: in plain, base64 (on its own and inside something larger), hex, URL, JSON and
/// shell forms. Clones share the secrets, and one that is added counts from the next chunk on.
#[derive(Clone, Default)]
pub struct Redactor {
    patterns: Arc<RwLock<Arc<Patterns>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(…)")
    }
}

#[derive(Default)]
struct Patterns {
    /// Sorted, for finding out whether a chunk ends in the beginning of one.
    all: BTreeSet<Vec<u8>>,
    longest: usize,
    /// Of the [`BEGINNING`] of each.
    automaton: Option<AhoCorasick>,
}

impl Redactor {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes this secret out from now on; adding one again changes nothing. The empty one hides nothing.
    ///
    /// # Errors
    /// A secret shorter than [`SHORTEST`] is refused, since the caller has to know that it is not protected.
    pub fn add(&self, secret: &Secret) -> Result<(), TooShort> {
        let value = secret.expose().as_bytes();
        if value.is_empty() {
            return Ok(());
        }
        if value.len() < SHORTEST {
            return Err(TooShort { length: value.len() });
        }
        // A panic elsewhere cannot leave the value half written, so a poisoned lock is as good as a sound one.
        let mut shared = self.patterns.write().unwrap_or_else(PoisonError::into_inner);
        let forms = forms::of(secret.expose());
        if forms.is_subset(&shared.all) {
            return Ok(());
        }
        let mut all = shared.all.clone();
        all.extend(forms);
        *shared = Arc::new(Patterns::new(all));
        Ok(())
    }

    /// A text that is complete.
    pub fn redact(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact_bytes(text.as_bytes())).into_owned()
    }

    /// Bytes that are complete.
    pub fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        RedactedStream { pending: bytes.to_vec(), ..self.stream() }.finish()
    }

    /// For output that arrives in pieces.
    pub fn stream(&self) -> RedactedStream {
        RedactedStream { redactor: self.clone(), pending: Vec::new(), covered: 0, in_secret: false }
    }

    fn patterns(&self) -> Arc<Patterns> {
        Arc::clone(&self.patterns.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Patterns {
    fn new(all: BTreeSet<Vec<u8>>) -> Self {
        let longest = all.iter().map(Vec::len).max().unwrap_or(0);
        // Building fails only above some 2^31 bytes of patterns; searching one by one is slow and still right.
        // Not a DFA: secrets are added one by one during a run, and that one takes far longer to build than it saves.
        let beginnings: BTreeSet<&[u8]> = all.iter().map(|pattern| &pattern[..pattern.len().min(BEGINNING)]).collect();
        let automaton = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(beginnings).ok();
        Self { all, longest, automaton }
    }

    /// Every place, overlapping ones too, where a pattern stands; of those that begin together the longest at least.
    fn places(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let Some(automaton) = &self.automaton else { return self.places_one_by_one(bytes) };
        let place = |found: Match| {
            let longest = self.longest_at(&bytes[found.start()..], &bytes[found.range()])?;
            Some((found.start(), found.start() + longest))
        };
        automaton.find_overlapping_iter(bytes).filter_map(place).collect()
    }

    /// The length of the longest pattern with that beginning that `bytes` begin with.
    fn longest_at(&self, bytes: &[u8], beginning: &[u8]) -> Option<usize> {
        let from = self.all.range::<[u8], _>((Included(beginning), Unbounded));
        let patterns = from.take_while(|pattern| pattern.starts_with(beginning));
        patterns.filter(|pattern| bytes.starts_with(pattern)).map(Vec::len).max()
    }

    fn places_one_by_one(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let of = |pattern: &Vec<u8>| {
            let length = pattern.len();
            let starts = bytes.windows(length).enumerate().filter(|(_, window)| *window == pattern.as_slice());
            starts.map(|(start, _)| (start, start + length)).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of).collect()
    }

    /// Where the shortest tail begins that more bytes could turn into a secret. Everything before it is decided.
    fn undecided_from(&self, bytes: &[u8]) -> usize {
        let earliest = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        (earliest..bytes.len()).find(|start| self.has_longer_than(&bytes[*start..])).unwrap_or(bytes.len())
    }

    fn has_longer_than(&self, beginning: &[u8]) -> bool {
        // What starts with `beginning` and is longer sorts directly behind it.
        self.all
            .range::<[u8], _>((Excluded(beginning), Unbounded))
            .next()
            .is_some_and(|pattern| pattern.starts_with(beginning))
    }
}

/// One stream of output. Gives out each byte as soon as no secret can begin at it any more, so that a prompt is seen
/// at once, and a secret cut in two by a read is found all the same. However the bytes are cut, the result is one.
pub struct RedactedStream {
    redactor: Redactor,
    /// Not given out yet: could be the beginning of a secret.
    pending: Vec<u8>,
    /// How many of `pending` belong to a secret that was found already.
    covered: usize,
    /// The last byte given out belonged to a secret, and its marker stands already.
    in_secret: bool,
}

impl RedactedStream {
    /// What can be said of the stream so far that was not given out before.
    pub fn redact_chunk(&mut self, chunk: &[u8]) -> Vec<u8> {
        let patterns = self.redactor.patterns();
        self.pending.extend_from_slice(chunk);
        let decided = patterns.undecided_from(&self.pending);
        self.give_out(&patterns, decided)
    }

    /// The rest, once nothing more will come.
    pub fn finish(mut self) -> Vec<u8> {
        let patterns = self.redactor.patterns();
        let decided = self.pending.len();
        self.give_out(&patterns, decided)
    }

    fn give_out(&mut self, patterns: &Patterns, decided: usize) -> Vec<u8> {
        let mut secret = vec![false; self.pending.len()];
        secret[..self.covered].fill(true);
        for (start, end) in patterns.places(&self.pending) {
            secret[start..end].fill(true);
        }
        let mut clean = Vec::with_capacity(decided);
        for (byte, is_secret) in self.pending.iter().zip(&secret).take(decided) {
            if !is_secret {
                clean.push(*byte);
            } else if !self.in_secret {
                clean.extend_from_slice(MARKER.as_bytes());
            }
            self.in_secret = *is_secret;
        }
        self.covered = secret[decided..].iter().take_while(|is_secret| **is_secret).count();
        self.pending.drain(..decided);
        clean
    }
}

#[cfg(test)]
mod tests;
