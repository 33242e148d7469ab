//! austere is killed at any moment: nothing stays, and what it kept is of use to the next one.
//!
//! The app in the image is this very program, which is static: it plays servers that are hard to get rid of. It has to be PID 1's first
//! thread, which the ordinary harness does not let a test be, so this one has a `main` of its own: `cargo test --test crash [PART OF A NAME]`.

// A helper that fails fails the test, and a harness prints.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/crash.rs"]
mod crash;
#[path = "common/image.rs"]
mod image;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crash::{PHASES, Place, app, median};
use nix::sys::signal::Signal;

/// Another one with `AUSTERE_SEED`.
const SEED: u64 = 20_240_229;
/// Moments in all.
const MOMENTS: usize = 200;
/// Each phase is hit at least so often.
const LEAST: usize = 5;

type Test = (&'static str, fn());

const TESTS: [Test; 6] = [
    ("killed_as_root", killed_as_root),
    ("killed_as_an_ordinary_user", killed_as_an_ordinary_user),
    ("signals_that_end_it_leave_nothing_either", signals_that_end_it_leave_nothing_either),
    ("killed_while_an_app_with_another_user_runs", killed_while_an_app_with_another_user_runs),
    ("two_at_once_on_a_fresh_store", two_at_once_on_a_fresh_store),
    ("one_is_killed_while_the_other_waits", one_is_killed_while_the_other_waits),
];

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(crash::ROLE) {
        app::play(&role);
        return ExitCode::SUCCESS;
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_asked = |(name, _): &Test| asked.is_empty() || asked.iter().any(|part| name.contains(part));
    let queue = Mutex::new(TESTS.into_iter().filter(is_asked));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, test)) = { queue.lock().unwrap().next() } {
            let passed = thread::spawn(test).join().is_ok();
            say(&format!("test {name} ... {}", if passed { "ok" } else { "FAILED" }));
            if !passed {
                failed.lock().unwrap().push(name);
            }
        }
    };
    // Two at a time: more would only be slower, and their moments less exact.
    thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|worker| worker.join().unwrap()));
    if failed.into_inner().unwrap().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) {
    std::io::stdout().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn seed() -> u64 {
    std::env::var("AUSTERE_SEED").map_or(SEED, |seed| seed.parse().unwrap())
}

/// Numbers from 0 up to 1, by splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap()) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Half of the moments are for root and half for an ordinary user; all are for whoever runs this, when that is not root.
fn share() -> usize {
    if common::root() { MOMENTS / 2 } else { MOMENTS }
}

/// How long each phase lasts when nobody is killed.
fn measure(place: &Place) -> BTreeMap<&'static str, Duration> {
    let mut seen: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for _ in 0..4 {
        place.empty_store();
        for (phase, took) in place.run("serve").durations() {
            seen.entry(phase).or_default().push(took);
        }
    }
    seen.into_iter().map(|(phase, all)| (phase, median(all))).collect()
}

/// The phase, and the time from its beginning, of a point between the beginning (0) and the end (1) of it all.
fn moment(lasts: &BTreeMap<&'static str, Duration>, point: f64) -> (&'static str, Duration) {
    let mut left = lasts.values().sum::<Duration>().mul_f64(point);
    for phase in PHASES {
        match left.checked_sub(lasts[phase]) {
            Some(rest) => left = rest,
            None => return (phase, left),
        }
    }
    (PHASES[PHASES.len() - 1], left)
}

