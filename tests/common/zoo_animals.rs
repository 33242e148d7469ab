//! The zoo: what a program does, what is its cause then, and how it passes.

use std::fs;

use serde_json::json;

use crate::app;
use crate::image::{Image, Layer};
use Twin::{Flags, Steps};

/// The image: the program, a passwd without the app's user, and files with owners and modes that stand in the way.
pub fn image() -> Image {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut layer = Layer::new().file("app", 0o755, program).hardlink("closed", "app");
    for dir in ["etc", "run", "var", "var/lib", "var/lib/nginx", "var/log", "data", "opt"] {
        layer = layer.dir(dir, 0o755);
    }
    let layer = layer
        .dir("tmp", 0o1777)
        .dir("secret", 0o700)
        .dir("volume", 0o755)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
        .file("etc/app.conf", 0o644, "x")
        .file("etc/secret.conf", 0o600, "x")
        .file("opt/locked", 0o644, "#!/app\n")
        .file("opt/no-interpreter", 0o755, "#!/no/such/interpreter\n")
        .file("opt/no-program", 0o755, "\u{1}\u{2}")
        .file_of("data/mine", 0o644, 65532, 0, "x");
    Image::of(layer).config(json!({
        "Entrypoint": ["/app", app::FLAG], "ExposedPorts": { "8080/tcp": {} }, "Volumes": { "/volume": {} },
    }))
}

/// What is expected of one animal: its steps, the cause, and flags with which the same steps pass.
pub struct Animal {
    pub steps: &'static [&'static str],
    pub code: &'static str,
    pub call: &'static [&'static str],
    pub errno: &'static str,
    pub path: &'static str,
    pub wall: &'static str,
    pub twin: Twin,
}

/// How the same program is made to pass.
pub enum Twin {
    /// With these flags.
    Flags(&'static [&'static str]),
    /// With these steps instead.
    Steps(&'static [&'static str]),
}

pub const OPEN: &[&str] = &["openat", "open"];
pub const MKDIR: &[&str] = &["mkdir", "mkdirat"];

macro_rules! animal {
    ($steps:expr, $code:literal, $call:expr, $errno:literal, $path:literal, $wall:literal, $twin:expr) => {
        Animal { steps: &$steps, code: $code, call: $call, errno: $errno, path: $path, wall: $wall, twin: $twin }
    };
}

