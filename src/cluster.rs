//! The in-memory cluster: the part of a Kubernetes API that kubectl and helm need, and what reconciles it.

mod apply;
mod default;
mod discovery;
pub mod kind;
mod openapi;
mod patch;
mod protobuf;
mod schema;
mod selector;
pub mod serve;
mod status;
pub mod store;
mod strict;
mod table;
pub mod tls;
mod validate;
