//! The image of the zoo: the program under several names, a passwd without the app's user, and files with owners and modes that stand in the way.

use std::fs;

use serde_json::json;

use crate::app;
use crate::image::{Image, Layer};

/// What of the host makes a program that needs its C library, which the image does not have where the loader looks.
const DYNAMIC: [(&str, &str); 3] = [
    ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
    ("/bin/true", "opt/dynamic"),
    ("/lib/x86_64-linux-gnu/libc.so.6", "opt/lib/libc.so.6"),
];

/// Whether the host has them.
pub fn has_dynamic() -> bool {
    DYNAMIC.iter().all(|(host, _)| fs::metadata(host).is_ok())
}

/// The image.
pub fn image() -> Image {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut layer = Layer::new().file("app", 0o755, program).hardlink("closed", "app");
    for dir in [
        "etc",
        "run",
        "run/lock",
        "run/php",
        "run/postgresql",
        "var",
        "var/lib",
        "var/lib/nginx",
        "var/log",
        "data",
        "opt",
    ] {
        layer = layer.dir(dir, 0o755);
    }
    for dir in [
        "srv",
        "srv/.next",
        "srv/.next/cache",
        "srv/__pycache__",
        "srv/tmp",
        "srv/tmp/cache",
        "usr",
        "usr/sbin",
        "command",
    ] {
        layer = layer.dir(dir, 0o755);
    }
    for name in ["usr/sbin/cron", "usr/sbin/php-fpm8.2", "command/s6-svscan"] {
        layer = layer.hardlink(name, "app");
    }
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    layer = layer
        .dir("tmp", 0o1777)
        .dir("secret", 0o700)
        .dir("volume", 0o755)
        .dir("volume/run", 0o755)
        .file("volume/key", 0o644, "x")
        .dir("vault", 0o700)
        .file("vault/key", 0o644, "x")
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
        .file("etc/app.conf", 0o644, "x")
        .file("etc/secret.conf", 0o600, "x")
        .file("opt/locked", 0o644, "#!/app\n")
        .file("opt/no-interpreter", 0o755, "#!/no/such/interpreter\n")
        .file("opt/no-program", 0o755, "\u{1}\u{2}")
        // cap_net_bind_service=ep, as capability.h has it.
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .file("opt/capable", 0o755, smallest())
        .file_of("data/mine", 0o644, 65532, 0, "x");
    if has_dynamic() {
        layer = layer.dir("lib64", 0o755).dir("opt/lib", 0o755);
        for (host, inside) in DYNAMIC {
            layer = layer.file(inside, 0o755, fs::read(host).unwrap());
        }
    }
    Image::of(layer).config(json!({
        "Entrypoint": ["/app", app::FLAG], "ExposedPorts": { "8080/tcp": {} }, "Volumes": { "/volume": {}, "/vault": {} },
    }))
}

/// An ELF program that ends where it begins: the kernel looks at its rights before it maps anything.
fn smallest() -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let word = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    elf.extend([2, 0]);
    elf.extend(machine.to_le_bytes());
    elf.extend([1, 0, 0, 0]);
    for value in [0x40_0078, 64, 0] {
        word(&mut elf, value);
    }
    // No flags; sizes of the header and of the one segment's.
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0, 0x40_0000, 0x40_0000, 121, 121, 4096] {
        word(&mut elf, value);
    }
    elf.push(0);
    elf
}
