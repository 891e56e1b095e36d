//! Getting programs that are known by their names alone, where there is neither scenario nor engine: inside a container.

use std::collections::BTreeSet;

use super::go_module::{FERRETDB, GCS_SERVER, GoProgram, HELM, HELM_DIFF};
use super::{Error, go_module, kubectl};

/// The helper that does it, with the names as its arguments.
pub const HELPER: &str = "__get";

const KUBECTL: &str = "kubectl";
const PROGRAMS: [&GoProgram; 4] = [&FERRETDB, &GCS_SERVER, &HELM, &HELM_DIFF];

/// Whether one of this name can be got so.
pub fn is_known(name: &str) -> bool {
    name == KUBECTL || PROGRAMS.iter().any(|program| program.name == name)
}

/// Gets all of them for this user, as [`super::install`] does. Errs with the first that cannot be had.
pub fn main(names: &[String]) -> Result<(), Error> {
    let tokio = tokio::runtime::Runtime::new();
    let tokio = tokio.map_err(|source| Error::Io { doing: "start".to_owned(), source })?;
    tokio.block_on(async {
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        if let Some(name) = known.iter().find(|name| !is_known(name)) {
            return Err(Error::Impossible(format!("there is no way to get `{name}`")));
        }
        if known.contains(KUBECTL) {
            kubectl::install().await?;
        }
        let programs: Vec<_> = PROGRAMS.into_iter().filter(|program| known.contains(program.name)).collect();
        go_module::install(&programs, |_| {}).await?;
        Ok(())
    })
}
