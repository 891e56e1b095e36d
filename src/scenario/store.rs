//! Where backups go, as a scenario declares it.

use std::path::PathBuf;

use super::ValueFrom;
use super::file::ScenarioReader;
use super::yaml::Node;
use crate::outcome::SourceRef;

/// A pod outside the system's namespace, so that losing the system does not lose the backups.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub kind: StoreKind,
    /// What stands for the store in waivers: of a chart repository `charts`, of an account `account REGION`.
    pub bucket: String,
    pub source: SourceRef,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StoreKind {
    S3(Box<S3>),
    /// Google Cloud Storage: everybody inside the drill may use it, as pods of a cluster whose nodes may.
    Gcs,
    /// A chart repository: what helm gets charts from, and no backup lies in.
    Charts(Box<Charts>),
    /// The account that a stack is in: file systems and their backups, and the scheduler of its services.
    Aws(Box<Aws>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Charts {
    /// The outside name that resolves to it.
    pub host: String,
    /// Folders of the charts that it has.
    pub charts: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aws {
    pub region: String,
    /// The outside names that resolve to it.
    hosts: Vec<String>,
    pub access_key: ValueFrom,
    pub secret_key: ValueFrom,
}

/// What an account answers for, as host names begin.
const AWS_SERVICES: [&str; 5] = ["backup", "cloudformation", "ecs", "elasticfilesystem", "sts"];

#[derive(Debug, Clone, PartialEq)]
pub struct S3 {
    /// The outside name that resolves to it.
    pub host: String,
    pub access_key: ValueFrom,
    pub secret_key: ValueFrom,
}

/// The outside names of Google Cloud Storage.
const GCS_HOSTS: [&str; 2] = ["storage.googleapis.com", "www.googleapis.com"];

impl Store {
    /// Whether backups may lie in it.
    pub fn holds_backups(&self) -> bool {
        match &self.kind {
            StoreKind::S3(_) | StoreKind::Gcs | StoreKind::Aws(_) => true,
            StoreKind::Charts(_) => false,
        }
    }

    /// The outside names that resolve to it, the main one first.
    pub fn hosts(&self) -> Vec<&str> {
        match &self.kind {
            StoreKind::S3(s3) => vec![&s3.host],
            StoreKind::Gcs => GCS_HOSTS.to_vec(),
            StoreKind::Charts(charts) => vec![&charts.host],
            StoreKind::Aws(aws) => aws.hosts.iter().map(String::as_str).collect(),
        }
    }

    /// The account, where it is one.
    pub fn account(&self) -> Option<&Aws> {
        match &self.kind {
            StoreKind::Aws(aws) => Some(aws),
            StoreKind::S3(_) | StoreKind::Gcs | StoreKind::Charts(_) => None,
        }
    }

    /// The values it takes from somewhere.
    pub fn values(&self) -> Vec<&ValueFrom> {
        match &self.kind {
            StoreKind::S3(s3) => vec![&s3.access_key, &s3.secret_key],
            StoreKind::Aws(aws) => vec![&aws.access_key, &aws.secret_key],
            StoreKind::Gcs | StoreKind::Charts(_) => Vec::new(),
        }
    }
}

#[derive(Clone, Copy)]
enum Word {
    S3,
    Gcs,
    Charts,
    Aws,
}

impl ScenarioReader<'_> {
    pub(super) fn store(&self, node: &Node) -> Option<Store> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let words = [("s3", Word::S3), ("gcs", Word::Gcs), ("charts", Word::Charts), ("aws", Word::Aws)];
        let word = fields.required("kind", |node| r.word(node, &words));
        let bucket = match word {
            Some(Word::Charts) => Some("charts".to_owned()),
            Some(Word::Aws) => fields.node("region").and_then(Node::text).map(|region| format!("account {region}")),
            Some(Word::S3 | Word::Gcs) | None => fields.required("bucket", |node| r.text(node)),
        };
        // Without a kind it is not known what else it may have.
        let kind = match word? {
            Word::Charts => {
                let host = fields.required("host", |node| r.text(node));
                let charts = fields.required("charts", |node| self.chart_folders(node));
                host.zip(charts).map(|(host, charts)| StoreKind::Charts(Box::new(Charts { host, charts })))
            }
            Word::Gcs => Some(StoreKind::Gcs),
            Word::Aws => {
                let region = fields.required("region", |node| r.text(node));
                let access_key = fields.required("access-key", |node| r.secret_from(node));
                let secret_key = fields.required("secret-key", |node| r.secret_from(node));
                region.zip(access_key).zip(secret_key).map(|((region, access_key), secret_key)| {
                    let hosts =
                        AWS_SERVICES.iter().map(|service| format!("{service}.{region}.amazonaws.com")).collect();
                    StoreKind::Aws(Box::new(Aws { region, hosts, access_key, secret_key }))
                })
            }
            Word::S3 => {
                let host = fields.required("host", |node| r.text(node));
                let access_key = fields.required("access-key", |node| r.secret_from(node));
                let secret_key = fields.required("secret-key", |node| r.secret_from(node));
                host.zip(access_key).zip(secret_key).map(|((host, access_key), secret_key)| {
                    StoreKind::S3(Box::new(S3 { host, access_key, secret_key }))
                })
            }
        };
        fields.close();
        Some(Store { kind: kind?, bucket: bucket?, source: r.source(node.line) })
    }

    fn chart_folders(&self, node: &Node) -> Option<Vec<PathBuf>> {
        let folders = self.reader.list(node, |node| self.chart_folder(node))?;
        match node.items().is_empty() {
            true => self.reader.refuse(node.line, "a repository without a chart serves nobody: name its chart folders"),
            false => Some(folders),
        }
    }
}
