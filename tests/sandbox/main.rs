//! Real sandboxes with real programs in them.

mod canaries;
mod containers;
mod drill;
mod execs;
mod lifetime;
mod network;
mod volumes;
