//! `austere fit`: find the least that makes an image work, and hand it over.

mod runner;
mod seccomp;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::exit;
use super::launch::Wishes;
use super::session::Session;
use super::verify::{self, trials::COMES_AND_GOES};
use crate::finding::Role;
use crate::fit::{self, Budget, Facts, Given, Known, Relaxation, Trial};
use crate::profile::account::User;
use crate::profile::seccomp::shipped;
use crate::reference::Reference;
use crate::report;
use crate::report::handover::{Order, Target};
use crate::smoke::Outcome;
use crate::smoke::plan::{self, Plan};
use crate::verdict::run::Fit;
use crate::verdict::{Baseline, Reached, Verdict};
use runner::Jails;
pub(super) use seccomp::SeccompArgs;

/// The largest verdict that `--from` reads, in bytes.
const LARGEST: u64 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  austere fit ./image.tar --http 8080/healthz
  austere fit ./image.tar --to kubernetes --image registry.example/web:1 > deployment.yaml
  austere verify ./image.tar --fit --format json > verdict.json
  austere fit --from verdict.json --to docker,podman
  austere fit ./image.tar --seccomp -o seccomp.json -p 8080:80 --for 60

Exit codes: 0 a set was found and proven (it may be empty), 1 there is none, 2 wrong usage or input, 3 inconclusive";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(skip)]
pub(super) struct Args {
    /// IMAGE is a verdict in JSON that holds a fit: hand it over, and run nothing
    #[arg(long, help_heading = "Fit")]
    from: bool,
    /// Print the fit for these instead of a report
    #[arg(long, value_name = "TARGET", value_enum, value_delimiter = ',', help_heading = "Fit")]
    to: Vec<To>,
    /// The image's name for the engine, in what --to prints
    #[arg(long = "image", value_name = "NAME", default_value = "IMAGE", help_heading = "Fit")]
    name: String,

    #[command(flatten)]
    seccomp: SeccompArgs,
    #[command(flatten)]
    verify: verify::Args,
}

// What a search may cost.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fit")]
pub(super) struct SearchArgs {
    /// Stop the search for the least after this many runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_runs: u32,
    /// Stop it after this time
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = plan::seconds)]
    budget: Duration,
}

/// Whom a fit is printed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    Docker,
    Podman,
    Compose,
    Kubernetes,
    /// A seccomp profile in docker's format: the one of --seccomp, which this asks for; of a verdict without one, the preset's
    Seccomp,
}

/// Runs, or reads what was run before.
pub(super) fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    if args.verify.dry_run {
        return verify::run(args.verify);
    }
    args.verify.settle()?;
    anyhow::ensure!(!args.from || !args.to.is_empty(), "--from needs --to: whom is the fit for?");
    let (mut order, code) = if args.from {
        let Some(Reference::Path(path)) = &args.verify.image else {
            anyhow::bail!("--from reads a verdict from a file, whose name it needs");
        };
        let order = read(path).with_context(|| format!("the verdict {}", path.display()))?;
        let code = if order.fit.status == "reached" { exit::PASS } else { exit::fail() };
        (order, code)
    } else {
        let mut wanted = args.seccomp.clone();
        wanted.seccomp |= args.to.contains(&To::Seccomp);
        let verdict = verify::judged(&args.verify, Some(&wanted))?;
        if args.to.is_empty() {
            args.verify.deliver(&verdict)?;
        }
        let code = match (verdict.fit.status, verdict.fit.seccomp.as_ref().map(|own| own.status)) {
            (Reached::Reached, None | Some(Reached::Reached)) => exit::PASS,
            (Reached::Failed, _) | (Reached::Reached, Some(Reached::Failed)) => exit::fail(),
            (Reached::NotTried, _) | (Reached::Reached, Some(Reached::NotTried)) => exit::inconclusive(),
        };
        if wanted.seccomp {
            let Some(text) = verdict.fit.own_profile() else {
                let why = verdict.fit.seccomp.as_ref().map_or(&verdict.fit.reason, |own| &own.reason);
                eprintln!("austere: there is no seccomp profile of the app's own: {why}");
                return Ok(code);
            };
            if let Some(path) = &args.seccomp.output {
                fs::write(path, text).with_context(|| format!("writing the seccomp profile to {}", path.display()))?;
            }
        }
        (order(&verdict)?, code)
    };
    order.image.clone_from(&args.name);
    for to in &args.to {
        super::print(&match to {
            To::Docker => order.handed_to(Target::Docker),
            To::Podman => order.handed_to(Target::Podman),
            To::Compose => order.handed_to(Target::Compose),
            To::Kubernetes => order.handed_to(Target::Kubernetes),
            To::Seccomp => match order.fit.own_profile() {
                Some(own) => own,
                None => profile(&order.fit.relaxations, &args.verify.files.preset().seccomp)?,
            },
        })?;
    }
    Ok(code)
}

