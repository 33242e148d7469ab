//! Rights: capabilities, the filter, limits, who the app is.

use super::Twin::{Flags, Steps};
use super::{Animal, OLD_FILTER, OPEN, animal};

pub const ALL: &[Animal] = &[
    animal!(
        ["must:chown:/data/mine"],
        "D09",
        &["chown", "lchown", "fchownat"],
        "EROFS",
        "/data/mine",
        "read-only mount",
        Steps(&["must:read:/data/mine"])
    ),
    animal!(
        ["must:chown:/volume"],
        "D09",
        &["chown", "lchown", "fchownat"],
        "EPERM",
        "/volume",
        "capabilities",
        Steps(&["must:enter:/volume"])
    ),
    animal!(["must:setgroups:1"], "D08", &["setgroups"], "EPERM", "", "capabilities", Steps(&["must:enter:/data"])),
    animal!(["must:setuid:1"], "D08", &["setuid"], "EPERM", "", "capabilities", Steps(&["must:setuid:65532"])),
    animal!(["must:setgid:1"], "D08", &["setgid"], "EPERM", "", "capabilities", Steps(&["must:setgid:0"])),
    animal!(
        ["must:chmod:/etc/app.conf"],
        "D10",
        &["chmod", "fchmodat"],
        "EROFS",
        "/etc/app.conf",
        "read-only mount",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["must:chmod:/volume"],
        "D10",
        &["chmod", "fchmodat"],
        "EPERM",
        "/volume",
        "capabilities",
        Steps(&["must:enter:/volume"])
    ),
    animal!(["must:passwd:"], "D12", OPEN, "", "/etc/passwd", "", Steps(&["must:read:/etc/passwd"])),
    animal!(["must:mlock:"], "D41", &["mlockall"], "EPERM", "", "capabilities", Steps(&["try:mlock:"])),
    animal!(["must:raw:"], "D42", &["socket"], "EPERM", "", "capabilities", Steps(&["must:listen:127.0.0.1:9"])),
    animal!(
        ["must:chroot:/data"],
        "D43",
        &["chroot"],
        "EPERM",
        "/data",
        "seccomp filter",
        Steps(&["must:enter:/data"])
    ),
    animal!(
        ["must:uring:"],
        "D45",
        &["io_uring_register"],
        "EPERM",
        "",
        "seccomp filter",
        Flags(&["--preset", "docker@20.10"])
    ),
    animal!(["must:unshare:"], "D48", &["unshare"], "EPERM", "", "seccomp filter", Steps(&["must:enter:/data"])),
    animal!(["must:keys:"], "filter", &["keyctl"], "EPERM", "", "seccomp filter", Steps(&["must:enter:/data"])),
    animal!(["must:privileges:"], "D49", &["prctl"], "", "PR_GET_NO_NEW_PRIVS", "", Steps(&["must:enter:/data"])),
    animal!(["quiet:privileges:"], "D49", &["prctl"], "", "PR_GET_NO_NEW_PRIVS", "", Steps(&["must:enter:/data"])),
    animal!(["must:root:"], "needs-root", &["geteuid"], "", "", "", Steps(&["must:enter:/data"])),
    animal!(["quiet:root:"], "needs-root", &["geteuid"], "", "", "", Steps(&["must:enter:/data"])),
    animal!(["must:limit:"], "D55", &["prlimit64", "setrlimit"], "EPERM", "", "capabilities", Steps(&["try:limit:"])),
    // A port, a user, a file with capabilities; programs that become another user.
    animal!(
        ["must:listen:0.0.0.0:80"],
        "D06",
        &["bind"],
        "EACCES",
        "0.0.0.0:80",
        "capabilities",
        Flags(&["--preset", "podman", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0"])
    )
    .given(&["--preset", "podman"]),
    animal!(
        ["must:exec:/opt/capable"],
        "D07",
        &["execve"],
        "EPERM",
        "/opt/capable",
        "capabilities",
        Steps(&["must:exec:/app"])
    ),
    animal!(["must:setgroups:1"], "D50", &["setgroups"], "EPERM", "", "capabilities", Steps(&["must:enter:/data"]))
        .named("/usr/sbin/cron"),
    animal!(
        ["must:device:/tmp/null"],
        "capability",
        &["mknod", "mknodat"],
        "EPERM",
        "/tmp/null",
        "capabilities",
        Steps(&["must:write:/tmp/null"])
    )
    .given(&["--tmpfs", "/tmp"]),
    animal!(
        ["words:LoginException: invalid null input: name", "must:passwd:"],
        "D13",
        OPEN,
        "",
        "/etc/passwd",
        "",
        Steps(&["must:read:/etc/passwd"])
    ),
    animal!(
        ["words:fatal: unable to look up current user in the passwd file: no such user", "must:passwd:"],
        "D14",
        OPEN,
        "",
        "/etc/passwd",
        "",
        Steps(&["must:read:/etc/passwd"])
    ),
    animal!(
        ["words:user: Current requires cgo or $USER, $HOME set in environment", "must:passwd:"],
        "D15",
        OPEN,
        "",
        "/etc/passwd",
        "",
        Steps(&["must:read:/etc/passwd"])
    ),
    animal!(
        ["words:data directory \"/data\" has wrong ownership", "must:owner:/data"],
        "file-owner",
        &["geteuid"],
        "",
        "",
        "",
        Steps(&["must:owner:/data/mine"])
    ),
    // A filter that is older than the calls.
    animal!(
        ["must:clone3:"],
        "D46",
        &["clone3"],
        "EPERM",
        "",
        "seccomp filter",
        Flags(&["--security-opt", "seccomp=unconfined"])
    )
    .given(&["--security-opt", OLD_FILTER]),
    animal!(
        ["must:access:/etc/app.conf"],
        "D47",
        &["faccessat2"],
        "EPERM",
        "/etc/app.conf",
        "seccomp filter",
        Flags(&["--security-opt", "seccomp=unconfined"])
    )
    .given(&["--security-opt", OLD_FILTER]),
    animal!(
        ["words:get_mempolicy: Operation not permitted", "must:mempolicy:"],
        "D44",
        &["get_mempolicy"],
        "EPERM",
        "",
        "seccomp filter",
        Steps(&["try:mempolicy:"])
    ),
    // The preset sealed.
    animal!(
        ["must:listen:127.0.0.1:9"],
        "undeclared-port",
        &["bind"],
        "EACCES",
        "127.0.0.1:9",
        "Landlock",
        Flags(&["--preset", "sealed", "--expose", "9"])
    )
    .given(&["--preset", "sealed"]),
    animal!(
        ["must:connect:127.0.0.1:9"],
        "connect-refused",
        &["connect"],
        "EACCES",
        "127.0.0.1:9",
        "Landlock",
        Steps(&["try:connect:127.0.0.1:9"])
    )
    .given(&["--preset", "sealed"]),
    animal!(["must:files:/app"], "limit", OPEN, "EMFILE", "/app", "limit", Steps(&["try:files:/app"])),
    // PID 1 has no default for signals.
    animal!(["must:enter:/data"], "stop-signal-unheard", &[""], "", "", "", Flags(&["--grace", "1", "--init"]))
        .given(&["--grace", "1"]),
];
