//! A verdict for people: the first line is the judgement.

mod fit;
mod page;

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::Style;

use fit::fit;
use page::{BAD, DOUBT, FAINT, GOOD, Page, TIED};

use super::{clean, listed};
use crate::finding::{Finding, Severity};
use crate::measure::{Measure, MeasureStatus};
use crate::smoke::{ProbeStatus, span};
use crate::verdict::levels::Name;
use crate::verdict::run::{Durations, ProbeFacts, RunStatus};
use crate::verdict::{Baseline, Reached, Status, Verdict};

/// How many of the app's last lines are shown, and how much of each.
const LINES: usize = 12;
const LINE: usize = 300;

/// The report, coloured with ANSI escapes. Print it through `anstream`, which takes the colour away where there is no terminal.
pub fn render(verdict: &Verdict) -> String {
    let mut page = Page::default();
    first_line(&mut page, verdict);
    ladder(&mut page, verdict);
    levels(&mut page, verdict);
    measures(&mut page, verdict);
    probes(&mut page, verdict);
    let did_well = verdict.probes.iter().all(|probe| probe.status == ProbeStatus::Passed);
    if verdict.verdict == Status::Fail || !did_well {
        last_words(&mut page, verdict);
    }
    baseline(&mut page, verdict);
    findings(&mut page, verdict);
    fit(&mut page, &verdict.fit);
    pod_security(&mut page, verdict);
    times(&mut page, &verdict.durations_ms);
    page.text
}

/// The first line of the report alone.
pub fn judgement(verdict: &Verdict) -> String {
    let mut page = Page::default();
    first_line(&mut page, verdict);
    page.text
}

fn first_line(page: &mut Page, verdict: &Verdict) {
    let style = match verdict.verdict {
        Status::Pass => GOOD.bold(),
        Status::Fail => BAD.bold(),
        Status::Inconclusive => DOUBT.bold(),
    };
    let between = if verdict.verdict == Status::Pass { "" } else { ":" };
    let (reference, reason) = (clean(&verdict.image.reference), clean(&verdict.reason));
    let _ = writeln!(page.text, "{style}{}{style:#}  {reference}{between} {reason}", verdict.verdict);
}

fn ladder(page: &mut Page, verdict: &Verdict) {
    page.section("ladder");
    for rung in &verdict.ladder {
        let (state, style) = reached(rung.status);
        let flag = rung.flag().filter(|_| rung.status == Reached::NotTried);
        page.row(state, style, &format!("{}{}", rung.rung, flag.map_or_else(String::new, |flag| format!(" ({flag})"))));
    }
}

/// Where they were asked for: what a level is about, and the first thing that speaks for or against it.
fn levels(page: &mut Page, verdict: &Verdict) {
    if [Name::L0, Name::L2].iter().all(|name| verdict.levels.get(*name).status == Reached::NotTried) {
        return;
    }
    page.section("levels");
    for (name, level) in verdict.levels.all() {
        // A level is a matter of what was required; the first line says where one was.
        let (state, style) = match (level.status, verdict.verdict) {
            (Reached::Failed, Status::Pass) => ("not reached", FAINT),
            (Reached::Failed, _) => ("not reached", DOUBT),
            (status, _) => reached(status),
        };
        let first = level.evidence.first().map_or_else(String::new, |first| format!(": {}", clean(first)));
        page.row(state, style, &format!("{name} {}{first}", name.meaning()));
    }
    for (kind, paths) in verdict.levels.files.iter().flat_map(listed::rows) {
        page.row(kind, FAINT, &paths);
    }
}

fn reached(status: Reached) -> (&'static str, Style) {
    match status {
        Reached::Reached => ("reached", GOOD),
        Reached::Failed => ("failed", BAD),
        Reached::NotTried => ("not tried", FAINT),
    }
}

