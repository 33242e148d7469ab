//! To come.

/// x
pub fn privileged() -> bool {
    nix::unistd::geteuid().is_root()
}
