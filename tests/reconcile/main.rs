//! Controllers and kubelet against a runtime in memory, on a paused clock: timers cost no time and are exact.

mod cluster;
mod fake;
mod pods;
mod workloads;
