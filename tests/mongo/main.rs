//! MongoDB's database kind against a server in a pod: what is seeded, what comes back of copied files, and what is noticed.

mod copies;
mod differences;
mod place;
