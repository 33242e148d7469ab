//! What an app says of a failed call, and how sure one can be that it means that call.

use nix::errno::Errno;

use crate::trace::timeline::{Event, Kind, Timeline};

/// The most of the output that is looked at, in bytes, from its end.
const MOST: usize = 64 << 10;

/// What programs say to somebody who was not permitted something.
pub(super) const BE_ROOT: [&str; 6] = ["be root", "as root", "you root", "superuser", "super-user", "root privileges"];

/// Ends of names, and what programs call such files.
const KINDS: [(&str, &str); 4] = [(".pid", "pid"), (".sock", "socket"), (".lock", "lock file"), (".log", "log file")];

/// A line of the app's output that is about a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mention {
    /// The line.
    pub(super) line: String,
    /// How sure that is: 0 to 50. Less than nothing where the app says that it goes on.
    pub(super) strength: f32,
    /// It has the path, or a part of it.
    pub(super) names: bool,
    /// How many lines came after it.
    pub(super) lines_after: usize,
}

/// Everything that was written to the standard streams after `seq`, by any process; else the end of the output, where the app wrote it in a
/// way that was not seen. The flag says which.
pub(super) fn after(timeline: &Timeline, seq: u64) -> (String, bool) {
    let seen = timeline.events.iter().any(|event| event.kind == Kind::Wrote);
    let mut text = String::new();
    if seen {
        let written = timeline.events.iter().filter(|event| event.kind == Kind::Wrote && event.seq > seq);
        for piece in written.filter_map(|event| event.text.as_deref()) {
            text.push_str(piece);
        }
    } else {
        for stream in [&timeline.output.stderr, &timeline.output.stdout] {
            text.push_str(&String::from_utf8_lossy(stream));
            text.push('\n');
        }
    }
    if text.len() > MOST {
        let start = (text.len() - MOST..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.drain(..start);
    }
    (text, seen)
}

/// The best line about `event` in what was written after it.
pub(super) fn mention(event: &Event, text: &str) -> Option<Mention> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut best: Option<Mention> = None;
    for (index, line) in lines.iter().enumerate() {
        let strength = strength(event, line);
        if strength.abs() > best.as_ref().map_or(0.0, |best| best.strength.abs()) {
            best = Some(Mention {
                line: line.chars().take(400).collect(),
                strength,
                names: event
                    .path
                    .as_ref()
                    .is_some_and(|path| says_path(&line.to_lowercase(), &path.to_lowercase()) > 0.0),
                lines_after: lines.len() - index - 1,
            });
        }
    }
    best
}

impl Mention {
    /// A line that a rule waits for.
    pub(super) fn heard(line: &str, strength: f32) -> Self {
        Mention { line: line.chars().take(400).collect(), strength, names: false, lines_after: 0 }
    }
}

fn strength(event: &Event, line: &str) -> f32 {
    let lower = line.to_lowercase();
    let errno = event.errno.as_deref().is_some_and(|errno| says_errno(&lower, errno));
    let path = event.path.as_deref().map_or(0.0, |path| says_path(&lower, &path.to_lowercase()));
    let call = says_call(&lower, event.call);
    let sure: f32 = match (errno, path > 0.0, call) {
        (true, true, _) => 30.0 + 15.0 * path + if call { 3.0 } else { 0.0 },
        (false, true, true) => 20.0 + 14.0 * path,
        (false, true, false) => 4.0 + 24.0 * path,
        (true, false, true) => 40.0,
        (true, false, false) => 18.0,
        (false, false, true) => 12.0,
        (false, false, false) => return 0.0,
    };
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let mild = is_mild(line);
    let grave =
        has(&["fatal", "emerg", "panic", "critical", "abort", "exiting", "giving up", "traceback", "cannot start"]);
    match (mild, grave) {
        // It is shrugged off in so many words, if the line is about this call at all.
        (true, false) if sure >= 30.0 || path >= 0.95 => -15.0,
        (true, false) => 0.0,
        (_, true) => sure + 5.0,
        _ => sure,
    }
}

