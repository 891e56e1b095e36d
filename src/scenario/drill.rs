//! Drills: the ways through a scenario, and what is said of the moments that they come by.

use std::collections::BTreeMap;

use super::file::ScenarioReader;
use super::yaml::Node;
use super::{Chore, Loss, ObjectName, ValueFrom};
use crate::outcome::SourceRef;

/// Whether applications write while the backup is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    Quiet,
    Writing,
}

/// One variant: each is a full drill.
#[derive(Debug, Clone, PartialEq)]
pub struct Drill {
    pub name: String,
    pub writers: Writers,
    /// What was done to the seeded system before: a restore of last year, say.
    pub earlier: Vec<Part>,
    pub backup: Vec<Part>,
    /// What changed the living system between the backup and the loss, as a new version does. The restore has to come to the same.
    pub since_backup: Vec<Chore>,
    /// Empty: nothing is lost, and the living system is held against what it was.
    pub restore: Vec<Part>,
    pub reconcile: Vec<Part>,
    /// In place of the scenario's.
    pub loss: Option<Loss>,
    /// How far the log is shipped at the end, of a system that ships it.
    pub archive: Option<Archive>,
    /// Which moment has to come back.
    pub recovers_to: RecoveryPoint,
    /// After which phase the system is in service again.
    pub in_service: Checkpoint,
    pub source: SourceRef,
}

/// What makes up a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A section of the runbook, by its heading.
    Procedure { name: String, source: SourceRef },
    /// One run of a CronJob, as its clock would start it.
    CronJob { object: ObjectName, source: SourceRef },
    /// One run of a plan of the account's, as its clock would start it.
    BackupPlan { name: String, source: SourceRef },
    /// One run of a schedule that the database keeps itself, as its clock would start it.
    Schedule { name: String, database: String, source: SourceRef },
}

/// How a database's archiver stands when the procedures that set it up have run and time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// Everything that was committed until the loss has been shipped.
    Drained,
    /// What was committed last has not.
    Backlog,
    /// Nothing is shipped any more.
    Stopped,
}

/// The moment whose state has to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryPoint {
    /// The backup's own; nothing that was committed after it.
    Backup,
    /// The last that was shipped.
    EndOfLog,
    /// One between two commits, which the procedure is told.
    Moment,
}

/// Moments of a drill at which logins are tried, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checkpoint {
    /// After the backup, before the loss.
    BackedUp,
    /// After the loss was proven.
    Lost,
    /// After the restore's last step.
    Restored,
    /// After the reconciling procedures' last step.
    Reconciled,
}

/// A database whose log is shipped segment by segment as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archiving {
    /// Of `databases`.
    pub database: String,
    /// Where in the store it goes to.
    pub prefix: ValueFrom,
    pub source: SourceRef,
}

/// A workload that has to be ready, or must not be, at moments of a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// A Deployment or StatefulSet; one that has to be absent may be a pod that stands alone.
    pub workload: ObjectName,
    pub expected: BTreeMap<Checkpoint, Readiness>,
    /// Drills that it is looked at in; empty: all.
    pub drills: Vec<String>,
    pub source: SourceRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Unready,
    Absent,
}

pub(super) const CHECKPOINTS: [(&str, Checkpoint); 4] = [
    ("backed-up", Checkpoint::BackedUp),
    ("lost", Checkpoint::Lost),
    ("restored", Checkpoint::Restored),
    ("reconciled", Checkpoint::Reconciled),
];

impl Serving {
    /// Whether it is expected of it only that it is not there.
    pub fn is_absence(&self) -> bool {
        self.expected.values().all(|expected| *expected == Readiness::Absent)
    }
}

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

