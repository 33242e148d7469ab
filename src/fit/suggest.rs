//! From a cause to what might take it away: sets to try, the smallest risk first.

mod flags;

use super::relaxation::{Relaxation, Scratch};
use super::set::{Set, Why};
use crate::finding::Finding;
use crate::inventory::{EntryKind, Tree};
use flags::Flags;

/// Folders full of what everything needs: a tmpfs would empty them.
const VITAL: [&str; 16] = [
    "/",
    "/etc",
    "/usr",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/share",
    "/usr/local",
    "/usr/local/bin",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/var",
    "/var/lib",
    "/dev",
];
/// Scratch space by custom.
const SCRATCH: [&str; 3] = ["/tmp", "/run", "/var/tmp"];

/// What is known of the image.
pub struct Facts<'a> {
    /// Its files.
    pub view: &'a dyn Tree,
    /// The user it names itself, unless that is root.
    pub user: Option<&'a str>,
    /// What an unhardened container would hold, without prefix.
    pub capabilities: Vec<String>,
    /// Capabilities reach a user other than root.
    pub ambient: bool,
}

/// A cause in a few words: `D02: mkdir on /var/lib/nginx/body gets EROFS`.
pub fn evidence(cause: &Finding) -> String {
    let Some(call) = &cause.call else { return format!("{}: {}", cause.code, cause.message) };
    let on = cause.path.as_ref().map_or_else(String::new, |path| format!(" on {path}"));
    let gets = cause.errno.as_ref().map_or_else(String::new, |errno| format!(" gets {errno}"));
    format!("{}: {call}{on}{gets}", cause.code)
}

/// What might help against `cause`, on top of `set`; nothing that is the same as `set`.
pub fn proposals(cause: &Finding, set: &Set, facts: &Facts<'_>) -> Vec<Set> {
    let mut all = Proposals {
        set,
        facts,
        why: Why { evidence: evidence(cause), better: cause.advice.clone() },
        sets: Vec::new(),
    };
    let path = cause.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or_default();
    let errno = cause.errno.as_deref().unwrap_or_default();
    match errno {
        "ENOENT" | "ENOTDIR" => all.hidden(path),
        "EEXIST" => all.mount_point(path),
        _ => {}
    }
    if cause.refused_by.as_deref() == Some("noexec mount") || cause.code == "D29" {
        all.executable(path);
    }
    let flags = Flags::of(cause);
    all.places(&flags, path, errno, cause.call.as_deref().is_some_and(|call| call.starts_with("mkdir")));
    if matches!(cause.code.as_str(), "D12" | "D13" | "D14" | "D15") {
        all.give(&[Relaxation::PasswdLine]);
    }
    if !flags.settings.is_empty() {
        all.give(&flags.settings);
        all.together(&flags.places, &flags.settings);
    }
    if let (true, Some(call)) = (flags.filter, &cause.call) {
        all.give(&[Relaxation::Syscall(call.clone())]);
    }
    let is_file_mode = errno == "EACCES" && !path.is_empty();
    if flags.root || is_file_mode || !flags.capabilities.is_empty() || flags.privileges {
        all.users(&flags, path, is_file_mode);
    }
    if flags.writable_root || errno == "EROFS" {
        all.give(&[Relaxation::WritableRoot]);
    }
    all.sets
}

/// What can be tried where the evidence leads nowhere, the smallest risk first; the last is all that there is.
pub fn blind(set: &Set, facts: &Facts<'_>) -> Vec<Set> {
    let why = Why { evidence: "no cause was seen that could be taken away".to_owned(), better: None };
    let mut all = Proposals { set, facts, why, sets: Vec::new() };
    let scratch: Vec<_> = SCRATCH.iter().map(|path| all.scratch(path)).collect();
    all.give(&scratch[..1]);
    all.give(&scratch);
    let home = Relaxation::Env("HOME=/tmp".to_owned());
    all.give(&[&scratch[..], &[home, Relaxation::PasswdLine]].concat());
    if let Some(user) = facts.user {
        all.give(&[&scratch[..], &[Relaxation::User(user.to_owned())]].concat());
    }
    all.give(&[Relaxation::Root]);
    let capabilities: Vec<_> = facts.capabilities.iter().cloned().map(Relaxation::Capability).collect();
    let rooted = [&capabilities[..], &[Relaxation::Root]].concat();
    all.give(&rooted);
    all.give(&[&scratch[..], &rooted].concat());
    if let Some(user) = facts.user {
        all.give(&[&capabilities[..], &[Relaxation::User(user.to_owned()), Relaxation::WritableRoot]].concat());
    }
    all.give(&[&rooted[..], &[Relaxation::WritableRoot]].concat());
    all.sets
}

/// The sets so far.
struct Proposals<'a> {
    set: &'a Set,
    facts: &'a Facts<'a>,
    why: Why,
    sets: Vec<Set>,
}

