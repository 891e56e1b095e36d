//! Drills by the kube environment on a cluster that redrill serves itself, and kubectl at the gate: the same client and the same gate
//! as on any cluster, whose nodes and policies alone are not there.

mod drills;
mod existing;
#[path = "../conformance/findings.rs"]
mod findings;
mod gate;
mod killed;
#[allow(dead_code)]
#[path = "../drills/playground.rs"]
mod playground;
mod queue;
#[allow(dead_code)]
#[path = "../drills/run.rs"]
mod run;
