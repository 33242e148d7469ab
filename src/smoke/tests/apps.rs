//! Apps that end too early, too late, wrongly or well.

use super::*;
use crate::smoke::{Answer, ProbeStatus};

/// busybox's own server, on the loopback address.
fn httpd(port: u16, before: &str) -> Process {
    Process::shell(&format!("{before}; exec busybox httpd -f -p 127.0.0.1:{port} -h /proc"))
}

fn tcp(port: u16) -> Probe {
    Probe::Tcp { port, send: None, expect: None }
}

#[test]
fn an_app_that_answers_and_stays_works() {
    let port = free_port();
    let outcome = judge(httpd(port, "sleep 0.1"), Probe::http(&format!("{port}/=404")).unwrap(), 10_000);
    assert_eq!(outcome.answer, Answer::Works, "{outcome:#?}");
    assert!(outcome.alive_after_probes && outcome.findings.is_empty());
    assert!(outcome.stop.is_some_and(|stop| stop.killed && stop.end == End::Signaled(libc::SIGKILL)));
    let probe = &outcome.probes[0];
    assert_eq!((probe.status, probe.http_status), (ProbeStatus::Passed, Some(404)));
    // It was asked before it was ready, and soon after.
    assert!(probe.attempts > 5 && probe.at >= Duration::from_millis(100) && probe.at < Duration::from_millis(400));
    assert!(probe.took < probe.at);
}

#[test]
fn the_same_app_fails_for_another_status() {
    let port = free_port();
    let outcome = judge(httpd(port, "true"), Probe::http(&port.to_string()).unwrap(), 300);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["wrong-status"]));
    assert_eq!(outcome.summary, format!("{port}/ answered HTTP 404 Not Found for 300 ms, not 200-399"));
    assert!(outcome.alive_after_probes);
}

#[test]
fn an_end_before_the_answer_is_noticed_at_once() {
    let begun = Instant::now();
    let outcome = judge(Process::shell("sleep 0.05; exit 3"), tcp(free_port()), 60_000);
    assert_eq!((outcome.answer, outcome.end), (Answer::Fails, Some(End::Exited(3))));
    assert_eq!(codes(&outcome), ["exit-before-ready"]);
    assert!(outcome.summary.starts_with("exit 3 after ") && outcome.summary.contains("ms, before port "));
    assert!(outcome.stop.is_none() && !outcome.alive_after_probes);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_daemon_that_leaves_has_failed_although_it_said_0() {
    let outcome = judge(Process::shell("exit 0"), tcp(free_port()), 10_000);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["exited-0-before-ready"]));
    assert!(outcome.findings[0].advice.as_ref().unwrap().contains("foreground"));
}

#[test]
fn an_app_that_dies_of_its_first_visitor_fails() {
    let app = Process::shell("exec sleep 60");
    let pid = Pid::from_raw(app.child.id().cast_signed());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let visitor = thread::spawn(move || listener.accept().map(|_| kill(pid, Signal::SIGSEGV)));
    let outcome = judge(app, tcp(port), 10_000);
    visitor.join().unwrap().unwrap().unwrap();
    assert_eq!(outcome.probes[0].status, ProbeStatus::Passed);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["died-after-probes"]));
    assert_eq!(outcome.end, Some(End::Signaled(libc::SIGSEGV)));
}

/// As servers do whose workers fail: the port is there, and nobody is behind it yet.
#[test]
fn an_app_that_listens_and_takes_no_connection_is_not_ready() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let outcome = judge(Process::shell("exec sleep 60"), tcp(port), 200);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["not-ready"]));
    assert!(outcome.summary.contains("takes no connection"), "{}", outcome.summary);
    thread::spawn(move || listener.incoming().for_each(drop));
    assert_eq!(judge(Process::shell("exec sleep 60"), tcp(port), 10_000).answer, Answer::Works);
}

#[test]
fn a_silent_app_is_not_ready() {
    let outcome = judge(Process::shell("exec sleep 60"), tcp(free_port()), 100);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["not-ready"]));
    assert!(outcome.summary.ends_with("did not answer within 100 ms (connection refused)"), "{}", outcome.summary);
}

#[test]
fn exit_codes_are_what_was_asked_or_not() {
    let exit = |script: &str, timeout| judge(Process::shell(script), Probe::Exit { code: 7 }, timeout);
    let outcome = exit("exit 7", 10_000);
    assert_eq!((outcome.answer, outcome.stop, outcome.findings.len()), (Answer::Works, None, 0));
    assert_eq!(codes(&exit("exit 0", 10_000)), ["wrong-exit-code"]);
    // 128 + 9 is how a shell shows it; it is not an exit.
    assert_eq!(exit("kill -KILL $$", 10_000).summary.split(' ').next(), Some("SIGKILL"));
    let outcome = exit("exec sleep 60", 50);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["did-not-exit"]));
}

#[test]
fn staying_up_is_a_test_of_time() {
    let up = |script: &str, or_exit_0| {
        judge(Process::shell(script), Probe::Up { duration: Duration::from_millis(150), or_exit_0 }, 50)
    };
    for or_exit_0 in [false, true] {
        let outcome = up("exec sleep 60", or_exit_0);
        assert!(outcome.answer == Answer::Works && outcome.alive_after_probes && outcome.took.as_millis() >= 150);
        assert_eq!(codes(&up("exit 1", or_exit_0)), ["did-not-stay-up"]);
    }
    assert_eq!(up("exit 0", true).answer, Answer::Works);
    assert_eq!(up("exit 0", false).answer, Answer::Fails);
}

#[test]
fn an_app_that_ignores_its_stop_signal_is_killed_and_said_so() {
    let mut app = Process::shell("trap '' TERM; while :; do sleep 1; done");
    let mut plan = Plan::new(
        Origin::Flags,
        vec![Probe::Up { duration: Duration::from_millis(200), or_exit_0: false }],
        span_of(1),
    )
    .unwrap();
    let outcome = crate::smoke::judge(&mut app, &plan);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Works, vec![]), "nobody asked for its stop");
    assert!(outcome.stop.unwrap().killed);
    let mut app = Process::shell("trap '' TERM; while :; do sleep 1; done");
    plan = plan.with_grace(Some(Duration::from_millis(100)));
    let outcome = crate::smoke::judge(&mut app, &plan);
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Fails, vec!["killed-after-grace"]));
    assert!(outcome.stop.unwrap().killed);
}

fn span_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
