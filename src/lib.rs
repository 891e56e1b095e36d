//! redrill runs the restore procedures that a team has written down, exactly as written, against a
//! throwaway copy of the system, and proves from the outside what came back.

pub mod assignment;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod commands;
pub mod console;
pub mod database;
pub mod doctor;
pub mod drill;
pub mod environment;
pub mod error;
pub mod exit_code;
pub mod fingerprint;
pub mod interrupt;
pub mod journal;
pub mod kubernetes;
pub mod loss;
pub mod machine;
pub mod objective;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod redact;
pub mod report;
pub mod run;
pub mod runbook;
pub mod runtime;
pub mod sandbox;
pub mod scenario;
pub mod session;
pub mod store;
pub mod system;
