//! The catalogue of causes: data in `profiles/diagnosis`, a rule a cause, the special before the general.

use std::sync::OnceLock;

use regex_lite::Regex;
use serde::Deserialize;

use crate::trace::timeline::{Event, Kind, Wall};

/// The files, in the order in which their rules are tried.
const FILES: [(&str, &str); 5] = [
    ("read-only.yaml", include_str!("../../../profiles/diagnosis/read-only.yaml")),
    ("user.yaml", include_str!("../../../profiles/diagnosis/user.yaml")),
    ("capabilities.yaml", include_str!("../../../profiles/diagnosis/capabilities.yaml")),
    ("kernel.yaml", include_str!("../../../profiles/diagnosis/kernel.yaml")),
    ("image.yaml", include_str!("../../../profiles/diagnosis/image.yaml")),
];

/// One cause.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The stable code. Several rules may have one: other ways to the same.
    pub code: String,
    /// The cause in a few words.
    pub title: String,
    /// It harms nothing unless the app itself complains of it.
    #[serde(default)]
    pub noise: bool,
    /// It is told beside the cause, whether or not it has to do with it.
    #[serde(default)]
    pub note: bool,
    /// When it applies.
    #[serde(rename = "match")]
    pub when: Match,
    /// What happens, for somebody who has not met it.
    pub explains: String,
    /// What would be better: a change to the image.
    pub better: String,
    /// What would have to be given back: docker flags.
    #[serde(default)]
    pub relax: Vec<String>,
    /// Where this is known from.
    pub source: String,
}

/// What a rule looks at; all that is said has to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// What kind of thing it is about.
    pub kind: Seen,
    /// The system call is one of these.
    pub calls: Vec<String>,
    /// The error is one of these.
    pub errno: Vec<String>,
    /// The wall is one of these.
    pub wall: Vec<Wall>,
    /// The call means to make or change something.
    pub writes: bool,
    /// That, or it binds a Unix socket to a path.
    pub writes_or_binds: bool,
    /// The system call is none of these.
    pub but_for: Vec<String>,
    /// The path lies there.
    pub within: Option<Within>,
    /// The address is not the app's own.
    pub address: Option<Place>,
    /// A regular expression for the path or address.
    pub path: Option<String>,
    /// A regular expression for the program.
    pub program: Option<String>,
    /// A regular expression for what the app wrote, whatever the case.
    pub output: Option<String>,
}

/// What a path may lie in that is neither the image's own root nor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// A volume: the image's folder with its owner.
    Volume,
    /// A file or folder of the host.
    Mount,
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Away from the app's own machine.
    Outside,
}

/// What kind of thing a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// A call that failed.
    #[default]
    Failed,
    /// A set-id bit that was ignored.
    Ignored,
    /// A question, and what the app said after it.
    Asked,
    /// A question, after which the app ended without a word.
    Silent,
    /// What the app said, whatever it did.
    Output,
}

/// A rule that is ready for use.
#[derive(Debug)]
pub struct Ready {
    /// The rule.
    pub rule: Rule,
    path: Option<Regex>,
    program: Option<Regex>,
    output: Option<Regex>,
}

/// All rules.
///
/// # Panics
///
/// Never: a test reads the files, which are part of the program.
pub fn rules() -> &'static [Ready] {
    static RULES: OnceLock<Vec<Ready>> = OnceLock::new();
    RULES.get_or_init(|| {
        let read = |(_, text): &(&str, &str)| -> Vec<Rule> { serde_saphyr::from_str(text).unwrap_or_default() };
        FILES.iter().flat_map(read).filter_map(Ready::new).collect()
    })
}

impl Ready {
    fn new(rule: Rule) -> Option<Self> {
        let regex = |text: &Option<String>, flags: &str| match text {
            None => Some(None),
            Some(text) => Regex::new(&format!("{flags}{text}")).ok().map(Some),
        };
        let (path, program) = (regex(&rule.when.path, "")?, regex(&rule.when.program, "")?);
        let output = regex(&rule.when.output, "(?i)")?;
        Some(Ready { rule, path, program, output })
    }

    /// Whether the rule is about this event; `within` says what a path lies in.
    pub fn fits(&self, event: &Event, within: impl Fn(&str) -> Option<Within>) -> bool {
        let when = &self.rule.when;
        let kind = match event.kind {
            Kind::Failed => Seen::Failed,
            Kind::Ignored => Seen::Ignored,
            _ => return false,
        };
        let path = event.path.as_deref().unwrap_or_default();
        let errno = event.errno.as_deref().unwrap_or_default();
        let binds = event.call == "bind" && path.starts_with('/');
        kind == when.kind
            && (when.calls.is_empty() || when.calls.iter().any(|call| call == event.call))
            && (when.errno.is_empty() || when.errno.iter().any(|name| name == errno))
            && (when.wall.is_empty() || event.wall.is_some_and(|wall| when.wall.contains(&wall)))
            && (!when.writes || event.writes)
            && (!when.writes_or_binds || event.writes || binds)
            && !when.but_for.iter().any(|call| call == event.call)
            && (when.within.is_none() || when.within == within(path))
            && when.address.is_none_or(|Place::Outside| is_outside(path))
            && self.path.as_ref().is_none_or(|regex| regex.is_match(path))
            && self.program.as_ref().is_none_or(|regex| regex.is_match(&event.program))
    }

    /// Whether the rule is about a question of this call.
    pub fn asks(&self, call: &str, seen: Seen) -> bool {
        self.rule.when.kind == seen && self.rule.when.calls.iter().any(|name| name == call)
    }

    /// Whether the app said what the rule waits for.
    pub fn hears(&self, text: &str) -> bool {
        self.output.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// Whether an address is neither a Unix socket nor the loopback.
fn is_outside(address: &str) -> bool {
    address.parse::<std::net::SocketAddr>().is_ok_and(|address| !address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_whole() {
        let mut count = 0;
        for (name, text) in FILES {
            let rules: Vec<Rule> = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            count += rules.len();
            for rule in rules {
                let (code, calls) = (rule.code.clone(), [&rule.when.calls[..], &rule.when.but_for[..]].concat());
                let unknown: Vec<_> = calls
                    .iter()
                    .filter(|call| crate::seccomp::number(crate::profile::seccomp::Arch::X86_64, call).is_none())
                    .collect();
                assert!(unknown.is_empty(), "{name}, {code}: {unknown:?} are no system calls");
                assert!(rule.source.starts_with("https://"), "{name}, {code}: no source");
                assert!(
                    rule.when.errno.iter().all(|errno| errno.parse::<Name>().is_ok()),
                    "{name}, {code}: {:?}",
                    rule.when.errno
                );
                assert!(Ready::new(rule).is_some(), "{name}, {code}: a regular expression is none");
            }
        }
        assert_eq!(rules().len(), count);
    }

    /// The name of an error.
    struct Name;

    impl std::str::FromStr for Name {
        type Err = ();

        fn from_str(text: &str) -> Result<Self, ()> {
            let mut all = (1..134).map(|number| format!("{:?}", nix::errno::Errno::from_raw(number)));
            all.any(|name| name == text).then_some(Name).ok_or(())
        }
    }

    #[test]
    fn outside_is_another_machine() {
        assert!(is_outside("10.0.0.1:443") && is_outside("[2001:db8::1]:80"));
        assert!(!is_outside("127.0.0.1:5432") && !is_outside("[::1]:80") && !is_outside("/run/x.sock"));
    }
}
