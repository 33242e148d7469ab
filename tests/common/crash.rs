//! A place where austere is started, ended at a chosen moment, and looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::json;
use tempfile::TempDir;

use super::common::{self, Ordinary};
use super::image::{Image, Layer, Stored};

#[path = "crash_app.rs"]
pub mod app;

/// The variable that says what the app in the image plays.
pub const ROLE: &str = "AUSTERE_TEST_ROLE";
/// The variable that every process of one run has in its environment: austere, its launcher, its guard, the app and its children.
const MARK: &str = "AUSTERE_TEST_MARK";

/// The phases that `--phases` tells, in their order.
pub const PHASES: [&str; 8] = ["open", "unpack", "clone", "mount", "read-back", "probe", "stop", "done"];

/// The longest time that the death of a jail may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The middle one.
pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// A store and an image, for root or for an ordinary user.
pub struct Place {
    user: Option<Ordinary>,
    folder: TempDir,
}

/// An austere that was started.
pub struct Run<'a> {
    place: &'a Place,
    mark: String,
    child: Child,
    phases: File,
    phase: &'static str,
    begun: Instant,
}

/// What an end met.
pub struct Struck {
    /// The last phase that had begun.
    pub phase: &'static str,
    /// How long it took until everything was gone.
    pub gone_after: Duration,
}

impl Place {
    pub fn of_root() -> Self {
        Place::new(None)
    }

    /// Nothing where an ordinary user cannot have a jail.
    pub fn of_user() -> Option<Self> {
        let user = Ordinary::new();
        let output = user.austere().arg("doctor").output().unwrap();
        if output.status.code() != Some(0) {
            common::skip(&format!("an ordinary user cannot have a jail here\n{}", common::said(&output)));
            return None;
        }
        Some(Place::new(Some(user)))
    }

    fn new(user: Option<Ordinary>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { user, folder };
        image().oci_archive(&place.image());
        Ordinary::own(&place.image());
        place
    }

    fn home(&self) -> &Path {
        self.user.as_ref().map_or(self.folder.path(), Ordinary::home)
    }

    fn image(&self) -> PathBuf {
        self.home().join("image.tar")
    }

    fn store(&self) -> PathBuf {
        self.home().join("store")
    }

    fn verify(&self, role: &str) -> Command {
        let mut command = match &self.user {
            Some(user) => user.austere(),
            None => common::austere(&self.store()),
        };
        command.arg("verify").arg(self.image()).arg("-e").arg(format!("{ROLE}={role}"));
        command
    }

    /// Starts austere; `role` is what the app does.
    pub fn run(&self, role: &str) -> Run<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let fifo = self.home().join(format!("phases-{number}"));
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        if self.user.is_some() {
            Ordinary::own(&fifo);
        }
        // For writing too, so that neither side waits for the other and there is no end to read.
        let phases = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let mark = format!("{}-{number}", std::process::id());
        let mut command = self.verify(role);
        command.env(MARK, &mark).args(["-e", MARK, "--phases"]).arg(&fifo);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Run { place: self, mark, child, phases, phase: "", begun: Instant::now() }
    }

    /// Takes the store away.
    pub fn empty_store(&self) {
        let store = self.store();
        if store.exists() {
            // A layer may have folders that their owner cannot write to.
            let removed = Command::new("sh").args(["-c", "chmod -R u+rwX \"$0\"; rm -rf \"$0\""]).arg(&store).status();
            assert!(removed.unwrap().success() && !store.exists());
        }
    }

    /// The next command succeeds, and tidies up.
    pub fn works(&self) {
        let output = self.verify("serve").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", common::said(&output));
        self.holds_each_layer_once();
    }

    pub fn holds_each_layer_once(&self) {
        let names = |path: &Path| -> Vec<PathBuf> { fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect() };
        assert_eq!(names(&self.store().join("staging")), [PathBuf::new(); 0]);
        let layers = names(&self.store().join("layers"));
        assert_eq!(layers.len(), LAYERS);
        for layer in layers {
            assert_eq!(names(&layer).len(), 1, "{}", layer.display());
        }
    }
}

const LAYERS: usize = 3;

/// More than 30 MB to unpack, and a program that is this one.
fn image() -> Image {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut state = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let many = (0..400).fold(Layer::new().dir("many", 0o755), |layer, number| {
        layer.file(&format!("many/{number}"), 0o640, noise(30_000))
    });
    let config = json!({
        "Entrypoint": ["/app", "the_app", "--exact", "--nocapture", "--test-threads=1"],
        "ExposedPorts": { "8080/tcp": {} },
    });
    Image::new()
        .layer(Layer::new().file("app", 0o755, program), Stored::Gzip)
        .layer(many, Stored::Gzip)
        .layer(Layer::new().file("large", 0o644, noise(12_000_000)), Stored::Plain)
        .config(config)
}

