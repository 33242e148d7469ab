//! The one ordered recipe: from a fresh clone to the exec of the app's program.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_keepcaps, set_no_new_privs};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, SFlag, stat, umask};
use nix::unistd::{AccessFlags, chdir, faccessat, sethostname, setsid};

use super::Spec;
use super::life::Watch;
use super::report::Reporter;
use super::stdio::Streams;
use crate::phases::{self, Phase};
use crate::profile::settings::Sysctl;
use crate::refusal::Refusal;
use crate::seal::door::Hatch;
use crate::seccomp::{Filter, Observation, Witness};
use crate::sys::execve::{Vector, execve, execveat};
use crate::{caps, exec_memory, ids, landlock, limits, netns, rootfs, seal, sys, sysctls};

/// Where programs are looked for when the image sets no PATH (runc and docker: the same list).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the recipe needs, made before the clone.
pub(super) struct Recipe<'a> {
    spec: &'a Spec,
    argv: Vector,
    envp: Vector,
    candidates: Vec<CString>,
    wall: Option<landlock::Wall>,
    seal: Option<Filter>,
}

impl<'a> Recipe<'a> {
    /// Lays out everything that the kernel wants in its own form.
    pub(super) fn prepare(spec: &'a Spec) -> Result<Self, Refusal> {
        let strings = |texts: &[String]| -> Result<Vec<CString>, Refusal> {
            let string = |text: &String| {
                CString::new(text.as_str())
                    .map_err(|_| Refusal::image("execve", format!("{text:?}, which has a NUL in it"), Errno::EINVAL))
            };
            texts.iter().map(string).collect()
        };
        let mut env = spec.env.clone();
        if !spec.applies("environment") {
            env.extend(std::env::vars().map(|(name, value)| format!("{name}={value}")));
        }
        let program = spec.argv.first().map_or("", String::as_str);
        if program.is_empty() {
            return Err(Refusal::image("cannot find the program", "the empty name", Errno::ENOENT));
        }
        let path = env.iter().rev().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let candidates = if program.contains('/') {
            vec![program.to_owned()]
        } else {
            // An empty element means the working directory (environ(7)), which Go's exec.LookPath refuses, and engines with it.
            path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| format!("{dir}/{program}")).collect()
        };
        let rules = spec.landlock.as_ref().filter(|_| spec.applies("landlock"));
        let wall = rules.and_then(|rules| landlock::Wall::new(rules).ok());
        let too_long = |_| Refusal::host("seccomp", "the filter of the seal", Errno::E2BIG);
        let is_sealed = spec.seal.is_some() && spec.applies("seal");
        let seal = is_sealed.then(seal::filter).transpose().map_err(too_long)?;
        Ok(Recipe {
            spec,
            argv: Vector::new(strings(&spec.argv)?),
            envp: Vector::new(strings(&env)?),
            candidates: strings(&candidates)?,
            wall,
            seal,
        })
    }

    /// The namespaces of the clone.
    pub(super) fn namespaces(&self) -> libc::c_int {
        if self.spec.is_tree() {
            return 0;
        }
        let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | self.spec.ids.clone_flags();
        if self.spec.applies("namespaces") {
            flags |= libc::CLONE_NEWUTS;
        }
        if self.has_mount_namespaces() {
            flags |= libc::CLONE_NEWIPC;
            // With limits it comes later, in the app's own group.
            if self.spec.limits.is_empty() {
                flags |= libc::CLONE_NEWCGROUP;
            }
        }
        if self.spec.has_room() {
            flags |= libc::CLONE_NEWNET;
        }
        flags
    }

    /// Without the host's root, /dev/mqueue and the cgroup tree can only be mounted in namespaces of the mounter's own.
    fn has_mount_namespaces(&self) -> bool {
        !self.spec.is_tree() && (self.spec.applies("namespaces") || self.spec.ids != ids::Mode::Real)
    }

    /// Follows the recipe; returns only to say which step was refused. Every step is fatal, because the kernel runs programs in a half-built
    /// jail just as well.
    pub(super) fn follow(
        &mut self,
        parent: &Watch,
        reporter: &Reporter,
        streams: &Streams,
        hatch: Option<&Hatch>,
    ) -> Refusal {
        match self.steps(parent, reporter, streams, hatch) {
            Err(refusal) => refusal,
            Ok(never) => match never {},
        }
    }

    fn steps(
        &mut self,
        parent: &Watch,
        reporter: &Reporter,
        streams: &Streams,
        hatch: Option<&Hatch>,
    ) -> Result<Infallible, Refusal> {
        let spec = self.spec;
        let mut wall = self.wall.take();
        parent.bind()?;
        self.enter_group(parent)?;
        Self::forget_inheritance()?;

        let own_ipc = self.has_mount_namespaces();
        let applies = |measure: &str| spec.applies(measure);
        ids::map(spec.ids, &spec.identity, applies)?;
        if spec.applies("namespaces") && !spec.is_tree() {
            sethostname(&spec.hostname).map_err(|errno| Refusal::host("sethostname", &spec.hostname, errno))?;
        }
        if spec.has_room() {
            let port_start = spec.room.port_start.filter(|_| spec.applies("unprivileged-port-start"));
            netns::apply(spec.ids, &netns::Settings { port_start, ..spec.room })?;
        }
        // Only those of namespaces of our own: the others' are the host's.
        let is_ours = |sysctl: &&Sysctl| if sysctl.name.starts_with("net.") { spec.has_room() } else { own_ipc };
        if spec.applies("sysctls") {
            sysctls::apply(spec.sysctls.iter().filter(is_ours))?;
        }
        // A tree has no /proc to read it from, and the network is the one we are in.
        let outer_port_start = if spec.is_tree() { netns::port_start() } else { None };
        phases::begin(Phase::Mount);
        let assembled = if spec.is_tree() { rootfs::enter_tree(&spec.rootfs)? } else { rootfs::apply(&spec.rootfs)? };
        streams.take()?;
        if spec.applies("rlimits") {
            limits::apply(&spec.ulimits)?;
        }

        // Without no_new_privs the walls need CAP_SYS_ADMIN, so they come before it goes; engines do it in this order too.
        let bound = spec.no_new_privs && spec.applies("no-new-privileges");
        let mut landlock = None;
        let taken = spec.exec_memory != exec_memory::Taken::default();
        let executable = taken.then(exec_memory::attempt);
        let unsealed = hatch.map(|_| seal::before());
        if !bound {
            landlock = self.confine(wall.take(), &assembled)?;
            self.install_filters(hatch)?;
        }
        if spec.applies("capabilities") {
            caps::limit(spec.bounding)?;
        }
        if spec.ambient != caps::Set::EMPTY {
            // Until the sets are made, a change of user must not empty them.
            set_keepcaps(true).map_err(|errno| Refusal::host("prctl", "PR_SET_KEEPCAPS", errno))?;
        }
        ids::apply(spec.ids, &spec.identity, applies)?;
        if spec.applies("capabilities") {
            caps::apply(spec.permitted, spec.ambient)?;
        }
        // Changes of credentials clear the death signal.
        parent.bind()?;

        self.enter_working_dir()?;
        let program = if spec.adversary.is_some() { c"" } else { self.find_program()? };
        umask(Mode::from_bits_truncate(0o022));
        if bound {
            set_no_new_privs().map_err(|errno| Refusal::host("prctl", "PR_SET_NO_NEW_PRIVS", errno))?;
            landlock = self.confine(wall.take(), &assembled)?;
        }
        if spec.applies("descriptors") {
            sys::close_range::cloexec_from(3).map_err(|errno| Refusal::host("close_range", "3", errno))?;
        }
        let port_start = outer_port_start.or_else(netns::port_start);
        let sysctls = sysctls::hold(&spec.sysctls);
        parent.await_go()?;
        if bound {
            self.install_filters(hatch)?;
        }
        if spec.exec_memory.gain && spec.applies("no-exec-gain") {
            exec_memory::apply()?;
        }
        let executable = executable.map(|before| (before, exec_memory::attempt()));
        let sealed = unsealed.map(seal::witness);
        reporter.witness(port_start, sysctls, landlock, self.observe_filter(), sealed, executable);
        let errno = match &spec.adversary {
            Some(file) => execveat(file.as_fd(), c"", &self.argv, &self.envp),
            None => execve(program, &self.argv, &self.envp),
        };
        Err(Refusal::app("execve", program.to_string_lossy(), errno))
    }

    /// Waits until the parent traces us, and has put us into the app's group. A cgroup namespace shows what is below the group its maker is in, so ours is made
    /// only now: the app finds its own limits in /sys/fs/cgroup, as in any container.
    fn enter_group(&self, parent: &Watch) -> Result<(), Refusal> {
        parent.await_go()?;
        if self.has_mount_namespaces() && !self.spec.limits.is_empty() {
            unshare(CloneFlags::CLONE_NEWCGROUP).map_err(|errno| Refusal::host("unshare", "CLONE_NEWCGROUP", errno))?;
        }
        Ok(())
    }

    /// Signal dispositions, signal mask, session and umask of whoever called austere.
    fn forget_inheritance() -> Result<(), Refusal> {
        sys::signals::reset_all().map_err(|errno| Refusal::host("signal", "SIG_DFL", errno))?;
        SigSet::empty().thread_set_mask().map_err(|errno| Refusal::host("sigprocmask", "none", errno))?;
        umask(Mode::empty());
        setsid().map_err(|errno| Refusal::host("setsid", "", errno))?;
        Ok(())
    }

    /// As the app's user, so that a folder it may not enter is refused here as engines refuse it.
    fn enter_working_dir(&self) -> Result<(), Refusal> {
        let dir = match self.spec.rootfs.working_dir.as_str() {
            "" => "/",
            dir => dir,
        };
        chdir(dir).map_err(|errno| Refusal::app("chdir", dir, errno))?;
        // CVE-2024-21626: a working directory outside the root shows as a path that does not start with a slash.
        let here = nix::unistd::getcwd().map_err(|errno| Refusal::host("getcwd", dir, errno))?;
        if here.is_absolute() { Ok(()) } else { Err(Refusal::image("chdir", dir, Errno::EXDEV)) }
    }

    /// The first candidate that the app's user may execute; the first that is there at all when there is none.
    fn find_program(&self) -> Result<&CStr, Refusal> {
        let is_file = |path: &CStr| {
            stat(path).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
        };
        let executable = |path: &CStr| {
            is_file(path) && faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_ok()
        };
        let candidates = || self.candidates.iter().map(CString::as_c_str);
        let name = self.spec.argv.first().map_or("", String::as_str);
        // What may not even be looked at is there, and so is a folder that was named in full; the exec will say why it is refused.
        let is_there = |path: &CStr| match stat(path) {
            Ok(_) => name.contains('/') || is_file(path),
            Err(errno) => errno == Errno::EACCES,
        };
        let found = candidates().find(|path| executable(path)).or_else(|| candidates().find(|path| is_there(path)));
        let place = if name.contains('/') { "" } else { " in any folder of PATH" };
        found.ok_or_else(|| not_found(&format!("{name}{place}")))
    }

    fn confine(
        &self,
        wall: Option<landlock::Wall>,
        assembled: &rootfs::Assembled,
    ) -> Result<Option<landlock::Witness>, Refusal> {
        let Some(rules) = &self.spec.landlock else { return Ok(None) };
        let before = landlock::opens(&assembled.outside);
        let is_more = rules.narrow.is_some() || rules.execute.is_some();
        let narrowness = is_more.then(landlock::Narrowness::prepare);
        let junk = assembled.junk.as_ref();
        let first = narrowness.as_ref().map(|narrowness| narrowness.attempt(junk));
        if let Some(wall) = wall {
            wall.apply(&assembled.root, &assembled.declared, &assembled.of_kernel)?;
        }
        let second = narrowness.as_ref().map(|narrowness| narrowness.attempt(junk));
        let allowed = nix::fcntl::openat(
            assembled.root.as_fd(),
            ".",
            nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let after = landlock::opens(&assembled.outside);
        Ok(Some(landlock::Witness { before, after, allowed: allowed.is_ok(), tried: first.zip(second) }))
    }

    /// The seal first: the profile may refuse what passes its listener out.
    fn install_filters(&self, hatch: Option<&Hatch>) -> Result<(), Refusal> {
        let install = |filter: &Filter| {
            sys::seccomp::install(&filter.program, filter.flags).map_err(|error| {
                let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
                Refusal::host("seccomp", "SECCOMP_SET_MODE_FILTER", errno)
            })
        };
        if let Some((filter, hatch)) = self.seal.as_ref().zip(hatch)
            && let Some(listener) = install(filter)?
        {
            hatch.pass(listener).map_err(|errno| Refusal::host("sendmsg", "the listener of the seal", errno))?;
        }
        let plain = self.spec.seccomp.as_ref().map(|(filter, _)| filter);
        if let Some(filter) = self.spec.observed.as_ref().or(plain).filter(|_| self.spec.applies("seccomp")) {
            install(filter)?;
        }
        Ok(())
    }

    fn observe_filter(&self) -> Option<Observation> {
        let (_, witness) = self.spec.seccomp.as_ref()?;
        witness.as_ref().map(Witness::observe)
    }
}

/// Nothing to execute: no jail made this happen.
fn not_found(name: &str) -> Refusal {
    Refusal::image("cannot find the program", name, Errno::ENOENT)
}
