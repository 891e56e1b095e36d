//! redrill runs the restore procedures that a team has written down, exactly as written, against a
//! throwaway copy of the system, and proves from the outside what came back.

pub mod cluster;
pub mod fingerprint;
pub mod outcome;
pub mod probe;
pub mod redact;
pub mod runbook;
pub mod runtime;
pub mod sandbox;
pub mod session;
