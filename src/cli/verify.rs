//! `austere verify`: run an image in the jail, test that it works there, and judge.

mod args;
pub(super) mod attempt;
mod doubt;
mod lenient;
mod levels;
mod plan;
pub(super) mod trials;
pub(super) mod watched;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::Context;

use super::Format;
use super::fit::{self, SeccompArgs};
use super::launch;
use super::manifest;
use super::session::{self, Session};
use crate::ids;
use crate::inventory;
use crate::jail::subject::Output;
use crate::phases::{self, Phase};
use crate::report;
use crate::smoke::{self, Answer};
use crate::sys;
use crate::verdict::facts::{self, Host, IdMode, Ids};
use crate::verdict::run::{Durations, Fit};
use crate::verdict::{Baseline, Evidence, Verdict, diagnose};
pub(super) use args::Args;
use trials::Trial;

/// Judges, and says so.
pub(super) fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    if args.dry_run {
        return args.deliver_settings();
    }
    args.settle()?;
    if args.manifest.show_settings
        && let Some(manifest) = args.manifest.read()?
    {
        super::print(&format!("{:#}\n", manifest.settings.shown()))?;
        return Ok(super::exit::PASS);
    }
    let wanted = SeccompArgs::default();
    args.deliver(&judged(&args, args.fit.then_some(&wanted))?)
}

/// Runs the image hardened, and when it fails once more as the engine would run it with no flags; then finds what would make it work, if that
/// is asked for.
pub(super) fn judged(args: &Args, fits: Option<&SeccompArgs>) -> anyhow::Result<Verdict> {
    let (started_at, begun) = (SystemTime::now(), Instant::now());
    anyhow::ensure!(!args.quiet || args.format == Format::Text, "--quiet is for --format text: JSON has no first line");
    if let Some(path) = &args.phases {
        phases::tell(path).with_context(|| format!("opening {}", path.display()))?;
    }
    // A port that is taken is said before the image is fetched.
    let slots = args.published.bind()?.into();
    let manifest = args.manifest.read()?;
    let (reference, files) = manifest::subject(manifest.as_ref(), args.image.as_ref(), &args.files)?;
    let session = session::prepare_to_run(&reference, &files)?;
    let config = &session.opened.image.config;
    let settings = manifest.as_ref().map(|manifest| &manifest.settings);
    let plan = args.plan.plan_with(config, settings, &args.published.ports())?;
    let flags = (&args.container, &args.usage, &args.arguments[..]);
    let mut wishes = manifest::wishes(manifest.as_ref(), &session, &files, flags)?;
    wishes.without.clone_from(&args.without_measure);
    wishes.ports = plan.probes.iter().filter_map(smoke::plan::Probe::port).chain(args.published.ports()).collect();
    wishes.slots = slots;

    let command = launch::command_line(config, &wishes.profile);
    let disk = args.levels.look(&session, &command)?;
    let names = disk.as_ref().map(levels::Disk::interactive);
    let mut trials = Vec::new();
    for number in 1..=args.plan.repeat {
        let launched = Instant::now();
        let seen = attempt::sighted(&session, &wishes, &plan, names.as_deref())?;
        if args.show_logs {
            show_logs(number, args.plan.repeat, &seen.0.output);
        }
        trials.push(Trial::new(seen, launched));
        if session.barred.is_some() {
            // Its one tree has been used, and another run could not judge either.
            break;
        }
    }
    let (trial, runs) = trials::decisive(trials);
    let trial = lenient::settle(&session, &mut wishes, &plan, names.as_deref(), trial)?;
    let Trial { mut outcome, mut measures, jail_took, sight } = trial;
    let can_run = session.barred.is_none() && wishes.refusal.is_none();
    let fails = can_run && outcome.answer == Answer::Fails;
    let lacks = manifest.as_ref().filter(|_| fails).map_or_else(Vec::new, |manifest| manifest.lacks(&args.container));
    // What fails for want of something fails without hardening too.
    let says_something = can_run && lacks.is_empty();
    measures.extend(lacks);
    let (baseline, unhardened_took) = match outcome.answer {
        Answer::Fails if says_something => attempt::unhardened(&session, &wishes, &plan)?,
        Answer::Fails | Answer::Works | Answer::Unknown => (Baseline::NotTried, None),
    };
    let is_watched = can_run && (fails || args.trace.is_some());
    let mut tell = || watched::tell(args.trace.as_ref(), &session, &wishes, &plan, baseline, &mut outcome);
    let watched = if is_watched { tell()? } else { None };
    trials::compare(&mut outcome, &runs, watched.as_ref());
    phases::begin(Phase::Done);
    let mut findings = session.findings();
    findings.extend(manifest.iter().flat_map(|manifest| manifest.findings(&args.container)));
    if session.cannot_run().is_none() {
        findings.extend(session.barred.as_ref().map(smoke::weaker));
    }
    findings.extend(inventory::user(config));
    if outcome.answer == Answer::Fails || outcome.probes.is_empty() {
        let view = session.view()?;
        let files = session.entrypoint(&view, &command).findings;
        diagnose::give_capabilities(&mut outcome, &files);
        findings.extend(files);
        findings.extend(inventory::health_check(&view, config));
    }
    let fit = if let Some(wanted) = fits {
        let extra = usize::from(unhardened_took.is_some()) + usize::from(is_watched);
        let user = files.user(config)?;
        let start = fit::Begun { outcome: &outcome, baseline, runs: runs.len() + extra, user };
        fit::search(args, &session, &wishes, &plan, start, wanted)?
    } else {
        Fit::default()
    };
    let account = &session.account;
    let verdict = Verdict::new(Evidence {
        started_at,
        host: Host::here(sys::landlock_abi::landlock_abi().ok().and_then(|abi| abi.try_into().ok())),
        image: session.image_facts(),
        preset: facts::Preset::of(&files.preset()),
        manner: format!("{}, as {}:{}", wishes.profile.manner(), account.uid, account.gid),
        is_hardened: wishes.profile.read_only && wishes.profile.capabilities.is_empty() && account.uid != 0,
        relaxations: [files.relaxations(), wishes.profile.relaxations.clone()].concat(),
        ids: who(&session),
        plan: &plan,
        outcome: &outcome,
        runs: &runs,
        watched: watched.as_ref(),
        measures: measures.clone(),
        baseline,
        findings,
        pod_security: settings.and_then(|settings| settings.pod_security.clone()),
        durations: Durations {
            open: Durations::of(session.open_took),
            unpack: Durations::of(session.unpack_took),
            jail: Durations::of(jail_took),
            unhardened: unhardened_took.and_then(Durations::of),
            total: Durations::of(begun.elapsed()),
            ..Durations::default()
        },
    });
    let run = levels::Run { wishes: &wishes, plan: &plan, outcome: &outcome, measures: &measures, sight: &sight };
    fit::hand_over(args.levels.judge(verdict, &session, &run, disk.as_ref())?, fit)
}

