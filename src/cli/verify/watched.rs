//! The run that explains: the same jail, with a tracer beside it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::doubt;
use crate::cli::launch;
use crate::cli::session::Session;
use crate::jail::subject::End;
use crate::jail::{StartError, Stdio};
use crate::refusal::Side;
use crate::smoke::plan::Plan;
use crate::smoke::{Answer, Outcome};
use crate::trace::{self, Run, Timeline};
use crate::unpack::{Special, SpecialKind};
use crate::verdict::Baseline;
use crate::verdict::diagnose::{self, Within};

/// An app that is not ready by then is not waited for in a run that only explains.
const LONGEST: Duration = Duration::from_secs(10);
/// What a watched app is given more than it took, at least: on a busy machine a run that only explains must not end before the app does.
const ALLOWANCE: Duration = Duration::from_secs(5);
/// How many times as long as unwatched an app may take: one that forks without end is that much slower under emulation.
const SLOWER: u32 = 10;

/// Runs the app once more and watches it, so that the outcome can say why. Gives that run's outcome where the app did not fail again in it.
pub(super) fn tell(
    trace: Option<&PathBuf>,
    session: &Session,
    wishes: &launch::Wishes,
    plan: &Plan,
    baseline: Baseline,
    outcome: &mut Outcome,
) -> anyhow::Result<Option<Outcome>> {
    let Some(mut run) = run(session, wishes, plan, outcome)? else { return Ok(None) };
    if outcome.answer == Answer::Fails && run.outcome.answer != Answer::Works && !diagnose::is_clear(outcome) {
        let timeline = &mut run.timeline;
        with_facts(session, wishes, baseline, |facts| doubt::settle(session, wishes, plan, outcome, facts, timeline))??;
    }
    if let Some(to) = trace {
        write(&run.timeline, to)?;
    }
    explain(session, wishes, &run, baseline, outcome)?;
    Ok(Some(run.outcome).filter(|other| outcome.answer == Answer::Fails && other.answer == Answer::Works))
}

/// Runs the app once more and watches it; nothing where it cannot be started so.
pub(in crate::cli) fn run(
    session: &Session,
    wishes: &launch::Wishes,
    plan: &Plan,
    judged: &Outcome,
) -> anyhow::Result<Option<Run>> {
    let spec = launch::spec(session, wishes, Stdio::Captured)?;
    let spec = launch::observed(spec, &wishes.profile, lacks_room(judged))?;
    let mut plan = plan.clone();
    let took = judged.ended_at.map_or(LONGEST, |at| at * SLOWER + ALLOWANCE);
    plan.timeout = plan.timeout.min(took.max(ALLOWANCE));
    match trace::run(&spec, &plan) {
        Ok(run) => Ok(Some(run)),
        // It was refused in the judging run as well, which says more of it.
        Err(StartError::Refused(refusal)) if refusal.side != Side::Host => Ok(None),
        // Where nobody may be traced there is a verdict all the same.
        Err(_) => Ok(None),
    }
}

/// Whether an app that failed may have found no room: it says so, or a page of a file could not be had.
fn lacks_room(judged: &Outcome) -> bool {
    const SAYS: [&str; 7] =
        ["no space left", "enospc", "disk full", "disk is full", "device full", "os error 28", "quota exceeded"];
    let says = |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        SAYS.iter().any(|words| text.contains(words))
    };
    judged.end == Some(End::Signaled(libc::SIGBUS)) || says(&judged.output.stderr) || says(&judged.output.stdout)
}

/// Says why: what was seen in the watched run becomes the outcome's findings.
pub(in crate::cli) fn explain(
    session: &Session,
    wishes: &launch::Wishes,
    run: &Run,
    baseline: Baseline,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    with_facts(session, wishes, baseline, |facts| match outcome.answer {
        Answer::Works => outcome.findings.extend(diagnose::degraded(&run.timeline, facts)),
        // A run that worked this time shows nothing of why the other did not.
        _ if run.outcome.answer == Answer::Works => {}
        _ => diagnose::explain(outcome, diagnose::diagnose(&run.timeline, facts)),
    })
}

/// What is known of the image besides.
fn with_facts<T>(
    session: &Session,
    wishes: &launch::Wishes,
    baseline: Baseline,
    work: impl FnOnce(&diagnose::Facts<'_>) -> T,
) -> anyhow::Result<T> {
    let view = session.view()?;
    let set_id = |special: &&Special| matches!(special.kind, SpecialKind::SetId { .. });
    let specials = session.facts().into_iter().flat_map(|facts| &facts.specials);
    let absolute = |special: &Special| format!("/{}", special.path.trim_start_matches('/'));
    let set_ids: Vec<String> = specials.filter(set_id).map(absolute).collect();
    let profile = &wishes.profile;
    let memory = launch::tmpfs(profile);
    let hidden = |at: &String| memory.iter().any(|tmpfs| tmpfs.path == Path::new(at));
    let declared = launch::volumes(&session.opened.image.config, profile).into_iter().filter(|at| !hidden(at));
    let of_host = profile.binds.iter().filter(|bind| !bind.read_only).map(|bind| bind.target.display().to_string());
    let places: Vec<_> = declared.map(|at| (Within::Volume, at)).chain(of_host.map(|at| (Within::Mount, at))).collect();
    let facts = diagnose::Facts {
        view: &view,
        uid: session.account.uid,
        gid: session.account.gid,
        places: &places,
        set_ids: &set_ids,
        baseline,
    };
    Ok(work(&facts))
}

/// Writes the timeline: to standard error (`-`), or to a file; as JSON lines where its name says so.
pub(super) fn write(timeline: &Timeline, path: &Path) -> anyhow::Result<()> {
    if path == Path::new("-") {
        // The terminal may be gone; the verdict is still worth something.
        let _ = std::io::stderr().write_all(trace::text(timeline).as_bytes());
        return Ok(());
    }
    let is_json = |path: &Path| path.extension().is_some_and(|end| end == "json" || end == "jsonl" || end == "ndjson");
    let text = if is_json(path) { trace::lines(timeline) } else { trace::text(timeline) };
    fs::write(path, text).with_context(|| format!("writing the trace to {}", path.display()))
}
