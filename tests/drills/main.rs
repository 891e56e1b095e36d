//! Whole drills on the local environment: the program as people run it, against altered copies of the scenarios, held
//! to a model of what each must come to.

mod as_written;
mod broken;
mod estafette;
mod good;
mod hasura;
mod hasura_broken;
mod helm;
mod library;
mod missing_input;
mod operator;
mod playground;
mod quetzal;
mod rocket_chat;
mod run;
mod slots;