/// Who the app was.
fn who(session: &Session) -> Ids {
    let account = &session.account;
    Ids {
        mode: match session.ids {
            ids::Mode::Real => IdMode::Real,
            ids::Mode::Mapped => IdMode::Mapped,
            ids::Mode::Single => IdMode::Single,
        },
        uid: account.uid,
        gid: account.gid,
        groups: account.groups.clone(),
        why: session.ids_why.clone(),
    }
}

/// Passes on what the app wrote, with nothing in it that a terminal acts on.
fn show_logs(number: u32, of: u32, output: &Output) {
    let run = if of == 1 { String::new() } else { format!(" of run {number}") };
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let mut text = format!("--- {name}{run}\n");
        for line in String::from_utf8_lossy(bytes).lines() {
            text.push_str(&report::clean(line));
            text.push('\n');
        }
        // The terminal may be gone; the verdict is still worth something.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::image::Config;
    use crate::smoke::plan::{self, Origin};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn line(words: &str) -> Result<Args, clap::Error> {
        let words = words.split_whitespace().map(|word| if word == "''" { "" } else { word });
        Line::try_parse_from(std::iter::once("verify").chain(words)).map(|line| line.args)
    }

    fn refused(words: &str) -> String {
        let error = line(words).expect_err(words);
        assert_eq!(error.exit_code(), 2, "{words}");
        error.to_string()
    }

    #[test]
    fn no_image_is_a_usage_error() {
        assert!(refused("").contains("<IMAGE>"));
        assert!(refused("''").contains("is a variable unset?"));
        assert!(refused("--http 80").contains("<IMAGE>"));
        assert!(refused("no-such-image.tar").contains("neither a file nor"));
    }

    #[test]
    fn flags_make_the_plan() {
        let args =
            line("example:hello --http 80/x=204 --tcp 22 --http 81 --up 1.5 --timeout 5 --udp 53 --log x --grace 2")
                .unwrap();
        let plan = args.plan.plan(&Config::default()).unwrap();
        let targets: Vec<_> = plan.probes.iter().map(|probe| format!("{} {}", probe.kind(), probe.target())).collect();
        assert_eq!(targets, ["http 80/x", "http 81/", "tcp 22", "udp 53", "log `x`", "up 1.5 s"]);
        assert_eq!((plan.origin, plan.timeout), (Origin::Flags, Duration::from_secs(5)));
        assert_eq!((plan.judges_stop, plan.grace), (true, Duration::from_secs(2)));
    }

    #[test]
    fn without_flags_the_plan_is_the_image_s() {
        let args = line("example:hello").unwrap();
        let plan = args.plan.plan(&Config::default()).unwrap();
        assert_eq!((plan.origin, plan.timeout, plan.probes.len()), (Origin::Image, plan::TIMEOUT, 1));
        assert_eq!(args.files.user(&Config::default()).unwrap(), "65532".parse().unwrap());
        assert_eq!(args.format, Format::Text);
    }

    #[test]
    fn contradictions_and_junk_are_refused() {
        assert!(refused("example:hello --exit 0 --tcp 80").contains("cannot be used with"));
        assert!(refused("example:hello --plan x --tcp 80").contains("cannot be used with"));
        assert!(refused("example:hello --log (").contains("is not a regular expression"));
        assert!(refused("example:hello --repeat 0").contains("not in 1..=1000"));
        assert!(refused("example:hello --http 0").contains("is not a port"));
        assert!(refused("example:hello --exit 256").contains("is not an exit code"));
        assert!(refused("example:hello --user +0").contains("is not USER[:GROUP]"));
        assert!(refused("example:hello --user=-1").contains("is not USER[:GROUP]"));
        assert!(refused("example:hello --tmpfs run").contains("absolute path"));
        assert!(refused("example:hello --platform amd64").contains("is not a platform"));
        assert!(refused("example:hello --format xml").contains("possible values: text, json"));
    }

    #[test]
    fn help_lines_are_short_and_the_test_flag_is_hidden() {
        use clap::CommandFactory;
        let help = Line::command().render_help().to_string();
        assert!(!help.contains("without-measure") && !help.contains("--phases") && help.contains("Smoke plan:"));
        assert!(line("example:hello --without-measure seccomp").is_ok());
    }
}
