//! The in-memory cluster: the part of a Kubernetes API that kubectl and helm need, and what reconciles it.

pub mod kind;
pub mod kubelet;
pub mod reconcile;
pub mod refuse;
pub mod store;
