//! One group of our own: a folder that is made, filled, emptied and removed.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;

/// What the names of our groups start with; the pid of their maker follows, then something random.
const PREFIX: &str = "austere-";

/// A step that failed, in words.
pub(super) type Why = String;

/// A group that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// As `/proc/PID/cgroup` writes it.
    group: PathBuf,
}

impl Folder {
    /// Makes a group inside of `parent`, whose name in `/proc/PID/cgroup` is `group`.
    pub(super) fn make(parent: &Path, group: &Path) -> Result<Self, Why> {
        let random = RandomState::new().hash_one(parent) & 0xffff_ffff;
        let name = format!("{PREFIX}{}-{random:08x}", std::process::id());
        let path = parent.join(&name);
        fs::create_dir(&path).map_err(|error| format!("mkdir {}: {}", path.display(), plain(&error)))?;
        Ok(Folder { path, group: group.join(name) })
    }

    /// What `/proc/PID/cgroup` says of a process in it.
    pub(super) fn group(&self) -> &Path {
        &self.group
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.path.join(file).exists()
    }

    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), Why> {
        write(&self.path.join(file), value)
    }

    pub(super) fn read(&self, file: &str) -> Result<String, Why> {
        let path = self.path.join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {}", path.display(), plain(&error)))?;
        Ok(text.trim_end().to_owned())
    }

    /// The number behind `key` in a file of `key number` lines; nothing where this kernel does not count it.
    pub(super) fn count(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The last process has been waited for; the kernel may still be letting go of it. What is left is swept by the next austere.
        for _ in 0..20 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), Why> {
    // Never truncated or created: these are no files.
    let file = fs::OpenOptions::new().write(true).open(path);
    let written = file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|error| format!("writing {value} to {}: {}", path.display(), plain(&error)))
}

/// Removes the empty groups that a killed austere left in `parent`: ours by name and owner, with a maker that is gone.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(maker) = name.to_str().and_then(maker) else { continue };
        let is_ours = entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw());
        if is_ours && !Path::new("/proc").join(maker.to_string()).exists() {
            // One with a process in it refuses.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The pid in a name of ours.
fn maker(name: &str) -> Option<u32> {
    let (pid, random) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_random = random.len() == 8 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    pid.parse().ok().filter(|_| is_random)
}

/// Without Rust's `(os error 13)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_swept() {
        assert_eq!(maker("austere-12-00c0ffee"), Some(12));
        for other in [
            "austere",
            "austere-12",
            "austere-x-00c0ffee",
            "austere-12-short",
            "docker-12-00c0ffee",
            "austere-12-zzzzzzzz",
        ] {
            assert_eq!(maker(other), None, "{other}");
        }
    }

    #[test]
    fn a_leftover_goes_when_its_maker_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let name = |pid: u32| parent.path().join(format!("austere-{pid}-00c0ffee"));
        // No pid is as high (pid_max is 2^22 at most).
        let (gone, alive, full) = (name(1 << 30), name(std::process::id()), name((1 << 30) + 1));
        let foreign = parent.path().join("other-1073741824-00c0ffee");
        for folder in [&gone, &alive, &full, &foreign, &full.join("inside")] {
            fs::create_dir_all(folder).unwrap();
        }
        sweep(parent.path());
        assert_eq!([&gone, &alive, &full, &foreign].map(|folder| folder.exists()), [false, true, true, true]);
    }

    #[test]
    fn a_group_goes_when_it_is_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::make(parent.path(), Path::new("/x")).unwrap();
        assert!(folder.path.is_dir() && folder.group().starts_with("/x"));
        drop(folder);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        assert!(Folder::make(&parent.path().join("none"), Path::new("/")).unwrap_err().starts_with("mkdir "));
    }
}
