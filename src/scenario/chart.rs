//! Reads what a scenario says of a system that is a Helm chart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ValueFrom;
use super::file::ScenarioReader;
use super::yaml::Node;
use crate::outcome::SourceRef;

/// A Helm chart and how its team installs it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartSystem {
    /// Holds Chart.yaml.
    pub chart: PathBuf,
    pub release: String,
    pub namespace: String,
    /// The team's own values, in the order in which helm is given them.
    pub values: Vec<PathBuf>,
    /// Single values beside them, by path as `--set` has it (`api.secret.key`).
    pub set: BTreeMap<String, ValueFrom>,
    pub source: SourceRef,
}

impl ScenarioReader<'_> {
    pub(super) fn chart(&self, node: &Node) -> Option<ChartSystem> {
        let r = self.reader;
        let mut fields = r.fields(node)?;
        let chart = fields.required("chart", |node| self.chart_folder(node));
        let release = fields.required("release", |node| r.text(node));
        let namespace = fields.required("namespace", |node| r.text(node));
        let values = fields.or_default("values", |node| r.list(node, |node| self.path(node, "values")));
        let set = fields.or_default("set", |node| r.named(node, |_, node| r.value_from(node)));
        fields.close();
        let set = BTreeMap::from_iter(set?);
        let source = r.source(node.line);
        Some(ChartSystem { chart: chart?, release: release?, namespace: namespace?, values: values?, set, source })
    }

    /// A folder with a chart in it.
    pub(super) fn chart_folder(&self, node: &Node) -> Option<PathBuf> {
        let folder = self.path(node, "chart")?;
        if folder.join("Chart.yaml").is_file() {
            return Some(folder);
        }
        self.reader.refuse(node.line, format!("{} holds no Chart.yaml: name the chart's folder", folder.display()))
    }
}
