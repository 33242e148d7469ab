//! How far a long unpacking has come, for who looks on.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::source::Opened;

/// What takes less is not worth a word.
const PATIENCE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(100);

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

/// Until the other end of `done` is dropped; then nothing is left of it on the screen.
fn draw(opened: &Opened, done: &Receiver<()>) {
    let goes_on = |span| done.recv_timeout(span) == Err(RecvTimeoutError::Timeout);
    if !goes_on(PATIENCE) {
        return;
    }
    let total = opened.image.layers.iter().map(|layer| layer.size).sum();
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("unpacking {wide_bar} {decimal_bytes} of {decimal_total_bytes}") {
        bar.set_style(style);
    }
    while goes_on(STEP) {
        // A layer that is there twice may be read twice.
        bar.set_position(opened.taken().min(total));
    }
    bar.finish_and_clear();
}
