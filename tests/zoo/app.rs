//! What the app in the zoo's image does: the steps on its command line, one after another.
//!
//! A step is a manner and an act: `must:mkdir:/data` ends the app with a complaint when it is refused, `quiet:` without one, `warn:` says so and
//! goes on, `try:` just goes on. `words:` are those of the next complaint. `serve` at the end listens on port 8080.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use austere::sys::seccomp::Harmless;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{AccessFlags, Gid, Uid, chroot, faccessat, geteuid, setgid, setgroups, setuid};

/// Marks a command line as the zoo's.
pub const FLAG: &str = "--zoo";

/// Plays the steps. Gives the exit code.
pub fn play(steps: &[String]) -> u8 {
    let mut words = None;
    for step in steps {
        let (manner, act) = step.split_once(':').unwrap_or((step, ""));
        if manner == "serve" {
            serve();
        }
        if manner == "words" {
            words = Some(act);
            continue;
        }
        let (verb, target) = act.split_once(':').unwrap_or((act, ""));
        let Err(error) = perform(verb, target) else { continue };
        match manner {
            "must" => {
                match words {
                    Some(words) => complain(words),
                    None => complain(&format!("fatal: {}: {error}", said(verb, target))),
                }
                return 1;
            }
            "quiet" => return 111,
            "warn" => complain(&format!("warning: {}: {error} (ignored)", said(verb, target))),
            _ => {}
        }
    }
    0
}

