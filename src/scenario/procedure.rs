//! Reads what a scenario says of the runbook's procedures: logins, waivers, slots.

use std::collections::BTreeMap;

use super::drill::CHECKPOINTS;
use super::file::ScenarioReader;
use super::yaml::Node;
use super::*;
use crate::outcome::Expectation;

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
        if matches!(target, Some(CredentialTarget::Database(_) | CredentialTarget::Http(_)))
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
        let database = |node: &Node, kind: DatabaseKind| {
            self.database_of(node, kind, &format!("target `{}`", kind.name())).map(CredentialTarget::Database)
        };
        let target = match fields.one_of(&["postgres", "mongodb", "cockroach", "restic", "http"]) {
            Some(("postgres", node)) => database(node, DatabaseKind::Postgres),
            Some(("mongodb", node)) => database(node, DatabaseKind::Mongodb),
            Some(("cockroach", node)) => database(node, DatabaseKind::Cockroach),
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

    pub(super) fn step(&self, node: &Node) -> Option<StepRef> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let procedure = fields.required("procedure", |node| r.text(node));
        let item = fields.optional("item", |node| r.number(node));
        let text = fields.optional("text", |node| r.text(node));
        fields.close();
        Some(StepRef { procedure: procedure?, item: item?, text: text?, source: r.source(node.line) })
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
}