fn read(path: &Path) -> anyhow::Result<Order> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= LARGEST, "it is larger than {LARGEST} bytes");
    let order: Order = serde_json::from_str(&text)
        .context("it is not a verdict of this version\n  hint: `austere fit IMAGE --format json` writes one")?;
    anyhow::ensure!(
        order.fit.status != "not_tried",
        "it holds no fit\n  hint: `austere fit IMAGE --format json` writes one that does"
    );
    Ok(order)
}

/// The preset's own seccomp profile, and the calls that are let through beside it.
fn profile(given: &[Given], preset: &str) -> anyhow::Result<String> {
    let shipped = shipped(preset).with_context(|| format!("no seccomp profile named {preset} is built in"))?;
    let mut text = shipped.trim_end().to_owned();
    for given in given {
        if let Relaxation::Syscall(call) = &given.what {
            text = fit::allowing(&text, call).context("the profile is not in docker's form")?;
        }
    }
    Ok(text + "\n")
}

/// A verdict as its own JSON tells it to engines.
fn order(verdict: &Verdict) -> anyhow::Result<Order> {
    serde_json::from_str(&report::json::render(verdict)).context("reading back the verdict")
}

/// Puts the fit into the verdict, with its set in the words of each engine.
pub(super) fn hand_over(mut verdict: Verdict, fit: Fit) -> anyhow::Result<Verdict> {
    verdict = verdict.with_fit(fit);
    if verdict.fit.status == Reached::Reached {
        let order = order(&verdict)?;
        verdict.fit.docker = Some(order.handed_to(Target::Docker));
        verdict.fit.podman = Some(order.handed_to(Target::Podman));
        verdict.fit.compose = Some(order.handed_to(Target::Compose));
        verdict.fit.kubernetes = Some(order.handed_to(Target::Kubernetes));
    }
    Ok(verdict)
}

/// What the search starts from.
pub(super) struct Begun<'a> {
    /// The deciding run in the strictest jail, explained.
    pub outcome: &'a Outcome,
    /// The run without hardening.
    pub baseline: Baseline,
    /// How many runs that were.
    pub runs: usize,
    /// Who the app is.
    pub user: User,
}

/// Searches, and tells each step on standard error.
pub(super) fn search(
    args: &verify::Args,
    session: &Session,
    wishes: &Wishes,
    plan: &Plan,
    begun: Begun<'_>,
    wanted: &SeccompArgs,
) -> anyhow::Result<Fit> {
    if session.barred.is_some() {
        return Ok(Fit { reason: "this host lets no jail be built".to_owned(), ..Fit::default() });
    }
    let outcome = begun.outcome;
    if outcome.findings.iter().any(|finding| finding.code == COMES_AND_GOES) {
        // Any set would do, if one asked often enough.
        let runs = u32::try_from(begun.runs).unwrap_or(u32::MAX);
        return Ok(Fit {
            reason: format!("no set can be shown to help: {}", outcome.summary),
            runs,
            tried: 1,
            ..Fit::default()
        });
    }
    let until = Instant::now() + args.search.budget;
    let config = &session.opened.image.config;
    // A number is what every engine takes, and its groups are those of its entry.
    let user = match config.user.as_str() {
        "" => None,
        user => Some(session.account_of(&user.parse::<User>()?)?.uid.to_string()).filter(|uid| uid != "0"),
    };
    let user = user.filter(|uid| *uid != session.account.uid.to_string());
    let view = session.view()?;
    let preset = &wishes.profile.preset;
    let bare = |name: &String| name.trim_start_matches("CAP_").to_owned();
    let facts = Facts {
        view: &view,
        user: user.as_deref(),
        capabilities: preset.capabilities.iter().map(bare).collect(),
        ambient: preset.ambient_capabilities,
    };
    let is_cause = |finding: &&crate::finding::Finding| finding.role == Role::Cause;
    let known = Known {
        first: Trial { answer: outcome.answer, summary: outcome.summary.clone() },
        cause: outcome.findings.iter().find(is_cause).filter(|cause| cause.call.is_some()).cloned(),
        baseline: begun.baseline,
        runs: u32::try_from(begun.runs).unwrap_or(u32::MAX),
    };
    let quiet = args.quiet;
    let mut tell = |line: &str| {
        if !quiet {
            // The terminal may be gone; what is found is still worth something.
            let _ = writeln!(std::io::stderr(), "{}", report::clean(line));
        }
    };
    let budget = Budget { runs: args.search.max_runs, until };
    let mut jails = Jails::new(session, wishes, plan, begun.user, begun.baseline);
    let found = fit::search(&mut jails, &facts, preset.tmpfs, known, budget, &mut tell)?;
    let seccomp = (wanted.seccomp && found.status == Reached::Reached)
        .then(|| wanted.minimal(&mut jails, &found.set, &wishes.slots, &mut tell))
        .transpose()?;
    Ok(Fit {
        status: found.status,
        reason: found.reason,
        relaxations: found.set.given().to_vec(),
        tried: found.tried,
        runs: found.runs,
        proven: found.proven,
        seccomp,
        ..Fit::default()
    })
}
