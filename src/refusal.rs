//! What the kernel refused while a jail was being built, in words that survive the way from the child to the parent.

use std::fmt;

use nix::errno::Errno;

/// A step that failed: what was tried, on what, and the errno.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Whose business it is.
    pub side: Side,
    /// The system call, or in words what several were for.
    pub call: String,
    /// What it was about: a path, an id, a value.
    pub on: String,
    /// The error.
    pub errno: Errno,
}

/// Whose business a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This host does not let austere build the jail: nothing is known about the image.
    Host,
    /// The image cannot be run by any engine, or asks for something that is not there.
    Image,
    /// The app's own start was refused, as an engine would refuse it.
    App,
}

impl Refusal {
    /// A step that this host refused.
    pub fn host(call: &str, on: impl Into<String>, errno: Errno) -> Self {
        Refusal { side: Side::Host, call: call.to_owned(), on: on.into(), errno }
    }

    /// A step that the image made impossible.
    pub fn image(call: &str, on: impl Into<String>, errno: Errno) -> Self {
        Refusal { side: Side::Image, ..Refusal::host(call, on, errno) }
    }

    /// The app's own start, refused.
    pub fn app(call: &str, on: impl Into<String>, errno: Errno) -> Self {
        Refusal { side: Side::App, ..Refusal::host(call, on, errno) }
    }

    /// One line for a pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        let side = match self.side {
            Side::Host => "host",
            Side::Image => "image",
            Side::App => "app",
        };
        format!("{side}\0{}\0{}\0{}", self.call, self.on, self.errno as i32).into_bytes()
    }

    /// Reads what [`Refusal::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut parts = text.split('\0');
        let side = match parts.next()? {
            "host" => Side::Host,
            "image" => Side::Image,
            "app" => Side::App,
            _ => return None,
        };
        let (call, on) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let errno = Errno::from_raw(parts.next()?.parse().ok()?);
        Some(Refusal { side, call, on, errno })
    }

    /// The errno's name: `EROFS`.
    pub fn errno_name(&self) -> String {
        format!("{:?}", self.errno)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, on) = (&self.call, &self.on);
        // A step of several calls is told in words.
        if call.contains(' ') {
            write!(f, "{call} {on}")?;
        } else {
            write!(f, "{call}({on})")?;
        }
        write!(f, ": {} ({:?})", self.errno.desc(), self.errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_pipe() {
        for refusal in [
            Refusal::host("mount", "/proc: with, odd | things", Errno::EPERM),
            Refusal::image("open", "/dev", Errno::ELOOP),
            Refusal::app("execve", "/app", Errno::ENOENT),
        ] {
            assert_eq!(Refusal::from_bytes(&refusal.to_bytes()), Some(refusal));
        }
        assert_eq!(Refusal::from_bytes(b"nonsense"), None);
    }
}
