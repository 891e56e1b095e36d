//! The served API against the real helm.

mod estafette;
#[path = "../reconcile/fake.rs"]
#[expect(dead_code, reason = "made for tests that ask more of it")]
mod fake;
mod place;
mod release;
mod upgrade;
