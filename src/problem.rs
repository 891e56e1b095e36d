//! What is wrong with a file: where, what, and the way out. Collected, so that all of it is said at once.

use crate::outcome::SourceRef;

/// One thing that is wrong, in words that end with the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line 0: the file as a whole.
    pub source: SourceRef,
    pub message: String,
}

impl Problem {
    pub fn new(source: &SourceRef, message: impl Into<String>) -> Self {
        Self { source: source.clone(), message: message.into() }
    }

    pub fn at(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { source: SourceRef { file: file.to_owned(), line }, message: message.into() }
    }

    /// About a file as a whole, or one that is not there.
    pub fn of_file(file: &std::path::Path, message: impl Into<String>) -> Self {
        Self { source: SourceRef { file: file.display().to_string(), line: 0 }, message: message.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source.line {
            0 => write!(f, "{}: {}", self.source.file, self.message),
            _ => write!(f, "{}: {}", self.source, self.message),
        }
    }
}

/// Everything that is wrong, by file and line.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub fn extend(&mut self, others: impl IntoIterator<Item = Problem>) {
        self.0.extend(others);
    }

    /// The value, or its problems among the others.
    pub fn keep<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|problems| self.0.extend(problems.0)).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// `value`, if there are no problems; else all of them, in the order of files and lines, each once.
    pub fn or<T>(mut self, value: Option<T>) -> Result<T, Self> {
        self.0.sort();
        self.0.dedup();
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self),
        }
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        Self(problems.into_iter().collect())
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

/// ` (did you mean `x`?)` for the known name nearest to what was written, or else the names there are.
pub fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match did_you_mean(written, known.iter().copied()) {
        hint if !hint.is_empty() => hint,
        _ if known.is_empty() => " (there are none)".to_owned(),
        _ => format!(" (there are: {})", known.join(", ")),
    }
}

/// ` (did you mean `x`?)` when a known name is near; for names of which there are too many to list.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known.into_iter().map(|name| (strsim::damerau_levenshtein(written, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + written.len() / 4 => format!(" (did you mean `{name}`?)"),
        Some(_) | None => String::new(),
    }
}
