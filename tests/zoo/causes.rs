//! The right cause first, and none where there is none.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use austere::verdict::diagnose::codes;
use serde_json::Value;

use crate::animals::Twin::{Flags, Steps};
use crate::animals::{Animal, NOISE, OLD_FILTER, WITHOUT, has_dynamic, image, zoo};
use crate::callers::{Caller, callers};
use crate::common::{Ordinary, each};
use crate::{app, common};
use crate::{complaint, short, verdict};

/// A filter of the time before these calls: EPERM for what it does not know.
const OLD: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone3", "faccessat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;

/// `AUSTERE_BLESS=1 cargo test --test zoo documentation` writes the table anew.
pub fn the_documentation_has_the_zoo() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    let written = fs::read_to_string(&path).unwrap();
    let mut table = "| what the program does | cause | call | error | refused by | the twin |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for animal in zoo() {
        let twin = match animal.twin {
            Flags([]) => "no flags".to_owned(),
            Flags(flags) => format!("`{}`", flags.join(" ")),
            Steps(steps) => format!("does `{}`", steps.join(" ")),
        };
        let (steps, call) = (animal.steps.join(" "), animal.call.join(" or "));
        let error = if animal.errno.is_empty() { "none" } else { animal.errno };
        let by = animal.program.map_or_else(String::new, |program| format!(" as `{program}`"));
        let given = if animal.given.is_empty() { String::new() } else { format!(" with `{}`", animal.given.join(" ")) };
        let row = [&format!("`{steps}`{by}{given}"), animal.code, &call, error, animal.wall, &twin].join(" | ");
        table.extend(["| ", &row, " |\n"]);
    }
    table.push_str("\n| what harms nothing | noise |\n| --- | --- |\n");
    table.extend(NOISE.iter().map(|(act, code)| format!("| `{act}` | {code} |\n")));
    table.push_str("\n| without an animal | why |\n| --- | --- |\n");
    table.extend(WITHOUT.iter().map(|(code, why)| format!("| {code} | {why} |\n")));
    let [begin, end] = austere::verdict::diagnose::ZOO;
    let (before, rest) = written.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let expected = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("AUSTERE_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == expected, "run the tests with AUSTERE_BLESS=1");
}

pub fn every_code_has_its_animal() {
    let known: BTreeSet<&str> = zoo()
        .map(|animal| animal.code)
        .chain(NOISE.iter().map(|(_, code)| *code))
        .chain(WITHOUT.iter().map(|(code, _)| *code))
        .collect();
    let missing: Vec<_> = codes().into_iter().filter(|code| !known.contains(code)).collect();
    assert!(missing.is_empty(), "codes without an animal, and without a reason: {missing:?}");
}

/// Why an animal cannot live here.
fn is_out_of_place(animal: &Animal, caller: &Caller) -> bool {
    let needs_library = animal.steps.iter().any(|step| step.contains("/opt/dynamic") || step.contains("library:"));
    // With one id every file belongs to the app, and a mode is its to change; and nobody may give a file capabilities.
    let needs_ids = !caller.is_root()
        && (animal.steps == ["must:chmod:/volume"] || animal.code == "D07" || animal.code == "file-owner");
    needs_ids || (needs_library && !has_dynamic())
}

pub fn every_code_is_named_and_its_twin_passes() {
    if !has_dynamic() {
        common::skip("a program with a C library: this host is not Debian on x86_64");
    }
    let animals: Vec<_> = zoo().collect();
    for caller in &callers() {
        let image = caller.put("zoo", &image());
        let old = caller.dir().join("old.json");
        fs::write(&old, OLD).unwrap();
        let old = format!("seccomp={}", old.display());
        let run = |animal: &Animal, flags: &[&str], steps: &[&str]| {
            let mut flags: Vec<&str> =
                flags.iter().map(|flag| if *flag == OLD_FILTER { &old } else { *flag }).collect();
            let mut words = Vec::new();
            if let Some(program) = animal.program {
                flags.extend(["--entrypoint", program]);
                words.push(app::FLAG);
            }
            words.extend(steps);
            words.push("serve");
            verdict(caller, &image, &flags, &words)
        };
        each(&animals, |animal| {
            if is_out_of_place(animal, caller) {
                return None;
            }
            let (verdict, code) = run(animal, animal.given, animal.steps);
            let expected = if animal.code == "closed-room" { 3 } else { 1 };
            if code != expected {
                return Some(format!("{:?} ends with {code}\n{}", animal.steps, short(&verdict)));
            }
            if let Some(complaint) = complaint(&verdict, animal) {
                return Some(format!("{}: {complaint}", caller.mode()));
            }
            let (flags, steps) = match animal.twin {
                Flags(flags) => (flags, animal.steps),
                Steps(steps) => (animal.given, steps),
            };
            let (verdict, code) = run(animal, flags, steps);
            let causes =
                verdict["findings"].as_array().unwrap().iter().filter(|finding| finding["role"] == "cause").count();
            let passes = code == 0 && causes == 0;
            (!passes).then(|| format!("the twin {steps:?} {flags:?} does not pass\n{}", short(&verdict)))
        });
    }
}

