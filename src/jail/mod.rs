//! To come.

pub mod subject;
