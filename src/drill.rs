//! A drill, from provisioning to teardown.

pub mod event;
