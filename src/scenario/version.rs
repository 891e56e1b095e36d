//! Ranges of a tool's versions: `kubectl 1.31+`, `PostgreSQL 9.2-17`, `restic 0.14`.

use std::collections::BTreeMap;

/// Both ends belong to it, and a version with more numbers belongs to the one with fewer: 1.33.2 is 1.33.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionRange {
    /// As written.
    text: String,
    pub tool: String,
    from: Vec<u32>,
    to: Option<Vec<u32>>,
}

impl VersionRange {
    /// The error says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` names no versions of a tool: write `kubectl 1.31+` or `kubectl 1.31-1.33`");
        let (tool, range) = text.trim().rsplit_once(' ').ok_or_else(expected)?;
        let (from, to) = match (range.strip_suffix('+'), range.split_once('-')) {
            (Some(from), _) => (numbers(from), None),
            (None, Some((from, to))) => (numbers(from), Some(numbers(to).ok_or_else(expected)?)),
            (None, None) => (numbers(range), Some(numbers(range).ok_or_else(expected)?)),
        };
        let from = from.ok_or_else(expected)?;
        if to.as_ref().is_some_and(|to| *to < from) {
            return Err(format!("`{text}` ends before it begins: turn it round"));
        }
        Ok(Self { text: text.trim().to_owned(), tool: tool.trim().to_owned(), from, to })
    }

    /// Without the tool: `1.31+`.
    pub fn versions(&self) -> &str {
        self.text.rsplit_once(' ').map_or(&*self.text, |(_, versions)| versions)
    }

    /// Whether `1.32.4-dispatcher`, `15.14-0+deb12u1` is one of them; `None` where that is no version.
    pub fn contains(&self, version: &str) -> Option<bool> {
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let version = numbers(version[..end].trim_end_matches('.'))?;
        let prefix = |bound: &[u32]| version.iter().copied().take(bound.len()).collect::<Vec<_>>();
        let above = prefix(&self.from) >= self.from;
        Some(above && self.to.as_ref().is_none_or(|to| prefix(to) <= *to))
    }

    /// Whether a package of this name holds the tool. Distributions have the major version in some names: postgresql-15.
    pub fn is_of(&self, package: &str) -> bool {
        let plain = package.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        plain.eq_ignore_ascii_case(&self.tool)
    }

    /// Whether an erratum of this range is at work with these tools, by name. One of a tool of which no version is known
    /// is.
    pub fn holds_for(&self, versions: &BTreeMap<String, String>) -> bool {
        let of_tool = versions.iter().filter(|(name, _)| self.is_of(name));
        let known: Vec<bool> = of_tool.filter_map(|(_, version)| self.contains(version)).collect();
        known.is_empty() || known.contains(&true)
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> VersionRange {
        VersionRange::parse(text).unwrap()
    }

    #[test]
    fn both_ends_and_everything_below_them_belong_to_a_range() {
        let kubectl = range("kubectl 1.31-1.33");
        for (version, is_in) in
            [("1.30.9", false), ("1.31.0", true), ("1.32.4-dispatcher", true), ("1.33.7", true), ("1.34.0", false)]
        {
            assert_eq!(kubectl.contains(version), Some(is_in), "{version}");
        }
        assert_eq!(range("kubectl 1.9+").contains("1.31"), Some(true), "compared as numbers");
        assert_eq!(range("restic 0.14").contains("0.14.0-1+b5"), Some(true));
        assert_eq!(range("restic 0.14").contains("0.16.1"), Some(false));
        assert_eq!(range("restic 0.14").contains("unknown"), None);
    }

    #[test]
    fn an_erratum_is_left_out_only_where_the_version_is_known_to_be_another() {
        let versions = |name: &str, version: &str| BTreeMap::from([(name.to_owned(), version.to_owned())]);
        assert!(!range("kubectl 1.31+").holds_for(&versions("kubectl", "1.30.2")));
        assert!(range("kubectl 1.31+").holds_for(&versions("kubectl", "1.31.0")));
        assert!(range("kubectl 1.31+").holds_for(&versions("restic", "0.14.0")));
        assert!(range("PostgreSQL 9.2-17").holds_for(&versions("postgresql-15", "15.14-0+deb12u1")));
        assert!(!range("PostgreSQL 9.2-14").holds_for(&versions("postgresql-15", "15.14-0+deb12u1")));
    }

    #[test]
    fn what_is_no_range_is_refused_with_an_example() {
        for text in ["", "kubectl", "kubectl new", "kubectl 1.x", "kubectl 1-", "1.31+"] {
            assert!(VersionRange::parse(text).unwrap_err().contains("kubectl 1.31+"), "{text}");
        }
        assert!(VersionRange::parse("kubectl 1.33-1.31").unwrap_err().contains("before it begins"));
    }
}
