//! A scenario: binds a runbook and a system, and says what to seed, lose, check, promise and accept.
//!
//! Read by `scenario::file` from `scenario.yaml`, every problem of the file at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

mod discover;
mod file;
mod procedure;
mod promise;
mod reader;
mod store;
mod value;
pub mod yaml;

pub use discover::Scenarios;
pub use promise::{BackupDuration, DrillAcceptance, EnvironmentName, Objective, Schedule};
pub use store::{S3, Store, StoreKind};
pub use value::parse_size;

use crate::outcome::{Acceptance, Expectation, HumanTime, ProgramLabel, SourceRef};

/// A checked scenario. Paths are joined to the scenario's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub name: String,
    /// Where its name stands.
    pub source: SourceRef,
    /// The file it was read from, as named by the caller.
    pub file: PathBuf,
    pub runbook: PathBuf,
    pub system: SystemSource,
    /// By image reference, as the manifests name it.
    pub images: BTreeMap<String, ImageBinding>,
    pub stores: BTreeMap<String, Store>,
    pub databases: BTreeMap<String, Database>,
    pub files: BTreeMap<String, FileTree>,
    pub repositories: BTreeMap<String, Repository>,
    pub seed: Seed,
    /// The database that keeps the ledger and the nonces.
    pub ledger: Option<String>,
    pub loss: Loss,
    /// In the file's order.
    pub drills: Vec<Drill>,
    pub credentials: Vec<Credential>,
    pub bindings: Vec<Binding>,
    pub waivers: Vec<Waiver>,
    pub errata: Vec<Erratum>,
    /// Programs that steps run inside the system's images, by name (`backup.bb`); others are real.
    pub programs: BTreeMap<String, ProgramLabel>,
    /// Open places of commands, the same in every command that has them.
    pub slots: Vec<SlotBinding>,
    pub schedule: Option<Schedule>,
    pub objectives: Vec<Objective>,
    pub accept: Vec<DrillAcceptance>,
}

/// What is drilled.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemSource {
    /// Folders or files of Kubernetes YAML, as the team has them.
    pub manifests: Vec<PathBuf>,
    pub namespace: String,
    pub source: SourceRef,
}

/// What stands for an image reference of the manifests.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageBinding {
    /// Holds a Dockerfile.
    pub folder: PathBuf,
    pub program: ProgramLabel,
    pub source: SourceRef,
}

/// `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

/// One key of a Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRef {
    pub object: ObjectName,
    pub key: String,
    pub source: SourceRef,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueFrom {
    Literal(String),
    Secret(KeyRef),
    ConfigMap(KeyRef),
    /// Drawn by redrill once per drill, before anything starts: letters and digits, under this name.
    Generated(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    Postgres,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    pub kind: DatabaseKind,
    /// As the system's pods name it: `postgresql-service.taiga`.
    pub host: String,
    pub port: u16,
    pub database: ValueFrom,
    pub user: ValueFrom,
    pub password: ValueFrom,
    /// Tables (`schema.name`) that applications write all the time: no fingerprint can hold their rows.
    pub live_tables: Vec<String>,
    /// A role beside the owner, made by the seed, with grants of its own.
    pub second_role: Option<SecondRole>,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SecondRole {
    pub name: String,
    pub password: ValueFrom,
}

/// A tree of files in a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTree {
    pub claim: ObjectName,
    /// Below the claim's root.
    pub path: String,
    pub owner: u32,
    pub group: u32,
    pub source: SourceRef,
}

/// A restic repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Repository {
    /// Name of a store, whose keys open it.
    pub store: String,
    /// restic's own notation, to which `/path` is appended.
    pub base: ValueFrom,
    pub path: String,
    pub source: SourceRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedSize {
    Small,
    Medium,
    Large,
    Bytes(u64),
}

impl SeedSize {
    /// Rough total of what is seeded.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Small => 4 << 20,
            Self::Medium => 64 << 20,
            Self::Large => 1 << 30,
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// Names of `databases` and `files`.
    pub databases: Vec<String>,
    pub files: Vec<String>,
    pub size: SeedSize,
}

/// What the disaster takes, and what survives it by declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    pub claims: Vec<ObjectName>,
    pub escrow: Vec<Escrow>,
    pub source: SourceRef,
}

