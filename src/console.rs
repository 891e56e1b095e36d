//! The terminal: the only place that prints. Progress goes to stderr, results go to stdout.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::drill::event::Event;
use crate::outcome::Outcome;

mod line;
mod live;
mod summary;

use live::Live;

/// Whether durations are printed: without them, same input gives the same lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    #[default]
    Shown,
    Hidden,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    Plain,
    Ansi,
}

/// How text is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// In columns.
    pub width: u16,
    pub color: Color,
    pub times: Times,
}

impl Look {
    /// What fits a file or a pipe.
    const UNKNOWN_WIDTH: u16 = 120;
    /// Below this nothing is readable, and lines may rather wrap.
    const NARROWEST: u16 = 60;

    /// For stdout as it is: its width, and colours if it is a terminal and `NO_COLOR` is not set.
    fn of_stdout(times: Times) -> Self {
        let stdout = std::io::stdout();
        let width = comfy_table::Table::new().width().unwrap_or(Self::UNKNOWN_WIDTH).max(Self::NARROWEST);
        Self { width, color: Color::when(stdout.is_terminal()), times }
    }
}

impl Color {
    /// See <https://no-color.org>: any value but the empty one.
    fn when(is_terminal: bool) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !forbidden { Self::Ansi } else { Self::Plain }
    }
}

/// Shows a run while it goes on and its outcome at the end.
pub struct Console {
    times: Times,
    titles: line::Titles,
    progress: Progress,
}

enum Progress {
    /// Bars at the foot of a terminal, finished steps above them.
    Live(Live),
    /// A line for each thing that is finished.
    Lines,
}

impl Console {
    /// A live view if stderr is a terminal that can move its cursor, lines otherwise.
    pub fn new(times: Times) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let stderr = std::io::stderr();
        let progress = if stderr.is_terminal() && !is_dumb {
            Progress::Live(Live::new(Color::when(true)))
        } else {
            Progress::Lines
        };
        Self { times, titles: line::Titles::default(), progress }
    }

    /// Shows everything that happens until every sender is gone.
    pub async fn follow(&mut self, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            self.show(&event);
        }
        self.clear();
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        let line = self.titles.line(event, self.times);
        match &mut self.progress {
            Progress::Live(live) => {
                live.update(event);
                if let Some(line) = line {
                    live.print(&line);
                }
            }
            Progress::Lines => {
                if let Some(line) = line {
                    err(&line.plain());
                }
            }
        }
    }

    /// Takes the live view off the screen; what was printed stays.
    pub fn clear(&mut self) {
        match &mut self.progress {
            Progress::Live(live) => live.clear(),
            Progress::Lines => {}
        }
    }

    /// The tables and the verdict, on stdout. `dir` is where the reports are.
    pub fn outcome(&mut self, outcome: &Outcome, dir: Option<&Path>) {
        self.clear();
        out(&summary::render(outcome, dir, &Look::of_stdout(self.times)));
    }
}

/// A result in text, on stdout: what `list`, `plan`, `check` and `doctor` found.
pub fn out(text: &str) {
    // Whoever reads may have gone (`redrill list | head`), which is no failure of what was asked for.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

/// A remark for the person at the terminal, on stderr.
pub fn err(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}

/// An error with everything that led to it, one cause a line, on stderr.
pub fn error(error: &dyn std::error::Error) {
    err(&error_text(error));
}

/// The chain of an error as text: each link speaks once.
pub fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = format!("redrill: {}", line::printable(&error.to_string()));
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str("\n  because: ");
        text.push_str(&line::printable(&cause.to_string()));
        next = cause.source();
    }
    text
}

/// The final table as text, for a given layout.
pub fn summary(outcome: &Outcome, dir: Option<&Path>, look: &Look) -> String {
    summary::render(outcome, dir, look)
}
