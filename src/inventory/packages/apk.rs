//! Alpine's database of installed packages.
//!
//! Source: <https://wiki.alpinelinux.org/wiki/Apk_spec>, "Installed Database V2". apk-tools 3 keeps it below `/usr`.

use super::{Contents, Kind, LARGEST, Package, Packages, Search, url};

const DATABASES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

pub(super) fn find(search: &Search, all: &mut Packages) {
    let mut seen = Vec::new();
    for path in DATABASES {
        let Some(item) = search.contents.resolve(path).filter(|item| !seen.contains(&item.path)) else { continue };
        seen.push(item.path.clone());
        let Some(bytes) = search.contents.read(item, LARGEST) else {
            all.unread.push(super::Unread { path: item.path.clone(), why: "it cannot be read".to_owned() });
            continue;
        };
        let distro = if search.release.id.is_empty() { "alpine" } else { &search.release.id };
        for record in String::from_utf8_lossy(&bytes).split("\n\n") {
            let field = |name: &str| {
                record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
            };
            let (name, version) = (field("P"), field("V"));
            if name.is_empty() || version.is_empty() {
                continue;
            }
            let origin = Some(field("o")).filter(|origin| !origin.is_empty() && *origin != name);
            let qualifiers =
                [("arch", field("A")), ("distro", &search.release.distro()), ("upstream", origin.unwrap_or_default())];
            all.found.push(Package {
                name: name.to_owned(),
                version: version.to_owned(),
                kind: Kind::Apk,
                purl: url::of("apk", distro, name, version, &qualifiers),
                licences: licences(field("L")),
                location: item.path.clone(),
                layer: item.layer + 1,
                source: origin.map(str::to_owned),
            });
        }
    }
}

/// `GPL-2.0-only AND MIT` names two; an expression with a choice or an exception stays one.
fn licences(field: &str) -> Vec<String> {
    let words: Vec<&str> = field.split_whitespace().collect();
    if words.is_empty() {
        return Vec::new();
    }
    let is_list = words.iter().all(|word| !matches!(*word, "OR" | "WITH") && !word.contains(['(', ')']));
    if !is_list {
        return vec![words.join(" ")];
    }
    words.into_iter().filter(|word| *word != "AND").map(str::to_owned).collect()
}

/// Whether the database lists one of these files.
pub(super) fn owns(contents: &Contents, paths: &[String]) -> bool {
    let text = DATABASES.iter().find_map(|path| contents.text(path, LARGEST)).unwrap_or_default();
    let mut folder = "";
    text.lines().any(|line| match line.split_once(':') {
        Some(("F", path)) => {
            folder = path;
            false
        }
        Some(("R", name)) => paths.iter().any(|path| {
            path.strip_prefix('/')
                .and_then(|path| path.strip_suffix(name))
                .is_some_and(|start| start.trim_end_matches('/') == folder)
        }),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_licences_is_taken_apart_and_an_expression_is_not() {
        assert_eq!(licences("MIT"), ["MIT"]);
        assert_eq!(licences("BSD-2-Clause AND GPL-2.0-only"), ["BSD-2-Clause", "GPL-2.0-only"]);
        assert_eq!(licences("MIT OR Apache-2.0"), ["MIT OR Apache-2.0"]);
        assert_eq!(licences(""), Vec::<String>::new());
    }
}