/// Survives the loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Escrow {
    Secret(ObjectName),
    ConfigMap(ObjectName),
    /// Of `stores`.
    Store(String),
    /// The system's manifests.
    Manifests,
}

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
    pub backup: Vec<Part>,
    pub restore: Vec<Part>,
    pub reconcile: Vec<Part>,
    pub source: SourceRef,
}

/// What makes up a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A section of the runbook, by its heading.
    Procedure { name: String, source: SourceRef },
    /// One run of a CronJob, as its clock would start it.
    CronJob { object: ObjectName, source: SourceRef },
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialTarget {
    /// Of `databases`.
    Postgres(String),
    /// Of `repositories`.
    Restic(String),
}

/// When the secret is read from where it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAt {
    /// At each checkpoint anew: what the system holds then.
    Checkpoint,
    /// Once, before the loss: what somebody may still know.
    Once(Checkpoint),
}

/// A principal, where its secret is kept, and at which checkpoint it must be accepted or refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    pub principal: String,
    pub target: CredentialTarget,
    /// Needed for databases.
    pub user: Option<ValueFrom>,
    pub secret: ValueFrom,
    pub read_at: ReadAt,
    pub expected: BTreeMap<Checkpoint, Expectation>,
    /// Drills that it is checked in; empty: all.
    pub drills: Vec<String>,
    pub source: SourceRef,
}

/// Names one step of the runbook (or several, for a waiver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRef {
    pub procedure: String,
    /// The number as printed.
    pub item: Option<u64>,
    /// Exact text in the step.
    pub text: Option<String>,
    pub source: SourceRef,
}

/// What a person does with a fragment or a human step.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    pub step: StepRef,
    pub deed: Deed,
    pub human: Option<HumanTime>,
    pub slots: Vec<SlotBinding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A command; `{fragment}` stands for a file that holds the fragment.
    Run(String),
    /// A command whose JSON output must contain the fragment: a look at something that is said to be so.
    Compare(String),
    /// Nothing that redrill could do; only its time counts.
    Human,
}

/// An open place in a command or fragment, and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotBinding {
    /// The text that stands for the value: `BACKUP_NAME`, `new`.
    pub place: String,
    /// Text right before it, where the place alone would be found more than once.
    pub after: Option<String>,
    pub from: SlotSource,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotSource {
    Value(ValueFrom),
    /// The one match of a pattern's first group in what an earlier step printed.
    Output {
        step: StepRef,
        pattern: String,
    },
    /// The name of the one object that a label selector finds.
    Selector {
        kind: String,
        namespace: String,
        labels: String,
    },
}

/// A command or procedure that no drill runs, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiver {
    pub what: Waived,
    pub reason: String,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waived {
    Step(StepRef),
    Secret(ObjectName),
    Claim(ObjectName),
    Database(String),
    Bucket(String),
}

/// A documented text that cannot work as written: where, why, the smallest correction.
#[derive(Debug, Clone, PartialEq)]
pub struct Erratum {
    pub id: String,
    pub edits: Vec<Edit>,
    pub reason: String,
    /// What the real program answered to the documented text.
    pub answer: String,
    /// Tool versions it holds for.
    pub versions: String,
    pub source: SourceRef,
}

/// One place of a correction. `step.text` is the documented text.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub step: StepRef,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Stands in place of the documented text.
    Replace(String),
    /// Commands before the step that holds it.
    InsertBefore(Vec<String>),
    InsertAfter(Vec<String>),
}

impl Scenario {
    /// The acceptances that hold for a drill.
    pub fn accepted_for(&self, drill: &str) -> impl Iterator<Item = &Acceptance> {
        let holds = move |accept: &&DrillAcceptance| {
            accept.drills.is_empty() || accept.drills.iter().any(|accepted| accepted == drill)
        };
        self.accept.iter().filter(holds).map(|accept| &accept.acceptance)
    }
}
