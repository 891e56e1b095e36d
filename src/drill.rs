//! One scenario on one environment: the only place that orders phases.

pub mod pace;
