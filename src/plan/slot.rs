//! Open places of commands and fragments: found by byte span before anything starts, filled when their step comes.

use std::ops::Range;

use super::locate::first_line;
use super::{Action, PlannedStep, Slot, SlotText};
use crate::redact::Secret;
use crate::scenario::{SlotBinding, SlotSource};

/// Spans of a slot's place in a text: whole words only, right behind `after` where that is given.
pub fn spans(text: &str, binding: &SlotBinding) -> Vec<Range<usize>> {
    let after = binding.after.as_deref().unwrap_or("");
    let wanted = format!("{after}{}", binding.place);
    if wanted.is_empty() {
        return Vec::new();
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&wanted)
        .map(|(at, _)| at + after.len()..at + wanted.len())
        .filter(|span| !after.is_empty() || !text[..span.start].ends_with(word))
        .filter(|span| !text[span.end..].starts_with(word) || !binding.place.ends_with(word))
        .collect()
}

/// The slots of one text, in its order. What a command's comments speak of is none.
pub fn find(text: &str, within: SlotText, bindings: &[&SlotBinding]) -> Vec<Slot> {
    let slot = |binding: &SlotBinding, span| Slot {
        place: binding.place.clone(),
        within,
        span,
        from: binding.from.clone(),
        source: binding.source.clone(),
    };
    let is_comment = |span: &Range<usize>| {
        let line = text[..span.start].rsplit('\n').next().unwrap_or("");
        within == SlotText::Command && line.trim_start().starts_with('#')
    };
    let mut slots: Vec<Slot> =
        bindings.iter().flat_map(|binding| spans(text, binding).into_iter().map(|span| slot(binding, span))).collect();
    slots.retain(|slot| !is_comment(&slot.span));
    slots.sort_by_key(|slot| (slot.span.start, std::cmp::Reverse(slot.span.end)));
    // `DB` inside of `DB NAME`: the longer place is meant.
    let mut end = 0;
    slots.retain(|slot| {
        let free = slot.span.start >= end;
        end = if free { slot.span.end } else { end };
        free
    });
    slots
}

/// Words of a documented command that stand for something else: `BACKUP_NAME`, `POD`, `<volume id>`, `{bucket name}`.
/// Variables (`$NAME`), assignments (`NAME=`), and capitals in quotes without an underscore (SQL) are not.
pub fn open_places(command: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut quote: Option<char> = None;
    let mut at = 0;
    while let Some(c) = command[at..].chars().next() {
        let rest = &command[at..];
        let length = match c {
            '\'' | '"' => {
                quote = if quote == Some(c) { None } else { quote.or(Some(c)) };
                1
            }
            '#' if quote.is_none() && (at == 0 || command[..at].ends_with(char::is_whitespace)) => {
                rest.find('\n').unwrap_or(rest.len())
            }
            '<' | '{' => match bracketed(rest, c) {
                Some(length) => {
                    found.push(at..at + length);
                    length
                }
                None => 1,
            },
            c if c.is_alphanumeric() || c == '_' => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let before = &command[..at];
                let is_variable = before.ends_with('$') || before.ends_with("${");
                if !is_variable && is_placeholder(&rest[..length], quote.is_some()) && !rest[length..].starts_with('=')
                {
                    found.push(at..at + length);
                }
                length
            }
            c => c.len_utf8(),
        };
        at += length;
    }
    found
}

fn is_placeholder(word: &str, quoted: bool) -> bool {
    let capitals = word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    capitals && word.len() >= 3 && word.starts_with(|c: char| c.is_ascii_uppercase()) && (!quoted || word.contains('_'))
}

/// The length of `<words>` or `{two words}` at the start of `text`. Redirections, here documents and JSON paths are
/// not that.
fn bracketed(text: &str, open: char) -> Option<usize> {
    let (close, needs_blank) = if open == '<' { ('>', false) } else { ('}', true) };
    let end = text.find(close)?;
    let inner = &text[1..end];
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    let is_name = inner.starts_with(char::is_alphabetic) && inner.chars().all(plain) && !inner.ends_with(' ');
    (is_name && (!needs_blank || inner.contains(' '))).then_some(end + 1)
}

/// A value that cannot be put into its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    #[error("slot `{place}` ({source_ref}) has no value")]
    NoValue { place: String, source_ref: String },
    /// The value itself is not shown: it may be a secret.
    #[error(
        "the value for slot `{place}` ({source_ref}) holds {character:?}, which a shell or a file would not take as it is"
    )]
    Metacharacter { place: String, source_ref: String, character: char },
}

/// A step with its slots filled; secret, since a slot may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    pub text: Secret,
    /// Of `Apply` and `Compare`; the script of `Editor`.
    pub content: Option<Secret>,
}

impl PlannedStep {
    /// Puts values into the slots. Values are letters, digits and `._-/:@%+,=` only.
    pub fn fill(&self, value: impl Fn(&SlotSource) -> Option<Secret>) -> Result<Filled, FillError> {
        let content = match &self.action {
            Action::Apply { content }
            | Action::Compare { content }
            | Action::Editor { script: content }
            | Action::Edit { file: content } => Some(content),
            Action::Shell
            | Action::CronJob { .. }
            | Action::BackupPlan { .. }
            | Action::Schedule { .. }
            | Action::Human
            | Action::Removed { .. } => None,
        };
        let text = fill_text(&self.text, self.slots_within(SlotText::Command), &value)?;
        let content = content.map(|content| fill_text(content, self.slots_within(SlotText::Content), &value));
        Ok(Filled { text, content: content.transpose()? })
    }

    fn slots_within(&self, within: SlotText) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.iter().filter(move |slot| slot.within == within)
    }

    /// One line for people: what runs, slots open.
    pub fn summary(&self) -> String {
        first_line(&self.title())
    }
}

fn fill_text<'a>(
    text: &str,
    slots: impl DoubleEndedIterator<Item = &'a Slot>,
    value: impl Fn(&SlotSource) -> Option<Secret>,
) -> Result<Secret, FillError> {
    let mut filled = zeroize::Zeroizing::new(text.to_owned());
    for slot in slots.rev() {
        let (place, source_ref) = (slot.place.clone(), slot.source.to_string());
        let Some(value) = value(&slot.from) else { return Err(FillError::NoValue { place, source_ref }) };
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+,=".contains(c);
        match value.expose().chars().find(|c| !harmless(*c)) {
            Some(character) => return Err(FillError::Metacharacter { place, source_ref, character }),
            None if value.expose().is_empty() => return Err(FillError::NoValue { place, source_ref }),
            None => filled.replace_range(slot.span.clone(), value.expose()),
        }
    }
    Ok(Secret::new(filled.as_str()))
}

#[cfg(test)]
#[path = "slot/tests.rs"]
mod tests;
