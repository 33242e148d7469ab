//! The two apps built into the binary, so that a first verdict needs nothing else: `example:hello` works in the jail,
//! `example:stubborn` does not.
//!
//! The images' programs are this one; its name there says which app it is.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{fs, thread};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The longest request that is read, and how long a visitor may take for it.
const REQUEST: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
const PID_FILE: &str = "/run/stubborn.pid";

/// What went wrong, as an app would say it.
type Complaint = String;

/// Runs the app that `name`, the program's own name, stands for. `None`: it is austere itself.
pub fn run(name: &OsStr) -> Option<ExitCode> {
    let name = Path::new(name).file_name()?.to_str()?;
    let result = match name {
        "austere-hello" => hello(),
        "austere-stubborn" => stubborn(),
        "austere-sh" => shell(std::env::args().skip(1)),
        _ => return None,
    };
    Some(result.map_or_else(
        |complaint| {
            let _ = writeln!(io::stderr(), "{}: {complaint}", name.trim_start_matches("austere-"));
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    ))
}

/// A server as it should be: it writes nothing, asks for nothing, and ends when it is told to. `PORT` overrides 8080.
fn hello() -> Result<(), Complaint> {
    let port = match std::env::var("PORT") {
        Ok(port) => port.parse().map_err(|_| format!("PORT is `{port}`, which is not a port"))?,
        Err(_) => 8080,
    };
    serve("hello", port)
}

/// A server as many are: it wants a pid file, a shell and a low port, and gives up at the first that it does not get.
fn stubborn() -> Result<(), Complaint> {
    let pid = format!("{}\n", std::process::id());
    fs::write(PID_FILE, pid).map_err(|error| format!("cannot write {PID_FILE}: {error}"))?;
    let greeting = Command::new("/bin/sh").args(["-c", "echo stubborn: there is a shell"]).status();
    match greeting {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("/bin/sh: {status}")),
        Err(error) => return Err(format!("cannot run /bin/sh: {error}")),
    }
    serve("stubborn", 80)?;
    fs::remove_file(PID_FILE).map_err(|error| format!("cannot remove {PID_FILE}: {error}"))
}

/// The shell in the stubborn app's image: `#!` has put the script's own name before `-c LINE`, and the only command it knows is `echo`.
fn shell(mut words: impl Iterator<Item = String>) -> Result<(), Complaint> {
    let (_script, flag, line) = (words.next(), words.next(), words.next());
    match (flag.as_deref(), line.as_deref().and_then(|line| line.strip_prefix("echo "))) {
        (Some("-c"), Some(text)) => writeln!(io::stdout(), "{text}").map_err(|error| error.to_string()),
        _ => Err("this shell knows `-c 'echo TEXT'` and nothing else".to_owned()),
    }
}

/// Answers until SIGTERM or SIGINT.
fn serve(name: &'static str, port: u16) -> Result<(), Complaint> {
    // The kernel does not apply a signal's default action to PID 1, so it has to be asked for: signalfd(2).
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGTERM);
    wanted.add(Signal::SIGINT);
    let signals = wanted
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC))
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let _ = writeln!(io::stdout(), "{name}: listening on {address}");
    loop {
        let mut events = [signals.as_fd(), listener.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut events, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            other => other.map_err(|error| format!("cannot wait for visitors: {error}"))?,
        };
        if events[0].any() == Some(true) {
            return Ok(());
        }
        if let Ok((visitor, _)) = listener.accept() {
            // Without a thread the visitor is turned away; it may come again.
            let _ = thread::Builder::new().spawn(move || answer(name, visitor));
        }
    }
}

fn answer(name: &str, mut visitor: TcpStream) {
    let request = visitor
        .set_nonblocking(false)
        .and_then(|()| visitor.set_read_timeout(Some(PATIENCE)))
        .and_then(|()| visitor.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| request(&mut visitor));
    let (status, body) = match request.as_deref() {
        Ok("/") => ("200 OK", format!("{name} from austere {}\n", env!("CARGO_PKG_VERSION"))),
        Ok("/healthz") => ("200 OK", "ok\n".to_owned()),
        Ok(_) => ("404 Not Found", "not here\n".to_owned()),
        Err(_) => ("400 Bad Request", "GET / or GET /healthz\n".to_owned()),
    };
    let head = format!("Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close", body.len());
    let _ = write!(visitor, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}");
}

/// The path that is asked for.
fn request(visitor: &mut impl Read) -> io::Result<String> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    while bytes.len() < REQUEST {
        let count = visitor.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..count]);
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(_)) if request.method == Some("GET") => {
                return request.path.map(str::to_owned).ok_or_else(invalid);
            }
            Ok(httparse::Status::Partial) if count > 0 => {}
            _ => break,
        }
    }
    Err(invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_names_are_apps() {
        for name in ["", "austere", "/usr/bin/austere", "hello", "..", "/"] {
            assert!(run(OsStr::new(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn the_shell_knows_one_command() {
        let shell = |words: &[&str]| shell(words.iter().map(ToString::to_string));
        assert!(shell(&["/bin/sh", "-c", "echo hello"]).is_ok());
        assert!(shell(&["/bin/sh", "-c", "rm -rf /"]).is_err());
        assert!(shell(&["/bin/sh"]).is_err());
    }

    #[test]
    fn requests_are_read_or_refused() {
        let path = |text: &str| request(&mut text.as_bytes()).ok();
        assert_eq!(path("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").as_deref(), Some("/healthz"));
        for bad in ["", "GET /", "POST / HTTP/1.1\r\n\r\n", "\0\0\0", &"x".repeat(REQUEST * 2)] {
            assert_eq!(path(bad), None);
        }
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(REQUEST));
        assert_eq!(path(&endless), None);
    }
}