/// Whether a line says of itself that it is no reason to stop.
pub(super) fn is_mild(line: &str) -> bool {
    const WORDS: [&str; 11] = [
        "warn",
        "ignor",
        "notice",
        "[info]",
        " info ",
        "continu",
        "skipp",
        "fall back",
        "fallback",
        "falling back",
        "debug",
    ];
    let lower = line.to_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

/// The error by its text, its name or its number, as programs write them.
fn says_errno(line: &str, errno: &str) -> bool {
    let number = (1..134).find(|number| format!("{:?}", Errno::from_raw(*number)) == errno);
    let Some(number) = number else { return false };
    let text = Errno::from_raw(number).desc().to_lowercase();
    line.contains(&text)
        || has_word(line, &errno.to_lowercase())
        || line.contains(&format!("({number}:"))
        || line.contains(&format!("errno {number}"))
        || line.contains(&format!("os error {number}"))
        || line.contains(&format!("errno={number}"))
        || (errno == "ENOENT" && line.contains("not found"))
        || (errno == "EROFS" && (line.contains("read-only") || line.contains("readonly")))
        || (errno == "EPERM" && line.contains("not permitted"))
        || (errno == "EACCES" && line.contains("permission denied"))
        || (matches!(errno, "EPERM" | "EACCES") && BE_ROOT.iter().any(|words| line.contains(words)))
        || (errno == "ENETUNREACH" && line.contains("unreachable"))
        || (errno == "ENOMEM" && line.contains("cannot allocate memory"))
}

/// 1 for the whole path, less for its last part or its folder, 0 for none of it.
fn says_path(line: &str, path: &str) -> f32 {
    if path.len() > 1 && has_word(line, path) {
        return 1.0;
    }
    let mut parts = path.rsplit('/').filter(|part| !part.is_empty());
    let (last, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !folder.is_empty() && has_word(line, &format!("{folder}/{last}")) {
        return 0.95;
    }
    if let Some((_, port)) = path.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return if has_word(line, port) { 0.7 } else { 0.0 };
    }
    if last.len() >= 3 && has_word(line, last) {
        return 0.8;
    }
    // `admin.sock.1.tmp` becomes `admin.sock`, which is what is spoken of.
    let mut shorter = path;
    while let Some((before, _)) =
        shorter.rsplit_once('.').filter(|(before, end)| !end.contains('/') && !before.ends_with('/'))
    {
        if before.len() > 4 && has_word(line, before) {
            return 0.9;
        }
        shorter = before;
    }
    // `Unable to write pid file` names what it is for.
    if KINDS.iter().any(|(end, word)| last.ends_with(end) && line.contains(word)) {
        return 0.7;
    }
    // `No usable temporary directory found in ['/tmp', …]` is about a file in it.
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if parent.len() >= 4 && has_word(line, parent) { 0.55 } else { 0.0 }
}

/// What a message about such a call has in it.
fn says_call(line: &str, call: &str) -> bool {
    let words: &[&str] = match call {
        "bind" | "listen" => &["bind", "listen", "address"],
        "connect" | "sendto" | "sendmmsg" => &["connect", "dial", "lookup", "resolv", "getaddrinfo", "unreachable"],
        "mmap" | "mprotect" => &["mmap", "map segment", "shared object", "mprotect", "executable memory", ".so"],
        "execve" | "execveat" => &["exec", "spawn", "not found", "cannot run", "failed to start"],
        "chown" | "fchown" | "lchown" | "fchownat" => &["chown", "ownership", "owner"],
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => &["chmod", "permissions of", "mode of"],
        "setuid" | "setreuid" | "setresuid" => &["setuid", "setresuid", "uid", "switch", "privilege", "user"],
        "setgid" | "setregid" | "setresgid" => &["setgid", "setresgid", "gid", "switch", "privilege", "group"],
        "setgroups" => &["setgroups", "groups", "switch", "privilege", "setuid", "initgroups"],
        "mlock" | "mlock2" | "mlockall" => &["lock"],
        "socket" => &["socket", "icmp", "raw"],
        "unshare" | "clone" | "setns" => &["namespace", "sandbox", "unshare", "clone", "fork", "thread"],
        "clone3" => &["thread", "clone"],
        "mkdir" | "mkdirat" => &["mkdir", "create", "director"],
        "open" | "openat" | "openat2" | "creat" => &["open", "creat", "write"],
        "io_uring_setup" => &["uring"],
        "setrlimit" | "prlimit64" => &["rlimit", "ulimit", "limit"],
        other => return line.contains(other),
    };
    words.iter().any(|word| line.contains(word))
}

/// Whether `word` stands in `line` by itself, and not as a part of a longer name.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let begins = word.starts_with('/') || before.is_none_or(|c| !is_part(c) && c != '.');
        let ends = after.is_none_or(|c| !is_part(c) && c != '/')
            // The dot of a sentence, but not of a longer name.
            && !(after == Some('.') && line[at + word.len() + 1..].starts_with(is_part));
        begins && ends
    })
}

