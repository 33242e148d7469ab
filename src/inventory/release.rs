//! What distribution an image is made of: `os-release`.
//!
//! Source: os-release(5).

use serde::Serialize;

use super::contents::Contents;

const LARGEST: u64 = 64 << 10;

/// What `os-release` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Release {
    /// `debian`, `alpine`, `wolfi`, …; empty where there is no such file.
    pub id: String,
    /// `12`, `3.20.3`, …
    pub version: String,
    /// For people.
    pub name: String,
    /// What it is like, space-separated.
    pub like: String,
}

impl Release {
    /// Reads the file that os-release(5) says comes first.
    pub fn read(contents: &Contents) -> Release {
        let paths = ["/etc/os-release", "/usr/lib/os-release"];
        paths.iter().find_map(|path| contents.text(path, LARGEST)).map(|text| Release::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Release {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
        };
        let name = Some(field("PRETTY_NAME")).filter(|name| !name.is_empty()).unwrap_or_else(|| field("NAME"));
        Release { id: field("ID"), version: field("VERSION_ID"), name, like: field("ID_LIKE") }
    }

    /// `debian-12`, as package URLs have it; empty where it is not known.
    pub fn distro(&self) -> String {
        match (self.id.as_str(), self.version.as_str()) {
            ("", _) => String::new(),
            (id, "") => id.to_owned(),
            (id, version) => format!("{id}-{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_no_part_of_a_value() {
        let release = Release::parse("NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian 12'\n");
        assert_eq!((release.distro().as_str(), release.name.as_str()), ("debian-12", "Debian 12"));
        assert_eq!(Release::parse("").distro(), "");
    }
}
