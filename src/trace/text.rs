//! A timeline for people, and as JSON lines for programs.

use std::fmt::Write as _;

use super::timeline::{Event, Kind, Timeline};

/// One line an event: when, who, what.
pub fn text(timeline: &Timeline) -> String {
    let mut text = String::new();
    for event in &timeline.events {
        let who = if event.pid == event.tid { event.pid.to_string() } else { format!("{}/{}", event.pid, event.tid) };
        let _ = write!(text, "{:>10.3} ms  {who:<7} ", event.at_ms);
        text.push_str(&escaped(&said(event)));
        text.push('\n');
    }
    let (processes, threads) = (timeline.processes.len(), timeline.threads);
    let took = crate::smoke::span(timeline.took);
    let (es, s) = (if processes == 1 { "" } else { "es" }, if threads == 1 { "" } else { "s" });
    let _ = writeln!(text, "followed: {processes} process{es} and {threads} thread{s}; the probes took {took}");
    if timeline.dropped > 0 {
        let _ = writeln!(text, "{} more events were seen and not kept", timeline.dropped);
    }
    text
}

fn said(event: &Event) -> String {
    let path = event.path.as_ref().map_or_else(String::new, |path| format!("`{path}`"));
    let why = event.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let times = if event.times > 1 { format!(" ({} times)", event.times) } else { String::new() };
    let said = event.text.as_deref().unwrap_or_default();
    match event.kind {
        Kind::Failed => {
            let wall = event.wall.map_or_else(String::new, |wall| format!(", refused by {}", wall.name()));
            format!("{} {path} = {}{wall}{why}{times}", event.call, event.errno.as_deref().unwrap_or_default())
        }
        Kind::Started => format!("started {path}"),
        Kind::Ignored => format!("{} {path}{why}", event.call),
        Kind::Asked => format!("asked {} {path}{times}", event.call),
        Kind::Wrote => format!("wrote {:?}", said.trim_end()),
        Kind::Ended => format!("ended: {said}"),
    }
}

/// With nothing in it that a terminal acts on.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// One JSON object a line: the events, then how much was followed.
pub fn lines(timeline: &Timeline) -> String {
    let mut text = String::new();
    for event in &timeline.events {
        // An event has text keys and finite numbers only.
        text.push_str(&serde_json::to_string(event).unwrap_or_default());
        text.push('\n');
    }
    let end = serde_json::json!({
        "kind": "summary", "processes": timeline.processes.len(), "threads": timeline.threads, "dropped": timeline.dropped,
        "took_ms": timeline.took.as_secs_f64() * 1e3,
    });
    let _ = writeln!(text, "{end}");
    text
}
