//! Why it failed: a program that fails in every way there is a code for, a twin of each that does not, and failures among refusals that the
//! program shrugs off.
//!
//! The app in the image is this very program, which is static: `cargo test --test zoo [PART OF A NAME]`.

// A helper that fails fails the test, and a harness prints. The app exits as it likes.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::exit)]

#[path = "common/zoo_animals.rs"]
#[macro_use]
mod animals;
#[path = "common/zoo_app.rs"]
mod app;
#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use animals::Twin::{Flags, Steps};
use animals::{Animal, MKDIR, OPEN, ZOO, image};
use callers::{Caller, callers};
use serde_json::Value;

type Test = (&'static str, fn());

const TESTS: [Test; 8] = [
    ("the_documentation_has_the_zoo", the_documentation_has_the_zoo),
    ("every_code_is_named_and_its_twin_passes", every_code_is_named_and_its_twin_passes),
    ("what_is_shrugged_off_is_not_the_cause", what_is_shrugged_off_is_not_the_cause),
    ("what_the_corpus_taught", what_the_corpus_taught),
    ("a_hundred_threads_and_a_thousand_forks_are_followed", a_hundred_threads_and_a_thousand_forks_are_followed),
    ("a_passing_app_is_degraded", a_passing_app_is_degraded),
    ("the_trace_is_written", the_trace_is_written),
    ("nothing_is_left_when_it_is_killed", nothing_is_left_when_it_is_killed),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == app::FLAG) {
        return app::play(&words[1..]).into();
    }
    let asked: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut failed = false;
    for (name, test) in
        TESTS.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|part| name.contains(*part)))
    {
        let passed = thread::spawn(test).join().is_ok();
        failed |= !passed;
        std::io::stdout()
            .write_all(format!("test {name} ... {}\n", if passed { "ok" } else { "FAILED" }).as_bytes())
            .unwrap();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The verdict on the program with these steps.
fn verdict(caller: &Caller, image: &str, flags: &[&str], steps: &[&str]) -> (Value, i32) {
    let mut words = vec![image];
    words.extend(flags);
    if !flags.contains(&"--timeout") {
        words.extend(["--timeout", "10"]);
    }
    words.extend(["--format", "json", "--"]);
    words.extend(steps);
    let output = caller.verify(&words);
    (common::json(&output), output.status.code().unwrap())
}

/// Does `work` on all of `jobs`, two at a time, and collects the complaints.
fn each<T: Sync>(jobs: &[T], work: impl Fn(&T) -> Option<String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    wrong.lock().unwrap().extend(work(job));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn short(verdict: &Value) -> String {
    let findings = verdict["findings"].as_array().unwrap().iter();
    let line = |f: &Value| {
        format!("  {} {} {} {} {} {}", f["role"], f["code"], f["call"], f["errno"], f["path"], f["message"])
    };
    format!("{}: {}\n{}", verdict["verdict"], verdict["reason"], findings.map(line).collect::<Vec<_>>().join("\n"))
}

/// What is wrong with the first finding.
fn complaint(verdict: &Value, animal: &Animal) -> Option<String> {
    let first = &verdict["findings"][0];
    let field = |name: &str| first[name].as_str().unwrap_or_default();
    let right = first["role"] == "cause"
        && field("code") == animal.code
        && animal.call.contains(&field("call"))
        // Where there is one id, no other is known at all.
        && (field("errno") == animal.errno || (["D08", "D09"].contains(&animal.code) && verdict["ids"]["mode"] == "single" && field("errno") == "EINVAL"))
        && field("path") == animal.path
        && field("refused_by") == animal.wall
        && (first["advice"].is_string() || field("code") == "D55");
    (!right).then(|| format!("{:?} is not {} {:?}\n{}", animal.steps, animal.code, animal.call, short(verdict)))
}

/// `AUSTERE_BLESS=1 cargo test --test zoo documentation` writes the table anew.
fn the_documentation_has_the_zoo() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    let written = fs::read_to_string(&path).unwrap();
    let mut table = "| what the program does | cause | call | error | refused by | the twin |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for animal in ZOO {
        let twin = match animal.twin {
            Flags(flags) => format!("`{}`", flags.join(" ")),
            Steps(steps) => format!("does `{}`", steps.join(" ")),
        };
        let (steps, call) = (animal.steps.join(" "), animal.call.join(" or "));
        let error = if animal.errno.is_empty() { "none" } else { animal.errno };
        let row = [&format!("`{steps}`"), animal.code, &call, error, animal.wall, &twin].join(" | ");
        table.extend(["| ", &row, " |\n"]);
    }
    let [begin, end] = austere::verdict::diagnose::ZOO;
    let (before, rest) = written.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let expected = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("AUSTERE_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == expected, "run the tests with AUSTERE_BLESS=1");
}

fn every_code_is_named_and_its_twin_passes() {
    for caller in &callers() {
        let image = caller.put("zoo", &image());
        each(ZOO, |animal| {
            // With one id every file belongs to the app, and a mode is its to change.
            if !caller.is_root() && animal.steps == ["must:chmod:/volume"] {
                return None;
            }
            let (verdict_, code) = verdict(caller, &image, &[], &[animal.steps, &["serve"]].concat());
            let expected = if animal.code == "closed-room" { 3 } else { 1 };
            if code != expected {
                return Some(format!("{:?} ends with {code}\n{}", animal.steps, short(&verdict_)));
            }
            if let Some(complaint) = complaint(&verdict_, animal) {
                return Some(format!("{}: {complaint}", caller.mode()));
            }
            let (flags, steps) = match animal.twin {
                Flags(flags) => (flags, animal.steps),
                Steps(steps) => (&[][..], steps),
            };
            let (verdict_, code) = verdict(caller, &image, flags, &[steps, &["serve"]].concat());
            let causes =
                verdict_["findings"].as_array().unwrap().iter().filter(|finding| finding["role"] == "cause").count();
            let passes = code == 0 && causes == 0;
            (!passes).then(|| format!("the twin {steps:?} {flags:?} does not pass\n{}", short(&verdict_)))
        });
    }
}

/// Refusals that a program shrugs off, one of each error, in two manners, before it dies of each of several others.
fn what_is_shrugged_off_is_not_the_cause() {
    const SHRUGGED: [&str; 8] = [
        "write:/tmp/cache",
        "mkdir:/var/lib/app",
        "write:/etc/app.conf",
        "read:/etc/secret.conf",
        "chown:/data/mine",
        "setgroups:1",
        "clone3:",
        "limit:",
    ];
    let fatal: Vec<&Animal> = ZOO
        .iter()
        .filter(|animal| ["D01", "D09", "D16", "D17", "D18", "D42", "D48", "D53", "needs-root"].contains(&animal.code))
        .collect();
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let mut jobs = Vec::new();
    for (index, animal) in fatal.iter().enumerate() {
        for (turn, manner) in ["try", "warn"].into_iter().enumerate() {
            // Three of the eight each time, so that every one comes before every kind of end.
            let mut steps: Vec<String> = Vec::new();
            for offset in 0..3 {
                let act = SHRUGGED[(index * 3 + turn + offset * 3) % SHRUGGED.len()];
                let is_same = animal.steps[0].ends_with(act);
                steps.extend((!is_same).then(|| format!("{manner}:{act}")));
            }
            steps.extend(animal.steps.iter().map(ToString::to_string));
            jobs.push((steps, *animal));
        }
    }
    assert!(jobs.len() >= 20, "{}", jobs.len());
    each(&jobs, |(steps, animal)| {
        let words: Vec<&str> = steps.iter().map(String::as_str).chain(["serve"]).collect();
        let (verdict, _) = verdict(caller, &image, &[], &words);
        complaint(&verdict, animal).map(|complaint| format!("{steps:?}: {complaint}"))
    });
    // The twin: with nothing fatal at its end, the same program passes.
    let words: Vec<String> = SHRUGGED.iter().map(|act| format!("warn:{act}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["serve"]).collect();
    assert_eq!(verdict(caller, &image, &[], &words).1, 0);
}

/// The lessons of real images, one by one.
fn what_the_corpus_taught() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let lessons = [
        // Not the first error, and not the last either: a harmless EPERM comes last.
        animal!(
            ["try:write:/etc/app.conf", "try:mkdir:/data/x", "warn:limit:", "must:write:/run/x.sock", "try:limit:"],
            "D53",
            OPEN,
            "EROFS",
            "/run/x.sock",
            "read-only mount",
            Steps(&[])
        ),
        animal!(
            ["must:child:quiet=write=/run/x.pid"],
            "D03",
            OPEN,
            "EROFS",
            "/run/x.pid",
            "read-only mount",
            Steps(&[])
        ),
        // Ends without a word.
        animal!(
            ["try:read:/etc/app.conf", "quiet:mkdir:/data/x"],
            "D53",
            MKDIR,
            "EROFS",
            "/data/x",
            "read-only mount",
            Steps(&[])
        ),
        // Not always a failing call.
        animal!(["try:write:/tmp/x", "must:child:must=root="], "needs-root", &["geteuid"], "", "", "", Steps(&[])),
        // ENOENT is the one that counts.
        animal!(
            ["try:write:/tmp/x", "must:read:/etc/no-such-file"],
            "file-missing",
            OPEN,
            "ENOENT",
            "/etc/no-such-file",
            "",
            Steps(&[])
        ),
        // What is missing because making it was refused.
        animal!(
            ["try:mkdir:/data/x", "must:read:/data/x/y"],
            "D53",
            MKDIR,
            "EROFS",
            "/data/x",
            "read-only mount",
            Steps(&[])
        ),
        // What a script throws away says nothing, and what it says of being root may be about a call.
        animal!(
            ["must:child:try=say=x,must=uring="],
            "D45",
            &["io_uring_register"],
            "EPERM",
            "",
            "seccomp filter",
            Steps(&[])
        ),
        // The network is as closed without hardening, and there it works: a lookup that fails is not the cause.
        animal!(
            ["try:lookup:db", "must:say:could_not_resolve_db", "must:mkdir:/data/x"],
            "D53",
            MKDIR,
            "EROFS",
            "/data/x",
            "read-only mount",
            Steps(&[])
        ),
        // A volume: EACCES, and the cure is an owner.
        animal!(["must:mkdir:/volume/x"], "volume-owner", MKDIR, "EACCES", "/volume/x", "file mode", Steps(&[])),
    ];
    each(&lessons, |lesson| {
        let (verdict, _) = verdict(caller, &image, &[], &[lesson.steps, &["serve"]].concat());
        complaint(&verdict, lesson)
    });
    // A tmpfs hides what the image had below it, and docker's are noexec.
    let hidden = animal!(["must:read:/opt/locked"], "file-missing", OPEN, "ENOENT", "/opt/locked", "", Steps(&[]));
    let carried = animal!(["must:carry:/tmp/me"], "D29", &["execve"], "EACCES", "/tmp/me", "noexec mount", Steps(&[]));
    for (flags, lesson) in [(["--tmpfs", "/opt"], hidden), (["--tmpfs", "/tmp"], carried)] {
        let (verdict, _) = verdict(caller, &image, &flags, &[lesson.steps, &["serve"]].concat());
        assert_eq!(complaint(&verdict, &lesson), None);
    }
}

fn a_hundred_threads_and_a_thousand_forks_are_followed() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let trace = caller.dir().join("trace.jsonl");
    let flag = format!("--trace={}", trace.display());
    let summary = |steps: &str| -> (Vec<Value>, Value) {
        let (verdict, code) = verdict(caller, &image, &["--exit", "0", "--timeout", "60", &flag], &[steps]);
        assert_eq!(code, 0, "{}", short(&verdict));
        let text = fs::read_to_string(&trace).unwrap();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summary = lines.pop().unwrap();
        (lines, summary)
    };
    let (lines, threads) = summary("must:threads:100");
    assert_eq!((&threads["threads"], &threads["dropped"]), (&101.into(), &0.into()), "{threads}");
    let refused = lines.iter().filter(|line| line["path"].as_str().is_some_and(|path| path.starts_with("/nothing-")));
    assert_eq!(refused.count(), 100);
    let (lines, forks) = summary("must:forks:1000");
    assert_eq!((&forks["processes"], &forks["dropped"]), (&1001.into(), &0.into()), "{forks}");
    assert_eq!(lines.iter().filter(|line| line["kind"] == "ended").count(), 1001);
    assert_eq!(lines.iter().filter(|line| line["path"] == "/nothing" && line["errno"] == "EROFS").count(), 1000);
}

fn a_passing_app_is_degraded() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let steps = ["try:write:/data/key", "serve"];
    let noticed = |verdict: &Value| {
        let mut findings = verdict["findings"].as_array().unwrap().iter();
        findings.any(|finding| {
            finding["path"] == "/data/key" && finding["severity"] == "notice" && finding["role"] == "contributing"
        })
    };
    let trace = format!("--trace={}", caller.dir().join("degraded.txt").display());
    let (watched, code) = verdict(caller, &image, &[&trace], &steps);
    assert!(code == 0 && noticed(&watched), "{}", short(&watched));
    let (unwatched, code) = verdict(caller, &image, &[], &steps);
    assert!(code == 0 && !noticed(&unwatched), "without --trace nobody watches: {}", short(&unwatched));
}

