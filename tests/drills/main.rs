//! Whole drills on the local environment: the program as people run it, against altered copies of the Taiga scenario,
//! held to a model of what each must come to.

mod as_written;
mod broken;
mod good;
mod missing_input;
mod operator;
mod playground;
mod quetzal;
mod run;
mod slots;
