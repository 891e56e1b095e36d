//! Reads what a scenario says of the runbook's procedures: drills, logins, waivers, slots.

use std::collections::BTreeMap;

use super::file::ScenarioReader;
use super::yaml::Node;
use super::*;
use crate::outcome::Expectation;

const CHECKPOINTS: [(&str, Checkpoint); 4] = [
    ("backed-up", Checkpoint::BackedUp),
    ("lost", Checkpoint::Lost),
    ("restored", Checkpoint::Restored),
    ("reconciled", Checkpoint::Reconciled),
];

impl Checkpoint {
    /// As the scenario writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BackedUp => "backed-up",
            Self::Lost => "lost",
            Self::Restored => "restored",
            Self::Reconciled => "reconciled",
        }
    }
}

impl ScenarioReader<'_> {
    pub(super) fn read_drills(&self, node: &Node) -> Option<Vec<Drill>> {
        let drills = self.reader.named(node, |name, node| self.drill(name, node))?;
        if node.entries().is_empty() {
            return self.reader.refuse(node.line, "at least one drill is needed");
        }
        Some(drills.into_iter().map(|(_, drill)| drill).collect())
    }

    fn drill(&self, name: &str, node: &Node) -> Option<Drill> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let words = [("quiet", Writers::Quiet), ("writing", Writers::Writing)];
        let writers = fields.optional("writers", |node| r.word(node, &words));
        let parts = |node: &Node| r.list(node, |node| self.part(node));
        let backup = fields.required("backup", parts);
        let restore = fields.required("restore", parts);
        let reconcile = fields.or_default("reconcile", parts);
        fields.close();
        for (what, empty) in [("backup", &backup), ("restore", &restore)] {
            if empty.as_ref().is_some_and(Vec::is_empty) && node.get(what).is_some_and(|node| node.items().is_empty()) {
                r.problem(node.line, format!("`{what}` names no procedure: a drill needs one"));
            }
        }
        Some(Drill {
            name: name.to_owned(),
            writers: writers?.unwrap_or(Writers::Quiet),
            backup: backup?,
            restore: restore?,
            reconcile: reconcile?,
            source: r.source(node.line),
        })
    }

    fn part(&self, node: &Node) -> Option<Part> {
        let r = self.reader;
        let source = r.source(node.line);
        let mut fields = r.fields(node)?;
        let part = match fields.one_of(&["procedure", "cron-job"]) {
            Some(("procedure", node)) => r.text(node).map(|name| Part::Procedure { name, source }),
            Some((_, node)) => r.object_name(node).map(|object| Part::CronJob { object, source }),
            None => None,
        };
        fields.close();
        part
    }

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
        if matches!(target, Some(CredentialTarget::Postgres(_))) && matches!(user, Some(None)) {
            r.problem(node.line, "a login to a database needs a `user`");
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
        let target = match fields.one_of(&["postgres", "restic"]) {
            Some(("postgres", node)) => r.reference(node, "database", &self.databases).map(CredentialTarget::Postgres),
            Some((_, node)) => r.reference(node, "repository", &self.repositories).map(CredentialTarget::Restic),
            None => None,
        };
        fields.close();
        target
    }

    fn expected(&self, node: &Node) -> Option<BTreeMap<Checkpoint, Expectation>> {
        let r = self.reader;
        let words = [("accepted", Expectation::Accepted), ("refused", Expectation::Refused)];
        let mut fields = r.fields(node)?;
        let found = CHECKPOINTS.map(|(name, at)| fields.optional(name, |node| r.word(node, &words)).map(|e| (at, e)));
        fields.close();
        if node.entries().is_empty() {
            return r.refuse(node.line, "name at least one checkpoint, as in `restored: accepted`");
        }
        Some(found.into_iter().flatten().filter_map(|(at, expected)| Some((at, expected?))).collect())
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
                let ways =
                    "a value, {secret: .., key: ..}, {generated: ..}, {output: .., pattern: ..} or {selector: ..}";
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
