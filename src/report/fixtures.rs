//! Verdicts as runs give them.

use std::time::{Duration, SystemTime};

use crate::image::{Compression, Config, ExposedPort, Image, Layer, Protocol};
use crate::jail::subject::{End, Output, Stop};
use crate::measure::Measure;
use crate::smoke::plan::{Origin, Plan, Probe, TIMEOUT};
use crate::smoke::{Answer, Outcome, ProbeResult, ProbeStatus};
use crate::verdict::facts::{Cgroup, Host, IdMode, Ids, ImageFacts, Preset};
use crate::verdict::run::Durations;
use crate::verdict::{Baseline, Evidence, Verdict};

/// A kind of ending.
#[derive(Clone, Copy, Debug)]
pub(super) enum Case {
    Pass,
    Fail,
    FailBefore,
    ComesAndGoes,
    Inconclusive,
}

impl Case {
    pub(super) const ALL: [Case; 5] =
        [Case::Pass, Case::Fail, Case::FailBefore, Case::ComesAndGoes, Case::Inconclusive];
}

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

fn result(probe: Probe, status: ProbeStatus, detail: &str, at: f64, took: f64, attempts: u32) -> ProbeResult {
    let detail = detail.to_owned();
    ProbeResult { probe, status, detail, at: ms(at), took: ms(took), attempts, http_status: None, loopback: None }
}

fn worked(probe: ProbeResult) -> Outcome {
    Outcome {
        answer: Answer::Works,
        summary: "works".to_owned(),
        took: probe.at,
        probes: vec![probe],
        end: None,
        ended_at: None,
        alive_after_probes: true,
        stop: Some(Stop { end: End::Exited(0), asked: true, took: ms(1.9), killed: false, unheard: false }),
        output: Output::default(),
        findings: Vec::new(),
    }
}

fn failed(summary: &str, probe: ProbeResult, end: End, stderr: &str) -> Outcome {
    Outcome {
        answer: Answer::Fails,
        summary: summary.to_owned(),
        ended_at: Some(probe.at),
        end: Some(end),
        alive_after_probes: false,
        stop: None,
        output: Output { stdout: Vec::new(), stderr: stderr.into() },
        findings: vec![crate::finding::Finding {
            code: "exit-before-ready".to_owned(),
            role: crate::finding::Role::Cause,
            severity: crate::finding::Severity::Error,
            message: summary.to_owned(),
            ..Default::default()
        }],
        ..worked(probe)
    }
}

/// What a run came to before it was compared with others.
fn alone(outcome: &Outcome) -> Outcome {
    Outcome { summary: outcome.summary.split(';').next().unwrap_or_default().to_owned(), ..outcome.clone() }
}

