//! Where a runbook is: a file, or a file of a revision in git.

use std::path::PathBuf;

use super::file::ScenarioReader;
use super::yaml::Node;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunbookSource {
    File(PathBuf),
    /// `git@REVISION:PATH`: the path from the root of the repository that holds `folder`.
    Git {
        folder: PathBuf,
        revision: String,
        path: String,
    },
}

impl std::fmt::Display for RunbookSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Git { revision, path, .. } => write!(f, "git@{revision}:{path}"),
        }
    }
}

impl ScenarioReader<'_> {
    pub(super) fn runbook(&self, node: &Node) -> Option<RunbookSource> {
        let r = self.reader;
        let text = r.text(node)?;
        let Some(named) = text.strip_prefix("git@") else {
            return self.path(node, "runbook").map(RunbookSource::File);
        };
        let (revision, path) = named.split_once(':').unwrap_or((named, ""));
        // An option, a range or a search is no name of one revision.
        let odd = |c: char| c.is_whitespace() || c.is_control() || "^:?*[\\".contains(c);
        if revision.is_empty() || revision.starts_with('-') || revision.contains("..") || revision.contains(odd) {
            return r.refuse(node.line, format!("`{text}` names no revision: write `git@main:docs/backups.rst`"));
        }
        if path.is_empty() || path.starts_with(['/', '-']) || path.split('/').any(|part| part == "..") {
            let message = format!("`{text}` names no file: write its path from the repository's root behind the `:`");
            return r.refuse(node.line, message);
        }
        let (revision, path) = (revision.to_owned(), path.to_owned());
        Some(RunbookSource::Git { folder: self.folder.clone(), revision, path })
    }
}