/// The line without names and numbers: two lines with the same rest come from one place in a program.
pub(super) fn template(line: &str) -> String {
    let is_name = |word: &&str| !word.contains(['/', '"', '\'', '`']) && !word.contains(|c: char| c.is_ascii_digit());
    line.split_whitespace().filter(is_name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_real_programs_are_understood() {
        for (call, path, errno, line) in [
            (
                "mkdir",
                "/var/lib/nginx/body",
                "EROFS",
                "[emerg] 1#1: mkdir() \"/var/lib/nginx/body\" failed (30: Read-only file system)",
            ),
            ("mkdirat", "/tmp/etcd", "EROFS", "cannot access data directory: mkdir /tmp/etcd: read-only file system"),
            ("mkdir", "/run/app", "EROFS", "mkdir: cannot create directory '/var/run/app': Read-only file system"),
            ("openat", "/data/x", "EACCES", "PermissionError: [Errno 13] Permission denied: '/data/x'"),
            (
                "openat",
                "/run/stubborn.pid",
                "EROFS",
                "cannot write /run/stubborn.pid: Read-only file system (os error 30)",
            ),
            ("setgroups", "", "EPERM", "error: failed switching to \"redis\": operation not permitted"),
            ("bind", "0.0.0.0:80", "EACCES", "listen tcp :80: bind: permission denied"),
        ] {
            let found = strength(&Event::refused(call, path, errno), line);
            assert!(found >= 38.0, "{line}: {found}");
        }
    }

    #[test]
    fn what_is_about_another_call_is_weaker() {
        let nginx = Event::refused("mkdir", "/var/lib/nginx/body", "EROFS");
        for line in ["starting", "open() \"/etc/x\" failed (2: No such file or directory)", "listening on port 80"] {
            assert!(strength(&nginx, line) < 20.0, "{line}");
        }
        let warned = strength(&nginx, "warning: mkdir /var/lib/nginx/body: Read-only file system, ignored");
        assert!(warned < 0.0 && strength(&nginx, "mkdir /var/lib/nginx/body: Read-only file system") > 40.0);
        assert!(!has_word("/var/lib/nginx/body2", "/var/lib/nginx/body") && !has_word("xapp", "app"));
        assert!(has_word("cannot open app.", "app") && !has_word("cannot open app.conf", "app"));
    }

    #[test]
    fn the_same_message_has_the_same_template() {
        let [one, two] =
            ["a", "b"].map(|name| template(&format!("mkdir: cannot create directory '/{name}': Read-only")));
        assert_eq!(one, two);
        assert_ne!(one, template("mkdir: cannot do it: Read-only"));
    }
}
