//! The zoo: what a program does, what is its cause then, and how it passes.

mod files;
mod image;
mod missing;
mod rights;

pub use image::{has_dynamic, image};

/// What is expected of one animal: its steps, the cause, and how the same program passes.
#[derive(Clone, Copy)]
pub struct Animal {
    pub steps: &'static [&'static str],
    pub code: &'static str,
    pub call: &'static [&'static str],
    pub errno: &'static str,
    pub path: &'static str,
    pub wall: &'static str,
    pub twin: Twin,
    /// Flags without which it does not fail so. A twin with other flags does without them.
    pub given: &'static [&'static str],
    /// The name of the program, where the cause is told by it.
    pub program: Option<&'static str>,
}

/// How the same program is made to pass.
#[derive(Clone, Copy)]
pub enum Twin {
    /// With these flags.
    Flags(&'static [&'static str]),
    /// With these steps instead.
    Steps(&'static [&'static str]),
}

impl Animal {
    pub const fn given(self, flags: &'static [&'static str]) -> Self {
        Animal { given: flags, ..self }
    }

    pub const fn named(self, program: &'static str) -> Self {
        Animal { program: Some(program), ..self }
    }
}

pub const OPEN: &[&str] = &["openat", "open"];
pub const MKDIR: &[&str] = &["mkdir", "mkdirat"];

/// Stands in an animal's flags for a filter that knows no new calls.
pub const OLD_FILTER: &str = "seccomp=OLD";

macro_rules! animal {
    ($steps:expr, $code:literal, $call:expr, $errno:literal, $path:literal, $wall:literal, $twin:expr) => {
        crate::animals::Animal {
            steps: &$steps,
            code: $code,
            call: $call,
            errno: $errno,
            path: $path,
            wall: $wall,
            twin: $twin,
            given: &[],
            program: None,
        }
    };
}
pub(crate) use animal;

/// All of them.
pub fn zoo() -> impl Iterator<Item = &'static Animal> {
    [files::ALL, rights::ALL, missing::ALL].into_iter().flatten()
}

/// What harms nothing, and the code that it has among the noise.
pub const NOISE: &[(&str, &str)] = &[
    ("write:/srv/__pycache__/app.pyc", "D33"),
    ("mkdir:/tmp/hsperfdata_app", "D28"),
    ("mempolicy:", "D44"),
    ("clone3:", "D46"),
    ("limit:", "D55"),
];

/// Codes without an animal, and why.
pub const WITHOUT: &[(&str, &str)] = &[
    ("disk-full", "it takes a host whose disk is full"),
    (
        "not-implemented",
        "a call that the filter allows and the kernel lacks: which one that is depends on the host's kernel",
    ),
];
