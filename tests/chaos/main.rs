//! redrill, the program, under what machines and people do to it: killed, interrupted, without room, without permission.

mod kills;
mod machine;
mod program;
mod signals;
mod steps;
mod unverified;
mod usage;
