//! What the app did: answered, stayed up, ended.

pub mod plan;
