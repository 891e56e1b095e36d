//! Reads what a scenario says of the clusters of its system: one, or several that its runbook goes between.

use std::collections::BTreeMap;

use super::file::ScenarioReader;
use super::reader::Fields;
use super::yaml::Node;
use super::{ClusterSource, StackSystem, SystemSource};
use crate::system::cloud_formation::StackSource;

/// The names of the clusters, in the file's order; empty where there is but one.
pub(super) fn names(root: &Node) -> Vec<String> {
    let clusters = root.get("system").and_then(|system| system.get("clusters"));
    clusters.map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key.text.clone()).collect()
}

impl ScenarioReader<'_> {
    /// `manifests:` for one cluster, `clusters:` with the manifests of each, `helm:` for a chart, or `cloud-formation:` for a
    /// stack.
    pub(super) fn system(&self, node: &Node) -> Option<SystemSource> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let declared = fields.one_of(&["manifests", "clusters", "helm", "cloud-formation"]);
        let one = |manifests| vec![ClusterSource { name: None, manifests }];
        let clusters = match declared {
            Some(("manifests", node)) => self.manifests(node).map(one),
            Some(("clusters", node)) => self.clusters(node),
            Some(_) => Some(one(Vec::new())),
            None => None,
        };
        let chart = match declared {
            Some(("helm", node)) => self.chart(node).map(Some),
            Some(_) | None => Some(None),
        };
        let namespace = fields.optional("namespace", |node| r.text(node));
        fields.close();
        let namespace = namespace?.unwrap_or_else(|| "default".to_owned());
        let stack = match declared {
            Some(("cloud-formation", node)) => Some(self.stack(node, &namespace)?),
            Some(_) | None => None,
        };
        Some(SystemSource { clusters: clusters?, chart: chart?, stack, namespace, source: r.source(node.line) })
    }

    fn stack(&self, node: &Node, namespace: &str) -> Option<StackSystem> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let template = fields.required("template", |node| self.path(node, "template"));
        let stack = fields.required("stack", |node| r.text(node));
        let region = fields.required("region", |node| r.text(node));
        let parameters = fields.or_default("parameters", |node| r.named(node, |_, node| r.value_from(node)));
        fields.close();
        let namespace = namespace.to_owned();
        let source = StackSource { template: template?, stack: stack?, region: region?, namespace };
        Some(StackSystem { source, parameters: BTreeMap::from_iter(parameters?) })
    }

    fn clusters(&self, node: &Node) -> Option<Vec<ClusterSource>> {
        let found = self.reader.named(node, |_, node| self.manifests(node))?;
        if found.len() < 2 {
            return self.reader.refuse(node.line, "one cluster needs no name: give its folders as `manifests`");
        }
        Some(found.into_iter().map(|(name, manifests)| ClusterSource { name: Some(name), manifests }).collect())
    }

    fn manifests(&self, node: &Node) -> Option<Vec<std::path::PathBuf>> {
        let found = self.reader.list(node, |node| self.path(node, "manifests"))?;
        match node.items().is_empty() {
            true => self.reader.refuse(node.line, "name at least one folder of manifests"),
            false => Some(found),
        }
    }

    /// `cluster:` of a section, which has to be there where the system has several.
    pub(super) fn cluster_of(&self, fields: &mut Fields<'_, '_>) -> Option<Option<String>> {
        let read = |node: &Node| self.reader.reference(node, "cluster", &self.clusters);
        match self.clusters.is_empty() {
            true => fields.optional("cluster", read),
            false => fields.required("cluster", read).map(Some),
        }
    }

    /// Where there are several clusters, a host is a Service of one of them.
    pub(super) fn host(&self, node: &Node) -> Option<String> {
        let host = self.reader.text(node)?;
        if self.clusters.is_empty() || host.split('.').count() == 2 {
            return Some(host);
        }
        self.reader.refuse(node.line, format!("`{host}` names no Service of a cluster: write service.namespace"))
    }
}
