//! Secrets, and taking them out of what programs print.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A value that must never be printed: no `Display`, and a `Debug` that says nothing.
///
/// It serialises in plain, because it has to reach the prober over its own pipe: a type that is
/// written into a report never holds one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The plain value, for handing to the program that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
