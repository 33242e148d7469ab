//! What an image says of itself, and what its files say of its entrypoint: `austere.inspect/1`.

pub mod contents;
mod page;

use std::fmt::Write as _;

use serde::Serialize;

use super::{clean, json};
use crate::digest::Digest;
use crate::finding::Finding;
use crate::image::{Compression, Config, Image, Protocol};
use crate::inventory::elf::Linkage;
use crate::inventory::{Entrypoint, Kind};
use contents::ContentFacts;
use page::Page;

/// Enough of a digest to tell layers apart.
const SHORT: usize = 12;

/// Everything that is known of an image without starting it.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The form and version of this report.
    pub schema: &'static str,
    /// As it was written.
    pub reference: String,
    /// What it turned out to be.
    pub kind: String,
    /// The digest of the manifest.
    pub manifest_digest: Option<String>,
    /// The digest of the configuration.
    pub config_digest: Option<String>,
    /// `os/arch[/variant]`.
    pub platform: String,
    /// How to run it.
    pub config: Config,
    /// Base first.
    pub layers: Vec<LayerFacts>,
    /// The user that the entrypoint was looked at for.
    pub user: UserFacts,
    /// What would be started.
    pub entrypoint: Entrypoint,
    /// What is in its files, if they were looked at.
    #[serde(flatten)]
    pub contents: Option<ContentFacts>,
    /// What would go wrong.
    pub findings: Vec<Finding>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerFacts {
    /// Of the bytes as stored.
    pub digest: Option<String>,
    /// Of the uncompressed tar.
    pub diff_id: String,
    /// Bytes as stored.
    pub size: u64,
    /// How they are compressed.
    pub compression: Compression,
    /// Bytes of its files.
    pub unpacked: Option<u64>,
    /// Files, folders, links and whiteouts.
    pub entries: Option<u64>,
    /// Files and links that were not there before, directories not counted.
    pub added: Option<u64>,
    /// Files and links that it replaced.
    pub changed: Option<u64>,
    /// Files and links that it removed.
    pub removed: Option<u64>,
    /// The build step that made it.
    pub created_by: Option<String>,
}

/// A user, by number.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UserFacts {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Inspection {
    /// Joins an image with what was found in its files.
    pub fn new(
        (reference, kind): (&str, String),
        image: &Image,
        user: UserFacts,
        entrypoint: Entrypoint,
        more: Vec<Finding>,
    ) -> Self {
        let text = |digest: &Option<Digest>| digest.as_ref().map(Digest::to_string);
        let layer = |layer: &crate::image::Layer| LayerFacts {
            digest: text(&layer.digest),
            diff_id: layer.diff_id.to_string(),
            size: layer.size,
            compression: layer.compression,
            unpacked: None,
            entries: None,
            added: None,
            changed: None,
            removed: None,
            created_by: layer.created_by.clone(),
        };
        Inspection {
            schema: "austere.inspect/1",
            reference: reference.to_owned(),
            kind,
            manifest_digest: text(&image.manifest_digest),
            config_digest: text(&image.config_digest),
            platform: image.platform.to_string(),
            config: image.config.clone(),
            layers: image.layers.iter().map(layer).collect(),
            user,
            contents: None,
            findings: entrypoint.findings.iter().cloned().chain(more).collect(),
            entrypoint,
        }
    }

    /// For programs.
    pub fn json(&self) -> String {
        json::page(self)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut page = Page::default();
        let _ = writeln!(page.text, "{}  {}, {}", clean(&self.reference), self.kind, clean(&self.platform));
        page.section = "image";
        page.row("manifest", self.manifest_digest.iter().map(String::as_str));
        page.row("config", self.config_digest.iter().map(String::as_str));
        self.config(&mut page);
        page.section = "layers";
        for (index, layer) in self.layers.iter().enumerate() {
            page.row(&format!("{}", index + 1), [layer.line().as_str()]);
            page.row("", layer.created_by.iter().map(String::as_str));
        }
        self.entrypoint(&mut page);
        if let Some(contents) = &self.contents {
            contents.rows(&mut page);
        }
        page.section = "findings";
        for finding in &self.findings {
            page.row(&finding.code, [finding.message.as_str()]);
            page.row("", finding.advice.iter().map(|advice| format!("advice: {advice}")));
        }
        page.text
    }

    fn config(&self, page: &mut Page) {
        let config = &self.config;
        page.section = "config";
        page.row("user", [if config.user.is_empty() { "root (none is named)" } else { &config.user }]);
        let list = |words: &[String]| (!words.is_empty()).then(|| format!("{words:?}"));
        page.row("entrypoint", list(&config.entrypoint));
        page.row("cmd", list(&config.cmd));
        page.row("working dir", Some(&config.working_dir).filter(|folder| !folder.is_empty()));
        page.row("env", &config.env);
        let protocol = |protocol| match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let ports: Vec<_> =
            config.exposed_ports.iter().map(|p| format!("{}/{}", p.port, protocol(p.protocol))).collect();
        page.row("ports", Some(ports.join(", ")).filter(|text| !text.is_empty()));
        page.row("volumes", &config.volumes);
        page.row("stop signal", Some(&config.stop_signal).filter(|signal| !signal.is_empty()));
        page.row("health check", config.healthcheck.as_ref().and_then(|check| list(&check.test)));
        page.row("shell", list(&config.shell));
        page.row("labels", config.labels.iter().map(|(name, value)| format!("{name}={value}")));
    }

    fn entrypoint(&self, page: &mut Page) {
        let entrypoint = &self.entrypoint;
        page.section = "entrypoint";
        page.row("command", (!entrypoint.argv.is_empty()).then(|| format!("{:?}", entrypoint.argv)));
        page.row("file", &entrypoint.path);
        page.row("kind", entrypoint.kind.as_ref().map(kind));
        page.row("started by", &entrypoint.interpreters);
        let library = |library: &crate::inventory::Library| match &library.path {
            Some(path) => format!("{} at {path}", library.name),
            None => format!("{} is missing (for {})", library.name, library.needed_by),
        };
        page.row("libraries", entrypoint.libraries.iter().map(library));
        page.row("capabilities", &entrypoint.capabilities);
        page.row("missing", &entrypoint.missing);
        page.row("looked at for", [format!("user {}, group {}", self.user.uid, self.user.gid)]);
    }
}

