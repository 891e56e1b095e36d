//! `index.html`: the run on one page, for a person, with nothing fetched from anywhere.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::table::{self, CheckRow, Credentials, ObjectiveRow, StepRow, Word};
use crate::outcome::cause::human_duration;
use crate::outcome::{DrillOutcome, Note, Outcome};

#[derive(Serialize)]
struct Page<'a> {
    run: &'a str,
    started: String,
    total: String,
    rng: String,
    verdict: Word,
    exit_code: u8,
    usage: &'a [String],
    drills: Vec<DrillPage>,
    redrill: &'static str,
}

#[derive(Serialize)]
struct DrillPage {
    title: String,
    scenario: String,
    variant: String,
    environment: String,
    verdict: Word,
    accepted: Vec<String>,
    as_written: String,
    causes: Vec<CauseLine>,
    phases: Vec<PhaseLine>,
    steps: Vec<StepRow>,
    checks: Vec<CheckRow>,
    credentials: Credentials,
    objectives: Vec<ObjectiveRow>,
    errata: Vec<ErratumLine>,
    notes: Vec<NoteList>,
    versions: Vec<(String, String)>,
    digests: Vec<(String, String)>,
}

#[derive(Serialize)]
struct CauseLine {
    verdict: Word,
    source: Option<String>,
    text: String,
}

#[derive(Serialize)]
struct PhaseLine {
    name: &'static str,
    duration: String,
    /// Of the whole drill, in percent: the bar's width.
    share: f64,
}

#[derive(Serialize)]
struct ErratumLine {
    id: String,
    source: String,
    documented: String,
    correction: String,
    reason: String,
    answer: String,
    versions: String,
}

#[derive(Serialize)]
struct NoteList {
    title: &'static str,
    notes: Vec<NoteLine>,
}

#[derive(Serialize)]
struct NoteLine {
    source: Option<String>,
    what: String,
    why: String,
}

pub(super) fn render(outcome: &Outcome) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("index.html", include_str!("index.html"))?;
    environment.get_template("index.html")?.render(Serde(Page {
        run: &outcome.run,
        started: outcome.started.to_string(),
        total: human_duration(outcome.total()),
        rng: outcome.rng.to_string(),
        verdict: table::verdict_word(outcome.verdict()),
        exit_code: outcome.exit_code().number(),
        usage: &outcome.usage,
        drills: outcome.drills.iter().map(|drill| page(outcome, drill)).collect(),
        redrill: env!("CARGO_PKG_VERSION"),
    }))
}

fn page(outcome: &Outcome, drill: &DrillOutcome) -> DrillPage {
    let accepted = drill
        .acceptances_used(outcome.day())
        .into_iter()
        .map(|by| format!("{} is accepted until {} by {}: {}", by.verdict, by.until, by.owner, by.reason));
    let causes = drill.causes().into_iter().map(|cause| CauseLine {
        verdict: table::verdict_word(cause.verdict),
        source: cause.source.map(|source| source.to_string()),
        text: cause.text,
    });
    let pairs = |map: &std::collections::BTreeMap<String, String>| map.clone().into_iter().collect();
    DrillPage {
        title: drill.title(),
        scenario: drill.scenario.clone(),
        variant: drill.variant.clone(),
        environment: drill.environment.clone(),
        verdict: table::verdict_word(drill.verdict()),
        accepted: accepted.collect(),
        as_written: table::as_written(drill),
        causes: causes.collect(),
        phases: phases(drill),
        steps: drill.steps.iter().map(table::step_row).collect(),
        checks: drill.checks.iter().map(table::check_row).collect(),
        credentials: table::credentials(&drill.credentials),
        objectives: drill.objectives.iter().map(table::objective_row).collect(),
        errata: errata(drill),
        notes: notes(drill),
        versions: pairs(&drill.versions),
        digests: pairs(&drill.digests),
    }
}

fn phases(drill: &DrillOutcome) -> Vec<PhaseLine> {
    let total: f64 = drill.phases.iter().map(|phase| phase.duration.as_secs_f64()).sum();
    let share = |seconds: f64| if total > 0.0 { (seconds / total * 1000.0).round() / 10.0 } else { 0.0 };
    drill
        .phases
        .iter()
        .map(|phase| PhaseLine {
            name: phase.phase.word(),
            duration: human_duration(phase.duration),
            share: share(phase.duration.as_secs_f64()),
        })
        .collect()
}

fn errata(drill: &DrillOutcome) -> Vec<ErratumLine> {
    drill
        .errata
        .iter()
        .map(|erratum| ErratumLine {
            id: erratum.id.clone(),
            source: erratum.source.to_string(),
            documented: erratum.documented.clone(),
            correction: erratum.correction.clone(),
            reason: erratum.reason.clone(),
            answer: erratum.answer.clone(),
            versions: erratum.versions.clone(),
        })
        .collect()
}

fn notes(drill: &DrillOutcome) -> Vec<NoteList> {
    let lines = |notes: &[Note]| {
        notes
            .iter()
            .map(|note| NoteLine {
                source: note.source.as_ref().map(ToString::to_string),
                what: note.what.clone(),
                why: note.why.clone(),
            })
            .collect::<Vec<_>>()
    };
    let mut lists = vec![
        NoteList { title: "Not covered", notes: lines(&drill.uncovered) },
        NoteList { title: "Stand-ins", notes: lines(&drill.simulated) },
        NoteList { title: "Provided by the environment (a real disaster needs it)", notes: lines(&drill.provided) },
        NoteList { title: "Done before the loss by no page", notes: lines(&drill.prepared) },
        NoteList { title: "Corrections that other versions need", notes: lines(&drill.left_out) },
        NoteList { title: "Limits that the container engine could not keep", notes: lines(&drill.unkept) },
        NoteList { title: "Waived", notes: lines(&drill.waived) },
    ];
    lists.retain(|list| !list.notes.is_empty());
    lists
}
