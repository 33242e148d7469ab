//! What the arguments of a watched call mean.

/// What a call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Opens a file; the flags are in this argument.
    Open(usize),
    /// Opens a file; a pointer to the flags is in this argument.
    OpenHow(usize),
    /// Makes an entry in a folder.
    Make,
    /// Takes an entry away from a folder.
    Remove,
    /// Changes what is in a file.
    Change,
    /// Changes an owner.
    Own,
    /// Changes a mode, times or attributes.
    Mode,
    /// Looks at a file without opening it.
    Look,
    /// Asks what may be done with a file.
    May(usize),
    /// Enters a folder.
    Enter,
    /// Starts a program.
    Exec,
    /// Starts a process or a thread.
    Fork,
    /// Makes memory executable: of the file of this descriptor.
    Map(Option<usize>),
    /// Keeps memory from being swapped out.
    Lock,
    /// Takes an address.
    Bind,
    /// Speaks to an address, which is in this argument.
    Connect(usize),
    /// Asks how a connection ended.
    Outcome,
    /// Makes a socket.
    Socket,
    /// Changes its ids.
    Become,
    /// Asks who it is.
    Ask,
    /// Changes or asks for what prctl(2) has.
    Prctl,
    /// Writes to a standard stream.
    Write,
    /// The same, from several places.
    WriteVector,
    /// Writes to a file.
    Fill,
    /// Changes a limit or a priority.
    Limit,
    /// Anything else.
    Other,
}

/// Where the path of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In this argument, relative to the working directory.
    Path(usize),
    /// In the second, relative to the folder whose descriptor is the first.
    Dir(usize, usize),
    /// The file of this descriptor.
    Fd(usize),
    /// It has none.
    None,
}

/// A watched call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) does: Does,
    pub(super) at: At,
}

/// What is known of the call `name`.
pub(super) fn shape(name: &str) -> Shape {
    use At::{Dir, Fd, Path};
    let (does, at) = match name {
        "open" => (Does::Open(1), Path(0)),
        "openat" => (Does::Open(2), Dir(0, 1)),
        "openat2" => (Does::OpenHow(2), Dir(0, 1)),
        "creat" | "mkdir" | "mknod" => (Does::Make, Path(0)),
        "mkdirat" | "mknodat" => (Does::Make, Dir(0, 1)),
        "symlink" | "link" => (Does::Make, Path(1)),
        "symlinkat" => (Does::Make, Dir(1, 2)),
        "linkat" => (Does::Make, Dir(2, 3)),
        "unlink" | "rmdir" | "rename" => (Does::Remove, Path(0)),
        "unlinkat" | "renameat" | "renameat2" => (Does::Remove, Dir(0, 1)),
        "truncate" => (Does::Change, Path(0)),
        "ftruncate" | "fallocate" => (Does::Change, Fd(0)),
        "chown" | "lchown" => (Does::Own, Path(0)),
        "fchown" => (Does::Own, Fd(0)),
        "fchownat" => (Does::Own, Dir(0, 1)),
        "chmod" | "utime" | "utimes" | "setxattr" | "lsetxattr" | "removexattr" | "lremovexattr" => {
            (Does::Mode, Path(0))
        }
        "fchmod" | "fsetxattr" | "fremovexattr" => (Does::Mode, Fd(0)),
        "fchmodat" | "fchmodat2" | "futimesat" | "utimensat" => (Does::Mode, Dir(0, 1)),
        "stat" | "lstat" | "readlink" => (Does::Look, Path(0)),
        "newfstatat" | "statx" | "readlinkat" => (Does::Look, Dir(0, 1)),
        "access" => (Does::May(1), Path(0)),
        "faccessat" | "faccessat2" => (Does::May(2), Dir(0, 1)),
        "inotify_add_watch" => (Does::Look, Path(1)),
        "chdir" => (Does::Enter, Path(0)),
        "fchdir" => (Does::Enter, Fd(0)),
        "chroot" | "mount" | "umount2" | "pivot_root" => (Does::Other, Path(usize::from(name == "mount"))),
        "execve" => (Does::Exec, Path(0)),
        "execveat" => (Does::Exec, Dir(0, 1)),
        "clone" | "clone3" | "fork" | "vfork" => (Does::Fork, At::None),
        "mmap" => (Does::Map(Some(4)), At::None),
        "mprotect" => (Does::Map(None), At::None),
        "mlock" | "mlock2" | "mlockall" => (Does::Lock, At::None),
        "bind" => (Does::Bind, At::None),
        "connect" => (Does::Connect(1), At::None),
        "sendto" => (Does::Connect(4), At::None),
        "getsockopt" => (Does::Outcome, At::None),
        "socket" => (Does::Socket, At::None),
        "setuid" | "setgid" | "setreuid" | "setregid" | "setresuid" | "setresgid" | "setgroups" | "setfsuid"
        | "setfsgid" | "capset" => (Does::Become, At::None),
        "getuid" | "geteuid" | "getgid" | "getegid" | "getresuid" | "getresgid" => (Does::Ask, At::None),
        "prctl" => (Does::Prctl, At::None),
        "write" => (Does::Write, Fd(0)),
        "writev" => (Does::WriteVector, Fd(0)),
        "pwrite64" | "pwritev" | "pwritev2" | "sendfile" => (Does::Fill, Fd(0)),
        "copy_file_range" | "splice" => (Does::Fill, Fd(2)),
        "setrlimit" | "prlimit64" | "setpriority" | "sched_setscheduler" | "sched_setparam" | "sched_setattr"
        | "sched_setaffinity" | "ioprio_set" => (Does::Limit, At::None),
        _ => (Does::Other, At::None),
    };
    Shape { does, at }
}

impl Shape {
    /// Whether the call means to make or change something, given its flags for open(2).
    pub(super) fn writes(self, open_flags: u64) -> bool {
        match self.does {
            Does::Open(_) | Does::OpenHow(_) => {
                let flags = i32::try_from(open_flags & 0xffff_ffff).unwrap_or(0);
                flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0
            }
            Does::Make | Does::Remove | Does::Change | Does::Fill | Does::Write | Does::WriteVector => true,
            _ => false,
        }
    }

    /// How much a success gets a program further. Reading is little: programs also read while they explain why they give up.
    pub(super) fn progress(self, writes: bool) -> f32 {
        match self.does {
            Does::Open(_) | Does::OpenHow(_) | Does::Make if writes => 1.0,
            Does::Open(_) | Does::OpenHow(_) | Does::Remove | Does::Map(_) | Does::Enter => 0.1,
            Does::Exec => 2.0,
            Does::Fork | Does::Bind | Does::Become | Does::Own | Does::Mode | Does::Change => 1.0,
            Does::Socket | Does::Connect(_) => 0.5,
            _ => 0.0,
        }
    }
}
