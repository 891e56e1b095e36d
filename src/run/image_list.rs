//! What a cluster calls the images of drills, written down where they were built: whoever drills there needs no engine.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::environment::EnvironmentError;

/// Of the file; another one is of another redrill.
const FORMAT: u32 = 1;

/// By scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageList {
    format: u32,
    /// The redrill that is in the images, which has to be the one that drills with them.
    program: String,
    scenarios: BTreeMap<String, OfScenario>,
}

/// What one scenario's drills run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OfScenario {
    /// What the cluster calls an image, by the reference that manifests use, the drill's own among them.
    pub images: BTreeMap<String, String>,
    pub digests: BTreeMap<String, String>,
    /// Of the programs in them, which errata go by.
    pub versions: BTreeMap<String, String>,
}

impl ImageList {
    /// Errs where this very program cannot be read.
    pub fn of(scenarios: BTreeMap<String, OfScenario>) -> Result<Self, EnvironmentError> {
        Ok(Self { format: FORMAT, program: own_digest()?, scenarios })
    }

    pub fn write(&self, file: &Path) -> Result<(), EnvironmentError> {
        let doing = || format!("write {}", file.display());
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(doing(), &error))?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = tempfile::NamedTempFile::new_in(folder).map_err(EnvironmentError::io(doing()))?;
        std::fs::write(beside.path(), text + "\n").map_err(EnvironmentError::io(doing()))?;
        beside.persist(file).map_err(|error| EnvironmentError::io(doing())(error.error))?;
        Ok(())
    }

    /// Errs where the file is not to be read, or was written by another redrill than this one.
    pub fn read(file: &Path) -> Result<Self, EnvironmentError> {
        let doing = || format!("read {}, which `redrill images build --list` writes", file.display());
        let text = std::fs::read_to_string(file).map_err(EnvironmentError::io(doing()))?;
        let list: Self = serde_json::from_str(&text).map_err(|error| failed(doing(), &error))?;
        let other = list.format != FORMAT || list.program != own_digest()?;
        match other {
            false => Ok(list),
            true => Err(EnvironmentError::Failed {
                doing: doing(),
                reason: "the images in it hold another redrill than this one: build them anew with this one".to_owned(),
            }),
        }
    }

    /// Errs where the list has none for the scenario.
    pub fn of_scenario(&self, name: &str) -> Result<&OfScenario, EnvironmentError> {
        self.scenarios.get(name).ok_or_else(|| EnvironmentError::Failed {
            doing: format!("find the images of {name} in the list"),
            reason: format!("it has those of {}", Vec::from_iter(self.scenarios.keys().cloned()).join(", ")),
        })
    }
}

fn own_digest() -> Result<String, EnvironmentError> {
    let doing = || "read the running program".to_owned();
    let program = std::env::current_exe().map_err(EnvironmentError::io(doing()))?;
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(program).map_err(EnvironmentError::io(doing()))?;
    hasher.update_reader(file).map_err(EnvironmentError::io(doing()))?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn failed(doing: String, error: &dyn std::error::Error) -> EnvironmentError {
    EnvironmentError::Failed { doing, reason: crate::error::chain(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_written_and_one_of_another_redrill_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images.json");
        let images = [("postgres:15".to_owned(), "registry.example/redrill/postgres:abc".to_owned())].into();
        let of_taiga = OfScenario { images, ..OfScenario::default() };
        let list = ImageList::of([("taiga".to_owned(), of_taiga.clone())].into()).unwrap();
        list.write(&file).unwrap();
        let read = ImageList::read(&file).unwrap();
        assert_eq!((&read, read.of_scenario("taiga").unwrap()), (&list, &of_taiga));
        assert!(crate::error::chain(&read.of_scenario("hasura").unwrap_err()).contains("it has those of taiga"));
        ImageList { program: "another".to_owned(), ..list }.write(&file).unwrap();
        let said = crate::error::chain(&ImageList::read(&file).unwrap_err());
        assert!(said.contains("another redrill"), "{said}");
        std::fs::write(&file, "{").unwrap();
        assert!(crate::error::chain(&ImageList::read(&file).unwrap_err()).contains("images.json"));
    }
}
