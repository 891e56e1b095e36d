//! A system that is a Helm chart: packaged on this machine, installed from the workstation as its team does it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::command;
use crate::doctor::go_module::{self, HELM};
use crate::drill::record::{Halt, Record};
use crate::drill::stage::{self, Stage};
use crate::drill::station;
use crate::error::chain;
use crate::kubernetes::{self, KubernetesError};
use crate::redact::Secret;
use crate::scenario::{ChartSystem, Charts};

/// What helm may take to package charts.
const PACKAGING: Duration = Duration::from_secs(60);
/// What helm may take to install the system, its hooks included.
const INSTALLING: &str = "170s";
/// Where the chart and its values lie on the workstation while it is installed.
const FOLDER: &str = "install";
/// The kind of Secret that helm keeps its releases in.
const RELEASE: &str = "helm.sh/release.v1";

/// A file of a chart repository.
pub type RepositoryFile = (String, Vec<u8>);

/// The packaged charts and their index, as they lie under `https://HOST`.
pub async fn repository(charts: &Charts) -> Result<Vec<RepositoryFile>, Halt> {
    let folder = tempfile::tempdir().map_err(|error| unusable(format!("make a folder for charts: {error}")))?;
    for chart in &charts.charts {
        package(chart, folder.path()).await?;
    }
    helm(&["repo", "index", &folder.path().display().to_string(), "--url", &format!("https://{}", charts.host)])
        .await?;
    read(folder.path())
}

/// Packages a chart into a folder.
async fn package(chart: &Path, into: &Path) -> Result<(), Halt> {
    helm(&["package", &chart.display().to_string(), "--destination", &into.display().to_string()]).await
}

async fn helm(arguments: &[&str]) -> Result<(), Halt> {
    let program = go_module::find(&HELM).ok_or_else(|| unusable("helm is not there".to_owned()))?;
    let program = program.path.display().to_string();
    let argv: Vec<&str> = std::iter::once(program.as_str()).chain(arguments.iter().copied()).collect();
    let output = command::run(&argv, &Default::default(), b"", PACKAGING).await;
    let output = output.map_err(|error| unusable(chain(&error)))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Halt::unverified(format!("helm {}: {}", arguments[0], said.trim()), "correct the chart"))
        }
    }
}

fn unusable(reason: String) -> Halt {
    Halt::unverified(reason, "run `redrill doctor`")
}

fn read(folder: &Path) -> Result<Vec<RepositoryFile>, Halt> {
    let files = || -> std::io::Result<Vec<RepositoryFile>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            files.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
        }
        files.sort();
        Ok(files)
    };
    files().map_err(|error| unusable(format!("read packaged charts: {error}")))
}

/// Installs the system as its team does, with its own values and those that the scenario sets; nothing of it stays on the
/// workstation. The redactor knows every Secret that came of it before this returns.
pub async fn install(stage: &Stage, chart: &ChartSystem, record: &mut Record) -> Result<(), Halt> {
    let kubernetes = &stage.kubernetes;
    let folder = tempfile::tempdir().map_err(|error| unusable(format!("make a folder for charts: {error}")))?;
    package(&chart.chart, folder.path()).await?;
    let place = |name: &str| format!("{}/{FOLDER}/{name}", station::HOME);
    let mut arguments = format!(
        "helm install {} {} --namespace {} --create-namespace --timeout {INSTALLING}",
        shell_words::quote(&chart.release),
        shell_words::quote(&place("chart.tgz")),
        shell_words::quote(&chart.namespace),
    );
    for (_, archive) in read(folder.path())? {
        let script = format!("umask 077 && mkdir -p ~/{FOLDER} && head -c {} > ~/{FOLDER}/chart.tgz", archive.len());
        stage::on_workstation(kubernetes, "put the chart there", &script, &archive).await?;
    }
    let mut files = values(&chart.values)?;
    files.push(set(stage, chart).await?);
    for (number, text) in files.iter().enumerate() {
        let file = place(&format!("values-{number}.yaml"));
        stage::write_file(kubernetes, &file, text.expose()).await?;
        arguments.push_str(&format!(" --values {}", shell_words::quote(&file)));
    }
    let script = format!("{arguments}; status=$?; rm -r ~/{FOLDER}; exit $status");
    let installed = stage::on_workstation(kubernetes, "install the chart", &script, b"").await;
    learn(stage, record).await?;
    installed.map(drop).map_err(|halt| record.cleaned(halt))
}

fn values(files: &[PathBuf]) -> Result<Vec<Secret>, Halt> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).map(Secret::new).map_err(|error| {
            Halt::unverified(format!("{} cannot be read: {error}", file.display()), "correct the scenario")
        })
    };
    files.iter().map(read).collect()
}

/// What the scenario sets, as a file of values: what is an argument is there for all to read.
async fn set(stage: &Stage, chart: &ChartSystem) -> Result<Secret, Halt> {
    let mut all = json!({});
    for (path, from) in &chart.set {
        let value = stage.values.secret(from).await?;
        let mut at = &mut all;
        for part in path.split('.') {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[part];
        }
        *at = json!(value.expose());
    }
    Ok(Secret::new(all.to_string()))
}

/// Tells the redactor what templates drew: nothing knew it before it was there. A value that is also a name is none.
pub async fn learn(stage: &Stage, record: &mut Record) -> Result<(), KubernetesError> {
    for site in &stage.sites {
        for secret in site.list(&[kubernetes::SECRET]).await? {
            for value in drawn(&secret) {
                let is_unknown = record.redactor.redact(value.expose()) == value.expose();
                if is_unknown && !stage.public_names.contains(value.expose()) {
                    // What is too short to be told from other text was no secret that a template drew.
                    let _ = record.redactor.add(&value);
                }
            }
        }
    }
    Ok(())
}

fn drawn(secret: &Value) -> Vec<Secret> {
    let data = secret["data"].as_object().filter(|_| secret["type"] != RELEASE);
    let texts = data.into_iter().flat_map(Map::values).filter_map(|value| {
        let bytes = STANDARD.decode(value.as_str()?).ok()?;
        String::from_utf8(bytes).ok().map(Secret::new)
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_learnt_but_for_the_releases_themselves() {
        let secret = |kind: &str| json!({"type": kind, "data": {"key": "aHVudGVyMg==", "bytes": "/w=="}});
        let drawn_of =
            |kind: &str| drawn(&secret(kind)).iter().map(|value| value.expose().to_owned()).collect::<Vec<_>>();
        assert_eq!(drawn_of("Opaque"), ["hunter2"]);
        assert_eq!(drawn_of(RELEASE), [""; 0]);
    }
}
