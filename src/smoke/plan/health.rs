//! The image's own health check, where it asks what a probe can ask.
//!
//! A health check runs inside the container; nothing is ever executed there by austere. Its question is taken over only where it is
//! certain to be the same: one plain `curl`, `wget` or `nc`, to a TCP port that the image exposes.

use super::{Probe, StatusRange, note, words};
use crate::finding::Finding;
use crate::image::Config;

/// Flags that change how a program speaks and not what it asks, and how many words each takes after it.
const CURL: &[(&str, usize)] = &[
    ("--silent", 0),
    ("--show-error", 0),
    ("--fail", 0),
    ("--insecure", 0),
    ("--output", 1),
    ("-o", 1),
    ("--max-time", 1),
    ("-m", 1),
    ("--connect-timeout", 1),
];
const WGET: &[(&str, usize)] = &[
    ("--quiet", 0),
    ("--spider", 0),
    ("--no-verbose", 0),
    ("-nv", 0),
    ("--no-check-certificate", 0),
    ("-O-", 0),
    ("-qO-", 0),
    ("-O/dev/null", 0),
    ("-O", 1),
    ("-qO", 1),
    ("-T", 1),
    ("-t", 1),
];
const NC: &[(&str, usize)] = &[("-w", 1)];

/// Puts the health check's question in the place of the plain connection to its port, or says why not.
pub(super) fn refine(config: &Config, probes: &mut [Probe], notes: &mut Vec<Finding>) {
    let Some(check) = &config.healthcheck else { return };
    let words: Vec<String> = match check.test.split_first() {
        Some((kind, words)) if kind == "CMD" => words.to_vec(),
        Some((kind, [line])) if kind == "CMD-SHELL" => plain_words(line).unwrap_or_else(|| vec![line.clone()]),
        _ => return,
    };
    let Some(program) = words.first() else { return };
    let asked = question(&words);
    let place = asked.as_ref().and_then(|asked| probes.iter_mut().find(|probe| probe.port() == asked.port()));
    if let (Some(asked), Some(place)) = (asked, place) {
        let message = format!("the image's health check became the probe {} {}", asked.kind(), asked.target());
        *place = asked;
        notes.push(note("health-check-asked", message, ""));
    } else {
        let name: String = program.chars().take(60).collect();
        let message = format!("the image's health check (`{name}`) runs inside the container and was not made here");
        notes.push(note("health-check-not-asked", message, ""));
    }
}

/// The words of a line that a shell would not change, without the `|| exit 1` at its end.
fn plain_words(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let line = ["|| exit 1", "|| false"].iter().find_map(|end| line.strip_suffix(end)).unwrap_or(line);
    line.split_whitespace()
        .map(|word| {
            let quoted = |mark: char| word.strip_prefix(mark).and_then(|word| word.strip_suffix(mark));
            let (word, open) = match quoted('\'').or_else(|| quoted('"')) {
                Some(word) => (word, "?&"),
                None => (word, ""),
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=%@+[]".contains(c) || open.contains(c);
            word.chars().all(plain).then(|| word.to_owned())
        })
        .collect()
}

/// The probe that asks the same as a command.
fn question(words: &[String]) -> Option<Probe> {
    let (program, rest) = words.split_first()?;
    let name = program.rsplit('/').next()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match name {
        "curl" => {
            let (flags, [url]) = parse(&rest, CURL, "fksS")?;
            let given = |long: &str, short: char| {
                flags.iter().any(|flag| *flag == long || (!flag.starts_with("--") && flag.contains(short)))
            };
            let status = if given("--fail", 'f') { StatusRange::OK } else { StatusRange::ANY };
            http(url, status, given("--insecure", 'k'))
        }
        "wget" => {
            let (flags, [url]) = parse(&rest, WGET, "q")?;
            // It follows redirects, and where they lead is not asked here.
            http(url, StatusRange::OK, flags.contains(&"--no-check-certificate"))
        }
        "nc" => {
            let (flags, [host, port]) = parse(&rest, NC, "zv")?;
            let only_looks = flags.iter().any(|flag| flag.contains('z'));
            (only_looks && is_here(host)).then(|| Probe::tcp(port).ok()).flatten()
        }
        _ => None,
    }
}

/// Flags and the `N` words that are none; nothing when a flag is not known.
fn parse<'a, const N: usize>(
    words: &[&'a str],
    known: &[(&str, usize)],
    letters: &str,
) -> Option<(Vec<&'a str>, [&'a str; N])> {
    let (mut flags, mut others) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(short) = word.strip_prefix('-') else {
            others.push(*word);
            continue;
        };
        let name = word.split_once('=').filter(|_| word.starts_with("--"));
        let values = match known.iter().find(|(flag, _)| flag == word) {
            Some((_, values)) => *values,
            None if !short.is_empty() && short.chars().all(|letter| letters.contains(letter)) => 0,
            None if name.is_some_and(|(name, _)| ["--tries", "--timeout", "--max-time"].contains(&name)) => 0,
            None => return None,
        };
        flags.push(*word);
        for _ in 0..values {
            words.next()?;
        }
    }
    Some((flags, others.try_into().ok()?))
}

