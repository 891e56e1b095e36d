use super::*;
use crate::runbook::{Runbook, Step};
use proptest::prelude::*;

fn read(text: &str) -> Vec<Procedure> {
    procedures(Path::new("page.rst"), text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(text: &str) -> String {
    procedures(Path::new("page.rst"), text).map(|found| format!("{found:?}")).unwrap_err().to_string()
}

/// Item, line, kind and text of every step.
fn steps(text: &str) -> Vec<(Option<u64>, usize, char, String)> {
    let kind = |step: &Step| match &step.kind {
        StepKind::Command { .. } => '$',
        StepKind::Fragment { .. } => '{',
        StepKind::Human { .. } => '!',
    };
    let found = read(text);
    let all = found.iter().flat_map(|procedure| &procedure.steps);
    all.map(|step| (step.item, step.source.line, kind(step), step.kind.text().to_owned())).collect()
}

fn command(item: u64, line: usize, text: &str) -> (Option<u64>, usize, char, String) {
    (Some(item), line, '$', text.to_owned())
}

#[test]
fn sections_are_told_by_any_adornment() {
    let code = "\n\n.. code:: sh\n\n   ls\n\n";
    let page =
        ["=====\nAbove\n=====", "Below\n~~~~~", "*Bold* :code:`x`\n++++++++++++++++", "Link_\n#####"].join(code) + code;
    let found = read(&page);
    let names: Vec<_> = found.iter().map(|section| (section.name.as_str(), section.source.line)).collect();
    assert_eq!(names, [("Above", 2), ("Below", 9), ("Bold x", 16), ("Link", 23)]);
}

#[test]
fn a_block_keeps_its_number_and_its_line_however_far_it_is_indented() {
    let page = "A\n=\n\n3. Put it:\n\n   .. code-block:: console\n\n    # why\n    ls \\\n      -l\n\n\n4. Look.\n\n   Not sure.\n";
    assert_eq!(steps(page), [command(3, 8, "# why\nls \\\n  -l"), (Some(4), 13, '!', "Look. Not sure.".to_owned())]);
    let found = read(page);
    let StepKind::Command { span, .. } = &found[0].steps[0].kind else { panic!("{found:?}") };
    assert_eq!(&page[span.clone()], "# why\n    ls \\\n      -l");
    assert_eq!(found[0].steps[0].prose, "Put it");
}

#[test]
fn options_names_and_old_spellings_are_read() {
    let page = ".. code-block:: yaml\n   :linenos:\n   :caption: x\n\n   a: b\n\n     c\n\n.. code::\n\n   ls\n\n..  SourceCode :: sh\n\n  pwd\n";
    let expected = [
        (None, 5, '{', "a: b\n\n  c\n".to_owned()),
        (None, 11, '$', "ls".to_owned()),
        (None, 15, '$', "pwd".to_owned()),
    ];
    assert_eq!(steps(page), expected);
}

#[test]
fn literal_blocks_are_blocks_without_a_language() {
    let page =
        "1. Type::\n\n      ls a\n      ls b\n\n   or::\n\n      kind: Secret\n\n::\n\n  ls c\n\nQuoted::\n\n> ls\n";
    let expected = [
        command(1, 3, "ls a\nls b"),
        (Some(1), 8, '{', "kind: Secret\n".to_owned()),
        (None, 12, '$', "ls c".to_owned()),
        (None, 16, '$', "> ls".to_owned()),
    ];
    assert_eq!(steps(page), expected);
    let page = ".. highlight:: sql\n\nThis::\n\n  anything\n";
    assert_eq!(steps(page), [(None, 5, '{', "anything\n".to_owned())]);
}

#[test]
fn code_in_numbered_items_is_a_step_by_markdowns_rule() {
    let page = "``kubectl get a`` is no step.\n\n1. Say ``kubectl get b`` and ``/var/lib``\n2. Alone:\n\n   :command:`frobnicate --all`\n3. `Manual backup`_ and *look*\n\n#. Over ``kubectl get\n   lines`` it goes\n\n* ``kubectl get d``\n";
    let expected = [
        command(1, 3, "kubectl get b"),
        command(2, 6, "frobnicate --all"),
        (Some(3), 7, '!', "Manual backup and look".to_owned()),
        (Some(1), 9, '$', "kubectl get lines".to_owned()),
    ];
    assert_eq!(steps(page), expected);
    assert_eq!(read(page)[0].steps[0].prose, "Say and /var/lib");
}

#[test]
fn lists_in_lists_have_the_innermost_number_that_is_printed() {
    let page = "2. Both\n\n   a. ``ls -a``\n   b. ``ls -b``\n\n   7) ``ls -c``\n\n3. Then ``ls -d``\n#. ``ls -e``\n";
    let found: Vec<_> = steps(page).into_iter().map(|(item, _, _, text)| (item, text)).collect();
    let expected =
        [(2, "ls -a"), (2, "ls -b"), (7, "ls -c"), (4, "ls -e")].map(|(item, text)| (Some(item), text.to_owned()));
    assert_eq!(found[..3], expected[..3]);
    assert_eq!(found.last(), Some(&expected[3]));
}

#[test]
fn steps_in_admonitions_are_steps_where_they_stand() {
    let page = "1. One\n\n   .. DANGER:: Careful\n\n      Type:\n\n      .. code-block:: sh\n\n         ls a\n\n.. note::\n\n  1. ``kubectl b``\n\n  2. Inner\n\n     .. tip::\n        x\n\n        .. code:: sh\n\n            ls c\n";
    assert_eq!(steps(page), [command(1, 9, "ls a"), command(1, 13, "kubectl b"), command(2, 22, "ls c")]);
}

#[test]
fn tabs_and_carriage_returns_change_nothing() {
    let page = "A\r\n=\r\n\r\n1. x\r\n\r\n\t.. code-block:: sh\r\n\r\n\t\tls \\\r\n\t\t  -l\r\n";
    assert_eq!(steps(page), [command(1, 8, "ls \\\n  -l")]);
    assert_eq!(read(page)[0].name, "A");
}

#[test]
fn comments_are_skipped_and_directives_that_became_comments_are_not() {
    assert_eq!(steps(".. A comment.\n   .. code-block:: sh\n\n      ls\n\n.. _target:\n\nText.\n"), []);
    let said = refused("x\n\n.. code-block: sh\n\n   ls\n");
    assert!(said.starts_with("page.rst:3: ") && said.contains("`.. code-block::`"), "{said}");
}

#[test]
fn what_would_be_lost_is_an_error_with_its_line() {
    for (page, line, says) in [
        ("A\n=\n\n1. x\n   .. code-block:: sh\n\n      ls\n", 5, "`code-block` is not read where it stands"),
        ("+---+\n| .. code:: sh |\n+---+\n", 2, "`code` is not read where it stands"),
        ("x\n\n.. code-block:: sh\n\nls\n", 3, "indent the block's text"),
        ("x\n\n.. code-block:: sh\n   ls\n", 3, "`ls` is no option of it: put a blank line"),
        (".. code-block:: sh ls -l\n\n   x\n", 1, "`ls` is one word too many"),
        ("Type::\n\nls\n", 1, "none does"),
        ("x\n\n.. literalinclude:: restore.sh\n", 3, "`literalinclude` is not read"),
        (".. note::\n  a\n a::\n\n  b\n", 1, "can be read in two ways"),
        (".. note::\n\n   .. raw:: html\n\n      <p>\n", 3, "`raw` is not read"),
    ] {
        let said = refused(page);
        assert!(said.starts_with(&format!("page.rst:{line}: ")) && said.contains(says), "{page:?}: {said}");
    }
}

#[test]
fn every_problem_of_a_page_is_said_at_once() {
    let said = refused(".. include:: a.rst\n\nText::\n\nMore.\n\n.. frobnicate::\n");
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn lists_too_deep_to_be_meant_are_refused_and_break_nothing() {
    let said = refused(&(".. note:: ".repeat(300) + "x\n"));
    assert!(said.contains("inside each other"), "{said}");
    let said = refused(&("- ".repeat(20_000) + "x\n"));
    assert!(said.contains("inside each other") || said.contains("no reStructuredText"), "{said}");
}

#[test]
fn the_extension_chooses_the_format_and_a_page_with_problems_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("backups.RST");
    std::fs::write(&page, "Backups\n=======\n\n.. code:: sh\n\n   ls\n").unwrap();
    assert_eq!(Runbook::read(&page).unwrap().procedures[0].name, "Backups");
    std::fs::write(&page, "Backups\n=======\n\n.. code:: sh\n").unwrap();
    let said = Runbook::read(&page).unwrap_err().to_string();
    assert!(said.contains("backups.RST:4: "), "{said}");
}

/// A block as it is written into a generated page, and what has to come back of it.
#[derive(Debug, Clone)]
struct Written {
    head: &'static str,
    place: Place,
    extra: usize,
    lines: Vec<(usize, String)>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Section,
    Item,
    Note,
    NoteInItem,
    Bullet,
    Quote,
}

fn written() -> impl Strategy<Value = Written> {
    let heads =
        [".. code-block:: console", ".. code:: sh", ".. sourcecode:: bash\n:linenos:", ".. code-block:: sql", "Text::"];
    let places = [Place::Section, Place::Item, Place::Note, Place::NoteInItem, Place::Bullet, Place::Quote];
    let line = prop_oneof![
        4 => (0_usize..6, "[a-z]{1,8}( [-a-z*`_|:.#0-9]{1,6}){0,3}"),
        1 => Just((0, String::new())),
        1 => (0_usize..4, prop_oneof![Just("1. x"), Just(".. note:: x"), Just("* b"), Just("===="), Just("x::"), Just("# c")].prop_map(str::to_owned)),
    ];
    let lines = ("[a-z]{1,8}", proptest::collection::vec(line, 0..6)).prop_map(|(first, mut rest)| {
        rest.insert(0, (0, first));
        while rest.last().is_some_and(|(_, line)| line.is_empty()) {
            rest.pop();
        }
        rest
    });
    let extra = 1_usize..6;
    (proptest::sample::select(heads.to_vec()), proptest::sample::select(places.to_vec()), extra, lines)
        .prop_map(|(head, place, extra, lines)| Written { head, place, extra, lines })
}

/// The page, and of each block the line on which its text begins and the text.
fn page(blocks: &[Written], tabs: bool, end: &str) -> (String, Vec<(usize, String)>) {
    let mut lines: Vec<String> = vec!["Page".into(), "====".into(), String::new()];
    let mut expected = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let (opening, indent): (Vec<String>, usize) = match block.place {
            Place::Section => (vec![format!("Part {number}"), "-".repeat(12)], 0),
            Place::Item => (vec![format!("{}. Do:", number % 9 + 1)], 3),
            Place::Note => (vec![".. NOTE::".into()], 2),
            Place::NoteInItem => (vec![format!("{}. Do:", number % 9 + 1), String::new(), "   .. tip:: x".into()], 6),
            Place::Bullet => (vec!["* Do:".into()], 2),
            Place::Quote => (vec!["Text.".into()], 4),
        };
        lines.extend(opening);
        lines.push(String::new());
        let mut head = block.head.lines();
        lines.extend(head.next().map(|line| " ".repeat(indent) + line));
        lines.extend(head.map(|line| " ".repeat(indent + block.extra) + line));
        lines.push(String::new());
        let text: Vec<String> = block.lines.iter().map(|(inner, line)| " ".repeat(*inner) + line).collect();
        expected.push((lines.len() + 1, text.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")));
        lines.extend(text.iter().map(|line| (" ".repeat(indent + block.extra) + line).trim_end().to_owned()));
        lines.extend([String::new(), String::new()]);
    }
    let tabbed = |line: String| {
        let blanks = line.len() - line.trim_start().len();
        if tabs { "\t".repeat(blanks / 8) + &" ".repeat(blanks % 8) + line.trim_start() } else { line }
    };
    (lines.into_iter().map(|line| tabbed(line) + end).collect(), expected)
}

proptest! {
    #[test]
    fn blocks_of_a_written_page_come_back_with_their_lines(
        blocks in proptest::collection::vec(written(), 1..6),
        tabs in any::<bool>(),
        end in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let (text, expected) = page(&blocks, tabs, end);
        let found = read(&text);
        let steps = found.iter().flat_map(|procedure| &procedure.steps);
        let blocks = steps.filter(|step| !matches!(step.kind, StepKind::Human { .. }));
        let found: Vec<_> = blocks.map(|step| (step.source.line, step.kind.text().trim_end().to_owned())).collect();
        prop_assert_eq!(found, expected, "{}", text);
    }

    #[test]
    fn any_page_is_read_the_same_twice_and_its_steps_quote_it(text in lines()) {
        let found = procedures(Path::new("page.rst"), &text);
        for step in found.iter().flatten().flat_map(|procedure| &procedure.steps) {
            assert_quotes(&text, step);
        }
        prop_assert_eq!(&found, &procedures(Path::new("page.rst"), &text));
        if let Err(problems) = found {
            prop_assert!(problems.iter().all(|problem| problem.source.line >= 1 && problem.source.line <= text.matches('\n').count() + 1));
        }
    }

    #[test]
    fn no_text_is_in_two_steps(text in lines()) {
        let Ok(found) = procedures(Path::new("page.rst"), &text) else { return Ok(()) };
        let spans: Vec<_> = found.iter().flat_map(|p| &p.steps).filter_map(|step| match &step.kind {
            StepKind::Command { span, .. } | StepKind::Fragment { span, .. } => Some(span.clone()),
            StepKind::Human { .. } => None,
        }).collect();
        for (number, pair) in spans.windows(2).enumerate() {
            prop_assert!(pair[0].end <= pair[1].start, "step {} reaches into the next: {:?}", number, pair);
        }
    }

    #[test]
    fn any_text_at_all_is_read_without_a_panic(text in "\\PC*|[\\x00-\\x7f]{0,200}|[ \\t\\n.:*`|_#0-9a-b=+-]{0,200}") {
        for step in procedures(Path::new("page.rst"), &text).iter().flatten().flat_map(|procedure| &procedure.steps) {
            assert_quotes(&text, step);
        }
    }
}

/// Lines that matter to the format, in any order.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        " {0,6}(\\.\\.)? ?(code-block|code|note|raw)?:{0,2} ?[a-z]{0,6}",
        " {0,6}\\.\\. (code-block|code|sourcecode|note|DANGER|highlight):: ?(sh|sql)?",
        " {0,6}([0-9]{1,2}[.)]|#\\.|a\\.|\\*|-) [a-z ]{0,10}(``(kubectl|ls) [a-z]{0,6}``)?",
        " {0,8}[a-z]+ ?[a-z]*(::)?",
        "[=~^\"+*#-]{1,8}",
        "\\t?[|+>:_.`]{0,3}.{0,12}",
        Just(String::new()),
        Just(String::new()),
    ];
    proptest::collection::vec((line, prop_oneof![4 => Just("\n"), 1 => Just("\r\n")]), 0..24)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

/// Every word of the step stands in the document at the step's span, in order, and its line is the span's.
fn assert_quotes(text: &str, step: &Step) {
    let (StepKind::Command { text: quoted, span } | StepKind::Fragment { text: quoted, span, .. }) = &step.kind else {
        return;
    };
    let mut rest = &text[span.clone()];
    for word in quoted.split_whitespace() {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} of {quoted:?} is not at {span:?} of {text:?}"));
        rest = &rest[at + word.len()..];
    }
    assert_eq!(step.source.line, text[..span.start].matches('\n').count() + 1);
}
