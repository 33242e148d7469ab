//! Advice for this image: with its paths, its user and the flags of docker.

use super::Facts;
use super::rank::place_of;
use crate::inventory::EntryKind;
use crate::trace::timeline::{Event, Wall};

/// Folders that are scratch space by custom: a tmpfs over all of it hides nothing of worth.
const SCRATCH: [&str; 6] = ["/tmp", "/var/tmp", "/usr/tmp", "/run", "/var/run", "/var/lock"];

/// Folders that a tmpfs would empty of what everything needs.
const VITAL: [&str; 14] = [
    "/",
    "/etc",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/share",
    "/usr/local",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/var",
    "/var/lib",
    "/dev",
];

/// What the words in braces stand for.
pub(super) struct Place {
    words: Vec<(&'static str, String)>,
    /// The flag where no folder can be given.
    instead: &'static str,
}

impl Place {
    pub(super) fn of(event: &Event, facts: &Facts<'_>) -> Self {
        let path = event.path.clone().unwrap_or_default();
        let dir = if event.call.starts_with("mkdir") { path.clone() } else { folder(&path).to_owned() };
        let capability = event.why.as_deref().and_then(capability).unwrap_or("NAME");
        let program = event.program.rsplit('/').next().unwrap_or_default();
        let path_port = path.rsplit_once(':').map_or_else(String::new, |(_, port)| port.to_owned());
        let (room, size) = event.why.as_deref().and_then(room).unwrap_or((&dir, 0));
        let (room, double) = (room.to_owned(), twice(size));
        let words = vec![
            ("{room}", room),
            ("{double}", double),
            ("{scratch}", scratch(event, facts)),
            ("{mount}", mount(&path).to_owned()),
            ("{volume}", place_of(facts.places, &path).map_or_else(|| dir.clone(), |(_, place)| place.clone())),
            ("{owner}", event.why.as_deref().and_then(owner).unwrap_or("0").to_owned()),
            ("{dir}", dir),
            ("{path}", path),
            ("{uid}", facts.uid.to_string()),
            ("{gid}", facts.gid.to_string()),
            ("{program}", program.to_owned()),
            ("{port}", path_port),
            ("{capability}", capability.to_owned()),
        ];
        let instead = if event.wall == Some(Wall::FileMode) { "--user 0" } else { "--read-only=false" };
        Place { words, instead }
    }

    pub(super) fn filled(&self, text: &str) -> String {
        // Neither the root itself nor a folder full of what the image needs can be given.
        if text == "--tmpfs {scratch}" && self.word("{scratch}").is_empty() {
            return self.instead.to_owned();
        }
        self.words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    fn word(&self, word: &str) -> &str {
        self.words.iter().find(|(name, _)| *name == word).map_or("", |(_, value)| value)
    }
}

fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// The first capability that a sentence names, as docker writes it: `CHOWN` of `CAP_CHOWN`.
pub fn capability(why: &str) -> Option<&str> {
    let start = why.find("CAP_")? + 4;
    let rest = &why[start..];
    let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The user that a sentence says something belongs to.
fn owner(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once(" and belongs to ")?;
    rest.split_once(':').map(|(user, _)| user)
}

/// The tmpfs of a sentence, and its size in bytes.
fn room(why: &str) -> Option<(&str, u64)> {
    let (path, rest) = why.split_once("` is a tmpfs of ")?;
    let mut words = rest.split([' ', ',']);
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "TiB" => 40,
        "GiB" => 30,
        "MiB" => 20,
        "KiB" => 10,
        _ => 0,
    };
    Some((path.rsplit('`').next()?, number.checked_shl(unit)?))
}

/// Twice as many bytes, as docker takes them.
fn twice(bytes: u64) -> String {
    match bytes.saturating_mul(2) {
        0 => "SIZE".to_owned(),
        size if size.trailing_zeros() >= 20 => format!("{}m", size >> 20),
        size if size.trailing_zeros() >= 10 => format!("{}k", size >> 10),
        size => size.to_string(),
    }
}

/// The folder that a program was loaded from.
fn mount(path: &str) -> &str {
    SCRATCH.into_iter().find(|root| is_below(path, root)).unwrap_or_else(|| folder(path))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The tmpfs that would take what was to be written; empty where none could.
fn scratch(event: &Event, facts: &Facts<'_>) -> String {
    let path = event.path.as_deref().unwrap_or_default();
    if !path.starts_with('/') {
        return String::new();
    }
    let makes_folder = event.call.starts_with("mkdir");
    let root = SCRATCH.into_iter().find(|root| is_below(path, root));
    let target = match root {
        Some(root) => root.to_owned(),
        // Nearly every program that makes a folder is content with one that is there.
        None if makes_folder => path.to_owned(),
        None => {
            let found = facts.view.find(path);
            let is_folder = found.is_ok_and(|found| found.entry.kind == EntryKind::Directory);
            if is_folder { path.to_owned() } else { nearest(path, facts) }
        }
    };
    if VITAL.contains(&target.as_str()) || target.is_empty() {
        return String::new();
    }
    // docker gives a tmpfs the mode that the folder has in the image.
    let open = facts.view.find(&target).is_ok_and(|found| found.entry.mode & 0o002 != 0);
    if open || target == "/tmp" { target } else { format!("{target}:uid={}", facts.uid) }
}

/// The nearest folder of a file that is to be made: where it is not there either, it was to be made as well.
fn nearest(path: &str, facts: &Facts<'_>) -> String {
    let parent = folder(path);
    let mut at = parent;
    let mut missing = None;
    while at != "/" && facts.view.find(at).is_err() {
        missing = Some(at);
        at = folder(at);
    }
    missing.unwrap_or(parent).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found() {
        assert_eq!(capability("the app, user 65532, has no CAP_CHOWN and"), Some("CHOWN"));
        assert_eq!(capability("nothing"), None);
        assert_eq!(owner("`/data` has mode 0755 and belongs to 999:0; user 65532 may not write to it"), Some("999"));
        assert_eq!(owner("`/data` has mode 0755; user 65532 may not write to it"), None);
        assert_eq!(room("`/tmp` is a tmpfs of 64 MiB, which is full"), Some(("/tmp", 64 << 20)));
        assert_eq!(room("SIGBUS; `/dev/shm` is a tmpfs of 500 bytes, which is full"), Some(("/dev/shm", 500)));
        assert_eq!(room("`/tmp` is a tmpfs that holds no more files"), None);
        assert_eq!([0, 3 << 20, 5 << 10, 7].map(twice), ["SIZE", "6m", "10k", "14"]);
        assert_eq!(folder("/a/b"), "/a");
        assert_eq!(folder("/a"), "/");
        assert_eq!(mount("/tmp/a/b.so"), "/tmp");
        assert_eq!(mount("/opt/a/b.so"), "/opt/a");
        assert!(is_below("/run/x", "/run") && !is_below("/runx", "/run"));
    }
}
