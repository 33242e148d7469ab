//! System calls that `nix` does not offer, and the only `unsafe` in the house.

pub mod xattr;
