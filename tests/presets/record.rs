//! The recorder: what a program finds in a container, and what the kernel answers it, as `key: value` lines.
//!
//! It only asks and writes below places that go with the container.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd;

/// Everything, by key.
pub fn record() -> BTreeMap<String, String> {
    let mut record = BTreeMap::new();
    status(&mut record);
    limits(&mut record);
    mounts(&mut record);
    surroundings(&mut record);
    files(&mut record);
    sysctls(&mut record);
    // What changes something comes last.
    for (name, answer) in attempts() {
        record.insert(format!("try {name}"), answer);
    }
    record
}

type Record = BTreeMap<String, String>;

fn status(record: &mut Record) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted =
        ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "NSpid"];
    for line in status.lines() {
        if let Some((name, value)) = line.split_once(':')
            && wanted.contains(&name)
        {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            record.insert(format!("status {name}"), value);
        }
    }
}

fn limits(record: &mut Record) {
    for line in fs::read_to_string("/proc/self/limits").unwrap_or_default().lines().skip(1) {
        if let (Some(name), Some(soft), Some(hard)) = (line.get(..25), line.get(26..47), line.get(47..67)) {
            record.insert(format!("limit {}", name.trim()), format!("{} {}", soft.trim(), hard.trim()));
        }
    }
}

/// Place, kind and the flags that a program can feel; where a mount comes from is the engine's own business.
fn mounts(record: &mut Record) {
    let felt = ["ro", "rw", "nosuid", "nodev", "noexec", "mode", "size", "uid", "gid", "ptmxmode"];
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
        let Some((own, of_all)) = line.split_once(" - ") else { continue };
        let own: Vec<&str> = own.split(' ').collect();
        let of_all: Vec<&str> = of_all.split(' ').collect();
        let (Some(place), Some(flags), Some(kind), Some(more)) =
            (own.get(4), own.get(5), of_all.first(), of_all.get(2))
        else {
            continue;
        };
        let is_felt = |option: &&str| felt.contains(&option.split('=').next().unwrap_or(option));
        let mut options: Vec<&str> = flags.split(',').filter(is_felt).collect();
        options.extend(more.split(',').filter(is_felt).filter(|option| option.contains('=')));
        record.insert(format!("mount {place}"), format!("{kind} {}", options.join(",")));
    }
}

fn surroundings(record: &mut Record) {
    for (name, value) in std::env::vars() {
        record.insert(format!("env {name}"), value);
    }
    let cwd = std::env::current_dir().map(|dir| dir.display().to_string());
    record.insert("cwd".to_owned(), cwd.unwrap_or_else(|error| error.to_string()));
    record.insert("umask".to_owned(), format!("{:04o}", umask(Mode::empty()).bits()));
    umask(Mode::from_bits_truncate(0o022));
    for number in 0..3 {
        let what = fs::metadata(format!("/proc/self/fd/{number}")).map(|meta| {
            let kind = meta.file_type();
            let kind = match () {
                () if kind.is_fifo() => "pipe",
                () if kind.is_char_device() => "device",
                () if kind.is_socket() => "socket",
                () => "file",
            };
            format!("{kind} of {}", meta.uid())
        });
        record.insert(format!("stdio {number}"), what.unwrap_or_else(|error| word(&error)));
    }
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let there = Path::new("/proc/self/ns").join(name).symlink_metadata().is_ok();
        record.insert(format!("namespace {name}"), there.to_string());
    }
}

fn files(record: &mut Record) {
    let shown = |path: &str| {
        fs::symlink_metadata(path).map_or_else(
            |error| word(&error),
            |meta| {
                let to = fs::read_link(path).map(|to| format!(" to {}", to.display())).unwrap_or_default();
                let device = if meta.rdev() == 0 { String::new() } else { format!(" device {}", meta.rdev()) };
                let mode = if to.is_empty() { format!("{:o}", meta.mode()) } else { "link".to_owned() };
                format!("{mode} {}:{}{device}{to}", meta.uid(), meta.gid())
            },
        )
    };
    let places = [
        "/",
        "/etc",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/etc/mtab",
        "/etc/passwd",
        "/dev",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/pts",
        "/proc",
        "/sys",
        "/tmp",
        "/run",
        "/var/tmp",
        "/data",
        "/opt/app",
        "/home/app",
        "/.dockerenv",
        "/run/.containerenv",
        "/dev/termination-log",
        "/run/secrets",
        "/secret",
    ];
    for path in places {
        record.insert(format!("file {path}"), shown(path));
    }
    for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
        let path = entry.path().display().to_string();
        record.insert(format!("file {path}"), shown(&path));
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for line in passwd.lines() {
        record.insert(format!("passwd {}", line.split(':').next().unwrap_or(line)), line.to_owned());
    }
}

fn sysctls(record: &mut Record) {
    for name in [
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_forward",
        "net.core.somaxconn",
        "net.ipv6.conf.all.disable_ipv6",
        "kernel.domainname",
        "kernel.msgmax",
        "kernel.shmmax",
        "kernel.shm_rmid_forced",
        "fs.mqueue.msg_max",
        "user.max_user_namespaces",
    ] {
        let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")));
        let text = text.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        record.insert(format!("sysctl {name}"), text.unwrap_or_else(|error| word(&error)));
    }
}

fn word(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| format!("{:?}", error.kind()), |errno| format!("{:?}", Errno::from_raw(errno)))
}

