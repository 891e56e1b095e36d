//! Where backups go: stores that run as pods outside of the drilled system.

pub mod aws;
pub mod charts;
pub mod s3;
