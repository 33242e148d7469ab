//! A plan as a file says it: YAML with nothing in it that is not understood. `docs/plan.md` describes it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};

use super::words::{self, KNOCK, WordError};
use super::{Origin, Pattern, Plan, PlanError, Probe, StatusRange, TIMEOUT};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    timeout: Option<Word<Time>>,
    grace: Option<Word<Time>>,
    probes: Vec<Entry>,
}

/// One probe: a key that names its kind, and what there is to say of it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Http(Http),
    Tcp(Tcp),
    Udp(Udp),
    Log(Log),
    Exit(Exit),
    Up(Up),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    port: Word<Port>,
    path: Option<Word<Path>>,
    status: Option<Word<StatusRange>>,
    contains: Option<String>,
    headers: Option<Headers>,
    https: Option<bool>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tcp {
    port: Word<Port>,
    send: Option<String>,
    expect: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Udp {
    port: Word<Port>,
    send_hex: Option<Word<Bytes>>,
    expect_hex: Option<Word<Bytes>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    regex: Word<Pattern>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Exit {
    code: u8,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Up {
    #[serde(rename = "for")]
    duration: Word<Time>,
}

/// A scalar that is read as the command line reads it, so that its error says the same.
struct Word<T>(T);

struct Port(u16);
struct Time(Duration);
struct Path(String);
struct Bytes(Vec<u8>);
struct Headers(Vec<(String, String)>);

impl Plan {
    /// Reads a plan file.
    ///
    /// # Errors
    ///
    /// [`PlanError::File`] with the place of what is not understood, and what [`Plan::new`] refuses.
    pub fn from_file(text: &str) -> Result<Self, PlanError> {
        if text.trim().is_empty() {
            return Err(PlanError::File { line: 1, column: 1, why: "there is nothing in it".to_owned() });
        }
        let Document { timeout, grace, probes } = serde_saphyr::from_str(text).map_err(|error| misread(&error))?;
        let timeout = timeout.map_or(TIMEOUT, |Word(Time(timeout))| timeout);
        let probes = probes.into_iter().map(probe).collect();
        Ok(Plan::new(Origin::File, probes, timeout)?.with_grace(grace.map(|Word(Time(grace))| grace)))
    }
}

fn misread(error: &serde_saphyr::Error) -> PlanError {
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    // The place is said once, and the source is not repeated.
    let why = error.without_snippet().to_string();
    let why = match why.split(" at line ").next().unwrap_or(&why) {
        "expected sequence start" => "a list is wanted: `- ` before each entry".to_owned(),
        why => why.to_owned(),
    };
    PlanError::File { line, column, why }
}

fn probe(entry: Entry) -> Probe {
    match entry {
        Entry::Http(Http { port: Word(Port(port)), path, status, contains, headers, https }) => Probe::Http {
            port,
            path: path.map_or_else(|| "/".to_owned(), |Word(Path(path))| path),
            status: status.map_or(StatusRange::OK, |Word(status)| status),
            contains: contains.filter(|text| !text.is_empty()),
            headers: headers.map(|Headers(headers)| headers).unwrap_or_default(),
            https: https.unwrap_or_default(),
        },
        Entry::Tcp(Tcp { port: Word(Port(port)), send, expect }) => {
            Probe::Tcp { port, send: send.map(String::into_bytes), expect: expect.map(String::into_bytes) }
        }
        Entry::Udp(Udp { port: Word(Port(port)), send_hex, expect_hex }) => Probe::Udp {
            port,
            send: send_hex.map_or_else(|| KNOCK.to_vec(), |Word(Bytes(bytes))| bytes),
            expect: expect_hex.map(|Word(Bytes(bytes))| bytes),
        },
        Entry::Log(Log { regex: Word(regex) }) => Probe::Log { regex },
        Entry::Exit(Exit { code }) => Probe::Exit { code },
        Entry::Up(Up { duration: Word(Time(duration)) }) => Probe::Up { duration, or_exit_0: false },
    }
}

impl FromStr for Port {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        words::port_number(text).map(Port)
    }
}

impl FromStr for Time {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        words::seconds(text).map(Time)
    }
}

impl FromStr for Path {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        words::path(text).map(Path)
    }
}

impl FromStr for Bytes {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        words::bytes(text).map(Bytes)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = BTreeMap::<String, String>::deserialize(deserializer)?;
        let fields = fields.iter().map(|(name, value)| words::header(name, value)).collect::<Result<_, _>>();
        fields.map(Headers).map_err(de::Error::custom)
    }
}