impl Proposals<'_> {
    fn propose(&mut self, next: Set) {
        if next.key() != self.set.key() && !self.sets.iter().any(|old| old.key() == next.key()) {
            self.sets.push(next);
        }
    }

    fn give(&mut self, what: &[Relaxation]) {
        let next = what.iter().fold(self.set.clone(), |set, what| set.with(what.clone(), &self.why));
        self.propose(next);
    }

    fn together(&mut self, places: &[Scratch], settings: &[Relaxation]) {
        let places = places.iter().cloned().map(Relaxation::Tmpfs);
        self.give(&places.chain(settings.iter().cloned()).collect::<Vec<_>>());
    }

    /// A tmpfs there, which belongs to the app unless the image's folder is everybody's.
    fn scratch(&self, path: &str) -> Relaxation {
        let open = self.facts.view.find(path).is_ok_and(|found| found.entry.mode & 0o002 != 0);
        Relaxation::Tmpfs(Scratch { owned: !open && path != "/tmp", ..Scratch::at(path) })
    }

    fn is_folder(&self, path: &str) -> bool {
        self.facts.view.find(path).is_ok_and(|found| found.entry.kind == EntryKind::Directory)
    }

    /// One of our own tmpfs covers what the image has there: go deeper, or keep the image's files.
    fn hidden(&mut self, path: &str) {
        let Some(ours) = self.set.tmpfs_over(path).cloned() else { return };
        let without = self.set.without(&[&Relaxation::Tmpfs(ours.clone())]);
        let next = without.with(Relaxation::Volume(ours.path.clone()), &self.why);
        self.propose(next.clone());
        if let Some(user) = self.facts.user {
            self.propose(next.with(Relaxation::User(user.to_owned()), &self.why));
        }
        self.propose(next.with(Relaxation::Root, &self.why));
    }

    /// A folder that the app insists on making cannot be the mount point.
    fn mount_point(&mut self, path: &str) {
        let is_ours = self.set.tmpfs_over(path).is_some_and(|ours| ours.path == path);
        if is_ours && !VITAL.contains(&parent(path)) {
            self.give(&[self.scratch(parent(path))]);
        }
    }

    fn executable(&mut self, path: &str) {
        if let Some(ours) = self.set.tmpfs_over(path) {
            let exec = Scratch { exec: true, ..ours.clone() };
            let next = self.set.without(&[&Relaxation::Tmpfs(ours.clone())]).with(Relaxation::Tmpfs(exec), &self.why);
            self.propose(next);
        }
    }

    /// Where the app may write.
    fn places(&mut self, flags: &Flags, path: &str, errno: &str, makes_folder: bool) {
        for place in &flags.places {
            let place = match self.set.tmpfs_over(&place.path) {
                Some(ours) if ours.path != place.path => continue,
                _ => place,
            };
            // Several folders side by side: the one that they are in, unless the image needs it as it is.
            let folder = parent(&place.path);
            let beside = self.set.scratches().any(|ours| parent(&ours.path) == folder && ours.path != place.path);
            if beside && !VITAL.contains(&folder) && self.is_folder(folder) {
                self.give(&[self.scratch(folder)]);
            }
            self.give(&[Relaxation::Tmpfs(place.clone())]);
            // It may insist on making the folder itself.
            if makes_folder && place.path == path && !VITAL.contains(&folder) && self.is_folder(folder) {
                self.give(&[self.scratch(folder)]);
            }
        }
        if errno == "EROFS" && !path.is_empty() {
            let folder = if self.is_folder(path) { path } else { parent(path) };
            if flags.places.is_empty() && !VITAL.contains(&path) && !is_file(self.facts.view, path) {
                self.give(&[self.scratch(path)]);
            }
            if flags.places.is_empty() && !VITAL.contains(&folder) {
                self.give(&[self.scratch(folder)]);
            }
            if folder != "/" {
                self.give(&[Relaxation::Volume(folder.to_owned())]);
            }
        }
        // What belongs to another user can be given to this one.
        if errno == "EACCES"
            && let Some(ours) = self.set.tmpfs_over(path).filter(|ours| !ours.owned)
        {
            let owned = Scratch { owned: true, ..ours.clone() };
            let next = self.set.without(&[&Relaxation::Tmpfs(ours.clone())]).with(Relaxation::Tmpfs(owned), &self.why);
            self.propose(next);
        }
    }

    /// Somebody else, who may.
    fn users(&mut self, flags: &Flags, path: &str, is_file_mode: bool) {
        let is_someone = self.set.user().is_some();
        if let Some(user) = self.facts.user.filter(|_| !is_someone) {
            self.give(&[Relaxation::User(user.to_owned())]);
        }
        if is_file_mode && let Some(gid) = self.group(path) {
            self.give(&[Relaxation::Group(gid)]);
        }
        let capabilities = &flags.capabilities[..];
        if self.set.user() == Some("0") || self.facts.ambient || !flags.root {
            // One is less than several.
            for capability in capabilities {
                self.give(std::slice::from_ref(capability));
            }
            self.give(capabilities);
        }
        self.give(&[Relaxation::Root]);
        self.give(&[capabilities, &[Relaxation::Root]].concat());
        if is_file_mode {
            let override_ = Relaxation::Capability("DAC_OVERRIDE".to_owned());
            self.give(&[override_, Relaxation::Root]);
        }
    }

    /// A group that may read or enter what the app may not.
    fn group(&self, path: &str) -> Option<u32> {
        let found = self.facts.view.find(path).ok()?;
        let fits = |entry: &crate::inventory::Entry, bits: u32| entry.mode >> 3 & bits == bits;
        let barred = found.searched.iter().map(|(_, entry)| entry).find(|entry| entry.mode & 1 == 0);
        match barred {
            Some(folder) => fits(folder, 1).then_some(folder.gid),
            None => fits(&found.entry, 4).then_some(found.entry.gid),
        }
        .filter(|gid| *gid != 0)
    }
}

fn is_file(view: &dyn Tree, path: &str) -> bool {
    view.find(path).is_ok_and(|found| found.entry.kind != EntryKind::Directory)
}

/// The folder that something is in.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}