fn complain(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn said(verb: &str, target: &str) -> String {
    match verb {
        "root" => "this program must be run as root".to_owned(),
        "privileges" => "the no new privileges flag is set".to_owned(),
        "passwd" => format!("getpwuid(): uid not found: {}", geteuid()),
        "lookup" => format!("could not resolve {target}"),
        _ => format!("cannot {verb} {target}"),
    }
}

#[expect(clippy::too_many_lines, reason = "a line an act")]
fn perform(verb: &str, target: &str) -> io::Result<()> {
    let number = || target.parse::<u32>().unwrap();
    let address = || target.parse::<SocketAddr>().unwrap();
    let harmless = |call: Harmless| match call.call() {
        value @ ..0 if [libc::EPERM, libc::ENOSYS].map(i64::from).contains(&-value) => {
            Err(io::Error::from_raw_os_error(i32::try_from(-value).unwrap()))
        }
        _ => Ok(()),
    };
    match verb {
        "write" => OpenOptions::new().create(true).append(true).open(target)?.write_all(b"x"),
        "read" => File::open(target).map(drop),
        "mkdir" => fs::create_dir(target),
        "unlink" => fs::remove_file(target),
        "rename" => fs::rename(target, format!("{target}.old")),
        "chown" => chown(target, Some(1), Some(1)),
        "chmod" => fs::set_permissions(target, fs::Permissions::from_mode(0o777)),
        "enter" => std::env::set_current_dir(target),
        "setuid" => Ok(setuid(Uid::from_raw(number()))?),
        "setgid" => Ok(setgid(Gid::from_raw(number()))?),
        "setgroups" => Ok(setgroups(&[Gid::from_raw(number())])?),
        "chroot" => Ok(chroot(target)?),
        "mlock" => {
            setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0)?;
            Ok(mlockall(MlockAllFlags::MCL_CURRENT)?)
        }
        "raw" => {
            let raw = (AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp);
            Ok(socket(raw.0, raw.1, raw.2, raw.3).map(drop)?)
        }
        "unshare" => Ok(unshare(CloneFlags::CLONE_NEWUSER)?),
        "uring" => harmless(Harmless::IoUringRegister),
        "mempolicy" => harmless(Harmless::GetMempolicy),
        "keys" => harmless(Harmless::Keyctl),
        "clone3" => harmless(Harmless::Clone3),
        "limit" => {
            let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard + 1)?)
        }
        "listen" => TcpListener::bind(address()).map(std::mem::forget),
        "unix" => UnixListener::bind(target).map(std::mem::forget),
        "connect" => TcpStream::connect_timeout(&address(), Duration::from_secs(5)).map(drop),
        "lookup" => {
            // As a C library without a name server does it.
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect("127.0.0.1:53")?;
            let _ = socket.send(b"?");
            Err(io::Error::other("Temporary failure in name resolution"))
        }
        "exec" => Command::new(target).arg(FLAG).status().map(drop),
        "carry" => {
            // A program that unpacks itself.
            fs::write(target, "#!/proc/self/exe\n")?;
            fs::set_permissions(target, fs::Permissions::from_mode(0o755))?;
            Command::new(target).status().map(drop)
        }
        "root" => {
            if geteuid().is_root() {
                Ok(())
            } else {
                Err(Errno::EPERM.into())
            }
        }
        "privileges" => {
            let held = nix::sys::prctl::get_no_new_privs()?;
            if held { Err(io::Error::other("no new privileges")) } else { Ok(()) }
        }
        "passwd" => {
            let own = format!(":{}:", geteuid());
            let known = fs::read_to_string("/etc/passwd")?.lines().any(|line| line.contains(&own));
            if known { Ok(()) } else { Err(io::Error::other("no passwd entry")) }
        }
        "threads" => {
            let all: Vec<_> = (0..number())
                .map(|n| {
                    let path = format!("/nothing-{n}");
                    std::thread::spawn(move || fs::create_dir(path))
                })
                .collect();
            for thread in all {
                drop(thread.join());
            }
            Ok(())
        }
        "forks" => {
            for _ in 0..number() {
                Command::new("/proc/self/exe").args([FLAG, "try:mkdir:/nothing"]).status()?;
            }
            Ok(())
        }
        "child" => {
            // The rest of the line, with commas between its steps, in another process, whose failure is passed on.
            let steps = target.split(',').map(|step| step.replace('=', ":"));
            let status = Command::new("/proc/self/exe").arg(FLAG).args(steps).status()?;
            if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
        }
        "socket-child" => {
            // The same, with a socket as its standard output.
            let (socket, _other) = UnixStream::pair()?;
            let steps = target.split(',').map(|step| step.replace('=', ":"));
            let status = Command::new("/proc/self/exe").arg(FLAG).args(steps).stdout(OwnedFd::from(socket)).status()?;
            if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
        }
        "run" => succeeds(Command::new(target).status()?),
        "library" => {
            // A program that brings its libraries.
            let folder = Path::new(target);
            if folder != Path::new("/opt/lib") {
                fs::copy("/opt/lib/libc.so.6", folder.join("libc.so.6"))?;
            }
            succeeds(Command::new("/opt/dynamic").env("LD_LIBRARY_PATH", folder).status()?)
        }
        "device" => Ok(mknod(target, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?),
        "owner" => {
            let is_own = fs::metadata(target)?.uid() == geteuid().as_raw();
            if is_own { Ok(()) } else { Err(io::Error::other("it is another's")) }
        }
        "access" => Ok(faccessat(AT_FDCWD, target, AccessFlags::R_OK, AtFlags::AT_EACCESS)?),
        "ask" => UnixStream::connect(target).map(drop),
        // As syslog(3) does it.
        "log" => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(target)?;
            socket.send(b"<11>app: it is broken").map(drop)
        }
        "give-up" => Err(io::Error::other("it gave up")),
        "files" => {
            setrlimit(Resource::RLIMIT_NOFILE, 32, 32)?;
            (0..64).map(|_| File::open(target)).collect::<io::Result<Vec<_>>>().map(drop)
        }
        "fill" => {
            // More than a small tmpfs holds.
            let mut file = File::create(Path::new(target).join("fill"))?;
            file.write_all(&vec![1; 4 << 20])
        }
        "thread-exec" => {
            // Another thread than the first takes its place, as a Go program's may.
            let exec = || Err(Command::new("/proc/self/exe").args([FLAG, "try:mkdir:/nothing"]).exec());
            std::thread::spawn(exec).join().unwrap()
        }
        "abort" => std::process::abort(),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number().into()));
            Ok(())
        }
        "say" => {
            complain(&target.replace('_', " "));
            Ok(())
        }
        _ => panic!("{verb} is no act; {}", Path::new(target).display()),
    }
}

fn succeeds(status: ExitStatus) -> io::Result<()> {
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn serve() -> ! {
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    loop {
        drop(listener.accept());
    }
}
