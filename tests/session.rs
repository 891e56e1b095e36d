//! Sessions on real terminals, with real shells and a real psql.

#[path = "session/seat.rs"]
mod seat;
#[path = "session/shells.rs"]
mod shells;
#[path = "session/sql.rs"]
mod sql;
