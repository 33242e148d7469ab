//! Real registries and engines of a test's own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common;

/// What starting something may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that is asked to end when this is dropped.
pub struct Daemon(Child);

impl Daemon {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Daemon(command.spawn().unwrap())
    }

    /// Waits until `is_up`.
    pub fn until(&mut self, is_up: impl Fn() -> bool, log: &Path) {
        let begun = Instant::now();
        while !is_up() {
            let ended = self.0.try_wait().unwrap();
            let log = || fs::read_to_string(log).unwrap();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked, because a Docker Engine has a child of its own to end.
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", common::said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A program's path, as the shell would find it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A script that other programs find as `name` in `folder`.
pub fn script(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    // By another process: a descriptor of ours could live on in a child, and exec would be refused with ETXTBSY.
    let mut writer = Command::new("tee").arg(&file).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Debian's docker-registry, its data and its port.
pub struct DockerRegistry {
    pub folder: TempDir,
    pub address: String,
    program: PathBuf,
    daemon: Option<Daemon>,
}

impl DockerRegistry {
    /// Nothing where it is not installed, which is said.
    pub fn start() -> Option<Self> {
        let Some(program) = program("docker-registry").or_else(|| program("registry")) else {
            common::skip("docker-registry is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut registry = DockerRegistry { folder, address, program, daemon: None };
        registry.serve("");
        Some(registry)
    }

    /// Starts it again on the same data, with more of a configuration (below `http:`, two spaces deep).
    pub fn serve(&mut self, more: &str) {
        self.daemon = None;
        let path = |name: &str| self.folder.path().join(name);
        let (config, log) = (path("config.yml"), path("log"));
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {}\n{more}",
            path("data").display(),
            self.address
        );
        fs::write(&config, text).unwrap();
        let mut daemon = Daemon::start(Command::new(&self.program).arg("serve").arg(&config), &log);
        daemon.until(|| TcpStream::connect(&self.address).is_ok(), &log);
        self.daemon = Some(daemon);
    }

    /// Puts all blobs of a layout into the repository `app`, and its manifests under their tags.
    pub fn push(&self, layout: &Path) {
        for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            let place = self.ask("POST", "/v2/app/blobs/uploads/", "", b"");
            let place = place.lines().find_map(|line| line.strip_prefix("Location: http://")).unwrap().trim();
            let place = &place[place.find('/').unwrap()..];
            let digest = format!("&digest=sha256:{}", blob.file_name().to_str().unwrap());
            let bytes = fs::read(blob.path()).unwrap();
            let answer = self.ask("PUT", &format!("{place}{digest}"), "application/octet-stream", &bytes);
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        }
        let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        for entry in index["manifests"].as_array().unwrap() {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("latest").to_owned();
            let (digest, kind) = (text(&entry["digest"]), text(&entry["mediaType"]));
            let bytes = fs::read(layout.join("blobs/sha256").join(&digest["sha256:".len()..])).unwrap();
            let tag = text(&entry["annotations"]["org.opencontainers.image.ref.name"]);
            let tag = tag.rsplit(':').next().unwrap();
            let answer = self.ask("PUT", &format!("/v2/app/manifests/{tag}"), &kind, &bytes);
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        }
    }

    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (address, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// A proxy for CONNECT that leads to `address`, whatever is asked for. It says who asked for what.
pub fn tunnel(address: &str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, address) = (listener.local_addr().unwrap().to_string(), address.to_owned());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut near = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                near.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            if sender.send(String::from_utf8(head).unwrap()).is_err() {
                break;
            }
            near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let mut far = TcpStream::connect(&address).unwrap();
            let (mut near_too, mut far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut near_too, &mut far_too));
            std::thread::spawn(move || std::io::copy(&mut far, &mut near));
        }
    });
    (own, receiver)
}

/// A certificate for 127.0.0.1 and registry.invalid in `server.crt` and `server.key`, and who signed it in `ca.crt`.
pub fn certificates(folder: &Path) {
    let openssl = |arguments: &str| run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 2 -subj /CN=austere-test-ca -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE"
    ));
    openssl(&format!("req {key} -subj /CN=registry -keyout server.key -out server.csr"));
    fs::write(
        folder.join("ext"),
        "subjectAltName=IP:127.0.0.1,DNS:registry.invalid\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out server.crt -extfile ext");
}

/// A Docker Engine of its own: Debian's, installed or unpacked in `AUSTERE_DOCKER`. It has no bridge.
pub struct DockerEngine {
    pub folder: TempDir,
    pub host: String,
    /// Where its programs are, and the caller's.
    pub search: OsString,
    pub docker: PathBuf,
    _daemon: Daemon,
}

impl DockerEngine {
    /// Nothing where it cannot be started, which is said.
    pub fn start() -> Option<Self> {
        if !common::root() {
            common::skip("root: a Docker Engine needs it");
            return None;
        }
        let unpacked = std::env::var_os("AUSTERE_DOCKER").map(PathBuf::from);
        let bin = unpacked.map(|folder| [folder.join("usr/sbin"), folder.join("usr/bin")]).into_iter().flatten();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let search = std::env::join_paths(bin.chain(std::env::split_paths(&path))).unwrap();
        let find =
            |name: &str| std::env::split_paths(&search).map(|folder| folder.join(name)).find(|path| path.is_file());
        let (Some(dockerd), Some(docker), Some(_)) = (find("dockerd"), find("docker"), find("containerd")) else {
            common::skip("there is no dockerd, neither installed nor in AUSTERE_DOCKER");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let host = format!("unix://{}", path("docker.sock").display());
        let mut command = Command::new(dockerd);
        command.env("PATH", &search).args(["--iptables=false", "--ip-masq=false", "--bridge=none", "--host", &host]);
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(path(name));
        }
        let mut daemon = Daemon::start(&mut command, &path("log"));
        let is_up = || client(&docker, &host, &search).arg("version").output().unwrap().status.success();
        daemon.until(is_up, &path("log"));
        Some(DockerEngine { folder, host, search, docker, _daemon: daemon })
    }

    /// Its command line.
    pub fn client(&self) -> Command {
        client(&self.docker, &self.host, &self.search)
    }
}

fn client(docker: &Path, host: &str, search: &OsStr) -> Command {
    let mut command = Command::new(docker);
    command.env("DOCKER_HOST", host).env("PATH", search);
    command
}

/// A `podman` in `folder`, with its storage there, that also runs where crun refuses hybrid cgroups and where root lacks a capability.
///
/// Nothing where there is none, which is said.
pub fn podman(folder: &Path) -> Option<()> {
    if !common::root() {
        common::skip("root: podman's storage of this test needs it");
        return None;
    }
    let Some(podman) = program("podman") else {
        common::skip("podman is not installed");
        return None;
    };
    let text = format!(
        r#"if [ "$1" = run ]; then shift; set -- run --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"; fi
set -- {podman} --root {folder}/root --runroot {folder}/run --tmpdir {folder}/tmp --storage-driver vfs --cgroup-manager cgroupfs --events-backend none --runtime crun "$@"
mountpoint -q /sys/fs/cgroup/unified || exec "$@"
exec unshare -m --propagation private sh -c 'umount /sys/fs/cgroup/unified; exec "$@"' - "$@""#,
        podman = podman.display(),
        folder = folder.display()
    );
    script(folder, "podman", &text);
    Some(())
}
