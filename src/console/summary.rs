//! The tables at the end.

use std::path::Path;

use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use super::line::{paint, printable};
use super::{Color, Look, Times};
use crate::outcome::cause::human_duration;
use crate::outcome::{DrillOutcome, HumanTime, Outcome};
use crate::report::table::{self, Tone, WaitRow, Word};

pub(super) fn render(outcome: &Outcome, dir: Option<&Path>, look: &Look) -> String {
    let mut text = String::new();
    for drill in &outcome.drills {
        text.push_str(&render_drill(outcome, drill, look));
    }
    for problem in &outcome.usage {
        text.push_str(&format!("{}  {}\n", paint("usage", Tone::Bad, look.color), printable(problem.trim_end())));
    }
    if outcome.drills.is_empty() && outcome.usage.is_empty() {
        text.push_str(&format!("{}  nothing was selected\n", paint("usage", Tone::Bad, look.color)));
    }
    let verdict = table::verdict_word(outcome.verdict());
    let took = match look.times {
        Times::Shown => format!("  {}", human_duration(outcome.total())),
        Times::Hidden => String::new(),
    };
    let reports = dir.map(|dir| format!("  {}", dir.join("index.html").display())).unwrap_or_default();
    let exit = outcome.exit_code().number();
    text.push_str(&format!("{}  exit code {exit}{took}{reports}\n", paint(verdict.text, verdict.tone, look.color)));
    text
}

fn render_drill(outcome: &Outcome, drill: &DrillOutcome, look: &Look) -> String {
    let mut text = format!("{}\n\n", heading(&drill.title(), look));
    let steps_title = only_file(drill).map_or_else(|| "steps".to_owned(), |file| format!("steps of {file}"));
    let sections = [
        (steps_title.as_str(), steps(drill, look)),
        ("checks", checks(drill, look)),
        ("credentials by checkpoint", credentials(drill, look)),
        ("objectives", objectives(drill, look)),
    ];
    for (title, table) in sections {
        if let Some(table) = table {
            text.push_str(&format!("{}\n{}\n\n", heading(title, look), table.trim_fmt()));
        }
    }
    text.push_str(&hidden_failures(drill, look));
    text.push_str(&errata(drill, look));
    text.push_str(&notes(drill, look));
    text.push_str(&verdict(outcome, drill, look));
    text
}

/// The verdict with every cause, source line first: what a person reads if nothing else.
fn verdict(outcome: &Outcome, drill: &DrillOutcome, look: &Look) -> String {
    let word = table::verdict_word(drill.verdict());
    let mut text = format!("{}  {}\n", paint(word.text, word.tone, look.color), printable(&drill.title()));
    let causes = drill.causes();
    if !causes.is_empty() {
        let mut rows = new_table(look);
        for cause in &causes {
            rows.add_row([word_cell(&table::verdict_word(cause.verdict), look), cell(&cause.to_string())]);
        }
        fix_widths(&mut rows, &[0]);
        text.push_str(&format!("{}\n", rows.trim_fmt()));
    }
    for by in drill.acceptances_used(outcome.day()) {
        let line = format!("{} is accepted until {} by {}: {}", by.verdict, by.until, by.owner, by.reason);
        text.push_str(&format!("  {}\n", printable(&line)));
    }
    text.push('\n');
    text
}

fn steps(drill: &DrillOutcome, look: &Look) -> Option<Table> {
    if drill.steps.is_empty() {
        return None;
    }
    let one_file = only_file(drill).is_some();
    let mut rows = new_table(look);
    let header =
        ["", "phase", if one_file { "line" } else { "source" }, "step", "text", "program", "took", "waited for"];
    rows.set_header(header.map(|title| heading_cell(title, look)));
    for step in &drill.steps {
        let row = table::step_row(step);
        let source = if one_file { step.source.line.to_string() } else { row.source };
        rows.add_row([
            word_cell(&row.result, look),
            cell(row.phase),
            cell(&source),
            cell(&row.short),
            word_cell(&row.text, look),
            word_cell(&row.program, look),
            Cell::new(took(&row.duration, step.human.as_ref(), look)),
            Cell::new(waited_for(&row.waited, look)),
        ]);
    }
    fix_widths(&mut rows, &[0, 1, 4, 5, 6]);
    if one_file {
        fix_widths(&mut rows, &[2]);
        align_right(&mut rows, 2);
    }
    align_right(&mut rows, 6);
    let quarter = ColumnConstraint::UpperBoundary(Width::Percentage(25));
    set_constraint(&mut rows, 7, quarter);
    if look.times == Times::Hidden {
        set_constraint(&mut rows, 6, ColumnConstraint::Hidden);
    }
    Some(rows)
}

/// The file that every step stands in, if it is one: then it is said once, above the table.
fn only_file(drill: &DrillOutcome) -> Option<&str> {
    let first = &drill.steps.first()?.source.file;
    drill.steps.iter().all(|step| step.source.file == *first).then_some(first)
}

fn took(duration: &str, human: Option<&HumanTime>, look: &Look) -> String {
    match (look.times, human) {
        (Times::Hidden, _) => String::new(),
        (Times::Shown, None) => duration.to_owned(),
        (Times::Shown, Some(human)) => format!("{duration}\n{} by hand", human_duration(human.duration)),
    }
}

