//! Rooms that are network namespaces.

use std::fs::File;

use super::*;
use crate::smoke::Answer;

/// A process in a network namespace as the jail makes it: `lo` with a second address. `None` where that needs more rights.
fn in_a_room(script: &str) -> Option<Process> {
    let ready = "ip link set lo up && ip addr add 172.17.0.2/32 dev lo && echo ready && exec 2>/dev/null;";
    let mut command = Command::new("unshare");
    command.args(["--net", "busybox", "sh", "-c", &format!("{ready} {script}")]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut word = [0; 5];
    if child.stdout.take()?.read_exact(&mut word).is_err() {
        let _ = child.wait();
        let required = std::env::var("AUSTERE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "netns"), "unshare --net is refused");
        eprintln!("SKIP netns: unshare --net is refused");
        return None;
    }
    let namespace = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
    Some(Process { child, started: Instant::now(), room: Arc::new(Room::new(namespace.into())) })
}

fn listener(address: &str) -> String {
    format!("exec busybox httpd -f -p {address} -h /proc")
}

#[test]
fn loopback_is_not_where_others_can_reach_it() {
    let probe = || Probe::http("8080=404").unwrap();
    let Some(app) = in_a_room(&listener("127.0.0.1:8080")) else { return };
    let outcome = judge(app, probe(), 300);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["listens-on-loopback-only"]));
    assert_eq!(outcome.summary, "port 8080 is open on 127.0.0.1 only, not on the container's own address");

    let Some(app) = in_a_room(&listener("[::1]:8080")) else { return };
    assert_eq!(codes(&judge(app, probe(), 300)), ["listens-on-loopback-only"]);

    let Some(app) = in_a_room(&listener("0.0.0.0:8080")) else { return };
    assert_eq!(judge(app, probe(), 10_000).answer, Answer::Works);
}

#[test]
fn a_room_that_cannot_be_entered_says_nothing_about_the_app() {
    // Any file that is no namespace: setns(2) answers EINVAL.
    let mut app = Process::shell("exec sleep 60");
    app.room = Arc::new(Room::new(File::open("/dev/null").unwrap().into()));
    let outcome = judge(app, Probe::tcp("8080").unwrap(), 300);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Unknown, vec!["not-tested"]));
    assert!(outcome.summary.contains("could not be entered"), "{}", outcome.summary);
}
