//! One line for each thing that is finished.

use std::collections::BTreeMap;

use super::{Color, Times};
use crate::drill::event::{DrillId, Event, Happening};
use crate::outcome::cause::human_duration;
use crate::outcome::*;
use crate::report::table::{self, Tone, Word};

/// A result word and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    word: Word,
    text: String,
}

impl Line {
    pub(super) fn plain(&self) -> String {
        format!("{:<10} {}", self.word.text, self.text)
    }

    pub(super) fn in_color(&self, color: Color) -> String {
        format!("{} {}", paint(&format!("{:<10}", self.word.text), self.word.tone, color), self.text)
    }
}

/// What is known of the drills of a run: with several, each line says whose it is.
#[derive(Debug, Default)]
pub(super) struct Titles {
    by_drill: BTreeMap<DrillId, String>,
}

impl Titles {
    /// The line for an event that is worth one.
    pub(super) fn line(&mut self, event: &Event, times: Times) -> Option<Line> {
        if let Happening::DrillStarted { title, .. } = &event.happening {
            self.by_drill.insert(event.drill, printable(title));
        }
        let mut line = line(&event.happening, times)?;
        let names_itself = matches!(event.happening, Happening::DrillStarted { .. } | Happening::DrillFinished(_));
        if self.by_drill.len() > 1 && !names_itself {
            let title = self.by_drill.get(&event.drill).map_or("?", String::as_str);
            line.text = format!("{title}: {}", line.text);
        }
        Some(line)
    }
}

fn line(happening: &Happening, times: Times) -> Option<Line> {
    let plain = |text: &'static str| Word { text, tone: Tone::Dim };
    let (word, text) = match happening {
        Happening::DrillStarted { title, steps } => (plain("drill"), format!("{title}, {steps} steps")),
        Happening::PhaseFinished(phase) => phase_line(phase, times)?,
        Happening::StepFinished(step) => step_line(step, times),
        Happening::CheckFinished(check) => {
            let row = table::check_row(check);
            (row.result, format!("{}: {}", row.name, row.detail) + &took(check.duration, times))
        }
        Happening::CredentialChecked(login) => (table::credential_word(login), table::credential_title(login)),
        Happening::Notice { text } => (plain("note"), text.clone()),
        Happening::DrillFinished(drill) => (table::verdict_word(drill.verdict()), drill.title()),
        Happening::PhaseStarted { .. }
        | Happening::StepStarted { .. }
        | Happening::StepOutput { .. }
        | Happening::Waiting { .. } => return None,
    };
    Some(Line { word, text: printable(&text) })
}

fn phase_line(phase: &PhaseOutcome, times: Times) -> Option<(Word, String)> {
    let word = |text: &'static str, tone: Tone| Word { text, tone };
    let took = took(phase.duration, times);
    match &phase.result {
        PhaseResult::Completed => Some((word("done", Tone::Dim), format!("{}{took}", phase.phase))),
        PhaseResult::Failed { reason } => Some((word("FAILED", Tone::Bad), format!("{}: {reason}{took}", phase.phase))),
        PhaseResult::Unverified { reason, .. } => {
            Some((word("UNVERIFIED", Tone::Bad), format!("{}: {reason}{took}", phase.phase)))
        }
        PhaseResult::NotReached => None,
    }
}

fn step_line(step: &StepOutcome, times: Times) -> (Word, String) {
    let row = table::step_row(step);
    let mut text = format!("{}  {}", row.source, row.short);
    if let Some(reason) = &row.reason {
        text.push_str(&format!(": {reason}"));
    }
    text.push_str(&took(step.duration, times));
    let waited = step.waited_in_all();
    if times == Times::Shown && !waited.is_zero() {
        text.push_str(&format!(", waited {}", human_duration(waited)));
    }
    (row.result, text)
}

fn took(duration: std::time::Duration, times: Times) -> String {
    match times {
        Times::Shown => format!("  {}", human_duration(duration)),
        Times::Hidden => String::new(),
    }
}

/// In the colour of its tone.
pub(super) fn paint(text: &str, tone: Tone, color: Color) -> String {
    let code = match (color, tone) {
        (Color::Plain, _) => return text.to_owned(),
        (Color::Ansi, Tone::Good) => "32",
        (Color::Ansi, Tone::Dim) => "2",
        (Color::Ansi, Tone::Caution) => "1;33",
        (Color::Ansi, Tone::Bad) => "1;31",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// On one line and without anything that steers a terminal: what programs print and documents say must not move the
/// cursor, change the title or hide a line of ours.
pub(super) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\n' | '\t' => clean.push(' '),
            control if control.is_control() => {}
            // Marks that turn the direction of text around.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            character => clean.push(character),
        }
    }
    clean
}

/// The rest of an escape sequence (ECMA-48): CSI up to its final byte, OSC and its like up to BEL or ST, else one character.
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => while characters.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some(']' | 'P' | '^' | '_' | 'X') => {
            while let Some(character) = characters.next() {
                if character == '\u{7}' || (character == '\u{1b}' && characters.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_left_out() {
        assert_eq!(
            printable("\u{1b}[31mred\u{1b}[0m and\u{1b}]0;title\u{7} more\u{8}\r\nnext\ttab"),
            "red and more next tab"
        );
        assert_eq!(printable("\u{1b}]8;;http://x\u{1b}\\link"), "link");
    }

    #[test]
    fn with_several_drills_each_line_says_whose_it_is() {
        let mut titles = Titles::default();
        let mut line = |drill, happening| {
            titles.line(&Event { drill: DrillId(drill), happening }, Times::Hidden).map(|line| line.plain())
        };
        let started = |title: &str| Happening::DrillStarted { title: title.to_owned(), steps: 2 };
        let notice = || Happening::Notice { text: "hello".to_owned() };
        assert_eq!(line(0, started("a/b on local")).as_deref(), Some("drill      a/b on local, 2 steps"));
        assert_eq!(line(0, notice()).as_deref(), Some("note       hello"));
        assert_eq!(line(1, started("c/d on local")).as_deref(), Some("drill      c/d on local, 2 steps"));
        assert_eq!(line(0, notice()).as_deref(), Some("note       a/b on local: hello"));
    }
}
