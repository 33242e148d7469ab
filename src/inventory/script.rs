//! `#!` lines, read as the kernel reads them.
//!
//! Source: Linux `fs/binfmt_script.c` (since 5.1) and `BINPRM_BUF_SIZE`; execve(2), "Interpreter scripts".

/// The kernel looks at this many bytes of a file, and no more.
pub const LOOKED_AT: usize = 256;

/// What a `#!` line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shebang {
    /// The program that runs the script. A line that ends in CR LF leaves the `\r` here, or in the argument.
    pub interpreter: String,
    /// All that follows it, as one argument.
    pub argument: Option<String>,
}

/// What the first bytes of a file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// It does not start with `#!`.
    None,
    /// It does, but the kernel answers ENOEXEC: no interpreter, or a name that does not end in the bytes it looks at.
    Unusable,
    /// A script.
    Script(Shebang),
}

/// Reads the start of a file; only the first [`LOOKED_AT`] bytes count.
pub fn parse(start: &[u8]) -> Line {
    let start = &start[..start.len().min(LOOKED_AT)];
    let Some(rest) = start.strip_prefix(b"#!") else { return Line::None };
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let line = match rest.iter().position(|&b| b == b'\n' || b == 0) {
        Some(end) => &rest[..end],
        // A file shorter than the buffer is followed by zeros there, which end the line.
        None if start.len() < LOOKED_AT => rest,
        None => {
            // The buffer's last byte is the kernel's own end mark.
            let rest = &rest[..rest.len() - 1];
            let name = rest.iter().position(|b| !blank(b)).unwrap_or(rest.len());
            if !rest[name..].iter().any(blank) {
                return Line::Unusable;
            }
            rest
        }
    };
    let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
    let end = line.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    let line = &line[start..end];
    if line.is_empty() {
        return Line::Unusable;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (interpreter, argument) = match line.iter().position(blank) {
        Some(gap) => {
            let argument = line[gap..].iter().position(|b| !blank(b)).map(|skip| text(&line[gap + skip..]));
            (&line[..gap], argument)
        }
        None => (line, None),
    };
    Line::Script(Shebang { interpreter: text(interpreter), argument })
}

impl Shebang {
    /// Whether the line ends in CR LF, which makes the kernel look for a name that ends in `\r`.
    pub fn has_carriage_return(&self) -> bool {
        self.argument.as_ref().unwrap_or(&self.interpreter).ends_with('\r')
    }

    /// The program that env(1) would look for in PATH, when the interpreter is env.
    pub fn program_of_env(&self) -> Option<&str> {
        if self.interpreter != "env" && !self.interpreter.ends_with("/env") {
            return None;
        }
        let argument = self.argument.as_deref()?.trim_end_matches('\r');
        // Without -S the whole rest is one name, spaces included.
        let Some(words) = argument.strip_prefix("-S") else { return (!argument.starts_with('-')).then_some(argument) };
        words.split_ascii_whitespace().find(|word| !word.contains('=') && !word.starts_with('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(start: &[u8]) -> (String, Option<String>) {
        match parse(start) {
            Line::Script(shebang) => (shebang.interpreter, shebang.argument),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        assert_eq!(script(b"#! /bin/sh  -e -u \necho"), ("/bin/sh".into(), Some("-e -u".into())));
        assert_eq!(script(b"#!/bin/sh"), ("/bin/sh".into(), None));
        assert_eq!(script(b"#!/bin/sh\t\n"), ("/bin/sh".into(), None));
    }

    #[test]
    fn a_carriage_return_belongs_to_the_name() {
        assert_eq!(script(b"#!/bin/sh\r\n").0, "/bin/sh\r");
        assert!(matches!(parse(b"#!/bin/sh\r\n"), Line::Script(line) if line.has_carriage_return()));
        assert!(matches!(parse(b"#!/bin/sh\n"), Line::Script(line) if !line.has_carriage_return()));
    }

    #[test]
    fn a_name_cut_off_by_the_buffer_is_refused_and_a_cut_argument_is_not() {
        let long = |gap: &str| format!("#!/{}{gap}{}\n", "a".repeat(100), "b".repeat(300));
        assert_eq!(parse(long("").as_bytes()), Line::Unusable);
        let (name, argument) = script(long(" ").as_bytes());
        assert_eq!(name.len(), 101);
        assert_eq!(argument.unwrap().len(), LOOKED_AT - 1 - 2 - 101 - 1);
    }

    #[test]
    fn a_line_without_a_name_is_refused() {
        for start in [&b"#!"[..], b"#!\n/bin/sh", b"#!   \n", b"#! \0/bin/sh\n"] {
            assert_eq!(parse(start), Line::Unusable);
        }
        for start in [&b""[..], b"#", b"echo", b" #!/bin/sh"] {
            assert_eq!(parse(start), Line::None);
        }
    }

    #[test]
    fn env_names_a_program_of_its_own() {
        let of = |line: &[u8]| match parse(line) {
            Line::Script(shebang) => shebang.program_of_env().map(str::to_owned),
            _ => None,
        };
        assert_eq!(of(b"#!/usr/bin/env node\n").as_deref(), Some("node"));
        assert_eq!(of(b"#!/usr/bin/env -S A=1 node --x\n").as_deref(), Some("node"));
        assert_eq!(of(b"#!/usr/bin/env node --x\n").as_deref(), Some("node --x"), "as the kernel passes it");
        assert_eq!(of(b"#!/bin/sh node\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            parse(&bytes);
            parse(&[&b"#!"[..], &bytes].concat());
        }
    }
}
