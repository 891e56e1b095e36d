//! A scenario: binds a runbook and a system, and says what to seed, lose, check, promise and accept.
//!
//! Read by `scenario::file` from `scenario.yaml`, every problem of the file at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

mod binding;
mod chart;
mod chore;
mod cluster;
mod data;
mod database;
mod discover;
mod document;
mod drill;
mod erratum;
mod file;
mod image;
mod loss;
mod procedure;
mod promise;
mod reader;
mod step;
mod store;
mod value;
mod version;
mod workstation;
pub mod yaml;

pub use chart::ChartSystem;
pub use chore::Chore;
pub use data::{Database, DatabaseKind, FileTree, Login, Repository, SecondRole, Seed, SeedSize};
pub use discover::Scenarios;
pub use document::RunbookSource;
pub use drill::{Archive, Archiving, Checkpoint, Drill, Part, Readiness, RecoveryPoint, Serving, Writers};
pub use loss::{Escrow, Loss};
pub use promise::{BackupDuration, DrillAcceptance, EnvironmentName, Objective, OpenCluster, Schedule};
pub use step::{
    Binding, Change, Deed, Edit, Erratum, ErratumKind, Find, SlotBinding, SlotSource, StepRef, Terminal, Waived, Waiver,
};
pub use store::{Aws, Charts, S3, Store, StoreKind};
pub use value::parse_size;
pub use version::VersionRange;
pub use workstation::{Checkout, ESCROW, Entry, EntryKind, Workstation};

use crate::doctor::real_program::RealProgram;
use crate::outcome::{Acceptance, Expectation, ProgramLabel, SourceRef};
use crate::system::cloud_formation::StackSource;

/// A checked scenario. Paths are joined to the scenario's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub name: String,
    /// Where its name stands.
    pub source: SourceRef,
    /// The file it was read from, as named by the caller.
    pub file: PathBuf,
    pub runbook: RunbookSource,
    pub system: SystemSource,
    pub workstation: Workstation,
    /// By image reference, as the manifests name it.
    pub images: BTreeMap<String, ImageBinding>,
    pub stores: BTreeMap<String, Store>,
    pub databases: BTreeMap<String, Database>,
    pub files: BTreeMap<String, FileTree>,
    pub repositories: BTreeMap<String, Repository>,
    pub seed: Seed,
    /// The database that keeps the ledger and the nonces.
    pub ledger: Option<String>,
    pub archiving: Vec<Archiving>,
    pub loss: Loss,
    /// In the file's order.
    pub drills: Vec<Drill>,
    pub credentials: Vec<Credential>,
    pub serving: Vec<Serving>,
    /// How long a person waits for what a step touched before giving up on it.
    pub patience: std::time::Duration,
    pub bindings: Vec<Binding>,
    pub waivers: Vec<Waiver>,
    pub errata: Vec<Erratum>,
    /// Errata of other versions than the ones that are there.
    pub left_out: Vec<Erratum>,
    /// Programs that steps run inside the system's images, by name (`backup.bb`); others are real.
    pub programs: BTreeMap<String, ProgramLabel>,
    /// Open places of commands, the same in every command that has them.
    pub slots: Vec<SlotBinding>,
    pub schedule: Option<Schedule>,
    pub objectives: Vec<Objective>,
    pub accept: Vec<DrillAcceptance>,
    /// That drills may run on a cluster that does not close them.
    pub open_cluster: Option<OpenCluster>,
}

/// What is drilled.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemSource {
    /// In the file's order; the operator's kubectl points to the first.
    pub clusters: Vec<ClusterSource>,
    /// Of a system that is a Helm chart; its only cluster has no manifests then.
    pub chart: Option<ChartSystem>,
    /// Of a system that is a CloudFormation template; its only cluster has no manifests then.
    pub stack: Option<StackSystem>,
    /// Of the operator's contexts: where kubectl looks when a command names none.
    pub namespace: String,
    pub source: SourceRef,
}

