//! What the tests of the built binary share.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]
// Every test binary uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

/// The built binary, run as whoever runs the tests, with an empty environment but for PATH, and a store of its own.
pub fn austere(store: &Path) -> Command {
    command(Path::new(env!("CARGO_BIN_EXE_austere")), store)
}

fn command(binary: &Path, store: &Path) -> Command {
    let mut command = Command::new(binary);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    command.env_clear().env("PATH", path).env("AUSTERE_STORE", store);
    // Whoever runs the tests may have subordinate ids; `tests/mapped.rs` is about those who do.
    if !root() {
        command.env("AUSTERE_IDS", "single");
    }
    command
}

/// Whether the tests run as root.
pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A user without subordinate ids, with a home and a store that go when this is dropped.
///
/// When the tests do not run as root it is whoever runs them.
pub struct Ordinary {
    home: TempDir,
}

impl Ordinary {
    /// No line of `/etc/passwd`, `/etc/subuid` and `/etc/subgid` is about this one.
    pub const UID: u32 = 2001;

    /// Makes the home, with a copy of the binary: the folder it was built in may be closed to others.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let user = Ordinary { home };
        copy_program(env!("CARGO_BIN_EXE_austere").as_ref(), &user.binary());
        fs::set_permissions(user.binary(), fs::Permissions::from_mode(0o755)).unwrap();
        Self::own(user.home());
        user
    }

    /// The user's home, which is also the current folder of [`Ordinary::command`].
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The user's store.
    pub fn store(&self) -> PathBuf {
        self.home().join("store")
    }

    /// The copy of the binary.
    pub fn binary(&self) -> PathBuf {
        self.home().join("austere")
    }

    /// The built binary, run as this user.
    pub fn austere(&self) -> Command {
        self.command(&self.binary())
    }

    /// Any program, run as this user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = command(program, &self.store());
        command.env("HOME", self.home()).current_dir(self.home());
        if root() {
            // std clears the supplementary groups when root gives a uid.
            command.uid(Self::UID).gid(Self::UID);
        }
        command
    }

    /// A name in the user's home for a file that it may not reach where it is.
    pub fn readable(&self, file: &Path) -> PathBuf {
        let name = self.home().join(file.file_name().unwrap());
        if !name.exists() {
            fs::copy(file, &name).unwrap();
            fs::set_permissions(&name, fs::Permissions::from_mode(0o644)).unwrap();
        }
        name
    }

    /// Gives a path to the user.
    pub fn own(path: &Path) {
        if root() {
            chown(path, Some(Self::UID), Some(Self::UID)).unwrap();
        }
    }
}

/// An archive of the corpus, by its name in `tests/corpus/labels.json`.
///
/// The corpus lies in `$AUSTERE_CORPUS`, else in `target/corpus`. Where it was not built the test has to be skipped, which
/// is said; with `CI` in the environment that is an error.
pub fn archive(name: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/corpus");
    let corpus = std::env::var_os("AUSTERE_CORPUS").map_or_else(default, PathBuf::from);
    let file = format!("{name}.tar");
    let found = [corpus.join("archives").join(&file), corpus.join(&file)].into_iter().find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("corpus: no {file} in {} (as root on Debian 12: scripts/corpus)", corpus.display()));
    }
    found
}

/// What `tests/corpus/labels.json` says of every image.
pub fn labels() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../corpus/labels.json")).unwrap()
}

/// Says why a test does not run here. With `CI` in the environment every test has to run.
pub fn skip(why: &str) {
    // Past the test harness, which shows nothing of a test that succeeds.
    std::io::stderr().write_all(format!("SKIP {why}\n").as_bytes()).unwrap();
    assert!(std::env::var_os("CI").is_none(), "nothing may be skipped in CI: {why}");
}

/// Standard output and standard error as one text for an assertion's message.
pub fn said(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The JSON on standard output.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{}", said(output)))
}

/// The same command, which a signal ends although whoever runs the tests may ignore it, as a shell's background job ignores SIGINT.
pub fn stoppable(command: &Command) -> Command {
    let mut same = Command::new("env");
    same.args(["--default-signal=HUP,INT,TERM", "--"]).arg(command.get_program()).args(command.get_args());
    same.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        same.current_dir(folder);
    }
    same
}

/// Copies a program so that it can be started at once. Written by this process, its descriptor could live on in a child that another test is
/// just starting, and exec would be refused with ETXTBSY.
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success());
}

/// Does `work` on all of `jobs`, two at a time, and collects the complaints.
pub fn each<T: Sync, C: IntoIterator<Item = String>>(jobs: &[T], work: impl Fn(&T) -> C + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let complaints = work(job);
                    wrong.lock().unwrap().extend(complaints);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