impl<'de, T: FromStr<Err = WordError>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As written: `0030` in hexadecimal is not the number 30.
        let text = String::deserialize(deserializer)?;
        text.parse().map(Word).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "\
# every kind
timeout: 12.5
grace: 4
probes:
  - http: {port: 8080, path: /healthz, status: 200-204, contains: ok, headers: {Host: example.org}, https: false}
  - http:
      port: 80
      status: 204
  - http: {port: 8443, path: /x, https: true}
  - tcp: {port: 6379, send: \"PING\\r\\n\", expect: PONG}
  - udp: {port: 53, send_hex: 0030, expect_hex: \"00 80\"}
  - udp: {port: 54}
  - log: {regex: 'ready (in|after) \\d+'}
  - up: {for: 3}
";

    #[test]
    fn every_kind_of_probe_can_be_written() {
        let plan = Plan::from_file(ALL).unwrap();
        assert_eq!(
            (plan.origin, plan.timeout, plan.grace),
            (Origin::File, Duration::from_millis(12_500), Duration::from_secs(4))
        );
        assert!(plan.judges_stop);
        let probes = [
            Probe::Http {
                port: 8080,
                path: "/healthz".to_owned(),
                status: "200-204".parse().unwrap(),
                contains: Some("ok".to_owned()),
                headers: vec![("Host".to_owned(), "example.org".to_owned())],
                https: false,
            },
            Probe::http("80=204").unwrap(),
            Probe::https("8443/x").unwrap(),
            Probe::Tcp { port: 6379, send: Some(b"PING\r\n".to_vec()), expect: Some(b"PONG".to_vec()) },
            Probe::Udp { port: 53, send: vec![0, 0x30], expect: Some(vec![0, 0x80]) },
            Probe::udp("54").unwrap(),
            Probe::log("ready (in|after) \\d+").unwrap(),
            Probe::up("3").unwrap(),
        ];
        assert_eq!(plan.probes, probes);
        let plan = Plan::from_file("probes: [exit: {code: 3}]").unwrap();
        assert_eq!((plan.probes, plan.timeout, plan.judges_stop), (vec![Probe::Exit { code: 3 }], TIMEOUT, false));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let cases = [
            ("probes:\n  - http: {port: 80, paht: /x}\n", 2, "paht"),
            ("retries: 3\nprobes:\n  - up: {for: 1}\n", 1, "retries"),
            ("probes:\n  - up: {for: 1}\n  - ping: {port: 1}\n", 3, "ping"),
            ("probes:\n  - tcp: {port: 0}\n", 2, "not a port"),
            ("probes:\n  - tcp: {}\n", 2, "port"),
            ("timeout: 0\nprobes:\n  - up: {for: 1}\n", 1, "not a number of seconds"),
            ("probes:\n  - udp: {port: 1, send_hex: abc}\n", 2, "not hexadecimal"),
            ("probes:\n  - log: {regex: \"(\"}\n", 2, "not a regular expression"),
            ("probes:\n  - http: {port: 1, https: maybe}\n", 2, "bool"),
            ("probes:\n  - http: {port: 1, headers: {\"a b\": c}}\n", 2, "not a header"),
            ("probes:\n  - http: {port: 1, path: x}\n", 2, "percent-encode"),
            ("probes:\n  - exit: {code: 256}\n", 2, ""),
            ("probes:\n  - up: {for: 1}\nprobes: []\n", 3, "probes"),
            ("probes: [\n", 1, ""),
            ("probes:\n  http: {port: 1}\n", 2, "a list is wanted"),
            ("\n", 1, "there is nothing in it"),
        ];
        for (text, at, word) in cases {
            match Plan::from_file(text) {
                Err(PlanError::File { line, why, .. }) => {
                    assert!(line == at && why.contains(word), "{text}: line {line}: {why}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(Plan::from_file("probes: []"), Err(PlanError::Empty)));
        assert!(
            Plan::from_file("").is_err() && Plan::from_file("probes: [http: {port: 1, headers: {A B: x}}]").is_err()
        );
        let both = "probes: [exit: {code: 3}, up: {for: 1}]";
        assert!(matches!(Plan::from_file(both), Err(PlanError::ExitAndMore(3))));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(probes:\\n)?( *- )?(http|tcp|log)?:? ?\\PC{0,40}") {
            let _ = Plan::from_file(&text);
        }
    }
}
