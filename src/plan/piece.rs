//! Cuts a block of commands: one that a binding, a waiver or a slot means by its text is a step of its own.

use std::ops::Range;

use crate::runbook::{Step, StepKind};

/// Lines of a block that are typed, or replaced, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of the block, from 0.
    pub lines: Range<usize>,
    pub text: String,
}

/// The one command of a block that holds a text, by its lines: those that a backslash continues are part of it. Errors in words
/// when there are several; a step that is no command, or of one line, is taken whole.
pub fn command_with(step: &Step, text: Option<&str>) -> Result<Range<usize>, String> {
    let lines: Vec<&str> = step.kind.text().lines().collect();
    let whole = 0..lines.len().max(1);
    let (StepKind::Command { text: block, .. }, Some(text)) = (&step.kind, text) else { return Ok(whole) };
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in block.match_indices(text) {
        let first = block[..at].matches('\n').count();
        let last = first + text.trim_end().matches('\n').count();
        let command = extended(&lines, first..last + 1);
        if !found.contains(&command) {
            found.push(command);
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(format!("`{text}` is in {} commands of the block at {}: quote more of one", found.len(), step.source)),
    }
}

/// To the first and the last line of what backslashes hold together.
fn extended(lines: &[&str], mut range: Range<usize>) -> Range<usize> {
    while range.start > 0 && lines[range.start - 1].ends_with('\\') {
        range.start -= 1;
    }
    while range.end < lines.len() && lines[range.end - 1].ends_with('\\') {
        range.end += 1;
    }
    range
}

/// The block in pieces, so that each of `alone` is one. Lines without a command stay with the command below them, or, at the
/// end, above.
pub fn cut(block: &str, alone: &[Range<usize>]) -> Vec<Piece> {
    let lines: Vec<&str> = block.lines().collect();
    let mut bounds: Vec<usize> =
        alone.iter().flat_map(|range| [range.start, range.end]).chain([0, lines.len()]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for end in bounds.into_iter().skip(1) {
        if lines[start..end].iter().all(|line| is_idle(line)) {
            continue;
        }
        ranges.push(start..end);
        start = end;
    }
    match ranges.last_mut() {
        Some(last) => last.end = lines.len(),
        None => ranges.push(0..lines.len()),
    }
    ranges.into_iter().map(|lines_of| Piece { text: lines[lines_of.clone()].join("\n"), lines: lines_of }).collect()
}

fn is_idle(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::SourceRef;
    use proptest::prelude::*;

    const BLOCK: &str = "# look\nget pods\n# then\nexec \\\n  POD\n# end";

    fn step(text: &str) -> Step {
        let source = SourceRef { file: "page.rst".to_owned(), line: 7 };
        let kind = StepKind::Command { text: text.to_owned(), span: 0..0 };
        Step { source, item: None, prose: String::new(), kind }
    }

    #[test]
    fn a_command_is_found_with_all_of_its_lines() {
        assert_eq!(command_with(&step(BLOCK), Some("get")), Ok(1..2));
        assert_eq!(command_with(&step(BLOCK), Some("POD")), Ok(3..5));
        assert_eq!(command_with(&step(BLOCK), Some("exec")), Ok(3..5));
        assert_eq!(command_with(&step(BLOCK), None), Ok(0..6));
        let said = command_with(&step("ls a\nls b"), Some("ls")).unwrap_err();
        assert_eq!(said, "`ls` is in 2 commands of the block at page.rst:7: quote more of one");
    }

    #[test]
    fn comments_go_with_the_command_that_they_explain() {
        let pieces = cut(BLOCK, std::slice::from_ref(&(1..2)));
        let found: Vec<_> = pieces.iter().map(|piece| (piece.lines.clone(), piece.text.as_str())).collect();
        assert_eq!(found, [(0..2, "# look\nget pods"), (2..6, "# then\nexec \\\n  POD\n# end")]);
        assert_eq!(cut(BLOCK, &[]).len(), 1);
        assert_eq!(cut("# only\n", &[]).len(), 1);
    }

    proptest! {
        #[test]
        fn no_line_is_lost_and_none_is_typed_twice(lines in proptest::collection::vec("(# )?[a-z]{0,3}", 1..8), cuts in proptest::collection::vec((0_usize..8, 1_usize..3), 0..4)) {
            let block = lines.join("\n");
            let count = block.lines().count();
            let alone: Vec<_> = cuts.into_iter().map(|(at, length)| at.min(count)..(at + length).min(count)).collect();
            let pieces = cut(&block, &alone);
            let joined: Vec<_> = pieces.iter().map(|piece| piece.text.as_str()).collect();
            prop_assert_eq!(joined.join("\n"), block.lines().collect::<Vec<_>>().join("\n"));
        }
    }
}
