//! The least that has to be given back for an app to work, found by running it.

mod relaxation;
mod search;
mod suggest;

pub use relaxation::{ApplyError, Given, PORT_START, Relaxation, Scratch, Set, Why, allowing};
pub use search::{Budget, Found, Known, PROOF, Runner, Trial, search};
pub use suggest::{Facts, evidence};