impl LayerFacts {
    fn line(&self) -> String {
        let digest = self.digest.as_ref().unwrap_or(&self.diff_id);
        let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
        let compression = match self.compression {
            Compression::None => ", not compressed",
            Compression::Gzip => " of gzip",
            Compression::Zstd => " of zstd",
            Compression::ByContent => "",
        };
        let mut line = format!("{}  {}{compression}", &hex[..hex.len().min(SHORT)], size(self.size));
        if let (Some(unpacked), Some(entries)) = (self.unpacked, self.entries) {
            let _ = write!(line, "; {} in {entries} entries", size(unpacked));
        }
        let counts = [("added", self.added), ("changed", self.changed), ("removed", self.removed)];
        for (what, count) in counts.into_iter().filter_map(|(what, count)| Some((what, count.filter(|n| *n > 0)?))) {
            let _ = write!(line, ", {count} {what}");
        }
        line
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Elf(elf) => {
            let how = match elf.linkage {
                Linkage::Static => "static program",
                Linkage::StaticPie => "static program (PIE)",
                Linkage::Dynamic => "dynamic program",
            };
            format!("{how} for {}", elf.machine.name())
        }
        Kind::Script { interpreter, argument } => {
            let argument = argument.as_ref().map_or(String::new(), |argument| format!(" {argument}"));
            format!("script, #!{interpreter}{argument}")
        }
        Kind::Other => "nothing that the kernel starts".to_owned(),
    }
}

/// `9.4 MiB`, with one digit after the point.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (name, unit) in units {
        if bytes >= unit {
            return format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection() -> Inspection {
        let config = Config {
            env: vec!["PATH=/bin".into(), "A=\u{1b}[31m".into()],
            entrypoint: vec!["/app".into()],
            ..Config::default()
        };
        let image = Image {
            manifest_digest: None,
            config_digest: Some(Digest::sha256(b"")),
            platform: "linux/amd64".parse().unwrap(),
            config,
            layers: vec![crate::image::Layer {
                digest: None,
                diff_id: Digest::sha256(b"x"),
                size: 1_572_864,
                compression: Compression::Gzip,
                created_by: Some("COPY . /".repeat(100)),
            }],
        };
        let entrypoint = Entrypoint {
            argv: vec!["/app".into()],
            path: Some("/app".into()),
            kind: Some(Kind::Script { interpreter: "/bin/sh\r".into(), argument: None }),
            missing: vec!["/bin/sh\r".into()],
            ..Entrypoint::default()
        };
        Inspection::new(("x.tar", "oci".to_owned()), &image, UserFacts { uid: 65532, gid: 0 }, entrypoint, vec![])
    }

    #[test]
    fn foreign_text_paints_nothing() {
        let inspection = inspection();
        for text in [inspection.text(), inspection.json()] {
            assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 2000));
        }
        assert!(inspection.text().contains("A=\\x1b[31m"));
        assert!(inspection.text().contains("script, #!/bin/sh\\r\n"));
    }

    #[test]
    fn only_what_there_is_has_a_row() {
        let text = inspection().text();
        assert!(text.contains("user          root (none is named)\n"));
        assert!(text.contains("1.5 MiB of gzip"));
        assert!(!text.contains("volumes") && !text.contains("findings"), "{text}");
    }

    #[test]
    fn sizes_are_cut_not_rounded() {
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size((2 << 20) - 1), "1.9 MiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn programs_find_everything() {
        let json: serde_json::Value = serde_json::from_str(&inspection().json()).unwrap();
        assert_eq!(json["schema"], "austere.inspect/1");
        assert_eq!(json["entrypoint"]["missing"][0], "/bin/sh\r");
        assert_eq!(json["layers"][0]["size"], 1_572_864);
    }
}
