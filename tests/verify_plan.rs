//! What an app has to do: plans that follow from the image and plans of the command line, each with an app that does it and one that
//! does not.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use callers::{Caller, busybox, callers};
use image::Image;
use serde_json::{Value, json};

/// An image that runs a shell script and exposes ports.
fn image(text: &str, ports: &[&str]) -> Option<Image> {
    let ports: Value =
        ports.iter().map(|port| ((*port).to_owned(), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let page = "#!/bin/sh\nprintf 'Status: 500 Internal Server Error\\r\\n\\r\\n'\n";
    // httpd asks this program where a folder has no index.html.
    let layer = busybox()?.dir("bad/cgi-bin", 0o755).file("bad/cgi-bin/index.cgi", 0o755, page);
    let config = json!({ "Entrypoint": ["/bin/sh", "-c", text], "ExposedPorts": ports });
    Some(Image::of(layer).config(config))
}

/// Whether the image passes, and if not, the code of the cause.
fn verdict(caller: &Caller, text: &str, ports: &[&str], flags: &[&str]) -> Option<(Value, String)> {
    let reference = caller.put("image", &image(text, ports)?);
    let (verdict, code) = caller.judge(&[&[reference.as_str()], flags].concat());
    let expected = match code {
        0 => "pass",
        1 => "fail",
        code => panic!("exit code {code}: {verdict:#}"),
    };
    assert_eq!(verdict["verdict"], expected, "{verdict:#}");
    let first = &verdict["findings"][0];
    let cause = if first["role"] == "cause" { first["code"].as_str().unwrap() } else { "" };
    assert_eq!(cause.is_empty(), code == 0, "{verdict:#}");
    let cause = cause.to_owned();
    Some((verdict, cause))
}

/// An app, its exposed ports, flags, and the code of the cause; nothing for an app that passes.
type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);

fn all_are(cases: &[Case]) {
    for caller in callers() {
        for (text, ports, flags, expected) in cases {
            let Some((verdict, cause)) = verdict(&caller, text, ports, flags) else { return };
            assert_eq!(cause, *expected, "`{text}` {ports:?} {flags:?}, {}: {verdict:#}", caller.mode());
        }
    }
}

/// A server that stays, and ends by its stop signal at once.
const SERVER: &str = "httpd -p 8080 -h /www; trap 'exit 0' TERM; while :; do sleep 0.01; done";
/// A server that ends when its visitor has gone.
const ONE_ANSWER: &str =
    "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' >/dev/shm/answer; exec nc -l -p 8080 </dev/shm/answer >/dev/null";
const SHORT: &[&str] = &["--timeout", "1"];

#[test]
fn an_exposed_port_has_to_accept() {
    all_are(&[
        (SERVER, &["8080/tcp"], &[], ""),
        ("sleep 0.3; exec httpd -f -p 8080 -h /www", &["8080/tcp"], &[], ""),
        ("exec sleep 30", &["8080/tcp"], SHORT, "not-ready"),
        (SERVER, &["8080/tcp", "8081/tcp"], SHORT, "not-ready"),
        ("exec httpd -f -p 127.0.0.1:8080 -h /www", &["8080/tcp"], SHORT, "listens-on-loopback-only"),
        ("exec httpd -f -p 172.17.0.2:8080 -h /www", &["8080/tcp"], &[], ""),
        ("exec httpd -f -p 80 -h /www", &["80/tcp"], &[], ""),
    ]);
}

#[test]
fn an_app_that_ends_has_not_served() {
    all_are(&[
        ("exit 0", &["8080/tcp"], &[], "exited-0-before-ready"),
        ("exit 3", &["8080/tcp"], &[], "exit-before-ready"),
        // It goes to the background, and its container with it.
        ("(sleep 1; exec httpd -f -p 8080 -h /www) & exit 0", &["8080/tcp"], &[], "exited-0-before-ready"),
        // The first visitor is also the last one.
        (ONE_ANSWER, &[], &["--http", "8080"], "died-after-probes"),
        (SERVER, &[], &["--http", "8080"], ""),
    ]);
}

#[test]
fn without_a_port_it_stays_up_or_ends_well() {
    all_are(&[
        ("exec sleep 30", &[], &[], ""),
        ("exit 0", &[], &[], ""),
        ("sleep 0.2; exit 1", &[], &[], "did-not-stay-up"),
        ("exec sleep 30", &[], &["--up", "0.2"], ""),
        ("exit 0", &[], &["--up", "0.2"], "did-not-stay-up"),
        ("exit 0", &["53/udp"], &[], ""),
    ]);
}

#[test]
fn an_exit_code_is_exact() {
    all_are(&[
        ("exit 0", &[], &["--exit", "0"], ""),
        ("exit 3", &[], &["--exit", "3"], ""),
        ("exit 1", &[], &["--exit", "0"], "wrong-exit-code"),
        ("exec sleep 30", &[], &["--exit", "0", "--timeout", "1"], "did-not-exit"),
    ]);
}

#[test]
fn flags_ask_for_what_they_say() {
    all_are(&[
        (SERVER, &[], &["--http", "8080"], ""),
        (SERVER, &[], &["--http", "8080/index.html=200"], ""),
        (SERVER, &[], &["--http", "8080/none=404"], ""),
        (SERVER, &[], &["--http", "8080/none", "--timeout", "1"], "wrong-status"),
        (SERVER, &[], &["--http", "8080", "--tcp", "8080", "--up", "0.2"], ""),
        (SERVER, &["9999/tcp"], &["--http", "8080"], ""),
    ]);
}

#[test]
fn an_error_of_the_server_s_is_a_warning_where_nobody_asked_for_a_status() {
    let text = "exec httpd -f -p 8080 -h /bad";
    for caller in callers() {
        let Some((warned, _)) = verdict(&caller, text, &["8080/tcp"], &[]) else { return };
        let codes: Vec<_> = warned["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
        assert!(codes.contains(&&json!("http-5xx")), "{warned:#}");
        let (_, cause) = verdict(&caller, text, &[], &["--http", "8080", "--timeout", "1"]).unwrap();
        assert_eq!(cause, "wrong-status");
        let (plain, _) = verdict(&caller, SERVER, &["8080/tcp"], &[]).unwrap();
        assert!(!plain["findings"].to_string().contains("http-5xx"), "{plain:#}");
    }
}

#[test]
fn an_app_that_does_not_hear_its_stop_signal_is_named() {
    let deaf = "exec httpd -f -p 8080 -h /www";
    for caller in callers() {
        let Some((deaf, _)) = verdict(&caller, deaf, &["8080/tcp"], &[]) else { return };
        assert!(deaf["findings"].to_string().contains("stop-signal-unheard"), "{deaf:#}");
        let (hears, _) = verdict(&caller, SERVER, &["8080/tcp"], &[]).unwrap();
        assert!(!hears["findings"].to_string().contains("stop-signal-unheard"), "{hears:#}");
        assert_eq!(hears["app"]["signal"], "SIGKILL");
        let (asked, _) = verdict(&caller, SERVER, &["8080/tcp"], &["--http", "8080", "--grace", "5"]).unwrap();
        assert_eq!(asked["app"]["exit_code"], 0);
    }
}

#[test]
fn stubborn_wants_what_it_does_not_get() {
    for caller in callers() {
        let (verdict, code) = caller.judge(&["example:stubborn"]);
        assert_eq!((code, verdict["baseline"].as_str()), (1, Some("works")));
        assert!(
            verdict["app"]["stderr_tail"].as_str().unwrap().contains("cannot write /run/stubborn.pid"),
            "{verdict:#}"
        );
        // With a folder for its pid file it works: its shell is there, and docker leaves low ports to everybody.
        let (verdict, code) = caller.judge(&["example:stubborn", "--tmpfs", "/run:mode=1777"]);
        assert_eq!(code, 0, "{verdict:#}");
        assert!(verdict["app"]["stdout_tail"].as_str().unwrap().contains("there is a shell"), "{verdict:#}");
        let relaxation = verdict["relaxations"][0].as_str().unwrap();
        assert!(relaxation.starts_with("--tmpfs /run:") && relaxation.contains("mode=1777"), "{relaxation}");
    }
}

#[test]
fn a_published_port_must_answer_and_leads_to_the_app() {
    for caller in callers() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let published = |inside: u16| format!("127.0.0.1:{free}:{inside}");
        // The published port counts, not the exposed one.
        for (exposed, inside, expected) in [("9/tcp", 8080, ""), ("8080/tcp", 9, "D49")] {
            let flags = ["-p", &published(inside), "--timeout", "2"];
            let Some((verdict, cause)) = verdict(&caller, SERVER, &[exposed], &flags) else { return };
            assert_eq!(cause.is_empty(), expected.is_empty(), "{}: {verdict:#}", caller.mode());
            assert_eq!(verdict["probes"].as_array().unwrap().len(), 1, "{verdict:#}");
        }
        // The app is there for a caller of the host while it is judged, twice, with the same port.
        let page = caller
            .put("page", &image("printf 'HTTP/1.1 200 OK\\r\\n\\r\\npage' | nc -l -p 8080; exit 0", &[]).unwrap());
        let visitor = std::thread::spawn(move || {
            let visit = || -> std::io::Result<String> {
                let mut answer = String::new();
                TcpStream::connect(("127.0.0.1", free))?.read_to_string(&mut answer)?;
                Ok(answer)
            };
            let mut answers = 0;
            let deadline = Instant::now() + Duration::from_mins(1);
            while answers < 2 && Instant::now() < deadline {
                answers += usize::from(visit().is_ok_and(|answer| answer.ends_with("page")));
                std::thread::sleep(Duration::from_millis(5));
            }
            answers
        });
        let (verdict, code) = caller.judge(&[&page, "-p", &published(8080), "--exit", "0", "--repeat", "2"]);
        assert_eq!((code, visitor.join().unwrap()), (0, 2), "{}: {verdict:#}", caller.mode());
        let taken = TcpListener::bind(("127.0.0.1", free)).unwrap();
        let output = caller.verify(&[&page, "-p", &published(8080)]);
        assert_eq!(output.status.code(), Some(2), "{}", common::said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("127.0.0.1:{free}")));
        drop(taken);
    }
}

#[test]
fn a_program_that_its_own_bit_makes_root_is_judged_as_docker_runs_it() {
    let Ok(program) = std::fs::read("/bin/busybox") else { return common::skip("busybox: no /bin/busybox") };
    let layer = image::Layer::new().file_of("suid/id", 0o4755, 0, 0, &program);
    let image = Image::of(layer).config(json!({ "Entrypoint": ["/suid/id"] }));
    for caller in callers().iter().filter(|caller| caller.is_root()) {
        let reference = caller.put("image", &image);
        let flags = ["--exit", "0", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges=false"];
        for (flags, expected) in
            [(&flags[..], Some("65532 0, by the program's set-user-id bit")), (&flags[..2], Some("65532"))]
        {
            let (verdict, code) = caller.judge(&[&[reference.as_str()], flags].concat());
            assert_eq!(code, 0, "{verdict:#}");
            let user =
                verdict["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == "user").unwrap();
            assert_eq!(user["read_back"].as_str(), expected, "{verdict:#}");
        }
    }
}
