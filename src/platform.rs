//! Operating system, architecture and variant, as image indexes name them.
//!
//! Source: OCI image-spec v1.1, `image-index.md`, "platform"; Go's `GOOS` and `GOARCH`.

use std::fmt;
use std::str::FromStr;

/// A platform in Go's words: `linux/amd64`, `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `GOOS`.
    pub os: String,
    /// `GOARCH`.
    pub architecture: String,
    /// The CPU variant (`v8`, `v7`), where the architecture has any.
    pub variant: Option<String>,
}

/// Text that is no `os/arch[/variant]`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a platform (os/arch[/variant], for example linux/arm64)")]
pub struct PlatformError(String);

impl Platform {
    /// The platform of the running kernel and this binary.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: std::env::consts::OS.to_owned(), architecture: architecture.to_owned(), variant: None }.normal()
    }

    /// Whether an image for `self` is what someone who asks for `wanted` means.
    ///
    /// An absent variant means the usual one: `linux/arm64` is `linux/arm64/v8`.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        self.clone().normal() == wanted.clone().normal()
    }

    fn normal(mut self) -> Self {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => self.variant = None,
            ("arm", None) => self.variant = Some("v7".to_owned()),
            ("aarch64", _) => return Platform { architecture: "arm64".to_owned(), ..self }.normal(),
            ("x86_64", _) => return Platform { architecture: "amd64".to_owned(), ..self }.normal(),
            _ => {}
        }
        self
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant)),
            _ => return Err(PlatformError(text.to_owned())),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(PlatformError(text.to_owned()));
        }
        Ok(Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn usual_variants_go_without_saying() {
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm/v7").satisfies(&platform("linux/arm")));
        assert!(!platform("linux/arm/v6").satisfies(&platform("linux/arm")));
        assert!(!platform("linux/amd64").satisfies(&platform("linux/arm64")));
    }

    #[test]
    fn parts_may_not_be_empty_or_too_many() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm64/v8/x"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
