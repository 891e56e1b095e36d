//! Reads what a person does with a step: bindings.

use std::time::Duration;

use super::file::ScenarioReader;
use super::reader::Fields;
use super::yaml::Node;
use super::*;
use crate::outcome::HumanTime;

impl ScenarioReader<'_> {
    pub(super) fn binding(&self, node: &Node) -> Option<Binding> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let step = fields.required("step", |node| self.step(node));
        let human = fields.optional("human", |node| self.human_time(node));
        let deed = self.deed(&mut fields, node, matches!(human, Some(Some(_))));
        let slots = fields.or_default("slots", |node| r.list(node, |node| self.slot(node)));
        let words = [("same", Terminal::Same), ("second", Terminal::Second)];
        let terminal = fields.optional("terminal", |node| r.word(node, &words));
        fields.close();
        let terminal = terminal?.unwrap_or(Terminal::Same);
        if terminal == Terminal::Second && matches!(deed, Some(Deed::Human | Deed::Provided(_))) {
            return r.refuse(node.line, "nothing is typed for this step: take `terminal` out");
        }
        Some(Binding { step: step?, deed: deed?, human: human?, slots: slots?, terminal })
    }

    /// What is done: one of `run`, `compare`, `edit`, `editor` and `provided`, or human time alone.
    fn deed(&self, fields: &mut Fields<'_, '_>, node: &Node, has_human_time: bool) -> Option<Deed> {
        let r = self.reader;
        let names = ["run", "compare", "edit", "editor", "provided"];
        let named: Vec<_> = names.into_iter().filter_map(|name| Some((name, fields.node(name)?))).collect();
        let is_edit = named.iter().any(|(name, _)| *name == "edit");
        let script = if is_edit { fields.optional("script", |node| r.text(node)) } else { None };
        match named.as_slice() {
            [("run", node)] => r.text(node).map(Deed::Run),
            [("compare", node)] => r.text(node).map(Deed::Compare),
            [("edit" | "editor", node)] if !has_human_time => {
                r.refuse(node.line, "an edit takes a person time: say `human` with its `time` and `source`")
            }
            [("edit", file)] => match script {
                Some(Some(script)) => self.edited(file).map(|file| Deed::Edit { file, script }),
                Some(None) => None,
                None => r.refuse(file.line, "say in `script` what is done to the file in the editor"),
            },
            [("editor", node)] => r.text(node).map(Deed::Editor),
            [(_, node)] => r.text(node).map(Deed::Provided),
            [] if has_human_time => Some(Deed::Human),
            [] => r.refuse(
                node.line,
                "say what a person does: `run`, `compare`, `edit`, `editor`, `provided`, or `human` time alone",
            ),
            [_, (_, second), ..] => r.refuse(
                second.line,
                "only one of `run`, `compare`, `edit`, `editor` and `provided` can be what is done",
            ),
        }
    }

    /// A path that a shell takes as it is.
    fn edited(&self, node: &Node) -> Option<String> {
        let file = self.reader.text(node)?;
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        match file.chars().find(|c| !harmless(*c)) {
            None => Some(file),
            Some(odd) => {
                self.reader.refuse(node.line, format!("`{file}` holds {odd:?}: name a file by plain characters"))
            }
        }
    }

    fn human_time(&self, node: &Node) -> Option<HumanTime> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let time: Option<Duration> = fields.required("time", |node| r.duration(node));
        let source = fields.required("source", |node| r.text(node));
        fields.close();
        Some(HumanTime { duration: time?, source: source? })
    }
}
