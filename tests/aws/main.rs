//! The account of a stack under the real aws command, as whoever follows Rocket.Chat's page types it.

mod drill;
mod place;
mod refusals;
mod restore;
