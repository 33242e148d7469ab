//! What a fit found, for people.

use super::page::{BAD, DOUBT, FAINT, GOOD, Page};
use crate::fit::minimal::Minimal;
use crate::verdict::Reached;
use crate::verdict::run::Fit;

/// The least that has to be given back, each with what asked for it.
pub(super) fn fit(page: &mut Page, fit: &Fit) {
    if fit.runs == 0 {
        return;
    }
    page.section("fit");
    let cost = format!("{} set{} in {} runs", fit.tried, if fit.tried == 1 { "" } else { "s" }, fit.runs);
    match fit.status {
        Reached::Reached => {
            let count = match fit.relaxations.len() {
                0 => "nothing has to be given back".to_owned(),
                1 => "one relaxation".to_owned(),
                count => format!("{count} relaxations"),
            };
            page.row("proven", GOOD, &format!("{count}, {} passes in a row; {cost}", fit.proven));
        }
        Reached::Failed => page.row("none", BAD, &format!("{}; {cost}", fit.reason)),
        Reached::NotTried => page.row("unknown", DOUBT, &format!("{}; {cost}", fit.reason)),
    }
    for given in &fit.relaxations {
        page.row(given.what.kind(), FAINT, &given.evidence);
    }
    if let Some(own) = &fit.seccomp {
        seccomp(page, own);
    }
    for command in [&fit.docker, &fit.podman].into_iter().flatten() {
        for line in command.lines().filter(|line| !line.starts_with("# better")) {
            page.raw(line);
        }
    }
}

/// The profile of the app's own: how wide it is, and how much it has seen.
fn seccomp(page: &mut Page, own: &Minimal) {
    match own.status {
        Reached::Reached => {
            let (calls, beside) = (own.calls.len(), own.beside.len());
            page.row(
                "seccomp",
                GOOD,
                &format!("{calls} calls, and {beside} beside; {} passes in a row under it", own.proven),
            );
        }
        Reached::Failed => page.row("seccomp", BAD, &own.reason),
        Reached::NotTried => page.row("seccomp", DOUBT, &own.reason),
    }
    let seen = match own.exercised_s {
        Some(seconds) => format!("seen in {} runs, one of them used from outside for {seconds} s", own.recordings),
        None => format!("seen in {} runs", own.recordings),
    };
    page.row("", FAINT, &format!("{seen}; a path that none of them took, such as an error's, gets ENOSYS"));
    if !own.added.is_empty() {
        page.row("", FAINT, &format!("added after a run under it failed: {}", own.added.join(", ")));
    }
}
