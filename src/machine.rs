//! This machine: what `doctor` examines and installs, in the words of the command line.

use crate::console;
use crate::doctor::{self, Finding, Requirements};

/// Looks for everything in `requirements`; with `install`, gets what is missing and looks again.
pub async fn examine(requirements: &Requirements, install: bool) -> Result<Vec<Finding>, doctor::Error> {
    let namespaces = || {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        crate::sandbox::probe(&program).map_err(|error| crate::error::chain(&error))
    };
    let look = || doctor::examine(requirements, namespaces);
    let findings = look().await?;
    if !install || !findings.iter().any(Finding::is_missing) {
        return Ok(findings);
    }
    doctor::install(&findings, |doing| console::err(&format!("install  {doing}"))).await?;
    look().await
}

/// A line for each thing that was looked for.
pub fn text(findings: &[Finding]) -> String {
    let column = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let what = column(&mut findings.iter().map(|finding| &finding.what));
    let version = column(&mut findings.iter().filter_map(|finding| Some(&finding.found.as_ref()?.version)));
    let lines = findings.iter().map(|finding| {
        let needed_by = finding.needed_by.iter().cloned().collect::<Vec<_>>().join(", ");
        match &finding.found {
            Some(tool) => format!("ok       {:what$}  {:version$}  for {needed_by}", finding.what, tool.version),
            None if !finding.is_obstacle() => {
                format!("ABSENT   {:what$}  for {needed_by}\n         {}", finding.what, finding.remedy)
            }
            None => format!("MISSING  {:what$}  for {needed_by}\n         {}", finding.what, finding.remedy),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