fn measures(page: &mut Page, verdict: &Verdict) {
    let (count, held) = (verdict.measures.len(), verdict.measures.iter().filter(|measure| measure.holds()).count());
    page.section("measures");
    let why = verdict.ids.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let whose =
        format!("preset {} {}, ids {}{why}", verdict.preset.name, verdict.preset.engine_version, verdict.ids.mode);
    match count {
        0 => page.line(&format!("none was read back ({whose})")),
        _ if held == count => page.line(&format!("all {count} hold ({whose})")),
        _ => page.line(&format!("{held} of {count} hold ({whose})")),
    }
    for Measure { name, asked, read_back, status, why, .. } in
        verdict.measures.iter().filter(|measure| !measure.holds())
    {
        let (state, style) = match status {
            MeasureStatus::Holds => ("holds", GOOD),
            MeasureStatus::Broken => ("broken", BAD),
            MeasureStatus::Unverified => ("unverified", DOUBT),
            MeasureStatus::Unavailable => ("unavailable", DOUBT),
        };
        let mut text = format!("{name}: asked {asked}");
        if let Some(read_back) = read_back {
            let _ = write!(text, ", read back {read_back}");
        }
        if let Some(why) = why {
            let _ = write!(text, "; {why}");
        }
        page.row(state, style, &text);
    }
}

fn pod_security(page: &mut Page, verdict: &Verdict) {
    let Some(standards) = &verdict.pod_security else { return };
    page.section("standards");
    for (name, level) in [("baseline", &standards.baseline), ("restricted", &standards.restricted)] {
        let (state, style) = if level.passed { ("passed", GOOD) } else { ("failed", BAD) };
        let failed = level.checks.iter().filter(|check| !check.passed);
        let failed: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
        let why = if failed.is_empty() { String::new() } else { format!(": {}", failed.join(", ")) };
        page.row(state, style, &format!("Pod Security Standards, {name}{why}"));
    }
    let root = if standards.read_only_root { "has one here" } else { "has none here" };
    page.row("", FAINT, &format!("neither asks for a read-only root; {} {root}", clean(&standards.pod)));
}

fn probes(page: &mut Page, verdict: &Verdict) {
    if verdict.probes.is_empty() {
        return;
    }
    page.section("probes");
    for (probe, planned) in verdict.probes.iter().zip(&verdict.plan.probes) {
        let ProbeFacts { kind, target, status, detail, at_ms, took_ms, attempts } = probe;
        let (state, style) = match status {
            ProbeStatus::Passed => ("passed", GOOD),
            ProbeStatus::Failed => ("failed", BAD),
            ProbeStatus::Impossible => ("impossible", DOUBT),
        };
        let wanted = if *status == ProbeStatus::Passed { "" } else { &format!(" (it must {})", planned.want) };
        page.row(state, style, &format!("{kind} {target}: {detail}{wanted}"));
        let times = match attempts {
            0 => continue,
            1 => format!("at {}, took {}", said(*at_ms), said(*took_ms)),
            _ => format!("at {}, took {}, {attempts} attempts", said(*at_ms), said(*took_ms)),
        };
        page.row("", FAINT, &times);
    }
    if verdict.runs.len() > 1 {
        for (index, run) in verdict.runs.iter().enumerate() {
            let (state, style) = match run.status {
                RunStatus::Works => ("works", GOOD),
                RunStatus::Fails => ("fails", BAD),
                RunStatus::Unknown => ("unknown", DOUBT),
            };
            let watched = if run.watched { ", watched" } else { "" };
            page.row(state, style, &format!("run {}: {} ({}{watched})", index + 1, run.summary, said(run.smoke_ms)));
        }
    }
    if let Some(stopped) = verdict.app.stopped_in_ms {
        let end = match (verdict.app.exit_code, &verdict.app.signal) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => signal.clone(),
            (None, None) => "ended".to_owned(),
        };
        page.row("stopped", FAINT, &format!("{end}, {} after its stop signal", said(stopped)));
    }
}

