//! Debian's database of installed packages: one `status` file, or a file a package in `status.d` (distroless).
//!
//! Sources: deb-control(5), dpkg(1); <https://github.com/GoogleContainerTools/distroless/blob/main/PACKAGE_METADATA.md>.

use super::{Contents, Kind, LARGEST, Package, Packages, Search, Unread, url};
use crate::inventory::contents::{Item, ItemKind};

const STATUS: [&str; 2] = ["/var/lib/dpkg/status", "/usr/lib/dpkg/status"];
const STATUS_D: [&str; 2] = ["/var/lib/dpkg/status.d", "/usr/lib/dpkg/status.d"];
/// The largest `copyright` file that is read, in bytes.
const LARGEST_COPYRIGHT: u64 = 1 << 20;

pub(super) fn find(search: &Search, all: &mut Packages) {
    let contents = search.contents;
    let mut seen = Vec::new();
    let whole = STATUS.iter().filter_map(|path| contents.resolve(path));
    for item in whole.chain(parts(contents)) {
        if item.kind != ItemKind::File || seen.contains(&&item.path) {
            continue;
        }
        seen.push(&item.path);
        match contents.read(item, LARGEST) {
            Some(bytes) => read(search, item, &String::from_utf8_lossy(&bytes), all),
            None => all.unread.push(Unread { path: item.path.clone(), why: "it cannot be read".to_owned() }),
        }
    }
}

/// The files of `status.d`, without the lists of checksums beside them.
fn parts<'a>(contents: &'a Contents) -> impl Iterator<Item = &'a Item> {
    let folders = STATUS_D.iter().filter_map(|path| contents.resolve(path));
    let files = folders.flat_map(|folder| contents.below(&folder.path));
    files.filter(|item| !item.name().ends_with(".md5sums") && !item.name().ends_with(".preinst"))
}

fn read(search: &Search, item: &Item, text: &str, all: &mut Packages) {
    for record in text.split("\n\n") {
        let field = |name: &str| {
            let line = record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim()
        };
        let (name, version) = (field("Package"), field("Version"));
        if name.is_empty() || version.is_empty() || !is_installed(field("Status")) {
            continue;
        }
        // `Source: glibc (2.36-9)` names a version of its own.
        let source = field("Source");
        let (source, source_version) = match source.split_once(" (") {
            Some((source, version)) => (source, version.trim_end_matches(')')),
            None => (source, ""),
        };
        let source = Some(source).filter(|source| !source.is_empty() && *source != name);
        let upstream = match (source, source_version) {
            (None, "") => String::new(),
            (source, "") => source.unwrap_or_default().to_owned(),
            (source, version) => format!("{}@{version}", source.unwrap_or(name)),
        };
        let distro = if search.release.id.is_empty() { "debian" } else { &search.release.id };
        let qualifiers =
            [("arch", field("Architecture")), ("distro", &search.release.distro()), ("upstream", &upstream)];
        all.found.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            kind: Kind::Deb,
            purl: url::of("deb", distro, name, version, &qualifiers),
            licences: copyright(search.contents, name),
            location: item.path.clone(),
            layer: item.layer + 1,
            source: source.map(str::to_owned),
        });
    }
}

/// `want ok state`; distroless has no such field.
fn is_installed(status: &str) -> bool {
    let mut words = status.split_whitespace();
    let want = words.next().unwrap_or_default();
    !matches!(want, "deinstall" | "purge") && !matches!(words.next_back(), Some("config-files" | "not-installed"))
}

/// The short names of licences in a machine-readable `copyright` file (DEP-5).
fn copyright(contents: &Contents, package: &str) -> Vec<String> {
    let path = format!("/usr/share/doc/{package}/copyright");
    let Some(text) = contents.text(&path, LARGEST_COPYRIGHT) else { return Vec::new() };
    let names = text.lines().filter_map(|line| line.strip_prefix("License:")).map(str::trim);
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a list of files names one of these.
pub(super) fn owns(contents: &Contents, paths: &[String]) -> bool {
    let lists =
        contents.below("/var/lib/dpkg/info").iter().filter(|item| item.name().rsplit('.').next() == Some("list"));
    let sums = STATUS_D.iter().flat_map(|folder| contents.below(folder));
    let sums = sums.filter(|item| item.name().ends_with(".md5sums"));
    lists.chain(sums).any(|item| {
        let bytes = contents.read(item, LARGEST).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // `/usr/bin/x`, or a checksum and `usr/bin/x`.
        text.lines().any(|line| {
            let name = line.rsplit("  ").next().unwrap_or(line).trim_start_matches('/');
            paths.iter().any(|path| is_same(path.trim_start_matches('/'), name))
        })
    })
}

/// Debian's packages may still say `bin/x` where `/bin` has become a link to `usr/bin`.
fn is_same(path: &str, listed: &str) -> bool {
    path == listed || path.strip_prefix("usr/").is_some_and(|path| path == listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        assert!(is_installed("install ok installed"));
        assert!(is_installed("hold ok installed"));
        assert!(is_installed(""), "distroless says nothing");
        assert!(!is_installed("deinstall ok config-files"));
        assert!(!is_installed("purge ok not-installed"));
    }
}
