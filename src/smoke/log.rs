//! Lines that an app writes, matched as they come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::plan::{Pattern, Plan, Probe};
use super::tcp::excerpt;
use crate::jail::subject::Ear;

/// The longest line that is looked at; a longer one is looked at in parts.
const LINE: usize = 16 << 10;
/// After this a line that was not ended is taken as it is: a prompt, or the last words.
const UNENDED: Duration = Duration::from_millis(100);

/// What was heard of one pattern: the line, and when.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub line: String,
    pub at: Duration,
}

/// Listens for every pattern of a plan, on both streams.
#[derive(Clone)]
pub(super) struct Listener(Arc<Mutex<Heard>>);

struct Heard {
    started: Instant,
    /// By the probe's place in the plan.
    wanted: Vec<(usize, Pattern, Option<Hit>)>,
    /// Of each stream, the line that has not ended yet, and when it last grew.
    open: [(Vec<u8>, Instant); 2],
}

impl Listener {
    /// A listener for `plan`; nothing when it asks for no line.
    pub fn new(plan: &Plan, started: Instant) -> Option<Self> {
        let wanted: Vec<_> = plan
            .probes
            .iter()
            .enumerate()
            .filter_map(|(index, probe)| match probe {
                Probe::Log { regex } => Some((index, regex.clone(), None)),
                _ => None,
            })
            .collect();
        let open = [(Vec::new(), started), (Vec::new(), started)];
        (!wanted.is_empty()).then(|| Listener(Arc::new(Mutex::new(Heard { started, wanted, open }))))
    }

    /// One ear for each stream.
    pub fn ears(&self) -> [Ear; 2] {
        [0, 1].map(|stream| {
            let heard = Arc::clone(&self.0);
            Ear::new(move |bytes| heard.lock().unwrap_or_else(PoisonError::into_inner).hear(stream, bytes))
        })
    }

    /// Whether every pattern was heard. With `ended`, no more bytes will come.
    pub fn is_done(&self, ended: bool) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in [0, 1] {
            let (line, grew) = &heard.open[stream];
            if !line.is_empty() && (ended || grew.elapsed() >= UNENDED) {
                let line = line.clone();
                heard.line(&line);
            }
        }
        heard.wanted.iter().all(|(_, _, hit)| hit.is_some())
    }

    /// What was heard for the probe at this place of the plan.
    pub fn hit(&self, index: usize) -> Option<Hit> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.wanted.iter().find(|(place, ..)| *place == index).and_then(|(_, _, hit)| hit.clone())
    }
}

impl Heard {
    fn hear(&mut self, stream: usize, bytes: &[u8]) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.open[stream].0.extend_from_slice(part);
            self.open[stream].1 = Instant::now();
            if parts.peek().is_some() || self.open[stream].0.len() > LINE {
                let line = std::mem::take(&mut self.open[stream].0);
                self.line(&line);
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        if self.wanted.iter().all(|(_, _, hit)| hit.is_some()) {
            return;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        for (_, pattern, hit) in &mut self.wanted {
            if hit.is_none() && pattern.is_in(&text) {
                *hit = Some(Hit { line: excerpt(line), at: self.started.elapsed() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::plan::{Origin, TIMEOUT};

    fn listener(patterns: &[&str]) -> Listener {
        let probes = patterns.iter().map(|pattern| Probe::log(pattern).unwrap()).collect();
        Listener::new(&Plan::new(Origin::Flags, probes, TIMEOUT).unwrap(), Instant::now()).unwrap()
    }

    #[test]
    fn a_line_is_heard_however_it_is_cut() {
        let listener = listener(&["^ready on \\d+$", "warm"]);
        let [mut out, mut err] = listener.ears();
        for part in [&b"not rea"[..], b"dy on 80\nrea", b"dy on ", b"80"] {
            out.hear(part);
        }
        assert!(!listener.is_done(false) && listener.hit(0).is_none());
        out.hear(b"\r\n");
        assert_eq!(listener.hit(0).unwrap().line, "ready on 80");
        // The streams are not mixed, and bytes that are no text are no end.
        err.hear(b"\xff\xfewa");
        out.hear(b"rm\n");
        assert!(listener.hit(1).is_none());
        err.hear(b"rm");
        assert!(listener.is_done(true));
    }

    #[test]
    fn an_unended_line_counts_after_a_moment() {
        let listener = listener(&["^login:"]);
        let [mut out, _] = listener.ears();
        out.hear(b"login: ");
        assert!(!listener.is_done(false));
        std::thread::sleep(UNENDED);
        assert!(listener.is_done(false));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let listener = listener(&["never"]);
        let [mut out, _] = listener.ears();
        for _ in 0..100 {
            out.hear(&[b'x'; 4096]);
        }
        assert!(listener.0.lock().unwrap().open[0].0.len() <= LINE + 4096);
    }
}