fn kill_at_all_moments(place: &Place, who: &str) {
    let begun = Instant::now();
    let lasts = measure(place);
    let mut dice = Dice(seed());
    let (mut hits, mut slowest) = (BTreeMap::<&str, usize>::new(), Duration::ZERO);
    let mut aims = BTreeMap::<&str, usize>::new();
    let missed = |hits: &BTreeMap<&str, usize>| {
        let counts = |phase: &&str| hits.get(phase).copied().unwrap_or(0);
        // A busy machine may never be quick enough for these two.
        let mut phases = PHASES.into_iter().filter(|phase| !matches!(*phase, "open" | "done"));
        phases.find(|phase| counts(phase) < LEAST)
    };
    let mut rounds = 0;
    // A moment in a short phase may be missed on a busy machine, so there may be more rounds than were planned.
    while rounds < share() || (rounds < 2 * share() && missed(&hits).is_some()) {
        let round = rounds;
        rounds += 1;
        // Every fourth moment is drawn over the whole time, the others in the phase that was aimed at least: some are very short.
        let (phase, offset) = if round >= share() {
            let phase = missed(&hits).unwrap_or("mount");
            (phase, lasts[phase].mul_f64(dice.roll() / 2.0))
        } else if round % 4 == 0 {
            moment(&lasts, dice.roll())
        } else {
            let phase = PHASES.into_iter().min_by_key(|phase| aims.get(phase)).unwrap();
            (phase, lasts[phase].mul_f64(dice.roll()))
        };
        *aims.entry(phase).or_default() += 1;
        // These phases take long only where nothing is unpacked yet.
        if matches!(phase, "open" | "unpack") {
            place.empty_store();
        }
        // Every other app takes care that the kernel's death signal does not reach it.
        let mut run = place.run(if round % 2 == 0 { "serve" } else { "undying" });
        run.wait_for(phase);
        run.wait_until_after(offset);
        let struck = run.end(Signal::SIGKILL);
        *hits.entry(struck.phase).or_default() += 1;
        slowest = slowest.max(struck.gone_after);
        place.works();
    }
    let total: Duration = lasts.values().sum();
    say(&format!(
        "killed {who} {rounds} times over {total:.0?}, seed {}: {hits:?}; all gone after {slowest:.1?} at most ({:.0?})",
        seed(),
        begun.elapsed()
    ));
    if let Some(phase) = missed(&hits) {
        panic!("{phase} was hit too rarely: {hits:?}, {lasts:?}");
    }
}

fn killed_as_root() {
    if !common::root() {
        return common::skip("killed as root: this is an ordinary user, for whom all moments are drawn");
    }
    kill_at_all_moments(&Place::of_root(), "as root");
}

fn killed_as_an_ordinary_user() {
    let Some(place) = Place::of_user() else { return };
    kill_at_all_moments(&place, "as a user");
}

fn signals_that_end_it_leave_nothing_either() {
    let places = [common::root().then(Place::of_root), Place::of_user()];
    for place in places.iter().flatten() {
        place.works();
        let mut dice = Dice(seed());
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            for phase in ["unpack", "mount", "read-back", "probe", "stop"] {
                if phase == "unpack" {
                    place.empty_store();
                }
                let mut run = place.run("undying");
                run.wait_for(phase);
                run.wait_until_after(Duration::from_millis(20).mul_f64(dice.roll()));
                run.end(signal);
                place.works();
            }
        }
    }
}

/// An app that changes its user loses the kernel's death signal; only the run as the engine would lets it.
fn killed_while_an_app_with_another_user_runs() {
    if !common::root() {
        return common::skip("an app with another user: only root can give it one");
    }
    let place = Place::of_root();
    place.works();
    for _ in 0..4 {
        let mut run = place.run("another-user");
        run.wait_for("probe");
        run.wait_for("probe");
        run.wait_until_after(Duration::from_millis(50));
        assert_eq!(run.end(Signal::SIGKILL).phase, "probe");
    }
    place.works();
}

fn two_at_once_on_a_fresh_store() {
    let places = [common::root().then(Place::of_root), Place::of_user()];
    for place in places.iter().flatten() {
        for _ in 0..4 {
            place.empty_store();
            let runs = [place.run("serve"), place.run("serve")];
            for run in runs {
                run.passes();
            }
            place.holds_each_layer_once();
        }
    }
}

fn one_is_killed_while_the_other_waits() {
    let places = [common::root().then(Place::of_root), Place::of_user()];
    let mut waited = 0;
    for place in places.iter().flatten() {
        for _ in 0..4 {
            place.empty_store();
            let mut first = place.run("serve");
            first.wait_for("unpack");
            first.wait_until_after(Duration::from_millis(20));
            let mut second = place.run("serve");
            second.wait_for("unpack");
            second.wait_until_after(Duration::from_millis(20));
            waited += usize::from(first.end(Signal::SIGKILL).phase == "unpack");
            second.passes();
            // What the first one left, the second may have been too early to find; the next one is not.
            place.works();
        }
    }
    assert!(waited >= 3, "only {waited} were killed while they unpacked");
}
