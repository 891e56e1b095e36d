//! Commands that belong to no procedure.

use super::file::ScenarioReader;
use super::yaml::Node;
use crate::outcome::SourceRef;

/// A command of the scenario's own: it brings the system into the state that a drill begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chore {
    pub run: String,
    /// Drills that it is done in; empty: all.
    pub drills: Vec<String>,
    pub source: SourceRef,
}

impl Chore {
    /// Whether it is done in this drill.
    pub fn is_of(&self, drill: &str) -> bool {
        self.drills.is_empty() || self.drills.iter().any(|name| name == drill)
    }
}

impl ScenarioReader<'_> {
    /// A command that is done in every drill.
    pub(super) fn command(&self, node: &Node) -> Option<Chore> {
        let source = self.reader.source(node.line);
        self.reader.text(node).map(|run| Chore { run, drills: Vec::new(), source })
    }

    /// A command that may be of some drills only.
    pub(super) fn chore(&self, node: &Node) -> Option<Chore> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let run = fields.required("run", |node| r.text(node));
        let drills = self.drill_names(&mut fields);
        fields.close();
        Some(Chore { run: run?, drills: drills?, source: r.source(node.line) })
    }
}
