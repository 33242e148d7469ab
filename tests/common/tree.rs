//! Two trees of files, compared in everything that an image can say about them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything about one name: type and mode, owner, time, device, attributes, content or link text, and its other names.
type Entry = String;

/// What differs between two trees, a line each.
pub fn differences(left: &Path, right: &Path) -> Vec<String> {
    let (left, right) = (walk(left), walk(right));
    let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differs = |name: &&PathBuf| left.get(*name) != right.get(*name);
    let line = |name: &PathBuf| format!("{}: {:?} is not {:?}", name.display(), left.get(name), right.get(name));
    names.into_iter().filter(differs).map(line).collect()
}

fn walk(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    let mut first_names: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(name) = todo.pop() {
        let path = root.join(&name);
        let stat = path.symlink_metadata().unwrap();
        let content = if stat.is_dir() {
            let mut children: Vec<_> =
                fs::read_dir(&path).unwrap().map(|child| name.join(child.unwrap().file_name())).collect();
            children.sort();
            todo.extend(children.into_iter().rev());
            String::new()
        } else if stat.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if stat.is_file() {
            format!("{} bytes {}", stat.len(), austere::digest::Digest::sha256(&fs::read(&path).unwrap()))
        } else {
            String::new()
        };
        // Names of one inode are walked in the same order on both sides, so the first name tells the group.
        let group = if stat.is_dir() || stat.nlink() == 1 {
            String::new()
        } else {
            let first = first_names.entry(stat.ino()).or_insert_with(|| name.clone());
            format!("{} names, first {}", stat.nlink(), first.display())
        };
        let entry = format!(
            "mode {:o} owner {}:{} time {}.{:09} device {} attributes {:?} {content} {group}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.rdev(),
            attributes(&path, &stat),
        );
        found.insert(name, entry);
    }
    found
}

/// Attributes of files and folders; links and the rest have none that an image carries.
fn attributes(path: &Path, stat: &fs::Metadata) -> Vec<(CString, Option<Vec<u8>>)> {
    if !stat.is_file() && !stat.is_dir() {
        return Vec::new();
    }
    let file = fs::File::open(path).unwrap();
    let mut names = austere::sys::xattr::list(file.as_fd()).unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), austere::sys::xattr::get(file.as_fd(), &name).unwrap())).collect()
}
