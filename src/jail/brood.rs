//! What an app without a pid namespace of its own has started, ended with it.
//!
//! While austere lives it is the nearest subreaper: whatever loses its parent becomes its child, and is found. When austere was killed, the guard
//! finds what is left by the app's session, and what that started; a process that had left the session and lost its parent before is not found.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};

use crate::process::family;

/// So often it is looked whether anything new has been started meanwhile.
const ROUNDS: usize = 10_000;

/// What the guard has to see to when austere was killed.
pub(super) struct Brood {
    app: Pid,
    trees: Vec<PathBuf>,
}

impl Brood {
    pub(super) fn new(app: Pid, trees: &[PathBuf]) -> Self {
        Brood { app, trees: trees.to_vec() }
    }

    /// In the guard: ends what is left, and removes the app's root.
    pub(super) fn end(&self) {
        let (app, own) = (self.app.as_raw(), getpid().as_raw());
        for _ in 0..ROUNDS {
            let left = family(|pid, _, session| pid == app || session == app);
            if left.is_empty() {
                break;
            }
            kill_all(left.into_iter().filter(|pid| *pid != own));
        }
        for tree in &self.trees {
            // The store sweeps what is left of its folder.
            let _ = std::fs::remove_dir_all(tree);
        }
    }
}

/// In austere, once the app has ended: ends everything that became a child of this process, but for `guard`.
pub(super) fn end_orphans(guard: Option<Pid>) {
    let (own, guard) = (getpid().as_raw(), guard.map_or(0, Pid::as_raw));
    for _ in 0..ROUNDS {
        let left = family(|pid, parent, _| parent == own && pid != guard);
        if left.is_empty() {
            return;
        }
        kill_all(left.iter().copied());
        for pid in left {
            // ECHILD for one that is not ours yet; the next round finds it again.
            while waitpid(Pid::from_raw(pid), None) == Err(Errno::EINTR) {}
        }
    }
}

fn kill_all(pids: impl Iterator<Item = i32>) {
    for pid in pids {
        // ESRCH means that it is gone.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
