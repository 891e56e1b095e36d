//! Reads `scenario.yaml`: its top level and what it says of the system, the data and the promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;

use super::reader::{Fields, Reader};
use super::yaml::{self, Node};
use super::*;
use crate::outcome::{Acceptance, ObjectiveKind, Verdict};
use crate::problem::{Problem, Problems};

impl Scenario {
    /// Reads a scenario and checks it in itself: paths, references, dates against `today`. Errors with every problem of
    /// the file at once. Whether it fits its runbook and its system is `check`'s to say.
    pub fn read(file: &Path, today: Date) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Problem::of_file(file, format!("cannot be read: {error}")))?;
        Self::parse(file, &text, today)
    }

    /// The same for a text that is already in memory; `file` says where its paths start.
    pub fn parse(file: &Path, text: &str, today: Date) -> Result<Self, Problems> {
        let (documents, mut problems) = yaml::documents(file, text);
        let [root] = documents.as_slice() else {
            // Text that is no YAML has said so already.
            if problems.is_empty() {
                let found = documents.len();
                problems.push(Problem::of_file(file, format!("one YAML document is needed, there are {found}")));
            }
            return problems.or(None);
        };
        let reader = Reader::new(file);
        let scenario = ScenarioReader::new(&reader, file, root, today).scenario(root);
        problems.extend(reader.into_problems());
        problems.or(scenario)
    }
}

/// Of an operator: longer than a sound system takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Databases that `archiving` names.
fn archived(root: &Node) -> Vec<String> {
    let entries = root.get("archiving").map(Node::items).unwrap_or_default();
    entries.iter().filter_map(|node| Some(node.get("database")?.text()?.to_owned())).collect()
}

/// What readers of sections need to know of the rest of the file.
pub(super) struct ScenarioReader<'r> {
    pub(super) reader: &'r Reader,
    pub(super) folder: PathBuf,
    file: PathBuf,
    today: Date,
    pub(super) stores: Vec<String>,
    pub(super) databases: Vec<String>,
    /// Where it is a kind that there is.
    pub(super) kinds: BTreeMap<String, DatabaseKind>,
    pub(super) files: Vec<String>,
    pub(super) repositories: Vec<String>,
    /// Databases whose log is shipped.
    pub(super) archived: Vec<String>,
    /// The database that keeps the ledger.
    pub(super) ledger: Option<String>,
    pub(super) drills: Vec<String>,
    /// Empty where the system is one cluster.
    pub(super) clusters: Vec<String>,
}

impl<'r> ScenarioReader<'r> {
    fn new(reader: &'r Reader, file: &Path, root: &Node, today: Date) -> Self {
        // Names count as declared even where what they name is wrong: one mistake is one problem.
        let names = |section: &str| {
            let entries = root.get(section).map(Node::entries).unwrap_or_default();
            entries.iter().map(|(key, _)| key.text.clone()).collect()
        };
        Self {
            reader,
            folder: file.parent().unwrap_or(Path::new("")).to_owned(),
            file: file.to_owned(),
            today,
            stores: names("stores"),
            databases: names("databases"),
            kinds: super::database::kinds(root),
            files: names("files"),
            repositories: names("repositories"),
            archived: archived(root),
            ledger: root.get("ledger").and_then(|ledger| ledger.get("database")?.text().map(str::to_owned)),
            drills: names("drills"),
            clusters: super::cluster::names(root),
        }
    }

