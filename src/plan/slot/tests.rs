use super::*;
use crate::outcome::{Phase, ProgramLabel, SourceRef, TextLabel};
use crate::scenario::{Terminal, ValueFrom};
use proptest::prelude::*;

fn binding(place: &str, after: Option<&str>) -> SlotBinding {
    SlotBinding {
        place: place.to_owned(),
        after: after.map(str::to_owned),
        from: SlotSource::Value(ValueFrom::Generated(place.to_owned())),
        source: SourceRef { file: "scenario.yaml".to_owned(), line: 7 },
    }
}

fn step(text: &str, content: &str, bindings: &[SlotBinding]) -> PlannedStep {
    let bindings: Vec<_> = bindings.iter().collect();
    let mut slots = find(text, SlotText::Command, &bindings);
    slots.extend(find(content, SlotText::Content, &bindings));
    PlannedStep {
        phase: Phase::Restore,
        source: SourceRef { file: "runbook.md".to_owned(), line: 1 },
        procedure: "Restore".to_owned(),
        item: None,
        documented: None,
        text: text.to_owned(),
        label: TextLabel::Verbatim,
        program: ProgramLabel::Real,
        action: Action::Apply { content: content.to_owned() },
        terminal: Terminal::Same,
        human: None,
        errata: Vec::new(),
        slots,
    }
}

#[test]
fn a_place_is_a_whole_word_right_behind_what_is_said_to_be_before_it() {
    let text = "restic-password: old\nrestic-new-password: new\n";
    assert_eq!(spans(text, &binding("new", None)).len(), 2);
    let spans = spans(text, &binding("new", Some("restic-new-password: ")));
    assert_eq!(spans.len(), 1);
    assert_eq!(&text[spans[0].clone()], "new");
    assert_eq!(super::spans("golden old", &binding("old", None)), vec![7..10; 1]);
}

#[test]
fn every_place_of_a_name_is_filled() {
    let step = step("kubectl create job --from=cronjob/JOB JOB-manual", "x: JOB\n", &[binding("JOB", None)]);
    let filled = step.fill(|_| Some(Secret::new("nightly"))).unwrap();
    assert_eq!(filled.text.expose(), "kubectl create job --from=cronjob/nightly nightly-manual");
    assert_eq!(filled.content.unwrap().expose(), "x: nightly\n");
}

#[test]
fn what_a_comment_speaks_of_is_not_filled() {
    let text = "# to determine JOB\nkubectl get cronjobs\n  # JOB\nrun JOB # JOB";
    let bindings = [binding("JOB", None)];
    let found = find(text, SlotText::Command, &bindings.iter().collect::<Vec<_>>());
    assert_eq!(found.iter().map(|slot| slot.span.start).collect::<Vec<_>>(), [52, 58]);
    assert_eq!(find("# JOB", SlotText::Content, &bindings.iter().collect::<Vec<_>>()).len(), 1);
}

#[test]
fn a_value_that_a_shell_would_interpret_is_refused_without_being_shown() {
    let step = step("cat NAME", "", &[binding("NAME", None)]);
    let error = step.fill(|_| Some(Secret::new("hunter2;reboot"))).unwrap_err().to_string();
    assert!(error.contains("`NAME` (scenario.yaml:7)") && error.contains("';'"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert!(matches!(step.fill(|_| None), Err(FillError::NoValue { .. })));
    assert!(matches!(step.fill(|_| Some(Secret::new(""))), Err(FillError::NoValue { .. })));
}

#[test]
fn placeholders_are_told_from_variables_assignments_and_sql() {
    let open =
        |text: &str| -> Vec<String> { open_places(text).into_iter().map(|span| text[span].to_owned()).collect() };
    assert_eq!(open("kubectl exec -it DB_POD_NAME bash"), ["DB_POD_NAME"]);
    assert_eq!(open("gunzip BACKUP_NAME.bak"), ["BACKUP_NAME"]);
    assert_eq!(open("# use this to determine CRONJOB_NAME\nkubectl get cronjobs"), [""; 0]);
    assert_eq!(open("psql -U$POSTGRES_USER ${PGDATABASE} --set ON_ERROR_STOP=on"), [""; 0]);
    assert_eq!(open("psql -c 'DROP DATABASE taiga'"), [""; 0]);
    assert_eq!(open("helm --set key=<base64 encoded key> -f - <file"), ["<base64 encoded key>"]);
    assert_eq!(open("cp 'gs://{bucket name}/x' -o jsonpath='{.data.a}'"), ["{bucket name}"]);
}

proptest! {
    #[test]
    fn filling_changes_nothing_but_the_slots(before in "[a-z \n]{0,10}", after in "[a-z \n]{0,10}", value in "[a-zA-Z0-9._/-]{1,12}") {
        let text = format!("{before} PLACE {after}");
        let step = step(&text, "", &[binding("PLACE", None)]);
        let filled = step.fill(|_| Some(Secret::new(value.clone()))).unwrap();
        prop_assert_eq!(filled.text.expose(), format!("{before} {value} {after}"));
    }

    #[test]
    fn open_places_lie_in_the_command_and_do_not_overlap(command in "\\PC{0,60}") {
        let mut end = 0;
        for span in open_places(&command) {
            prop_assert!(span.start >= end && command.get(span.clone()).is_some());
            end = span.end;
        }
    }
}