fn waited_for(waited: &[WaitRow], look: &Look) -> String {
    let lines = waited.iter().map(|wait| match look.times {
        Times::Shown => format!("{} {}", wait.took, printable(&wait.condition)),
        Times::Hidden => printable(&wait.condition),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn checks(drill: &DrillOutcome, look: &Look) -> Option<Table> {
    if drill.checks.is_empty() {
        return None;
    }
    let mut rows = new_table(look);
    for check in &drill.checks {
        let row = table::check_row(check);
        let mut cells = vec![word_cell(&row.result, look), cell(row.phase), cell(&row.name), cell(&row.detail)];
        if look.times == Times::Shown {
            cells.push(cell(&row.duration));
        }
        rows.add_row(cells);
    }
    fix_widths(&mut rows, &[0, 1]);
    if look.times == Times::Shown {
        fix_widths(&mut rows, &[4]);
        align_right(&mut rows, 4);
    }
    Some(rows)
}

fn credentials(drill: &DrillOutcome, look: &Look) -> Option<Table> {
    let credentials = table::credentials(&drill.credentials);
    if credentials.rows.is_empty() {
        return None;
    }
    let mut rows = new_table(look);
    let titles = ["principal", "kept in"].into_iter().chain(credentials.checkpoints.iter().map(String::as_str));
    rows.set_header(titles.map(|title| heading_cell(title, look)));
    for row in &credentials.rows {
        let mut cells = vec![cell(&row.principal), cell(&row.kept_in)];
        cells.extend(row.at.iter().map(|at| at.as_ref().map_or_else(|| cell("-"), |word| word_cell(word, look))));
        rows.add_row(cells);
    }
    Some(rows)
}

fn objectives(drill: &DrillOutcome, look: &Look) -> Option<Table> {
    if drill.objectives.is_empty() {
        return None;
    }
    let mut rows = new_table(look);
    rows.set_header(["", "objective", "measured", "promised", ""].map(|title| heading_cell(title, look)));
    for objective in &drill.objectives {
        let row = table::objective_row(objective);
        let measured = match look.times {
            Times::Shown => row.measured,
            Times::Hidden => "-".to_owned(),
        };
        rows.add_row([
            word_cell(&row.result, look),
            cell(row.kind),
            cell(&measured),
            cell(&row.promised),
            cell(&row.detail),
        ]);
    }
    fix_widths(&mut rows, &[0, 1, 2, 3]);
    Some(rows)
}

/// What a person would have read past.
fn hidden_failures(drill: &DrillOutcome, look: &Look) -> String {
    let mut lines = drill.steps.iter().flat_map(|step| &step.hidden_failures).peekable();
    if lines.peek().is_none() {
        return String::new();
    }
    let lines: String = lines.map(|line| format!("  {}\n", printable(line))).collect();
    format!("{}\n{lines}\n", heading("went wrong without a status", look))
}

fn errata(drill: &DrillOutcome, look: &Look) -> String {
    let mut text = format!("{}\n", heading(&table::as_written(drill), look));
    for erratum in &drill.errata {
        text.push_str(&format!("  {}  {}: {}\n", erratum.source, erratum.id, printable(&erratum.reason)));
        let lines = [
            ("documented", &erratum.documented),
            ("correction", &erratum.correction),
            ("answer", &erratum.answer),
            ("versions", &erratum.versions),
        ];
        for (title, line) in lines {
            text.push_str(&format!("    {title:<10}  {}\n", printable(line)));
        }
    }
    text.push('\n');
    text
}

fn notes(drill: &DrillOutcome, look: &Look) -> String {
    let lists = [
        ("provided by the environment (a real disaster needs it)", &drill.provided),
        ("done before the loss by no page", &drill.prepared),
        ("corrections that other versions need", &drill.left_out),
        ("limits that the container engine could not keep", &drill.unkept),
        ("waived", &drill.waived),
    ];
    let mut text = String::new();
    for (title, notes) in lists.into_iter().filter(|(_, notes)| !notes.is_empty()) {
        text.push_str(&format!("{}\n", heading(title, look)));
        for note in notes {
            let source = note.source.as_ref().map(|source| format!("{source}  ")).unwrap_or_default();
            text.push_str(&format!("  {source}{}: {}\n", printable(&note.what), printable(&note.why)));
        }
        text.push('\n');
    }
    text
}

fn new_table(look: &Look) -> Table {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(look.width);
    table.load_style(comfy_table::presets::NOTHING);
    match look.color {
        Color::Ansi => table.enforce_styling(),
        Color::Plain => table.force_no_tty(),
    };
    table
}

/// Columns of few words, which must never be broken.
fn fix_widths(table: &mut Table, columns: &[usize]) {
    for column in columns {
        set_constraint(table, *column, ColumnConstraint::ContentWidth);
    }
}

fn set_constraint(table: &mut Table, column: usize, constraint: ColumnConstraint) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(constraint);
    }
}

fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn cell(text: &str) -> Cell {
    Cell::new(printable(text))
}

fn heading_cell(title: &str, look: &Look) -> Cell {
    match look.color {
        Color::Ansi => cell(title).add_attribute(Attribute::Dim),
        Color::Plain => cell(title),
    }
}

fn word_cell(word: &Word, look: &Look) -> Cell {
    let cell = Cell::new(word.text);
    match (look.color, word.tone) {
        (Color::Plain, _) => cell,
        (Color::Ansi, Tone::Good) => cell.fg(comfy_table::Color::Green),
        (Color::Ansi, Tone::Dim) => cell.add_attribute(Attribute::Dim),
        (Color::Ansi, Tone::Caution) => cell.fg(comfy_table::Color::Yellow).add_attribute(Attribute::Bold),
        (Color::Ansi, Tone::Bad) => cell.fg(comfy_table::Color::Red).add_attribute(Attribute::Bold),
    }
}

fn heading(title: &str, look: &Look) -> String {
    match look.color {
        Color::Ansi => format!("\u{1b}[1m{}\u{1b}[0m", printable(title)),
        Color::Plain => printable(title),
    }
}
