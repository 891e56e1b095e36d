//! The live view: two lines for each drill that runs, at the foot of the terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Color;
use super::line::{Line, printable};
use crate::drill::event::{DrillId, Event, Happening};
use crate::outcome::cause::first_line;

pub(super) struct Live {
    screen: MultiProgress,
    drills: BTreeMap<DrillId, DrillView>,
    color: Color,
}

/// What one drill is doing.
struct DrillView {
    /// Title, phase, steps done, and the current step with the time it has taken.
    head: ProgressBar,
    /// What is waited for, else the last line that the step printed.
    tail: ProgressBar,
    title: String,
    phase: &'static str,
    steps: usize,
    done: usize,
}

const TICK: Duration = Duration::from_millis(120);

impl Live {
    pub(super) fn new(color: Color) -> Self {
        Self { screen: MultiProgress::new(), drills: BTreeMap::new(), color }
    }

    /// A line that stays, above the live ones.
    pub(super) fn print(&self, line: &Line) {
        // Fails only if the terminal is gone, which is no reason to stop a drill.
        let _ = self.screen.println(line.in_color(self.color));
    }

    pub(super) fn update(&mut self, event: &Event) {
        match &event.happening {
            Happening::DrillStarted { title, steps } => self.start(event.drill, title, *steps),
            Happening::DrillFinished(_) => self.finish(event.drill),
            happening => {
                if let Some(view) = self.drills.get_mut(&event.drill) {
                    view.update(happening);
                }
            }
        }
    }

    pub(super) fn clear(&mut self) {
        let drills: Vec<DrillId> = self.drills.keys().copied().collect();
        for drill in drills {
            self.finish(drill);
        }
    }

    fn start(&mut self, drill: DrillId, title: &str, steps: usize) {
        let (head_style, tail_style) = styles(self.color);
        let head = self.screen.add(ProgressBar::new_spinner().with_style(head_style));
        let tail = self.screen.add(ProgressBar::new_spinner().with_style(tail_style));
        head.enable_steady_tick(TICK);
        let view = DrillView { head, tail, title: printable(title), phase: "", steps, done: 0 };
        view.show_head();
        self.drills.insert(drill, view);
    }

    fn finish(&mut self, drill: DrillId) {
        if let Some(view) = self.drills.remove(&drill) {
            view.head.finish_and_clear();
            view.tail.finish_and_clear();
            self.screen.remove(&view.head);
            self.screen.remove(&view.tail);
        }
    }
}

impl DrillView {
    fn update(&mut self, happening: &Happening) {
        match happening {
            Happening::PhaseStarted { phase } => {
                self.phase = phase.word();
                self.show_head();
                self.now_doing(self.phase);
            }
            Happening::StepStarted { source, command, .. } => {
                self.now_doing(&format!("{source}  {}", first_line(command)));
            }
            Happening::StepOutput { line } => {
                let line = printable(line);
                if !line.trim().is_empty() {
                    self.tail.set_message(line);
                }
            }
            Happening::Waiting { condition: Some(condition) } => {
                self.tail.set_message(format!("waiting for {}", printable(condition)));
            }
            Happening::Waiting { condition: None } => self.tail.set_message(""),
            Happening::StepFinished(_) => {
                self.done += 1;
                self.show_head();
                self.now_doing("");
            }
            Happening::CheckFinished(_)
            | Happening::CredentialChecked(_)
            | Happening::PhaseFinished(_)
            | Happening::Notice { .. }
            | Happening::DrillStarted { .. }
            | Happening::DrillFinished(_) => {}
        }
    }

    fn show_head(&self) {
        let Self { title, phase, done, steps, .. } = self;
        self.head.set_prefix(format!("{title}  {phase}  {done}/{steps}"));
    }

    fn now_doing(&self, what: &str) {
        self.head.reset_elapsed();
        self.head.set_message(printable(what));
        self.tail.set_message("");
    }
}

fn styles(color: Color) -> (ProgressStyle, ProgressStyle) {
    let (head, tail) = match color {
        Color::Ansi => ("{spinner:.cyan} {prefix:.bold}  {elapsed}  {wide_msg}", "  {wide_msg:.dim}"),
        Color::Plain => ("{spinner} {prefix}  {elapsed}  {wide_msg}", "  {wide_msg}"),
    };
    (style(head).tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "), style(tail))
}

fn style(template: &str) -> ProgressStyle {
    // The templates are the four literals above, which a test renders; the plain spinner is there for the type's sake.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_well_formed() {
        for template in ["{spinner:.cyan} {prefix:.bold}  {elapsed}  {wide_msg}", "  {wide_msg:.dim}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