/// What the app wrote before it ended, its own characters made harmless.
fn last_words(page: &mut Page, verdict: &Verdict) {
    for (name, tail) in [("stderr", &verdict.app.stderr_tail), ("stdout", &verdict.app.stdout_tail)] {
        let lines: Vec<_> = tail.lines().collect();
        if !lines.is_empty() {
            page.section(name);
        }
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let shown: String = line.chars().take(LINE).collect();
            let cut = if shown.len() < line.len() { "…" } else { "" };
            page.raw(&format!("{shown}{cut}"));
        }
    }
    if verdict.app.stderr_tail.is_empty() && verdict.app.stdout_tail.is_empty() {
        page.section("output");
        page.line("none: the app wrote nothing");
    }
}

fn baseline(page: &mut Page, verdict: &Verdict) {
    let sentence = match verdict.baseline {
        Baseline::Works if verdict.comes_and_goes() => {
            "Without hardening the image works, and with it in some runs: nothing shows that the hardening is what stops it."
        }
        Baseline::Works => "Without hardening the image works: the hardening is what stops it.",
        Baseline::Fails => {
            "It fails without any hardening, too: the image is broken, or what is asked of it (see probes) does not fit it."
        }
        Baseline::NotTried => return,
    };
    page.section("baseline");
    page.line(sentence);
}

fn findings(page: &mut Page, verdict: &Verdict) {
    // The first line has said it already.
    let said = |finding: &&Finding| finding.advice.is_none() && verdict.reason.starts_with(&finding.message);
    let findings: Vec<_> = verdict.findings.iter().filter(|finding| !said(finding)).collect();
    if !findings.is_empty() {
        page.section("findings");
    }
    for finding in findings {
        let (state, style) = match finding.severity {
            Severity::Error => ("error", BAD),
            Severity::Warning => ("warning", DOUBT),
            Severity::Notice => ("notice", FAINT),
        };
        page.row(state, style, &format!("{} [{}]", finding.message, finding.code));
        if let Some(advice) = &finding.advice {
            page.row("", FAINT, &format!("hint: {advice}"));
        }
        if !finding.relax.is_empty() {
            page.row("", FAINT, &format!("or give back: {}", finding.relax.join(" ")));
        }
    }
}

fn times(page: &mut Page, durations: &Durations) {
    let Durations { open, unpack, jail, smoke, stop, unhardened, total } = durations;
    let named = [
        ("open", open),
        ("unpack", unpack),
        ("jail", jail),
        ("smoke", smoke),
        ("stop", stop),
        ("unhardened", unhardened),
        ("all", total),
    ];
    let times: Vec<_> =
        named.iter().filter_map(|(name, ms)| Some(format!("{name} {}", said((**ms)?)).replace(' ', TIED))).collect();
    if !times.is_empty() {
        page.section("time");
        page.line(&times.join(", "));
    }
}

fn said(ms: f64) -> String {
    span(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::{self, Case};

    /// `AUSTERE_BLESS=1 cargo test --lib report` writes the examples anew: read them.
    #[test]
    fn reports_read_as_the_examples_do() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/examples");
        for case in Case::ALL {
            let text = anstream::adapter::strip_str(&render(&fixtures::verdict(case))).to_string();
            let path = folder.join(format!("{case:?}.txt").to_lowercase());
            if std::env::var_os("AUSTERE_BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(text, std::fs::read_to_string(path).unwrap());
            assert!(!text.contains(" \n") && text.lines().skip(1).all(|line| line.len() < 300));
        }
    }

    #[test]
    fn colour_is_all_that_escapes() {
        let text = render(&fixtures::verdict(Case::Fail));
        assert!(text.starts_with("\u{1b}[1m\u{1b}[31mFAIL\u{1b}[0m  nginx.tar: exit 1 after 12 ms"));
        assert!(text.contains("\\x1b[31mred\n"));
    }

    #[test]
    fn a_flood_of_words_is_cut() {
        let mut verdict = fixtures::verdict(Case::Fail);
        verdict.app.stderr_tail = "x".repeat(5000) + &"\nline".repeat(50);
        let text = render(&verdict);
        assert_eq!(text.matches("line\n").count(), LINES);
        verdict.app.stderr_tail = "x".repeat(5000);
        assert!(render(&verdict).contains(&("x".repeat(LINE) + "…\n")));
    }
}