pub const ZOO: &[Animal] = &[
    animal!(["must:write:/tmp/x"], "D01", OPEN, "EROFS", "/tmp/x", "read-only mount", Flags(&["--tmpfs", "/tmp"])),
    animal!(
        ["must:mkdir:/var/lib/nginx/body"],
        "D02",
        MKDIR,
        "EROFS",
        "/var/lib/nginx/body",
        "read-only mount",
        Flags(&["--tmpfs", "/var/lib/nginx:uid=65532"])
    ),
    animal!(
        ["must:write:/run/app.pid"],
        "D03",
        OPEN,
        "EROFS",
        "/run/app.pid",
        "read-only mount",
        Flags(&["--tmpfs", "/run:uid=65532"])
    ),
    animal!(
        ["must:write:/etc/app.d"],
        "D04",
        OPEN,
        "EROFS",
        "/etc/app.d",
        "read-only mount",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["must:write:/etc/app.conf"],
        "D04",
        OPEN,
        "EACCES",
        "/etc/app.conf",
        "file mode",
        Steps(&["must:read:/etc/app.conf"])
    ),
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
    animal!(["must:mkdir:/.cache"], "D11", MKDIR, "EROFS", "/.cache", "read-only mount", Steps(&["must:enter:/data"])),
    animal!(["must:passwd:"], "D12", OPEN, "", "/etc/passwd", "", Steps(&["must:read:/etc/passwd"])),
    animal!(["must:enter:/secret"], "D16", &["chdir"], "EACCES", "/secret", "file mode", Steps(&["must:enter:/data"])),
    animal!(
        ["must:read:/etc/secret.conf"],
        "D17",
        OPEN,
        "EACCES",
        "/etc/secret.conf",
        "file mode",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["must:read:/secret/x"],
        "D17",
        OPEN,
        "EACCES",
        "/secret/x",
        "file mode",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["must:exec:/opt/locked"],
        "D18",
        &["execve"],
        "EACCES",
        "/opt/locked",
        "file mode",
        Steps(&["must:exec:/app"])
    ),
    animal!(
        ["must:exec:/opt/no-interpreter"],
        "D20",
        &["execve"],
        "ENOENT",
        "/opt/no-interpreter",
        "",
        Steps(&["must:exec:/app"])
    ),
    animal!(
        ["must:exec:/opt/no-program"],
        "D21",
        &["execve"],
        "ENOEXEC",
        "/opt/no-program",
        "",
        Steps(&["must:exec:/app"])
    ),
    animal!(["must:exec:/bin/sh"], "D22", &["execve"], "ENOENT", "/bin/sh", "", Steps(&["must:exec:/app"])),
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
    animal!(
        ["must:write:/var/log/app.log"],
        "D53",
        OPEN,
        "EROFS",
        "/var/log/app.log",
        "read-only mount",
        Flags(&["--tmpfs", "/var/log:uid=65532"])
    ),
    animal!(
        ["must:mkdir:/data/new"],
        "D53",
        MKDIR,
        "EROFS",
        "/data/new",
        "read-only mount",
        Flags(&["--tmpfs", "/data:uid=65532"])
    ),
    animal!(
        ["must:unlink:/data/mine"],
        "D53",
        &["unlink", "unlinkat"],
        "EROFS",
        "/data/mine",
        "read-only mount",
        Steps(&["must:read:/data/mine"])
    ),
    animal!(
        ["must:write:/proc/sys/kernel/hostname"],
        "D54",
        OPEN,
        "EACCES",
        "/proc/sys/kernel/hostname",
        "file mode",
        Steps(&["must:read:/proc/sys/kernel/hostname"])
    ),
    animal!(["must:limit:"], "D55", &["prlimit64", "setrlimit"], "EPERM", "", "capabilities", Steps(&["try:limit:"])),
    animal!(
        ["must:unix:/run/app.sock"],
        "D53",
        &["bind"],
        "EROFS",
        "/run/app.sock",
        "read-only mount",
        Flags(&["--tmpfs", "/run:uid=65532"])
    ),
    animal!(
        ["must:write:/volume/x"],
        "volume-owner",
        OPEN,
        "EACCES",
        "/volume/x",
        "file mode",
        Flags(&["--tmpfs", "/volume:uid=65532"])
    ),
    animal!(
        ["must:connect:127.0.0.1:5432"],
        "service-missing",
        &["connect"],
        "ECONNREFUSED",
        "127.0.0.1:5432",
        "",
        Steps(&["must:listen:127.0.0.1:5432", "must:connect:127.0.0.1:5432"])
    ),
    animal!(
        ["must:connect:192.0.2.1:443"],
        "closed-room",
        &["connect"],
        "ENETUNREACH",
        "192.0.2.1:443",
        "closed network",
        Steps(&["must:enter:/data"])
    ),
    animal!(["must:lookup:db"], "closed-room", &["connect"], "", "127.0.0.1:53", "", Steps(&["try:lookup:db"])),
    animal!(
        ["must:listen:127.0.0.1:9", "must:listen:127.0.0.1:9"],
        "address-in-use",
        &["bind"],
        "EADDRINUSE",
        "127.0.0.1:9",
        "",
        Steps(&["must:listen:127.0.0.1:9"])
    ),
    animal!(
        ["must:read:/etc/no-such-file"],
        "file-missing",
        OPEN,
        "ENOENT",
        "/etc/no-such-file",
        "",
        Steps(&["must:read:/etc/app.conf"])
    ),
];
