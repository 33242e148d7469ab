//! What is missing in the image or around it: programs, libraries, data, other services.

use super::Twin::{Flags, Steps};
use super::{Animal, OPEN, animal};

pub const ALL: &[Animal] = &[
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
    // What is not in the image.
    animal!(
        ["must:run:/opt/dynamic"],
        "D23",
        OPEN,
        "ENOENT",
        "/usr/lib/libc.so.6",
        "",
        Steps(&["must:library:/opt/lib"])
    ),
    animal!(
        ["words:x509: certificate signed by unknown authority", "must:read:/etc/ssl/certs/ca-certificates.crt"],
        "D24",
        OPEN,
        "ENOENT",
        "/etc/ssl/certs/ca-certificates.crt",
        "",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["words:panic: unknown time zone Europe/Berlin", "must:read:/usr/share/zoneinfo/Europe/Berlin"],
        "D25",
        OPEN,
        "ENOENT",
        "/usr/share/zoneinfo/Europe/Berlin",
        "",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["words:Couldn't find a valid ICU package installed on the system.", "must:read:/usr/lib/libicuuc.so.72"],
        "D26",
        OPEN,
        "ENOENT",
        "/usr/lib/libicuuc.so.72",
        "",
        Steps(&["must:read:/etc/app.conf"])
    ),
    animal!(
        ["words:Invalid Mutex directory in argument file:/run/lock", "must:enter:/run/lock"],
        "D37",
        &["chdir"],
        "ENOENT",
        "/run/lock",
        "",
        Flags(&[])
    )
    .given(&["--tmpfs", "/run"]),
    animal!(
        ["must:ask:/var/run/nscd/socket"],
        "no-name-cache",
        &["connect"],
        "ENOENT",
        "/var/run/nscd/socket",
        "",
        Steps(&["try:ask:/var/run/nscd/socket"])
    ),
    animal!(["must:log:/dev/log"], "syslog-lost", &["connect"], "ENOENT", "/dev/log", "", Steps(&["try:log:/dev/log"])),
];
