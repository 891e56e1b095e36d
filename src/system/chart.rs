//! A system that is a Helm chart: its objects, as helm itself renders them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Object, System, manifest};
use crate::cluster::kind;
use crate::command;
use crate::outcome::SourceRef;
use crate::problem::{Problem, Problems};

/// Objects with this annotation come and go with installs and upgrades.
const HOOK: &str = "helm.sh/hook";

/// A chart, and how it is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartSource<'a> {
    /// Holds Chart.yaml.
    pub chart: &'a Path,
    pub release: &'a str,
    pub namespace: &'a str,
    /// Files of values.
    pub values: &'a [PathBuf],
    /// Where a scenario names the chart.
    pub source: &'a SourceRef,
}

impl System {
    /// The namespace and what `helm template` makes of the chart, hooks included, tests left out. Values that templates draw
    /// at random are others than those of an install.
    ///
    /// Errors with what helm says of the chart, or with every problem of what it renders, each with its template and the line
    /// in what became of it.
    pub fn of_chart(chart: &ChartSource<'_>, helm: &Path) -> Result<Self, Problems> {
        let rendered = render(chart, helm).map_err(|message| Problem::new(chart.source, message))?;
        let mut problems = Problems::default();
        let mut objects = vec![namespace(chart)];
        for (template, text) in templates(&rendered) {
            let file = format!("{} of {}", template, chart.chart.display());
            manifest::read_file(&file, &text, &mut objects, &mut problems);
        }
        for object in objects.iter_mut().filter(|object| object.kind.namespaced) {
            if object.value["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
                object.value["metadata"]["namespace"] = json!(chart.namespace);
                chart.namespace.clone_into(&mut object.namespace);
            }
        }
        Self::of_objects(objects, problems)
    }
}

/// What helm prints, or what it says is wrong.
fn render(chart: &ChartSource<'_>, helm: &Path) -> Result<String, String> {
    let [helm, folder] = [helm, chart.chart].map(|path| path.display().to_string());
    let mut argv = vec![helm, "template".to_owned(), chart.release.to_owned(), folder.clone()];
    argv.extend(["--namespace", chart.namespace, "--skip-tests"].map(str::to_owned));
    argv.extend(chart.values.iter().flat_map(|file| ["--values".to_owned(), file.display().to_string()]));
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let output = command::run_now(&argv).map_err(|error| crate::error::chain(&error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(format!("helm does not render {folder}: {}", said.join("; ")))
}

/// The rendered text by template, in helm's order; each document begins with the name of its template.
fn templates(rendered: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in rendered.lines() {
        if let Some(template) = line.strip_prefix("# Source: ") {
            found.push((template.to_owned(), String::new()));
        } else if let Some((_, text)) = found.last_mut()
            && line != "---"
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

/// What `--create-namespace` makes.
fn namespace(chart: &ChartSource<'_>) -> Object {
    let name = chart.namespace;
    let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name}}});
    Object::made(&kind::NAMESPACE, name, value, chart.source.clone())
}

/// Whether helm makes an object beside a release and not of it.
pub fn is_hook(object: &Value) -> bool {
    object["metadata"]["annotations"][HOOK].is_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helm_prints_is_told_apart_by_template() {
        let rendered = "---\n# Source: shop/templates/a.yaml\nkind: A\n---\n# Source: shop/templates/b.yaml\nkind: B\n\
                        text: |\n  # no Source: x\n";
        let found = templates(rendered);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["shop/templates/a.yaml", "shop/templates/b.yaml"]);
        assert_eq!(found[0].1, "kind: A\n");
        assert!(found[1].1.contains("# no Source"));
    }
}
