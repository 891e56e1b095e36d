//! The engine that drills in containers run on.

use std::collections::BTreeSet;

use super::{Finding, Tool};
use crate::runtime::container;

/// Asks the engine for its version. Nothing installs one: which it is to be is for the person to say.
pub async fn examine(needed_by: &BTreeSet<String>) -> Finding {
    let (found, remedy) = match container::version().await {
        Ok(version) => (Some(Tool { path: "container engine".into(), version }), String::new()),
        Err(error) => (None, error.to_string()),
    };
    Finding { what: "container engine".to_owned(), found, needed_by: needed_by.clone(), remedy, fix: None }
}