    fn scenario(&self, root: &Node) -> Option<Scenario> {
        let r = self.reader;
        let mut fields = r.fields(root)?;
        let source = r.source(fields.node("name").map_or(root.line, |node| node.line));
        let name = fields.required("name", |node| r.text(node));
        let runbook = fields.required("runbook", |node| self.runbook(node));
        let system = fields.required("system", |node| self.system(node));
        let workstation = fields.or_default("workstation", |node| self.workstation(node));
        let images = fields.or_default("images", |node| self.named(node, |node| self.image(node)));
        let stores = fields.or_default("stores", |node| self.named(node, |node| self.store(node)));
        let databases = fields.or_default("databases", |node| self.named(node, |node| self.database(node)));
        let files = fields.or_default("files", |node| self.named(node, |node| self.file_tree(node)));
        let repositories = fields.or_default("repositories", |node| self.named(node, |node| self.repository(node)));
        let seed = fields.required("seed", |node| self.seed(node));
        let ledger = fields.optional("ledger", |node| self.ledger(node));
        let archiving = fields.or_default("archiving", |node| r.list(node, |node| self.archiving(node)));
        let loss = fields.required("loss", |node| self.loss(node));
        let drills = fields.required("drills", |node| self.read_drills(node));
        let credentials = fields.or_default("credentials", |node| self.credentials(node));
        let serving = fields.or_default("serving", |node| r.list(node, |node| self.serving(node)));
        let patience = fields.optional("patience", |node| r.duration(node));
        let bindings = fields.or_default("bindings", |node| r.list(node, |node| self.binding(node)));
        let waivers = fields.or_default("waivers", |node| r.list(node, |node| self.waiver(node)));
        let errata = fields.or_default("errata", |node| self.errata(node));
        let programs = fields.or_default("programs", |node| self.named(node, |node| self.program_label(node)));
        let slots = fields.or_default("slots", |node| r.list(node, |node| self.slot(node)));
        let schedule = fields.optional("schedule", |node| self.schedule(node));
        let objectives = fields.or_default("objectives", |node| self.objectives(node));
        let open_cluster = fields.optional("open-cluster", |node| self.open_cluster(node));
        let accept = fields.or_default("accept", |node| r.list(node, |node| self.acceptance(node)));
        fields.close();
        Some(Scenario {
            name: name?,
            source,
            file: self.file.clone(),
            runbook: runbook?,
            system: system?,
            workstation: workstation?,
            images: images?,
            stores: stores?,
            databases: databases?,
            files: files?,
            repositories: repositories?,
            seed: seed?,
            ledger: ledger?,
            archiving: archiving?,
            loss: loss?,
            drills: drills?,
            credentials: credentials?,
            serving: serving?,
            patience: patience?.unwrap_or(PATIENCE),
            bindings: bindings?,
            waivers: waivers?,
            errata: errata?,
            left_out: Vec::new(),
            programs: programs?,
            slots: slots?,
            schedule: schedule?,
            objectives: objectives?,
            accept: accept?,
            open_cluster: open_cluster?,
        })
    }

    fn named<T>(&self, node: &Node, read: impl Fn(&Node) -> Option<T>) -> Option<BTreeMap<String, T>> {
        self.reader.named(node, |_, node| read(node)).map(BTreeMap::from_iter)
    }

    /// A file or folder that is there, relative to the scenario's folder.
    pub(super) fn path(&self, node: &Node, what: &str) -> Option<PathBuf> {
        let text = self.reader.text(node)?;
        let path = self.folder.join(&text);
        if path.exists() {
            return Some(path);
        }
        let message = format!("{what} `{text}` is not there: looked for {}", path.display());
        self.reader.refuse(node.line, message)
    }

