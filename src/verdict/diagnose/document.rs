//! The catalogue for readers: `docs/diagnosis.md`, and `austere doctor --explain CODE`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::rules::{Match, Rule, Seen, Within, rules};

/// Where the table of the zoo begins and ends in the document; `tests/zoo` writes it.
pub const ZOO: [&str; 2] = ["<!-- the zoo -->\n", "<!-- the end of the zoo -->\n"];

const HEAD: &str = "\
# Why it failed

<!-- Made from profiles/diagnosis by `AUSTERE_BLESS=1 cargo test --lib diagnose`; the table at the end by `AUSTERE_BLESS=1 cargo test --test zoo`. -->

An image that fails is run three times: once to judge, once without hardening, and once more in the same jail with a tracer beside it, which sees
what the app was refused. `austere verify --trace` shows that run, `--trace=FILE` writes it to a file, as JSON lines where its name ends in `.jsonl`.
Where the app says that there was no room (`No space left on device`), or died of SIGBUS, each of its writes is watched as well.
An app that passes is watched with `--trace` only; what it was refused is then a notice.

The first finding is the cause: the call that was fatal, with its path and error, and the wall that refused it. Programs are refused much that they shrug
off, so the last error is not always the one, nor the first. A call counts for more when the app complains of it (by its path, or the text of the error),
when its process got nothing done afterwards, when that process ended with a failure that its parent passed on, and when a wall of the jail refused it.
It counts for less when the program did the same elsewhere with success, or said that it goes on. Where no call failed, it is what was asked last.

The wall is found by looking at what the kernel looked at: owner, group and mode of each folder on the way, mount flags, capabilities, limits. What the
system call filter refuses is seen as it happens. Where that leaves a doubt, the app is watched once more with that one wall away (without Landlock, with
the capability, with the call let through by the filter), and the finding says what that run showed: `shown by a run without Landlock`, or that it was refused
there as well.

`relax` in a finding has the docker flags that would give back what is missing; the advice says what would be better: a change to the image.

`austere doctor --explain D07` prints one of these.
";

/// One code, as several rules may have it.
fn by_code() -> BTreeMap<&'static str, Vec<&'static Rule>> {
    let mut codes: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for ready in rules() {
        codes.entry(&ready.rule.code).or_default().push(&ready.rule);
    }
    codes
}

/// All codes there are, sorted.
pub fn codes() -> Vec<&'static str> {
    by_code().into_keys().collect()
}

/// One code explained, as Markdown; nothing for a code that there is not.
pub fn explain(code: &str) -> Option<String> {
    let rules = by_code().into_iter().find(|(known, _)| known.eq_ignore_ascii_case(code))?;
    Some(section(rules.0, &rules.1))
}

fn section(code: &str, rules: &[&Rule]) -> String {
    let mut text = format!("## {code}\n");
    for rule in rules {
        let noise = if rule.noise { " (harmless)" } else { "" };
        let _ = write!(text, "\n**{}{}**{noise}\n\n", rule.title[..1].to_uppercase(), &rule.title[1..]);
        let _ = writeln!(text, "{}\n", rule.explains.trim());
        let _ = writeln!(text, "- seen: {}", seen(&rule.when));
        if !rule.noise {
            let _ = writeln!(text, "- better: {}", shown(&rule.better));
        }
        if !rule.relax.is_empty() && !rule.noise {
            let flags: Vec<_> = rule.relax.iter().map(|flag| format!("`{}`", shown(flag))).collect();
            let _ = writeln!(text, "- relax: {}", flags.join(" "));
        }
        let _ = writeln!(text, "- source: <{}>", rule.source);
    }
    text
}

/// The words in braces, for a reader who has no image at hand.
fn shown(text: &str) -> String {
    let words = [
        ("{scratch}", "FOLDER:uid=65532"),
        ("{mount}", "FOLDER"),
        ("{room}", "FOLDER"),
        ("{double}", "SIZE"),
        ("{dir}", "FOLDER"),
        ("{volume}", "FOLDER"),
        ("{owner}", "USER"),
        ("{path}", "PATH"),
        ("{uid}", "65532"),
        ("{gid}", "0"),
        ("{program}", "PROGRAM"),
        ("{capability}", "NAME"),
    ];
    words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
}

/// What a rule looks at, in a line.
fn seen(when: &Match) -> String {
    let mut parts = Vec::new();
    match when.kind {
        Seen::Failed => {}
        Seen::Ignored => parts.push("a set-id program started under `no_new_privs`".to_owned()),
        Seen::Asked => parts.push("no call fails: it asks, and complains of the answer".to_owned()),
        Seen::Silent => parts.push("no call fails: it asks, and ends without a word".to_owned()),
        Seen::Output => parts.push("what the app writes".to_owned()),
    }
    if !when.calls.is_empty() {
        parts.push(when.calls.join(", "));
    } else if when.writes || when.writes_or_binds {
        parts.push("a call that makes or changes something".to_owned());
    }
    if !when.but_for.is_empty() {
        parts.push(format!("any call but {}", when.but_for.join(", ")));
    }
    match when.within {
        Some(Within::Volume) => parts.push("in a volume".to_owned()),
        Some(Within::Mount) => parts.push("in a file or folder of the host".to_owned()),
        None => {}
    }
    if !when.errno.is_empty() {
        parts.push(when.errno.join(" or "));
    }
    if !when.wall.is_empty() {
        let walls: Vec<_> = when.wall.iter().map(|wall| wall.name()).collect();
        parts.push(format!("refused by {}", walls.join(" or ")));
    }
    for (name, regex) in [("path", &when.path), ("program", &when.program), ("output", &when.output)] {
        if let Some(regex) = regex {
            parts.push(format!("{name} like `{regex}`"));
        }
    }
    parts.join("; ")
}

/// The whole document, with nothing between the marks of the zoo.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for (code, rules) in by_code() {
        text.push('\n');
        text.push_str(&section(code, &rules));
    }
    text.push_str("\n## The zoo\n\n");
    text.push_str(
        "A static program that fails in each of these ways is run in the jail, as root and as an ordinary user, and a twin of it that does not fail. \
         `tests/zoo` has the steps.\n\n",
    );
    text.push_str(&ZOO.concat());
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `AUSTERE_BLESS=1 cargo test --lib diagnose` writes the document anew.
    #[test]
    fn the_document_is_the_data_s() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let [begin, end] = ZOO;
        let table = written.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(table, _)| table);
        let expected = document().replace(&ZOO.concat(), &format!("{begin}{table}{end}"));
        if std::env::var_os("AUSTERE_BLESS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        } else {
            assert!(written == expected, "run the tests with AUSTERE_BLESS=1");
        }
    }

    #[test]
    fn a_code_is_explained_and_another_is_not() {
        assert!(explain("d07").unwrap().starts_with("## D07\n\n**The program has file capabilities"));
        assert_eq!(explain("D99"), None);
        assert!(codes().contains(&"D01") && codes().contains(&"closed-room"));
    }
}