fn is_here(host: &str) -> bool {
    ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "::1"].contains(&host)
}

/// `http://localhost[:PORT][/PATH]`, and `https` where any certificate will do; the app sees the same `Host` as from inside.
fn http(url: &str, status: StatusRange, any_certificate: bool) -> Option<Probe> {
    let (rest, https) = match url.split_once("://") {
        None => (url, false),
        Some(("http", rest)) => (rest, false),
        Some(("https", rest)) if any_certificate => (rest, true),
        Some(_) => return None,
    };
    let (place, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, words::port_number(port).ok()?),
        None => (place, if https { 443 } else { 80 }),
    };
    let headers = vec![words::header("Host", place).ok()?];
    // A query without a path, a fragment or a glob is read differently by each program.
    let certain = is_here(host) && !path.contains(['#', '[', ']', '{', '}']);
    certain
        .then(|| Some(Probe::Http { port, path: words::path(path).ok()?, status, contains: None, headers, https }))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ExposedPort, Healthcheck, Protocol};
    use crate::smoke::plan::{Plan, TIMEOUT};

    fn plan(test: &[&str]) -> (Vec<String>, Vec<String>) {
        let test = test.iter().map(|word| (*word).to_owned()).collect();
        let config = Config {
            exposed_ports: vec![ExposedPort { port: 8080, protocol: Protocol::Tcp }],
            healthcheck: Some(Healthcheck { test, ..Healthcheck::default() }),
            ..Config::default()
        };
        let plan = Plan::from_image(&config, TIMEOUT);
        let probes = plan.probes.iter().map(|probe| format!("{} {}: {}", probe.kind(), probe.target(), probe.want()));
        (probes.collect(), plan.notes.into_iter().map(|note| note.code).collect())
    }

    #[test]
    fn a_plain_question_is_taken_over() {
        let ok = "http 8080/health: answer with status 200-399";
        let any = "http 8080/health: answer with status 100-599";
        let root = "http 8080/: answer with status 200-399";
        let url = "http://localhost:8080/health";
        let cases: [(&[&str], &str); 12] = [
            (&["CMD", "curl", "-kf", "https://localhost:8080/health"], "https 8080/health: answer with status 200-399"),
            (
                &["CMD", "wget", "-q", "--no-check-certificate", "https://localhost:8080/"],
                "https 8080/: answer with status 200-399",
            ),
            (&["CMD", "curl", "-f", url], ok),
            (&["CMD", "/usr/bin/curl", "-fsS", "-o", "/dev/null", "--max-time", "3", url], ok),
            (&["CMD", "curl", "-s", url], any),
            (&["CMD", "wget", "-q", "--spider", url], ok),
            (&["CMD", "wget", "-qO-", "http://127.0.0.1:8080/"], root),
            (&["CMD-SHELL", "curl -f http://localhost:8080/health || exit 1"], ok),
            (&["CMD-SHELL", "curl --fail 'http://[::1]:8080/health'"], ok),
            (&["CMD-SHELL", "wget --no-verbose --tries=1 --spider http://localhost:8080 || exit 1"], root),
            (&["CMD", "nc", "-z", "localhost", "8080"], "tcp 8080: accept a connection"),
            (&["CMD-SHELL", "nc -zv -w 1 127.0.0.1 8080 || exit 1"], "tcp 8080: accept a connection"),
        ];
        for (test, expected) in cases {
            let (probes, notes) = plan(test);
            assert_eq!(probes, [expected], "{test:?}");
            assert_eq!(notes, ["health-check-asked"]);
        }
    }

    #[test]
    fn what_is_not_certain_stays_a_connection() {
        let cases: [&[&str]; 14] = [
            &["CMD", "redis-cli", "ping"],
            &["CMD", "curl", "-f", "https://localhost:8080/"],
            &["CMD", "curl", "-fL", "http://localhost:8080/"],
            &["CMD", "curl", "-X", "POST", "http://localhost:8080/"],
            &["CMD", "curl", "-f", "http://example.org:8080/"],
            &["CMD", "curl", "-f", "http://localhost:9090/health"],
            &["CMD", "curl", "-f", "http://localhost:8080/", "http://localhost:8080/b"],
            &["CMD-SHELL", "curl -f http://localhost:$PORT/ || exit 1"],
            &["CMD-SHELL", "curl -f http://localhost:8080/ | grep ok"],
            &["CMD-SHELL", "curl -f http://localhost:8080/; true"],
            &["CMD-SHELL", "test -f /tmp/x && curl -f http://localhost:8080/"],
            &["CMD", "nc", "localhost", "8080"],
            &["CMD", "nc", "-zu", "localhost", "8080"],
            &["CMD", "curl", "-o"],
        ];
        for test in cases {
            let (probes, notes) = plan(test);
            assert_eq!(probes, ["port 8080: accept a connection"], "{test:?}");
            assert_eq!(notes, ["health-check-not-asked"], "{test:?}");
        }
        for test in [&["NONE"][..], &[], &["CMD"]] {
            assert_eq!(plan(test).1, Vec::<String>::new());
        }
    }
}
