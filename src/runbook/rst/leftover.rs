//! What looks like a block of code and was not read as one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// A block's first line, wherever it stands: in a table, in the middle of a paragraph.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)\.\.[ \t]+(code-block|code|sourcecode|prompt)[ \t]?::";
    Regex::new(pattern).expect("the pattern is a constant")
});

/// Where in the document a block of code begins that nothing was made of, with what to do about it. `claimed`: the
/// directives that were dealt with; `opaque`: what is no markup, so that what looks like it there is not meant.
pub fn problems(document: &str, claimed: &BTreeSet<usize>, opaque: &[Range<usize>]) -> Vec<(usize, String)> {
    let found = CODE.captures_iter(document).filter_map(|found| Some((found.get(0)?.start(), found.get(1)?.as_str())));
    let lost = found.filter(|(at, _)| !claimed.contains(at) && !opaque.iter().any(|span| span.contains(at)));
    let message = |name| {
        format!("this `{name}` is not read where it stands: give it a line of its own, and a blank line before it")
    };
    lost.map(|(at, name)| (at, message(name))).collect()
}