fn the_trace_is_written() {
    for caller in &callers() {
        let image = caller.put("zoo", &image());
        let output = caller.verify(&[&image, "--trace", "--", "must:write:/tmp/x"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("`/tmp/x` = EROFS, refused by read-only mount") && said.contains("ended: exit 1"),
            "{said}"
        );
        let output = caller.verify(&[&image, "--trace=/no/such/folder/x", "--", "must:write:/tmp/x"]);
        assert_eq!(output.status.code(), Some(2), "{}", common::said(&output));
        let output = caller.verify(&[&image, "--", "must:write:/tmp/x"]);
        assert!(output.stderr.is_empty(), "{}", common::said(&output));
    }
}

fn nothing_is_left_when_it_is_killed() {
    use std::time::{Duration, Instant};
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let mark = format!("try:sleep:{}", 600_000 + std::process::id());
    let alive = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
                let line = String::from_utf8_lossy(&line).into_owned();
                line.starts_with("/app\0") && line.contains(&mark)
            })
        })
        .count()
    };
    let wait_until = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let trace = format!("--trace={}", caller.dir().join("killed.txt").display());
    let mut command = caller.austere();
    command.args(["verify", &image, &trace, "--up", "1", "--format", "json", "--", &mark]);
    let mut austere = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let traced = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&mark))
        })
        .any(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let by = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim).map(str::to_owned);
            by.is_some_and(|by| by != "0")
                && fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.starts_with(b"/app\0"))
        })
    };
    wait_until("the app is traced", &traced);
    austere.kill().unwrap();
    austere.wait().unwrap();
    wait_until("the app is gone with its tracer", &|| alive() == 0);
}
