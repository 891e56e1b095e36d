//! What a disaster takes and what survives it, as a scenario declares it.

use std::collections::BTreeSet;

use super::file::ScenarioReader;
use super::yaml::Node;
use super::{Database, ObjectName};
use crate::outcome::SourceRef;

/// What the disaster takes, and what survives it by declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    pub claims: Vec<ObjectName>,
    /// Of a system of several: gone with everything in them.
    pub clusters: Vec<String>,
    /// Gone with every object and volume in them; nothing is made anew.
    pub namespaces: Vec<String>,
    /// Of `databases`: they go on answering, with half of their rows.
    pub databases: Vec<String>,
    pub escrow: Vec<Escrow>,
    pub source: SourceRef,
}

impl Loss {
    /// Whether an object goes with the cluster or the namespace that it is in.
    pub fn takes_all_around(&self, name: &ObjectName) -> bool {
        match &name.cluster {
            Some(cluster) => self.clusters.contains(cluster),
            None => self.namespaces.contains(&name.namespace),
        }
    }

    /// Whether the server of a database goes with its cluster or namespace.
    pub fn takes_server_of(&self, database: &Database) -> bool {
        match &database.cluster {
            Some(cluster) => self.clusters.contains(cluster),
            None => database.namespace().is_some_and(|namespace| self.namespaces.iter().any(|lost| lost == namespace)),
        }
    }
}

/// Fields of what is taken.
const TAKEN: [&str; 4] = ["claims", "clusters", "namespaces", "databases"];

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

impl ScenarioReader<'_> {
    pub(super) fn loss(&self, node: &Node) -> Option<Loss> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let claims = fields.or_default("claims", |node| r.list(node, |node| r.object_name(node)));
        let clusters =
            fields.or_default("clusters", |node| r.list(node, |node| r.reference(node, "cluster", &self.clusters)));
        let databases =
            fields.or_default("databases", |node| r.list(node, |node| r.reference(node, "database", &self.databases)));
        let namespaces = fields.or_default("namespaces", |node| r.list(node, |node| self.lost_namespace(node)));
        let escrow = fields.or_default("escrow", |node| r.list(node, |node| self.escrow(node)));
        fields.close();
        for field in TAKEN {
            self.refuse_doubled(node.get(field));
        }
        self.refuse_claims_around(node, clusters.as_deref(), namespaces.as_deref());
        if !TAKEN.iter().any(|field| node.get(field).is_some_and(|node| !node.items().is_empty())) {
            let message =
                "a disaster that takes nothing proves nothing: name claims, clusters, namespaces or databases";
            return r.refuse(node.line, message);
        }
        let source = r.source(node.line);
        Some(Loss {
            claims: claims?,
            clusters: clusters?,
            namespaces: namespaces?,
            databases: databases?,
            escrow: escrow?,
            source,
        })
    }

    /// What is lost twice is a slip for something else.
    fn refuse_doubled(&self, list: Option<&Node>) {
        let mut seen = BTreeSet::new();
        for node in list.map(Node::items).unwrap_or_default() {
            let Some(text) = node.text() else { continue };
            if !seen.insert(text) {
                self.reader.problem(node.line, format!("`{text}` is lost twice: take one of them out"));
            }
        }
    }

    /// Claims that go with their cluster or namespace, and so are not lost on their own.
    fn refuse_claims_around(&self, loss: &Node, clusters: Option<&[String]>, namespaces: Option<&[String]>) {
        let lost = |names: Option<&[String]>, name: &String| names.is_some_and(|names| names.contains(name));
        for node in loss.get("claims").map(Node::items).unwrap_or_default() {
            let Some(name) = node.text().and_then(ObjectName::parse) else { continue };
            let around = match &name.cluster {
                Some(cluster) => lost(clusters, cluster).then_some(("cluster", cluster)),
                None => lost(namespaces, &name.namespace).then_some(("namespace", &name.namespace)),
            };
            if let Some((what, around)) = around {
                let message = format!("claim `{name}` goes with the {what} `{around}` already: take it out");
                self.reader.problem(node.line, message);
            }
        }
    }

    fn lost_namespace(&self, node: &Node) -> Option<String> {
        if self.clusters.is_empty() {
            return self.reader.text(node);
        }
        self.reader
            .refuse(node.line, "of a system of several clusters whole clusters are lost: name them as `clusters`")
    }

    fn escrow(&self, node: &Node) -> Option<Escrow> {
        let r = self.reader;
        if node.text().is_some() {
            return r.word(node, &[("manifests", ())]).map(|()| Escrow::Manifests);
        }
        let mut fields = r.fields(node)?;
        let kept = match fields.one_of(&["secret", "config-map", "store"]) {
            Some(("secret", node)) => r.object_name(node).map(Escrow::Secret),
            Some(("config-map", node)) => r.object_name(node).map(Escrow::ConfigMap),
            Some((_, node)) => r.reference(node, "store", &self.stores).map(Escrow::Store),
            None => None,
        };
        fields.close();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(clusters: &[&str], namespaces: &[&str]) -> Loss {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let source = SourceRef { file: "scenario.yaml".to_owned(), line: 1 };
        let (claims, databases, escrow) = (Vec::new(), Vec::new(), Vec::new());
        Loss { claims, clusters: own(clusters), namespaces: own(namespaces), databases, escrow, source }
    }

    #[test]
    fn an_object_goes_with_its_cluster_or_with_its_namespace() {
        let name = |text: &str| ObjectName::parse(text).expect("a name");
        let namespace = loss(&[], &["shop"]);
        assert!(namespace.takes_all_around(&name("shop/db")) && !namespace.takes_all_around(&name("other/db")));
        let cluster = loss(&["old"], &[]);
        assert!(cluster.takes_all_around(&name("old/shop/db")) && !cluster.takes_all_around(&name("new/shop/db")));
        assert!(!cluster.takes_all_around(&name("old/db")), "a namespace of that name is no cluster");
    }
}