/// A CloudFormation template and what it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct StackSystem {
    pub source: StackSource,
    /// By the template's names.
    pub parameters: BTreeMap<String, ValueFrom>,
}

/// One cluster of the system.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSource {
    /// As contexts and object names have it; `None` where it is the only one.
    pub name: Option<String>,
    /// Folders or files of Kubernetes YAML, as the team has them.
    pub manifests: Vec<PathBuf>,
}

/// What stands for an image reference of the manifests.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageBinding {
    /// Holds a Dockerfile. `None`: the image exists, on the engine or in a registry.
    pub folder: Option<PathBuf>,
    /// Simulated of one with a `real` program, until that is known to be there.
    pub program: ProgramLabel,
    /// A program of the host that takes the place of what the image copies by its name, where there is one: then the image is
    /// real. One of [`crate::doctor::real_program::REAL_PROGRAMS`].
    pub real: Option<&'static RealProgram>,
    pub source: SourceRef,
}

/// `namespace/name`, of a system of several clusters `cluster/namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub cluster: Option<String>,
    pub namespace: String,
    pub name: String,
}

/// One key of a Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRef {
    pub object: ObjectName,
    pub key: String,
    /// How the value is given on.
    pub encoding: Encoding,
    pub source: SourceRef,
}

/// How a value of a Secret is given on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    /// As `kubectl get secret -o yaml` prints it.
    Base64,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialTarget {
    /// Of `databases`.
    Database(String),
    /// Of `repositories`.
    Restic(String),
    /// A page that takes a name and a password (RFC 7617), by its address.
    Http(String),
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

impl Scenario {
    /// Whether something of it is kept in the account of a stack, for whose operator there is `aws`.
    pub fn has_account(&self) -> bool {
        self.stores.values().any(|store| store.account().is_some())
    }

    /// What a drill loses.
    pub fn loss_in(&self, drill: &str) -> &Loss {
        let own = self.drills.iter().find(|known| known.name == drill).and_then(|drill| drill.loss.as_ref());
        own.unwrap_or(&self.loss)
    }

    /// Every loss that some drill takes.
    pub fn losses(&self) -> impl Iterator<Item = &Loss> {
        std::iter::once(&self.loss).chain(self.drills.iter().filter_map(|drill| drill.loss.as_ref()))
    }

    /// What is known of the log of a database, if it is shipped.
    pub fn archiving_of(&self, database: &str) -> Option<&Archiving> {
        self.archiving.iter().find(|archiving| archiving.database == database)
    }

    /// Where the content of a database is after a restore: in the database itself, unless the scenario names another.
    pub fn restored(&self, name: &str) -> Option<&Database> {
        let database = self.databases.get(name)?;
        database.restored_in.as_ref().map_or(Some(database), |other| self.databases.get(other))
    }

    /// The scenario as it is with these versions of tools: without errata that hold for others only, and with the real program
    /// for each stand-in whose place it takes.
    pub fn with_tools(&self, versions: &BTreeMap<String, String>) -> Self {
        let mut scenario = self.clone();
        for image in scenario.images.values_mut() {
            let Some(real) = image.real else { continue };
            if versions.contains_key(real.name) {
                image.program = ProgramLabel::Real;
            }
            scenario.programs.insert(real.name.to_owned(), image.program);
        }
        let (holding, others) = scenario.errata.into_iter().partition(|erratum| erratum.versions.holds_for(versions));
        (scenario.errata, scenario.left_out) = (holding, others);
        scenario
    }

    /// Programs of the host that may take a stand-in's place.
    pub fn real_programs(&self) -> impl Iterator<Item = &'static RealProgram> {
        self.images.values().filter_map(|image| image.real)
    }

    /// The acceptances that hold for a drill.
    pub fn accepted_for(&self, drill: &str) -> impl Iterator<Item = &Acceptance> {
        let holds = move |accept: &&DrillAcceptance| {
            accept.drills.is_empty() || accept.drills.iter().any(|accepted| accepted == drill)
        };
        self.accept.iter().filter(holds).map(|accept| &accept.acceptance)
    }
}