    fn file_tree(&self, node: &Node) -> Option<FileTree> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let claim = fields.required("claim", |node| r.object_name(node));
        let path = fields.required("path", |node| self.inner_path(node));
        let owner = fields.required("owner", |node| r.number(node));
        let group = fields.required("group", |node| r.number(node));
        fields.close();
        Some(FileTree { claim: claim?, path: path?, owner: owner?, group: group?, source: r.source(node.line) })
    }

    /// A path in a volume that cannot lead out of it.
    fn inner_path(&self, node: &Node) -> Option<String> {
        let text = self.reader.text(node)?;
        if Path::new(&text).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return Some(text);
        }
        self.reader.refuse(node.line, format!("`{text}` has to be a relative path without `..`"))
    }

    fn repository(&self, node: &Node) -> Option<Repository> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let store = fields.required("store", |node| r.reference(node, "store", &self.stores));
        let base = fields.required("base", |node| r.value_from(node));
        let path = fields.required("path", |node| self.inner_path(node));
        fields.close();
        Some(Repository { store: store?, base: base?, path: path?, source: r.source(node.line) })
    }

    fn seed(&self, node: &Node) -> Option<Seed> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let databases =
            fields.or_default("databases", |node| r.list(node, |node| r.reference(node, "database", &self.databases)));
        let files = fields.or_default("files", |node| r.list(node, |node| r.reference(node, "file tree", &self.files)));
        let size = fields.required("size", |node| r.size(node));
        let commands = fields.or_default("commands", |node| r.list(node, |node| self.chore(node)));
        fields.close();
        if node.get("databases").is_none() && node.get("files").is_none() {
            return r.refuse(node.line, "nothing is seeded, so nothing could be proven: name databases or files");
        }
        Some(Seed { databases: databases?, files: files?, size: size?, commands: commands? })
    }

    fn ledger(&self, node: &Node) -> Option<String> {
        let mut fields = self.reader.fields(node)?;
        let database = fields.required("database", |node| self.reader.reference(node, "database", &self.databases));
        fields.close();
        database
    }

    fn schedule(&self, node: &Node) -> Option<Schedule> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let interval = fields.required("interval", |node| r.duration(node));
        let duration = fields.required("duration", |node| match node.text() {
            Some("measured") => Some(BackupDuration::Measured),
            Some(_) | None => r.duration(node).map(BackupDuration::Declared),
        });
        fields.close();
        Some(Schedule { interval: interval?, duration: duration? })
    }

    fn objectives(&self, node: &Node) -> Option<Vec<Objective>> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let kinds = [
            ("rto", ObjectiveKind::Rto),
            ("rpo-measured", ObjectiveKind::RpoMeasured),
            ("rpo-worst-case", ObjectiveKind::RpoWorstCase),
            ("rpo-one-missed-run", ObjectiveKind::RpoOneMissedRun),
        ];
        let found = kinds.map(|(name, kind)| fields.optional(name, |node| self.objective(node, kind)));
        fields.close();
        Some(found.into_iter().flatten().flatten().collect())
    }

    fn objective(&self, node: &Node, kind: ObjectiveKind) -> Option<Objective> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let promise = fields.required("promise", |node| r.duration(node));
        let environments = [
            ("local", EnvironmentName::Local),
            ("docker", EnvironmentName::Docker),
            ("kind", EnvironmentName::Kind),
            ("kube", EnvironmentName::Kube),
        ];
        let representative =
            fields.or_default("representative", |node| r.list(node, |node| r.word(node, &environments)));
        fields.close();
        Some(Objective { kind, promise: promise?, representative: representative?, source: r.source(node.line) })
    }

    fn acceptance(&self, node: &Node) -> Option<DrillAcceptance> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let drills = self.drill_names(&mut fields);
        let verdicts = [("CORRECTED", Verdict::Corrected), ("SIMULATED", Verdict::Simulated)];
        let verdict = fields.required("verdict", |node| r.word(node, &verdicts));
        let reason = fields.required("reason", |node| r.text(node));
        let owner = fields.required("owner", |node| r.text(node));
        let until = fields.required("until", |node| self.last_day(node));
        fields.close();
        let acceptance = Acceptance { verdict: verdict?, reason: reason?, owner: owner?, until: until? };
        Some(DrillAcceptance { drills: drills?, acceptance, source: r.source(node.line) })
    }

    fn open_cluster(&self, node: &Node) -> Option<OpenCluster> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let reason = fields.required("reason", |node| r.text(node));
        let owner = fields.required("owner", |node| r.text(node));
        let until = fields.required("until", |node| self.last_day(node));
        fields.close();
        Some(OpenCluster { reason: reason?, owner: owner?, until: until? })
    }

    fn last_day(&self, node: &Node) -> Option<Date> {
        let until = self.reader.date(node)?;
        if until >= self.today {
            return Some(until);
        }
        let message =
            format!("accepted until {until}, and today is {}: correct the page, or set a new last day", self.today);
        self.reader.refuse(node.line, message)
    }

    /// `drills:` of a section; absent, all are meant, as an empty list.
    pub(super) fn drill_names(&self, fields: &mut Fields<'_, '_>) -> Option<Vec<String>> {
        let r = self.reader;
        fields.or_default("drills", |node| r.list(node, |node| r.reference(node, "drill", &self.drills)))
    }

    /// Says which of `names` were there before.
    pub(super) fn refuse_doubles<'n>(&self, what: &str, names: impl IntoIterator<Item = (&'n str, usize)>) {
        let mut seen = BTreeSet::new();
        for (name, line) in names {
            if !seen.insert(name) {
                self.reader.problem(line, format!("a second {what} `{name}`: give it a name of its own"));
            }
        }
    }
}