/// Several walls answer with the same error.
pub fn a_doubtful_wall_is_shown_by_a_run_without_it() {
    let cases: [(&[&str], &str, &str); 5] = [
        (&["--preset", "sealed"], "must:listen:127.0.0.1:9", "(shown by a run without Landlock)"),
        (&["--tmpfs", "/tmp"], "must:device:/tmp/null", "no CAP_MKNOD; shown by a run with CAP_MKNOD)"),
        (&[], "must:keys:", "; shown by a run whose filter lets keyctl through)"),
        (
            &[],
            "must:chroot:/data",
            "; a run whose filter lets chroot through refused it as well: the app, user 65532, has no CAP_SYS_CHROOT)",
        ),
        // The twin: there is no doubt.
        (&[], "must:mkdir:/data/x", "(`/data` lies on a read-only mount)"),
    ];
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    each(&cases, |(flags, step, expected)| {
        if !caller.is_root() && step.contains("device") {
            return None;
        }
        let (verdict, _) = verdict(caller, &image, flags, &[*step, "serve"]);
        let is_told = verdict["findings"][0]["message"].as_str().unwrap().contains(expected);
        (!is_told).then(|| format!("{step}: no `{expected}`\n{}", short(&verdict)))
    });
}

/// A folder that is mounted keeps its owner, and the advice is for whoever owns the host.
pub fn a_folder_of_the_host_belongs_to_another() {
    for caller in &callers() {
        let image = caller.put("zoo", &image());
        let judge = |name: &str, mode: u32, owner: u32| {
            let folder = caller.dir().join(name);
            let file = folder.join("temp-1.rdb");
            fs::create_dir(&folder).unwrap();
            // There already: with one id the run without hardening, which is root, would make it.
            fs::write(&file, "x").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            if caller.is_root() {
                chown(&file, Some(owner), None).unwrap();
            } else {
                // Everything of the caller's is the app's.
                Ordinary::own(&folder);
                Ordinary::own(&file);
            }
            let volume = format!("{}:/mnt", folder.display());
            verdict(caller, &image, &["-v", &volume], &["must:write:/mnt/temp-1.rdb", "serve"])
        };
        // With one id the verdict says that owners are not the host's, whatever the app does.
        let (refused, code) = judge("theirs", 0o444, 999);
        let first = &refused["findings"][0];
        assert_eq!(code, if caller.is_root() { 1 } else { 3 }, "{}", short(&refused));
        assert_eq!(first["code"], "volume-owner", "{}", short(&refused));
        assert_eq!(first["refused_by"], "file mode");
        assert!(first["advice"].as_str().unwrap().contains("mounted at /mnt to 65532 on the host"), "{first}");
        assert_eq!(first["relax"][0], if caller.is_root() { "--user 999" } else { "--user 0" }, "{first}");
        let (passed, code) = judge("own", 0o644, 65532);
        assert_eq!(code, if caller.is_root() { 0 } else { 3 }, "{}", short(&passed));
        assert!(passed["findings"].as_array().unwrap().iter().all(|finding| finding["role"] != "cause"));
    }
}

/// An app that complains to syslog alone: why it ended is not known, but where its words went is.
pub fn what_went_to_syslog_is_told_to_be_lost() {
    let lost = |verdict: &Value| -> Vec<(String, String)> {
        let all = verdict["findings"].as_array().unwrap().iter();
        let lost = all.filter(|finding| finding["code"] == "syslog-lost");
        lost.map(|finding| (finding["role"].to_string(), finding["severity"].to_string())).collect()
    };
    let words = |role: &str, severity: &str| vec![(format!("\"{role}\""), format!("\"{severity}\""))];
    for caller in &callers() {
        let image = caller.put("zoo", &image());
        let judge = |flags: &[&str], steps: &[&str]| verdict(caller, &image, flags, &[steps, &["serve"]].concat());
        // In a process of its own, as a daemon's helper does it, twice; it is told once.
        let steps = ["try:child:try=log=/dev/log,try=log=/dev/log", "try:log:/dev/log", "quiet:give-up:"];
        let (seen, code) = judge(&[], &steps);
        assert_eq!((code, &seen["findings"][0]["code"]), (1, &"exit-before-ready".into()), "{}", short(&seen));
        assert_eq!(lost(&seen), words("contributing", "warning"), "{}", short(&seen));
        // A wall that was fatal is the cause all the same.
        let (seen, _) = judge(&[], &["try:log:/dev/log", "must:mkdir:/data/x"]);
        assert_eq!(seen["findings"][0]["code"], "D53", "{}", short(&seen));
        assert_eq!(lost(&seen), words("contributing", "warning"), "{}", short(&seen));
        // Who works is told when it is watched, and who does not speak to syslog is told nothing.
        let trace = caller.dir().join("trace.jsonl");
        let trace = format!("--trace={}", trace.display());
        let (seen, code) = judge(&[&trace], &["try:log:/dev/log"]);
        assert_eq!((code, lost(&seen)), (0, words("contributing", "notice")), "{}", short(&seen));
        let (seen, _) = judge(&[], &["quiet:give-up:"]);
        assert_eq!(lost(&seen), [], "{}", short(&seen));
    }
}

/// Refused, told, and neither the cause nor a reason to fail.
pub fn noise_is_no_cause() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    each(NOISE, |(act, code)| {
        let act = format!("try:{act}");
        let (failed, _) = verdict(caller, &image, &[], &[&act, "must:write:/data/x", "serve"]);
        let findings = failed["findings"].as_array().unwrap();
        let is_noise = findings.iter().any(|finding| finding["code"] == *code && finding["role"] == "noise");
        let is_caused = findings[0]["role"] == "cause" && findings[0]["path"] == "/data/x";
        let (passed, code) = verdict(caller, &image, &[], &[&act, "serve"]);
        (!is_noise || !is_caused || code != 0).then(|| format!("{act}\n{}\n{}", short(&failed), short(&passed)))
    });
}

/// Refusals that a program shrugs off, one of each error, in two manners, before it dies of each of several others.
pub fn what_is_shrugged_off_is_not_the_cause() {
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
    let fatal: Vec<&Animal> = zoo()
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