impl Run<'_> {
    /// The next phase that begins, until `deadline`.
    fn next(&mut self, deadline: Instant) -> Option<&'static str> {
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(self.phases.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::try_from(left).unwrap()).unwrap() == 0 {
                assert_eq!(line, b"", "a line is one write");
                return None;
            }
            let mut byte = [0];
            self.phases.read_exact(&mut byte).unwrap();
            if byte == *b"\n" {
                break;
            }
            line.extend(byte);
        }
        self.begun = Instant::now();
        self.phase = PHASES.into_iter().find(|name| name.as_bytes() == line).unwrap();
        Some(self.phase)
    }

    /// Waits for a phase to begin.
    pub fn wait_for(&mut self, phase: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.next(deadline) {
                Some(begun) if begun == phase => return,
                Some(_) => {}
                None => panic!("{phase} did not begin after {}: {:?}", self.phase, self.child.try_wait()),
            }
        }
    }

    /// Waits until this long after the beginning of the phase that was waited for.
    pub fn wait_until_after(&self, time: Duration) {
        std::thread::sleep((self.begun + time).saturating_duration_since(Instant::now()));
    }

    /// The time of each phase of a run that comes to its own end.
    pub fn durations(mut self) -> Vec<(&'static str, Duration)> {
        let mut began: BTreeMap<&str, Instant> = BTreeMap::new();
        while self.phase != "done" {
            self.next(Instant::now() + Duration::from_secs(60)).unwrap();
            began.insert(self.phase, self.begun);
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let ends = PHASES.iter().skip(1).map(|phase| began[phase]).chain([Instant::now()]);
        PHASES.into_iter().zip(ends).map(|(phase, end)| (phase, end - began[phase])).collect()
    }

    pub fn passes(mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Ends austere, and waits until nothing of it is left.
    pub fn end(mut self, signal: Signal) -> Struck {
        let family = Family::of(self.child.id());
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let killed = Instant::now();
        let status = self.child.wait().unwrap();
        let gone_after = loop {
            let left = self.left(&family);
            if left.is_empty() {
                break killed.elapsed();
            }
            assert!(killed.elapsed() < PATIENCE, "left after {signal} in {}: {left:#?}", self.phase);
            std::thread::sleep(Duration::from_millis(1));
        };
        while self.next(Instant::now()).is_some() {}
        // It may have been faster than the signal.
        assert!(status.signal() == Some(signal as i32) || self.phase == "done", "{status} in {}", self.phase);
        Struck { phase: self.phase, gone_after }
    }

    /// Everything that can still be seen of the run.
    fn left(&self, family: &Family) -> Vec<String> {
        let mark = format!("{MARK}={}", self.mark).into_bytes();
        let mut left = Vec::new();
        let mut tables = BTreeSet::new();
        for pid in pids() {
            let Some(start) = start(pid) else { continue };
            let folder = PathBuf::from(format!("/proc/{pid}"));
            let marked = fs::read(folder.join("environ")).is_ok_and(|all| all.split(|byte| *byte == 0).any(|pair| pair == mark));
            if marked || family.members.contains(&(pid, start)) {
                let line = fs::read(folder.join("cmdline")).unwrap_or_default();
                left.push(format!("process {pid}: {}", String::from_utf8_lossy(&line).replace('\0', " ")));
            }
            // A number may be given again to a namespace of somebody who came later.
            let own = namespaces(pid);
            if start <= family.seen_at {
                left.extend(own.intersection(&family.namespaces).map(|name| format!("namespace {name} of process {pid}")));
            }
            if own.iter().find(|name| name.starts_with("mnt:")).is_some_and(|name| tables.insert(name.clone())) {
                let mounts = fs::read_to_string(folder.join("mountinfo")).unwrap_or_default();
                let home = self.place.home().to_str().unwrap();
                left.extend(mounts.lines().filter(|line| line.contains(home)).map(|line| format!("mount {line} of process {pid}")));
            }
        }
        left
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// austere's descendants at one moment.
struct Family {
    /// Pid and start time.
    members: BTreeSet<(u32, u64)>,
    /// Those that are not this process's own too.
    namespaces: BTreeSet<String>,
    /// In clock ticks since the boot.
    seen_at: u64,
}

impl Family {
    fn of(austere: u32) -> Self {
        let ours = namespaces(std::process::id());
        let (mut members, mut found) = (BTreeSet::new(), BTreeSet::new());
        let mut todo = vec![austere];
        while let Some(pid) = todo.pop() {
            let Some(start) = start(pid) else { continue };
            members.insert((pid, start));
            found.extend(namespaces(pid).difference(&ours).cloned());
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                todo.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
            }
        }
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let (seconds, parts) = uptime.split_once(' ').unwrap().0.split_once('.').unwrap();
        Family { members, namespaces: found, seen_at: format!("{seconds}{parts}").parse().unwrap() }
    }
}

fn pids() -> Vec<u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect()
}

/// When a process started, in clock ticks (100 a second) since the boot. One that is dead and only waited for is none.
fn start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// Its namespaces: `mnt:[4026531841]`.
fn namespaces(pid: u32) -> BTreeSet<String> {
    let link = |name| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok()?.to_str().map(str::to_owned);
    ["mnt", "net", "pid"].into_iter().filter_map(link).collect()
}
