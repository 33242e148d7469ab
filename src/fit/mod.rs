//! The least that has to be given back for an app to work, found by running it.

mod relaxation;
mod search;
mod set;
mod suggest;

pub use relaxation::{PORT_START, Relaxation, Scratch};
pub use search::{Budget, Found, Known, PROOF, Runner, Trial, search};
pub use set::{ApplyError, Given, Set, Why, allowing, allowing_call};
pub use suggest::{Facts, evidence};
