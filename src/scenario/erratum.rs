//! Reads what of a runbook cannot work, and its smallest correction: errata.

use super::file::ScenarioReader;
use super::yaml::{Node, Value};
use super::*;

impl ScenarioReader<'_> {
    pub(super) fn errata(&self, node: &Node) -> Option<Vec<Erratum>> {
        let ids = node.items().iter().filter_map(|node| node.get("id"));
        self.refuse_doubles("erratum", ids.filter_map(|node| Some((node.text()?, node.line))));
        self.reader.list(node, |node| self.erratum(node))
    }

    fn erratum(&self, node: &Node) -> Option<Erratum> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let id = fields.required("id", |node| r.text(node));
        let kind = fields.or_default("undocumented", |node| r.truth(node));
        let kind = kind.map(|undocumented| if undocumented { ErratumKind::Undocumented } else { ErratumKind::Wrong });
        let edits = fields.required("edits", |node| r.list(node, |node| self.edit(node, kind)));
        let reason = fields.required("reason", |node| r.text(node));
        let answer = fields.required("answer", |node| r.text(node));
        let versions = fields.required("versions", |node| {
            let text = r.text(node)?;
            VersionRange::parse(&text).or_else(|why| r.refuse(node.line, why).ok_or(())).ok()
        });
        let drills = self.drill_names(&mut fields);
        fields.close();
        if node.get("edits").is_some_and(|edits| edits.items().is_empty()) {
            return r.refuse(node.line, "an erratum needs at least one edit");
        }
        Some(Erratum {
            id: id?,
            kind: kind?,
            edits: edits?,
            reason: reason?,
            answer: answer?,
            versions: versions?,
            drills: drills?,
            source: r.source(node.line),
        })
    }

    fn edit(&self, node: &Node, kind: Option<ErratumKind>) -> Option<Edit> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let step = fields.required("step", |node| {
            let step = self.step(node)?;
            let way_out = "an edit needs the documented `text` that it corrects";
            if step.text.is_none() { r.refuse(node.line, way_out) } else { Some(step) }
        });
        let change = match fields.one_of(&["replace", "remove", "insert-before", "insert-after"]) {
            Some((name @ ("replace" | "remove"), node)) if kind == Some(ErratumKind::Undocumented) => {
                let message = format!(
                    "`{name}` changes what the page says, and this is about what it does not say: insert the commands"
                );
                r.refuse(node.line, message)
            }
            Some(("replace", node)) => r.text(node).map(Change::Replace),
            Some(("remove", node)) => self.removal(node),
            Some(("insert-before", node)) => self.inserted(node).map(Change::InsertBefore),
            Some((_, node)) => self.inserted(node).map(Change::InsertAfter),
            None => None,
        };
        fields.close();
        Some(Edit { step: step?, change: change? })
    }

    fn removal(&self, node: &Node) -> Option<Change> {
        match self.reader.truth(node)? {
            true => Some(Change::Remove),
            false => self.reader.refuse(node.line, "an edit that does nothing: write `remove: true` or take it out"),
        }
    }

    /// One command, or a list of them.
    fn inserted(&self, node: &Node) -> Option<Vec<String>> {
        let r = self.reader;
        match &node.value {
            Value::Scalar { .. } => r.text(node).map(|command| vec![command]),
            Value::Sequence(_) | Value::Mapping(_) => r.list(node, |node| r.text(node)),
        }
    }
}