/// A complete verdict.
pub(super) fn verdict(case: Case) -> Verdict {
    let layer = Layer {
        digest: None,
        diff_id: crate::digest::Digest::sha256(b"layer"),
        size: 4_100_000,
        compression: Compression::None,
        created_by: None,
    };
    let tcp = |port| ExposedPort { port, protocol: Protocol::Tcp };
    let port = if matches!(case, Case::Pass) { 8080 } else { 80 };
    let config = Config { exposed_ports: vec![tcp(port)], ..Config::default() };
    let plan = match case {
        Case::Inconclusive => Plan::new(Origin::Flags, vec![Probe::http("80/healthz").unwrap()], TIMEOUT).unwrap(),
        _ => Plan::from_image(&config, TIMEOUT),
    };
    let image = Image {
        manifest_digest: None,
        config_digest: Some(crate::digest::Digest::sha256(b"config")),
        platform: "linux/amd64".parse().unwrap(),
        config,
        layers: vec![layer],
    };
    let probe = plan.probes[0].clone();
    let mut measures = vec![
        Measure::compared("read-only root", "ro", "ro"),
        Measure::compared("capabilities", "0000000000000000", "0000000000000000"),
        Measure::compared("user", "65532 65532 65532 65532", "65532 65532 65532 65532").giving(),
    ];
    let mut watched = None;
    let (reference, outcome, baseline) = match case {
        Case::Pass => {
            let mut outcome =
                worked(result(probe, ProbeStatus::Passed, "accepts; HTTP 500 Internal Server Error", 3.12, 0.41, 7));
            outcome.findings.push(crate::finding::Finding {
                code: "http-5xx".to_owned(),
                role: crate::finding::Role::Contributing,
                severity: crate::finding::Severity::Warning,
                message: "port 8080 accepts connections and answers `GET /` with HTTP 500 Internal Server Error"
                    .to_owned(),
                advice: Some("ask for a path that shows the app's health: --http 8080/PATH".to_owned()),
                ..Default::default()
            });
            ("example:hello", outcome, Baseline::NotTried)
        }
        Case::Fail => {
            let stderr = "nginx: [warn] \u{1b}[31mred\nnginx: [emerg] mkdir() \"/var/cache/nginx/client_temp\" failed (30: \
                          Read-only file system)\n";
            let probe = result(probe, ProbeStatus::Failed, "connection refused", 12.2, 0.04, 21);
            let summary = "exit 1 after 12 ms, before port 80 answered";
            ("nginx.tar", failed(summary, probe, End::Exited(1), stderr), Baseline::Works)
        }
        Case::FailBefore => {
            let probe = result(probe, ProbeStatus::Failed, "connection refused", 2.0, 0.04, 6);
            let summary = "SIGSEGV after 2.0 ms, before port 80 answered";
            ("crashes.tar", failed(summary, probe, End::Signaled(libc::SIGSEGV), ""), Baseline::Fails)
        }
        Case::ComesAndGoes => {
            let passed = result(probe.clone(), ProbeStatus::Passed, "accepts", 61.0, 0.2, 20);
            watched = Some(worked(passed));
            let probe = result(probe, ProbeStatus::Failed, "connection refused", 4.0, 0.04, 8);
            let summary = "exit 1 after 4.0 ms, before port 80 answered; that comes and goes: 1 of 2 runs failed";
            ("worker.tar", failed(summary, probe, End::Exited(1), "lost the race\n"), Baseline::Works)
        }
        Case::Inconclusive => {
            measures[1] = Measure::compared("capabilities", "0000000000000000", "00000000a80425fb");
            measures.push(Measure::unavailable("landlock", "ABI 1 or newer", "this kernel was built without Landlock"));
            let probe = result(probe, ProbeStatus::Passed, "HTTP 200 OK", 41.0, 12.0, 3);
            ("oci:layout:latest", worked(probe), Baseline::NotTried)
        }
    };
    Verdict::new(Evidence {
        manner: "read-only, without capabilities, as 65532:0".to_owned(),
        is_hardened: true,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_856_000_250),
        host: Host {
            kernel: "6.18.0".to_owned(),
            arch: "x86_64".to_owned(),
            landlock_abi: Some(7),
            cgroup: Cgroup::V2,
            euid: 0,
        },
        image: ImageFacts::new(reference, "docker-archive", &image, 9_000_000),
        preset: Preset { name: "docker".to_owned(), engine_version: "26.1".to_owned() },
        relaxations: Vec::new(),
        ids: Ids { mode: IdMode::Real, uid: 65532, gid: 0, groups: Vec::new(), why: None },
        plan: &plan,
        outcome: &outcome,
        runs: &[alone(&outcome)],
        watched: watched.as_ref(),
        measures,
        baseline,
        findings: Vec::new(),
        pod_security: None,
        durations: Durations {
            open: Durations::of(ms(0.8)),
            unpack: Durations::of(ms(12.0)),
            jail: Durations::of(ms(2.9)),
            total: Durations::of(ms(24.04)),
            ..Durations::default()
        },
    })
}
