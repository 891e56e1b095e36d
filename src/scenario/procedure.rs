//! Reads what a scenario says of the runbook's procedures: logins, bindings, waivers, errata, slots.

use std::collections::BTreeMap;
use std::time::Duration;

use super::drill::CHECKPOINTS;
use super::file::ScenarioReader;
use super::reader::Fields;
use super::yaml::{Node, Value};
use super::*;
use crate::outcome::{Expectation, HumanTime};

impl ScenarioReader<'_> {
    pub(super) fn credentials(&self, node: &Node) -> Option<Vec<Credential>> {
        let principals = node.items().iter().filter_map(|node| node.get("principal"));
        self.refuse_doubles("principal", principals.filter_map(|node| Some((node.text()?, node.line))));
        self.reader.list(node, |node| self.credential(node))
    }

    fn credential(&self, node: &Node) -> Option<Credential> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let principal = fields.required("principal", |node| r.text(node));
        let target = fields.required("target", |node| self.credential_target(node));
        let user = fields.optional("user", |node| r.value_from(node));
        let secret = fields.required("secret", |node| r.secret_from(node));
        let read_at = fields.optional("read-at", |node| r.word(node, &CHECKPOINTS));
        let expected = fields.required("at", |node| self.expected(node));
        let drills = self.drill_names(&mut fields);
        fields.close();
        if matches!(target, Some(CredentialTarget::Postgres(_) | CredentialTarget::Http(_)))
            && matches!(user, Some(None))
        {
            r.problem(node.line, "a login to a database or a page needs a `user`");
        }
        Some(Credential {
            principal: principal?,
            target: target?,
            user: user?,
            secret: secret?,
            read_at: read_at?.map_or(ReadAt::Checkpoint, ReadAt::Once),
            expected: expected?,
            drills: drills?,
            source: r.source(node.line),
        })
    }

    fn credential_target(&self, node: &Node) -> Option<CredentialTarget> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let target = match fields.one_of(&["postgres", "restic", "http"]) {
            Some(("postgres", node)) => r.reference(node, "database", &self.databases).map(CredentialTarget::Postgres),
            Some(("restic", node)) => r.reference(node, "repository", &self.repositories).map(CredentialTarget::Restic),
            Some((_, node)) => self.page(node).map(CredentialTarget::Http),
            None => None,
        };
        fields.close();
        target
    }

    /// An address that asks for a name and a password. Inside a drill there is nobody to hide from, so plain HTTP.
    fn page(&self, node: &Node) -> Option<String> {
        let text = self.reader.text(node)?;
        let host = text.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next());
        match host {
            Some(host) if !host.is_empty() && text.parse::<http::Uri>().is_ok() => Some(text),
            _ => self
                .reader
                .refuse(node.line, format!("`{text}` is no address: write http://service.namespace:port/path")),
        }
    }

    fn expected(&self, node: &Node) -> Option<BTreeMap<Checkpoint, Expectation>> {
        self.by_checkpoint(node, &[("accepted", Expectation::Accepted), ("refused", Expectation::Refused)])
    }

    fn step(&self, node: &Node) -> Option<StepRef> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let procedure = fields.required("procedure", |node| r.text(node));
        let item = fields.optional("item", |node| r.number(node));
        let text = fields.optional("text", |node| r.text(node));
        fields.close();
        Some(StepRef { procedure: procedure?, item: item?, text: text?, source: r.source(node.line) })
    }

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

    /// What is done: one of `run`, `compare`, `edit` and `provided`, or human time alone.
    fn deed(&self, fields: &mut Fields<'_, '_>, node: &Node, has_human_time: bool) -> Option<Deed> {
        let r = self.reader;
        let names = ["run", "compare", "edit", "provided"];
        let named: Vec<_> = names.into_iter().filter_map(|name| Some((name, fields.node(name)?))).collect();
        let is_edit = named.iter().any(|(name, _)| *name == "edit");
        let script = if is_edit { fields.optional("script", |node| r.text(node)) } else { None };
        match named.as_slice() {
            [("run", node)] => r.text(node).map(Deed::Run),
            [("compare", node)] => r.text(node).map(Deed::Compare),
            [("edit", _)] if !has_human_time => {
                r.refuse(node.line, "an edit takes a person time: say `human` with its `time` and `source`")
            }
            [("edit", file)] => match script {
                Some(Some(script)) => self.edited(file).map(|file| Deed::Edit { file, script }),
                Some(None) => None,
                None => r.refuse(file.line, "say in `script` what is done to the file in the editor"),
            },
            [(_, node)] => r.text(node).map(Deed::Provided),
            [] if has_human_time => Some(Deed::Human),
            [] => r.refuse(
                node.line,
                "say what a person does: `run`, `compare`, `edit`, `provided`, or `human` time alone",
            ),
            [_, (_, second), ..] => {
                r.refuse(second.line, "only one of `run`, `compare`, `edit` and `provided` can be what is done")
            }
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

    pub(super) fn slot(&self, node: &Node) -> Option<SlotBinding> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let place = fields.required("place", |node| r.text(node));
        let after = fields.optional("after", |node| r.text(node));
        let from = match fields.node("from") {
            Some(node) => self.slot_source(node),
            None => {
                let name = place.as_deref().unwrap_or("?");
                let ways = "a value, {secret: .., key: ..}, {generated: ..}, {output: .., pattern: ..}, {recovery-target: time} or {selector: ..}";
                r.refuse(node.line, format!("slot `{name}` has no source: say `from:` with {ways}"))
            }
        };
        fields.close();
        Some(SlotBinding { place: place?, after: after?, from: from?, source: r.source(node.line) })
    }

    fn slot_source(&self, node: &Node) -> Option<SlotSource> {
        let r = self.reader;
        if node.get("output").is_some() {
            let mut fields = r.fields(node)?;
            let step = fields.required("output", |node| self.step(node));
            let find = match fields.one_of(&["pattern", "column"]) {
                Some(("pattern", node)) => self.pattern(node).map(Find::Pattern),
                Some((_, node)) => r.text(node).map(Find::Column),
                None => None,
            };
            fields.close();
            return Some(SlotSource::Output { step: step?, find: find? });
        }
        if node.get("recovery-target").is_some() {
            let mut fields = r.fields(node)?;
            let moment = fields.required("recovery-target", |node| r.word(node, &[("time", ())]));
            fields.close();
            return moment.map(|()| SlotSource::RecoveryTarget);
        }
        if let Some(selector) = node.get("selector") {
            let mut fields = r.fields(selector)?;
            let cluster = self.cluster_of(&mut fields);
            let kind = fields.required("kind", |node| self.selected_kind(node));
            let namespace = fields.required("namespace", |node| r.text(node));
            let labels = fields.required("labels", |node| r.text(node));
            fields.close();
            let mut outer = r.fields(node)?;
            outer.node("selector");
            outer.close();
            return Some(SlotSource::Selector {
                cluster: cluster?,
                kind: kind?,
                namespace: namespace?,
                labels: labels?,
            });
        }
        r.value_from(node).map(SlotSource::Value)
    }

    /// A regular expression whose first group is the value.
    fn pattern(&self, node: &Node) -> Option<String> {
        let r = self.reader;
        let text = r.text(node)?;
        match regex::Regex::new(&text) {
            Ok(pattern) if pattern.captures_len() > 1 => Some(text),
            Ok(_) => r.refuse(node.line, format!("`{text}` has no group: put the value into parentheses")),
            Err(error) => r.refuse(node.line, format!("`{text}` is no regular expression: {error}")),
        }
    }

    fn selected_kind(&self, node: &Node) -> Option<String> {
        let r = self.reader;
        let kind = r.text(node)?;
        match crate::kubernetes::type_of(&kind) {
            Some((_, name)) => Some(name.to_owned()),
            None => r.refuse(node.line, format!("a selector cannot look for `{kind}`: name a pod, job, cronjob, ..")),
        }
    }

    pub(super) fn waiver(&self, node: &Node) -> Option<Waiver> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let what = match fields.one_of(&["step", "secret", "claim", "database", "bucket"]) {
            Some(("step", node)) => self.step(node).map(Waived::Step),
            Some(("secret", node)) => r.object_name(node).map(Waived::Secret),
            Some(("claim", node)) => r.object_name(node).map(Waived::Claim),
            Some(("database", node)) => r.text(node).map(Waived::Database),
            Some((_, node)) => r.text(node).map(Waived::Bucket),
            None => None,
        };
        let reason = fields.required("reason", |node| r.text(node));
        fields.close();
        Some(Waiver { what: what?, reason: reason?, source: r.source(node.line) })
    }

    pub(super) fn errata(&self, node: &Node) -> Option<Vec<Erratum>> {
        let ids = node.items().iter().filter_map(|node| node.get("id"));
        self.refuse_doubles("erratum", ids.filter_map(|node| Some((node.text()?, node.line))));
        self.reader.list(node, |node| self.erratum(node))
    }

    fn erratum(&self, node: &Node) -> Option<Erratum> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let id = fields.required("id", |node| r.text(node));
        let edits = fields.required("edits", |node| r.list(node, |node| self.edit(node)));
        let reason = fields.required("reason", |node| r.text(node));
        let answer = fields.required("answer", |node| r.text(node));
        let versions = fields.required("versions", |node| {
            let text = r.text(node)?;
            VersionRange::parse(&text).or_else(|why| r.refuse(node.line, why).ok_or(())).ok()
        });
        fields.close();
        if node.get("edits").is_some_and(|edits| edits.items().is_empty()) {
            return r.refuse(node.line, "an erratum needs at least one edit");
        }
        Some(Erratum {
            id: id?,
            edits: edits?,
            reason: reason?,
            answer: answer?,
            versions: versions?,
            source: r.source(node.line),
        })
    }

    fn edit(&self, node: &Node) -> Option<Edit> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let step = fields.required("step", |node| {
            let step = self.step(node)?;
            let way_out = "an edit needs the documented `text` that it corrects";
            if step.text.is_none() { r.refuse(node.line, way_out) } else { Some(step) }
        });
        let commands = |node: &Node| match &node.value {
            Value::Scalar { .. } => r.text(node).map(|command| vec![command]),
            Value::Sequence(_) | Value::Mapping(_) => r.list(node, |node| r.text(node)),
        };
        let change = match fields.one_of(&["replace", "insert-before", "insert-after"]) {
            Some(("replace", node)) => r.text(node).map(Change::Replace),
            Some(("insert-before", node)) => commands(node).map(Change::InsertBefore),
            Some((_, node)) => commands(node).map(Change::InsertAfter),
            None => None,
        };
        fields.close();
        Some(Edit { step: step?, change: change? })
    }
}