impl Readiness {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Absent => "absent",
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
        let earlier = fields.or_default("earlier", parts);
        let backup = fields.required("backup", parts);
        let since_backup = fields.or_default("since-backup", |node| r.list(node, |node| self.command(node)));
        let restore = fields.or_default("restore", parts);
        let reconcile = fields.or_default("reconcile", parts);
        let loss = fields.optional("loss", |node| self.loss(node));
        let words = [("drained", Archive::Drained), ("backlog", Archive::Backlog), ("stopped", Archive::Stopped)];
        let archive = fields.optional("archive", |node| r.word(node, &words));
        let target = fields.optional("recovery-target", |node| r.word(node, &[("time", ())]));
        let words = [("restored", Checkpoint::Restored), ("reconciled", Checkpoint::Reconciled)];
        let in_service = fields.optional("in-service", |node| r.word(node, &words));
        fields.close();
        for what in ["backup", "restore"] {
            if node.get(what).is_some_and(|parts| parts.items().is_empty()) {
                r.problem(node.line, format!("`{what}` names no procedure: a drill needs one"));
            }
        }
        self.refuse_odd_drill(node);
        Some(Drill {
            name: name.to_owned(),
            writers: writers?.unwrap_or(Writers::Quiet),
            earlier: earlier?,
            backup: backup?,
            since_backup: since_backup?,
            restore: restore?,
            reconcile: reconcile?,
            loss: loss?,
            archive: archive?,
            recovers_to: match (target?, archive?) {
                (Some(()), _) => RecoveryPoint::Moment,
                (None, Some(_)) => RecoveryPoint::EndOfLog,
                (None, None) => RecoveryPoint::Backup,
            },
            in_service: in_service?.unwrap_or(Checkpoint::Restored),
            source: r.source(node.line),
        })
    }

    /// Fields that only mean something beside others.
    fn refuse_odd_drill(&self, node: &Node) {
        let refuse = |why: &str| self.reader.problem(node.line, why);
        let has = |field: &str| node.get(field).is_some();
        let archive = node.get("archive").and_then(Node::text);
        if !has("restore") && ["loss", "reconcile", "in-service", "since-backup"].into_iter().any(has) {
            refuse(
                "a drill without `restore` loses nothing: take `loss`, `reconcile`, `in-service` and `since-backup` out, or restore",
            );
        }
        if archive.is_some() && has("since-backup") {
            refuse("a log that is shipped has what came `since-backup`: leave it out, or `archive`");
        }
        if has("restore") && archive == Some("stopped") {
            refuse("`archive: stopped` is of a drill that loses nothing: take `restore` out");
        }
        if !has("restore") && archive.is_some_and(|archive| archive != "stopped") {
            refuse("`archive` is of a drill that restores, unless it is `stopped`");
        }
        if has("recovery-target") && archive != Some("drained") {
            refuse("a recovery target needs what was committed after it shipped, too: say `archive: drained`");
        }
        if archive.is_some() && self.ledger.as_ref().is_none_or(|ledger| !self.archived.contains(ledger)) {
            refuse("`archive` is told from the ledger: its database has to be in `archiving`");
        }
        if node.get("in-service").and_then(Node::text) == Some("reconciled") && !has("reconcile") {
            refuse("`in-service: reconciled` needs `reconcile`");
        }
    }

    fn part(&self, node: &Node) -> Option<Part> {
        let r = self.reader;
        let source = r.source(node.line);
        let mut fields = r.fields(node)?;
        let part = match fields.one_of(&["procedure", "cron-job", "backup-plan", "schedule"]) {
            Some(("procedure", node)) => r.text(node).map(|name| Part::Procedure { name, source }),
            Some(("backup-plan", node)) => r.text(node).map(|name| Part::BackupPlan { name, source }),
            Some(("schedule", node)) => {
                let kind = crate::database::DatabaseKind::Cockroach;
                let database = fields
                    .required("database", |node| self.database_of(node, kind, "a schedule of the database's own"));
                r.text(node).zip(database).map(|(name, database)| Part::Schedule { name, database, source })
            }
            Some((_, node)) => r.object_name(node).map(|object| Part::CronJob { object, source }),
            None => None,
        };
        fields.close();
        part
    }

    pub(super) fn archiving(&self, node: &Node) -> Option<Archiving> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let database = fields.required("database", |node| {
            self.database_of(node, crate::database::DatabaseKind::Postgres, "a log that is shipped")
        });
        let prefix = fields.required("prefix", |node| r.value_from(node));
        fields.close();
        Some(Archiving { database: database?, prefix: prefix?, source: r.source(node.line) })
    }

    pub(super) fn serving(&self, node: &Node) -> Option<Serving> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let workload = fields.required("workload", |node| r.object_name(node));
        let words = [("ready", Readiness::Ready), ("unready", Readiness::Unready), ("absent", Readiness::Absent)];
        let expected = fields.required("at", |node| self.by_checkpoint(node, &words));
        let drills = self.drill_names(&mut fields);
        fields.close();
        Some(Serving { workload: workload?, expected: expected?, drills: drills?, source: r.source(node.line) })
    }

    /// What is expected at which moments.
    pub(super) fn by_checkpoint<T: Copy>(&self, node: &Node, words: &[(&str, T)]) -> Option<BTreeMap<Checkpoint, T>> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let found = CHECKPOINTS.map(|(name, at)| fields.optional(name, |node| r.word(node, words)).map(|e| (at, e)));
        fields.close();
        if node.entries().is_empty() {
            let word = words.first().map_or("", |(word, _)| word);
            return r.refuse(node.line, format!("name at least one checkpoint, as in `restored: {word}`"));
        }
        Some(found.into_iter().flatten().filter_map(|(at, expected)| Some((at, expected?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Scenario;

    /// Taiga's scenario with one more drill and whatever is put before the drills.
    fn read(drill: &str, sections: &str) -> Result<Scenario, Vec<String>> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/taiga/scenario.yaml");
        let text = std::fs::read_to_string(&file).expect("Taiga's scenario");
        let text = text.replacen("\ndrills:\n", &format!("\n{sections}\ndrills:\n  more: {drill}\n"), 1);
        Scenario::parse(&file, &text, jiff::civil::date(2026, 1, 1)).map_err(|problems| {
            let words = |problem: &crate::problem::Problem| problem.message.clone();
            problems.iter().map(words).collect()
        })
    }

    const ARCHIVING: &str = "archiving: [{ database: taiga, prefix: s3://b/old }]";
    /// Of a database that keeps no ledger.
    const ELSEWHERE: &str = "archiving: [{ database: other, prefix: s3://b/old }]";
    const PARTS: &str = "backup: [{ procedure: Manual Backup }], restore: [{ procedure: Manual Restore }]";

    fn drill(fields: &str) -> Drill {
        let scenario = read(&format!("{{ {fields} }}"), ARCHIVING).unwrap_or_else(|problems| panic!("{problems:?}"));
        scenario.drills.into_iter().find(|drill| drill.name == "more").expect("the drill")
    }

    #[test]
    fn what_comes_back_follows_from_how_the_log_is_shipped() {
        assert_eq!(drill(PARTS).recovers_to, RecoveryPoint::Backup);
        assert_eq!(drill(&format!("{PARTS}, archive: backlog")).recovers_to, RecoveryPoint::EndOfLog);
        let moment = drill(&format!("{PARTS}, archive: drained, recovery-target: time"));
        assert_eq!((moment.recovers_to, moment.archive), (RecoveryPoint::Moment, Some(Archive::Drained)));
        let living = drill("backup: [{ procedure: Manual Backup }], archive: stopped");
        assert_eq!((living.restore.len(), living.in_service), (0, Checkpoint::Restored));
    }

    #[test]
    fn a_drill_may_lose_something_else_than_the_others() {
        let loss = "loss: { claims: [taiga/postgres-data], escrow: [manifests] }";
        let scenario = read(&format!("{{ {PARTS}, {loss} }}"), "").unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(scenario.loss_in("more").escrow, [crate::scenario::Escrow::Manifests]);
        assert_eq!(scenario.loss_in("manual"), &scenario.loss);
        assert_eq!(scenario.losses().count(), 2);
    }

    #[test]
    fn fields_that_mean_nothing_together_are_refused_with_the_way_out() {
        let refused =
            |fields: &str, sections: &str| read(&format!("{{ {fields} }}"), sections).expect_err(fields).join("; ");
        let living = "backup: [{ procedure: Manual Backup }]";
        let living_and_stopped = "backup: [{ procedure: Manual Backup }], archive: stopped";
        let cases = [
            (format!("{living}, reconcile: []"), ARCHIVING, "take `loss`, `reconcile`, `in-service` and"),
            (format!("{living}, since-backup: [make upgrade]"), "", "`since-backup` out, or restore"),
            (format!("{PARTS}, archive: drained, since-backup: [make upgrade]"), ARCHIVING, "or `archive`"),
            (
                "backup: [{ schedule: daily, database: taiga }], restore: [{ procedure: Manual Restore }]".to_owned(),
                "",
                "a schedule of the database's own is for kind cockroach, and `taiga` is of kind postgres",
            ),
            (format!("{living}, archive: drained"), ARCHIVING, "unless it is `stopped`"),
            (format!("{PARTS}, archive: stopped"), ARCHIVING, "take `restore` out"),
            (format!("{PARTS}, archive: drained"), "", "its database has to be in `archiving`"),
            (living_and_stopped.to_owned(), ELSEWHERE, "its database has to be in `archiving`"),
            (format!("{PARTS}, recovery-target: time"), ARCHIVING, "say `archive: drained`"),
            (format!("{PARTS}, archive: backlog, recovery-target: time"), ARCHIVING, "say `archive: drained`"),
            (format!("{PARTS}, in-service: reconciled"), ARCHIVING, "needs `reconcile`"),
            ("backup: [{ procedure: Manual Backup }], restore: []".to_owned(), "", "`restore` names no procedure"),
        ];
        for (fields, sections, expected) in cases {
            let problems = refused(&fields, sections);
            assert!(problems.contains(expected), "{fields}: {problems}");
        }
    }

    #[test]
    fn a_workload_is_expected_to_be_something_at_some_moment() {
        let serving = |at: &str| format!("serving: [{{ workload: taiga/taiga-back-deployment, at: {at} }}]");
        let scenario = read(&format!("{{ {PARTS} }}"), &serving("{ restored: unready, reconciled: ready }"));
        let expected = scenario.unwrap_or_else(|problems| panic!("{problems:?}")).serving[0].expected.clone();
        let wanted = [(Checkpoint::Restored, Readiness::Unready), (Checkpoint::Reconciled, Readiness::Ready)];
        assert_eq!(expected, wanted.into());
        let nothing = read(&format!("{{ {PARTS} }}"), &serving("{}")).expect_err("no moment");
        assert_eq!(nothing, ["name at least one checkpoint, as in `restored: ready`"]);
    }
}
