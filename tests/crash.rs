//! austere is killed at any moment: nothing stays, and what it kept is of use to the next one.
//!
//! The app in the image is this very program, which is static: it plays servers that are hard to get rid of.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/crash.rs"]
mod crash;
#[path = "common/image.rs"]
mod image;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crash::{PHASES, Place, app, median};
use nix::sys::signal::Signal;

/// Another one with `AUSTERE_SEED`.
const SEED: u64 = 20_240_229;
/// Moments in all.
const MOMENTS: usize = 200;
/// Each phase is hit at least so often.
const LEAST: usize = 5;

/// Past the test harness, which shows nothing of a test that succeeds.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
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

fn kill_at_all_moments(place: &Place, who: &str) {
    let begun = Instant::now();
    let lasts = measure(place);
    let mut dice = Dice(seed());
    let (mut hits, mut slowest) = (BTreeMap::<&str, usize>::new(), Duration::ZERO);
    for round in 0..share() {
        let phase = PHASES[round % PHASES.len()];
        // These phases take long only where nothing is unpacked yet.
        if matches!(phase, "open" | "unpack") {
            place.empty_store();
        }
        // Every other app takes care that the kernel's death signal does not reach it.
        let mut run = place.run(if round / PHASES.len() % 2 == 0 { "serve" } else { "undying" });
        run.wait_for(phase);
        run.wait_until_after(lasts[phase].mul_f64(dice.roll()));
        let struck = run.end(Signal::SIGKILL);
        *hits.entry(struck.phase).or_default() += 1;
        slowest = slowest.max(struck.gone_after);
        place.works();
    }
    let total: Duration = lasts.values().sum();
    say(&format!(
        "killed {who} {} times over {total:.0?}, seed {}: {hits:?}; all gone after {slowest:.1?} at most ({:.0?})",
        share(),
        seed(),
        begun.elapsed()
    ));
    for phase in PHASES.iter().filter(|phase| !matches!(**phase, "open" | "done")) {
        assert!(hits.get(phase).is_some_and(|hits| *hits >= LEAST), "{phase} was hit too rarely: {hits:?}, {lasts:?}");
    }
}

#[test]
fn killed_as_root() {
    if !common::root() {
        return common::skip("killed as root: this is an ordinary user, for whom all moments are drawn");
    }
    kill_at_all_moments(&Place::of_root(), "as root");
}

#[test]
fn killed_as_an_ordinary_user() {
    let Some(place) = Place::of_user() else { return };
    kill_at_all_moments(&place, "as a user");
}

#[test]
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
#[test]
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

#[test]
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

#[test]
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
            place.holds_each_layer_once();
        }
    }
    assert!(waited >= 3, "only {waited} were killed while they unpacked");
}

/// Not a test of its own: what the image runs. Without its variable it does nothing.
#[test]
fn the_app() {
    if let Ok(role) = std::env::var(crash::ROLE) {
        app::play(&role);
    }
}

