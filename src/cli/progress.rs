//! How far a long unpacking or a long wait has come, for who looks on.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::smoke::plan::Plan;
use crate::source::Opened;

/// What takes less is not worth a word.
const PATIENCE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(100);
/// An app that is ready sooner is not waited for.
const WAIT: Duration = Duration::from_secs(2);

/// Does `work`, which reads layers of `opened`; meanwhile a terminal at standard error shows how much of them was read.
pub(super) fn shown<T>(opened: &Opened, work: impl FnOnce() -> T) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let (working, done) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || draw(opened, &done));
        let result = work();
        drop(working);
        result
    })
}

/// Does `work`, which waits for an app to do what `plan` says; meanwhile a terminal at standard error shows for what, `how` the app is run,
/// and for how long. No jail may be started by `work`: that takes a process of one thread.
pub(super) fn waited<T>(how: &str, plan: &Plan, work: impl FnOnce() -> T) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let (working, done) = channel::<()>();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let goes_on = |span| done.recv_timeout(span) == Err(RecvTimeoutError::Timeout);
            if !goes_on(WAIT) {
                return;
            }
            let bar = bar(plan.timeout.as_secs(), &format!("{how}: waiting for {{msg}}, {{pos}} of at most {{len}} s"));
            let probe =
                plan.probes.first().map_or_else(String::new, |probe| format!("{} {}", probe.kind(), probe.target()));
            bar.set_message(probe);
            while goes_on(STEP) {
                bar.set_position(begun.elapsed().as_secs());
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(working);
        result
    })
}

/// Until the other end of `done` is dropped; then nothing is left of it on the screen.
fn draw(opened: &Opened, done: &Receiver<()>) {
    let goes_on = |span| done.recv_timeout(span) == Err(RecvTimeoutError::Timeout);
    if !goes_on(PATIENCE) {
        return;
    }
    if opened.is_remote() { layers(opened, goes_on) } else { whole(opened, goes_on) }
}

fn bar(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// One bar for all that is read.
fn whole(opened: &Opened, goes_on: impl Fn(Duration) -> bool) {
    let total = opened.image.layers.iter().map(|layer| layer.size).sum();
    let bar = bar(total, "unpacking {wide_bar} {decimal_bytes} of {decimal_total_bytes}");
    while goes_on(STEP) {
        // A layer that is there twice may be read twice.
        bar.set_position(opened.taken().sum::<u64>().min(total));
    }
    bar.finish_and_clear();
}

/// One bar for each layer that is being downloaded; a layer that is here already has none.
fn layers(opened: &Opened, goes_on: impl Fn(Duration) -> bool) {
    let all = MultiProgress::new();
    let mut bars: Vec<Option<ProgressBar>> = opened.image.layers.iter().map(|_| None).collect();
    while goes_on(STEP) {
        for ((layer, taken), slot) in opened.image.layers.iter().zip(opened.taken()).zip(&mut bars) {
            if taken == 0 {
                continue;
            }
            let shown = slot.get_or_insert_with(|| {
                let bar = bar(layer.size, "{prefix} {wide_bar} {decimal_bytes} of {decimal_total_bytes}");
                let name = layer.digest.as_ref().unwrap_or(&layer.diff_id);
                all.add(bar.with_prefix(name.hex()[..12].to_owned()))
            });
            shown.set_position(taken.min(layer.size));
        }
    }
    // The terminal may be gone; then so are the bars.
    let _ = all.clear();
}
