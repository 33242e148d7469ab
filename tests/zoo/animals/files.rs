//! Files: mounts that are read-only, modes and owners that stand in the way, places for things that programs write.

use super::Twin::{Flags, Steps};
use super::{Animal, MKDIR, OPEN, animal};

pub const ALL: &[Animal] = &[
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
    animal!(["must:mkdir:/.cache"], "D11", MKDIR, "EROFS", "/.cache", "read-only mount", Steps(&["must:enter:/data"])),
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
    // The same, where the file has a rule of its own elsewhere; and a volume that only its owner may look into.
    animal!(
        ["must:write:/volume/temp-1.rdb"],
        "volume-owner",
        OPEN,
        "EACCES",
        "/volume/temp-1.rdb",
        "file mode",
        Flags(&["--tmpfs", "/volume:uid=65532"])
    ),
    animal!(
        ["must:write:/volume/.erlang.cookie"],
        "volume-owner",
        OPEN,
        "EACCES",
        "/volume/.erlang.cookie",
        "file mode",
        Flags(&["--tmpfs", "/volume:uid=65532"])
    ),
    animal!(
        ["must:write:/volume/run/broker.pid"],
        "volume-owner",
        OPEN,
        "EACCES",
        "/volume/run/broker.pid",
        "file mode",
        Flags(&["--tmpfs", "/volume/run:uid=65532"])
    ),
    animal!(
        ["must:read:/vault/key"],
        "volume-owner",
        OPEN,
        "EACCES",
        "/vault/key",
        "file mode",
        Steps(&["must:read:/volume/key"])
    ),
    // Only a folder of the image: the program's own rule.
    animal!(
        ["must:write:/srv/broker.pid"],
        "D03",
        OPEN,
        "EROFS",
        "/srv/broker.pid",
        "read-only mount",
        Flags(&["--tmpfs", "/srv:uid=65532"])
    ),
    // Places that particular programs write to.
    animal!(
        ["must:mkdir:/run/s6"],
        "D05",
        MKDIR,
        "EROFS",
        "/run/s6",
        "read-only mount",
        Flags(&["--tmpfs", "/run:uid=65532"])
    )
    .named("/command/s6-svscan"),
    animal!(
        ["must:unix:/run/php/fpm.sock"],
        "D36",
        &["bind"],
        "EROFS",
        "/run/php/fpm.sock",
        "read-only mount",
        Flags(&["--tmpfs", "/run/php:uid=65532"])
    )
    .named("/usr/sbin/php-fpm8.2"),
    animal!(
        ["must:write:/run/postgresql/.s.PGSQL.5432.lock"],
        "D39",
        OPEN,
        "EROFS",
        "/run/postgresql/.s.PGSQL.5432.lock",
        "read-only mount",
        Flags(&["--tmpfs", "/run/postgresql:uid=65532"])
    ),
    animal!(
        ["must:unix:/tmp/dotnet-diagnostic-1-2-socket"],
        "D27",
        &["bind"],
        "EROFS",
        "/tmp/dotnet-diagnostic-1-2-socket",
        "read-only mount",
        Flags(&["--tmpfs", "/tmp"])
    ),
    animal!(
        ["words:Failed to create CoreCLR, HRESULT: 0x80004005", "must:write:/tmp/clr"],
        "D27",
        OPEN,
        "EROFS",
        "/tmp/clr",
        "read-only mount",
        Flags(&["--tmpfs", "/tmp"])
    ),
    animal!(
        ["words:Unable to create tempDir. java.io.tmpdir is set to /tmp", "must:mkdir:/tmp/tomcat.8080"],
        "D28",
        MKDIR,
        "EROFS",
        "/tmp/tomcat.8080",
        "read-only mount",
        Flags(&["--tmpfs", "/tmp"])
    ),
    animal!(
        ["must:write:/srv/.next/cache/page"],
        "D30",
        OPEN,
        "EROFS",
        "/srv/.next/cache/page",
        "read-only mount",
        Flags(&["--tmpfs", "/srv/.next/cache:uid=65532"])
    ),
    animal!(["must:mkdir:/.npm"], "D31", MKDIR, "EROFS", "/.npm", "read-only mount", Steps(&["must:enter:/data"])),
    animal!(
        [
            "words:FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp']",
            "must:write:/tmp/ab3_x"
        ],
        "D32",
        OPEN,
        "EROFS",
        "/tmp/ab3_x",
        "read-only mount",
        Flags(&["--tmpfs", "/tmp"])
    ),
    animal!(
        ["words:Matplotlib requires access to a writable cache directory", "must:mkdir:/srv/mpl"],
        "D34",
        MKDIR,
        "EROFS",
        "/srv/mpl",
        "read-only mount",
        Flags(&["--tmpfs", "/srv:uid=65532"])
    ),
    animal!(
        ["must:mkdir:/srv/tmp/cache/bootsnap"],
        "D35",
        MKDIR,
        "EROFS",
        "/srv/tmp/cache/bootsnap",
        "read-only mount",
        Flags(&["--tmpfs", "/srv/tmp/cache:uid=65532"])
    ),
    animal!(
        ["words:could not find a temporary directory (ArgumentError)", "must:write:/tmp/d20"],
        "D35",
        OPEN,
        "EROFS",
        "/tmp/d20",
        "read-only mount",
        Flags(&["--tmpfs", "/tmp"])
    ),
    animal!(
        ["must:write:/data/temp-1.rdb"],
        "D38",
        OPEN,
        "EROFS",
        "/data/temp-1.rdb",
        "read-only mount",
        Flags(&["--tmpfs", "/data:uid=65532"])
    ),
    animal!(
        ["must:write:/.erlang.cookie"],
        "D40",
        OPEN,
        "EROFS",
        "/.erlang.cookie",
        "read-only mount",
        Steps(&["must:enter:/data"])
    ),
    animal!(
        ["must:carry:/tmp/me"],
        "D29",
        &["execve"],
        "EACCES",
        "/tmp/me",
        "noexec mount",
        Flags(&["--tmpfs", "/tmp:exec"])
    )
    .given(&["--tmpfs", "/tmp"]),
    animal!(
        ["must:library:/tmp"],
        "D29",
        &["mmap"],
        "EPERM",
        "/tmp/libc.so.6",
        "noexec mount",
        Flags(&["--tmpfs", "/tmp:exec"])
    )
    .given(&["--tmpfs", "/tmp"]),
    animal!(
        ["must:socket-child:must=write=/dev/stdout"],
        "D19",
        OPEN,
        "ENXIO",
        "/dev/stdout",
        "",
        Steps(&["must:child:must=write=/dev/stdout"])
    ),
    // A tmpfs that is too small.
    animal!(
        ["must:fill:/tmp"],
        "tmpfs-full",
        &["write"],
        "ENOSPC",
        "/tmp/fill",
        "limit",
        Flags(&["--tmpfs", "/tmp:size=8m"])
    )
    .given(&["--tmpfs", "/tmp:size=1m"]),
    animal!(
        ["must:fill:/dev/shm"],
        "tmpfs-full",
        &["write"],
        "ENOSPC",
        "/dev/shm/fill",
        "limit",
        Flags(&["--shm-size", "8m"])
    )
    .given(&["--shm-size", "1m"]),
    // Without a filter an app is watched all the same.
    animal!(
        ["must:mkdir:/data/unconfined"],
        "D53",
        MKDIR,
        "EROFS",
        "/data/unconfined",
        "read-only mount",
        Flags(&["--tmpfs", "/data:uid=65532"])
    )
    .given(&["--security-opt", "seccomp=unconfined"]),
];
