use super::*;
use crate::runbook::Step;
use proptest::prelude::*;

fn read(text: &str) -> Vec<Procedure> {
    procedures(Path::new("page.md"), text)
}

#[test]
fn several_commands_of_one_item_are_steps_in_their_order() {
    let text = "# Up\n\n1. Start both:   \n   `kubectl scale a`\n   `kubectl scale b`\n2. Look at the screen\n";
    let found = read(text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "Up");
    let seen: Vec<_> = found[0]
        .steps
        .iter()
        .map(|step| (step.item, step.source.line, step.prose.as_str(), step.kind.text()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(1), 4, "Start both", "kubectl scale a"),
            (Some(1), 5, "Start both", "kubectl scale b"),
            (Some(2), 6, "Look at the screen", "Look at the screen"),
        ]
    );
    assert!(matches!(found[0].steps[2].kind, StepKind::Human { .. }));
}

#[test]
fn numbers_are_those_on_the_page_even_where_they_start_again() {
    let found = read("1. `ls -a`\n4. `ls -b`\n1. `ls -c`\n");
    let numbers: Vec<_> = found[0].steps.iter().map(|step| step.item).collect();
    assert_eq!(numbers, [Some(1), Some(4), Some(1)]);
}

#[test]
fn a_block_in_an_item_loses_its_indentation_and_keeps_its_place() {
    let text = "## Set\n\n3. Put it there:\n   ```\n   kind: Secret\n   data:\n     a: b\n   ```\n";
    let found = read(text);
    let step = &found[0].steps[0];
    assert_eq!(step.item, Some(3));
    assert_eq!(step.source.line, 5);
    let StepKind::Fragment { text: content, language: None, span } = &step.kind else { panic!("{step:?}") };
    assert_eq!(content, "kind: Secret\ndata:\n  a: b\n");
    assert!(text[span.clone()].starts_with("kind: Secret"));
}

#[test]
fn blocks_outside_lists_belong_to_their_section_and_name_their_paragraph() {
    let text = "# A\n\nFirst this:\n\n```bash\nhelm repo update\n```\n\n# B\n\nNothing to do.\n\n# C\n\n```sql\nSELECT 1;\n```\n";
    let found = read(text);
    assert_eq!(found.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["A", "C"]);
    assert_eq!(found[0].steps[0].prose, "First this");
    assert!(matches!(&found[0].steps[0].kind, StepKind::Command { text, .. } if text == "helm repo update"));
    assert!(matches!(&found[1].steps[0].kind, StepKind::Fragment { language: Some(l), .. } if l == "sql"));
}

#[test]
fn code_in_bullets_and_front_matter_is_no_step() {
    assert_eq!(
        read("---\ntitle: `rm -rf /`\n---\n\n* backup at `schedule: \"10 23 * * *\"`\n* see `kubectl get pods`\n"),
        []
    );
}

#[test]
fn a_carriage_return_alone_ends_a_line_of_code_too() {
    let found = read("# Up\r\r```\rkubectl get a\rkubectl get b\r```\r");
    let seen: Vec<_> = found[0].steps.iter().map(|step| (step.source.line, step.kind.text())).collect();
    assert_eq!(seen, [(4, "kubectl get a\nkubectl get b")]);
}

/// Every line of the step stands in the document at the step's span, in order, whatever indentation was around it.
#[test]
fn a_paragraph_with_an_escaped_number_is_the_item_that_its_reader_sees() {
    let page = "# Move\n\n1. Alter it.\n2. ```\n   helm repo update\n   ```\n\n3\\. Deploy it,\nthen kill `it`.\n\n4\\.5 litres are no item.\n";
    let procedures = read(page);
    let found: Vec<_> = procedures[0].steps.iter().map(|s| (s.item, s.source.line, s.kind.text())).collect();
    let last = "Deploy it, then kill it.";
    assert_eq!(found, [(Some(1), 3, "Alter it."), (Some(2), 5, "helm repo update"), (Some(3), 8, last)]);
}

fn assert_quotes(text: &str, step: &Step) {
    let (StepKind::Command { text: quoted, span } | StepKind::Fragment { text: quoted, span, .. }) = &step.kind else {
        return;
    };
    let mut rest = &text[span.clone()];
    for word in quoted.split_whitespace() {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} of {quoted:?} is not at {span:?} of {text:?}"));
        rest = &rest[at + word.len()..];
    }
    let line = with_lone_returns_as_newlines(text)[..span.start].matches('\n').count() + 1;
    assert_eq!(step.source.line, line);
}

fn page() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "#{1,3} [A-Za-z ]{0,12}",
        "[0-9]{1,2}[.)] [a-z ]{0,10}`(kubectl|./run|x)[ a-z`-]{0,12}`?",
        " {0,5}`[a-z ]{1,12}`",
        " {0,4}```(bash|yaml|sql)?",
        " {0,6}[a-z]+: ?[a-z]*",
        "[*-] .{0,12}",
        "> .{0,10}",
        ".{0,16}",
        Just(String::new()),
    ];
    proptest::collection::vec((line, prop_oneof![Just("\n"), Just("\r\n")]), 0..24)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

proptest! {
    #[test]
    fn any_page_is_read_the_same_twice_and_its_steps_quote_it(text in page()) {
        let found = read(&text);
        for step in found.iter().flat_map(|procedure| &procedure.steps) {
            assert_quotes(&text, step);
        }
        prop_assert_eq!(found, read(&text));
    }

    #[test]
    fn any_text_at_all_is_read_without_a_panic(text in "\\PC*|[\\x00-\\x7f]{0,200}") {
        for step in read(&text).iter().flat_map(|procedure| &procedure.steps) {
            assert_quotes(&text, step);
        }
    }
}
