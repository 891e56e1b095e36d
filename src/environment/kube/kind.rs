//! Throwaway clusters: made by `kind` for one drill, with the images of that drill, and deleted after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Contexts;
use crate::command;
use crate::environment::EnvironmentError;
use crate::environment::run_directory::{self, RunDirectory};
use crate::error::chain;

/// A node has to be started and become ready; its image may have to be pulled first.
const CREATED: Duration = Duration::from_secs(600);
/// How long of that kind itself waits for the node.
const READY: &str = "300s";
const LOADED: Duration = Duration::from_secs(600);
const DELETED: Duration = Duration::from_secs(120);
/// In a run's directory: the name of the cluster that was made for it.
const NOTE: &str = "kind-cluster";
/// Its kubeconfig, beside it.
const KUBECONFIG: &str = "kubeconfig";
/// Lines of what kind says that are told when it fails.
const TOLD: usize = 6;

/// A cluster in containers of the engine.
pub struct Throwaway {
    name: String,
    directory: RunDirectory,
}

impl Throwaway {
    /// Makes one, and waits until its node is ready. What was made before an error goes with it.
    pub async fn create(run: &str, node_image: Option<&str>) -> Result<Self, EnvironmentError> {
        let directory = RunDirectory::make(&format!("{run}-kind"))?;
        let name = format!("redrill-{}", &blake3::hash(run.as_bytes()).to_hex()[..10]);
        // Known before it is there, to whoever finds this run dead.
        let note = directory.path().join(NOTE);
        std::fs::write(&note, &name).map_err(EnvironmentError::io(format!("write {}", note.display())))?;
        let cluster = Self { name, directory };
        match run_kind(&create_line(&cluster.name, &cluster.kubeconfig(), node_image), CREATED).await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                if let Err(error) = cluster.delete().await {
                    tracing::warn!("{}", chain(&error));
                }
                Err(error)
            }
        }
    }

    /// Brings images of the engine to its node.
    pub async fn load(&self, images: &BTreeSet<String>) -> Result<(), EnvironmentError> {
        run_kind(&load_line(&self.name, images), LOADED).await
    }

    /// The way in, as its administrator.
    pub fn contexts(&self) -> Contexts {
        Contexts {
            named: vec![(None, format!("kind-{}", self.name))],
            confirmed: Vec::new(),
            dedicated: true,
            kubeconfig: Some(self.kubeconfig()),
        }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join(KUBECONFIG)
    }

    /// Deletes it with all that is in it, and says what is still there.
    pub async fn delete(self) -> Result<Vec<String>, EnvironmentError> {
        run_kind(&delete_line(&self.name, &self.kubeconfig()), DELETED).await?;
        self.directory.remove().await
    }
}

/// Deletes the clusters of dead runs of this user: their names. Their directories go with those of all dead runs.
pub async fn sweep_dead_runs() -> Result<Vec<String>, EnvironmentError> {
    let mut removed = Vec::new();
    for directory in run_directory::dead() {
        let Ok(name) = std::fs::read_to_string(directory.join(NOTE)) else { continue };
        run_kind(&delete_line(&name, &directory.join(KUBECONFIG)), DELETED).await?;
        removed.push(format!("the cluster {name} of kind"));
    }
    Ok(removed)
}

fn create_line(name: &str, kubeconfig: &Path, node_image: Option<&str>) -> Vec<String> {
    let kubeconfig = kubeconfig.display().to_string();
    let mut line = words(&["kind", "create", "cluster", "--name", name, "--kubeconfig", &kubeconfig, "--wait", READY]);
    line.extend(node_image.iter().flat_map(|image| words(&["--image", image])));
    line
}

fn load_line(name: &str, images: &BTreeSet<String>) -> Vec<String> {
    let mut line = words(&["kind", "load", "docker-image", "--name", name]);
    line.extend(images.iter().cloned());
    line
}

fn delete_line(name: &str, kubeconfig: &Path) -> Vec<String> {
    words(&["kind", "delete", "cluster", "--name", name, "--kubeconfig", &kubeconfig.display().to_string()])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn run_kind(line: &[String], deadline: Duration) -> Result<(), EnvironmentError> {
    let argv: Vec<&str> = line.iter().map(String::as_str).collect();
    let failed = |reason: String| EnvironmentError::Failed { doing: line.join(" "), reason };
    let output = command::run(&argv, &BTreeMap::new(), b"", deadline).await;
    let output = output.map_err(|error| failed(chain(&error)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(failed(format!("{}: {}", output.status, said[said.len().saturating_sub(TOLD)..].join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_asked_for_what_its_help_has() {
        let kubeconfig = Path::new("/d/kubeconfig");
        let line = create_line("redrill-1", kubeconfig, Some("kindest/node:v1.33.1"));
        let expected =
            "kind create cluster --name redrill-1 --kubeconfig /d/kubeconfig --wait 300s --image kindest/node:v1.33.1";
        assert_eq!(line.join(" "), expected);
        assert!(!create_line("redrill-1", kubeconfig, None).contains(&"--image".to_owned()));
        let images = ["b:2".to_owned(), "a:1".to_owned()].into();
        assert_eq!(load_line("redrill-1", &images).join(" "), "kind load docker-image --name redrill-1 a:1 b:2");
        let expected = "kind delete cluster --name redrill-1 --kubeconfig /d/kubeconfig";
        assert_eq!(delete_line("redrill-1", kubeconfig).join(" "), expected);
    }

    #[tokio::test]
    async fn what_kind_says_is_told_with_what_it_was_asked() {
        let line = words(&["sh", "-c", "echo one >&2; echo 'ERROR: no such image' >&2; exit 3"]);
        let said = chain(&run_kind(&line, DELETED).await.unwrap_err());
        assert!(said.contains("exit status: 3") && said.contains("no such image"), "{said}");
        let said = chain(&run_kind(&words(&["redrill-no-such-kind", "create"]), DELETED).await.unwrap_err());
        assert!(said.contains("redrill-no-such-kind") && said.contains("PATH"), "{said}");
    }
}