fn io<T>(result: io::Result<T>) -> String {
    result.map_or_else(|error| word(&error), |_| "ok".to_owned())
}

fn ok<T>(result: Result<T, impl Debug>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |_| "ok".to_owned())
}

fn attempts() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, answer: String| all.push((name.to_owned(), answer));
    for place in [
        "/",
        "/etc",
        "/tmp",
        "/run",
        "/var/tmp",
        "/dev",
        "/dev/shm",
        "/dev/mqueue",
        "/data",
        "/home/app",
        "/opt/app",
        "/proc",
        "/sys",
    ] {
        add(&format!("create {place}"), io(File::create(Path::new(place).join("record-me"))));
    }
    for (path, how) in [
        ("/etc/passwd", "append"),
        ("/etc/hosts", "append"),
        ("/etc/resolv.conf", "append"),
        ("/readable", "append"),
        ("/proc/sys/kernel/hostname", "append"),
        ("/proc/sysrq-trigger", "append"),
        ("/proc/self/oom_score_adj", "append"),
        ("/proc/self/comm", "append"),
        ("/sys/kernel/profiling", "append"),
        ("/dev/stdout", "append"),
        ("/dev/stderr", "append"),
        ("/dev/null", "append"),
        ("/dev/tty", "append"),
        ("/dev/console", "append"),
        ("/dev/mem", "append"),
    ] {
        add(&format!("{how} {path}"), io(OpenOptions::new().append(true).open(path)));
    }
    for path in ["/secret", "/readable", "/proc/kcore", "/proc/keys", "/proc/1/environ", "/proc/config.gz", "/dev/ptmx"]
    {
        add(&format!("read {path}"), io(File::open(path)));
    }
    add("mkdir /made", io(fs::create_dir("/made")));
    add("mkdir /tmp/made", io(fs::create_dir("/tmp/made")));
    add("unlink /readable", io(fs::remove_file("/readable")));
    add("rename /tmp/a", io(fs::rename("/readable", "/renamed")));
    add("symlink /link", io(symlink("/readable", "/link")));
    add("chmod /readable", io(fs::set_permissions("/readable", fs::Permissions::from_mode(0o600))));
    add("chown /readable", io(chown("/readable", Some(0), Some(0))));
    add("chown /data", io(chown("/data", Some(65532), None)));
    add("mknod /tmp/null", ok(mknod("/tmp/null", SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3))));
    add("mkfifo /tmp/fifo", ok(unistd::mkfifo("/tmp/fifo", Mode::S_IRUSR)));
    add("exec /readable", io(Command::new("/readable").status()));
    add("exec /missing", io(Command::new("/missing").status()));
    for port in [80, 1023, 1024, 8080] {
        add(&format!("bind tcp {port}"), io(TcpListener::bind(("0.0.0.0", port))));
    }
    add("bind udp 53", io(UdpSocket::bind("0.0.0.0:53")));
    add("bind tcp6 8081", io(TcpListener::bind("[::]:8081")));
    add("connect loopback", io(TcpStream::connect("127.0.0.1:1")));
    let open = |family, kind, protocol| ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol));
    add("socket raw", open(AddressFamily::Inet, SockType::Raw, SockProtocol::Raw));
    add("socket ping", open(AddressFamily::Inet, SockType::Datagram, SockProtocol::Icmp));
    add("socket packet", open(AddressFamily::Packet, SockType::Raw, SockProtocol::EthAll));
    add("socket netlink", open(AddressFamily::Netlink, SockType::Raw, SockProtocol::NetlinkRoute));
    let plain = |family, kind| ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None));
    add("socket vsock", plain(AddressFamily::Vsock, SockType::Stream));
    add("socket alg", plain(AddressFamily::Alg, SockType::SeqPacket));
    add("socket unix", plain(AddressFamily::Unix, SockType::Stream));
    add("memfd", ok(memfd_create("record", MFdFlags::MFD_CLOEXEC)));
    let nofile = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    add("lower nofile", ok(setrlimit(Resource::RLIMIT_NOFILE, nofile.0.min(64), nofile.1)));
    add("setpriority", io(fs::write("/proc/self/autogroup", "-1")));
    add("sethostname", ok(unistd::sethostname("recorded")));
    let none = None::<&str>;
    add("mount tmpfs", ok(mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none)));
    add("remount /", ok(mount(none, "/", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, none)));
    add("umount /proc", ok(umount("/proc")));
    add("chroot", ok(unistd::chroot("/tmp")));
    add("pivot_root", ok(unistd::pivot_root("/tmp", "/tmp")));
    for (name, flags) in [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
    ] {
        add(&format!("unshare {name}"), ok(unshare(flags)));
    }
    add("setgroups", ok(unistd::setgroups(&[unistd::Gid::from_raw(7)])));
    add("setgid", ok(unistd::setgid(unistd::Gid::from_raw(7))));
    add("setuid", ok(unistd::setuid(unistd::Uid::from_raw(7))));
    add("kill 1", ok(nix::sys::signal::kill(unistd::Pid::from_raw(1), None)));
    add("raise nofile", ok(setrlimit(Resource::RLIMIT_NOFILE, nofile.1.saturating_add(1), nofile.1.saturating_add(1))));
    let _ = (io::stdout().as_raw_fd(), ErrorKind::Other);
    all
}
