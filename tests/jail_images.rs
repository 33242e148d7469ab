//! What an image may ask of its jail: volumes, a working directory, a user; and what it may not bend.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::process::Output;

use callers::{Caller, busybox, callers, stderr, stdout};
use common::said;
use image::{Image, Layer};
use serde_json::{Value, json};

/// Runs a shell script in an image made of busybox and what `add` puts on it.
fn in_image(
    caller: &Caller,
    name: &str,
    add: impl Fn(Layer) -> Layer,
    config: Value,
    text: &str,
    flags: &[&str],
) -> Option<Output> {
    let mut config = config;
    config["Entrypoint"] = json!(["/bin/sh", "-c", text]);
    let reference = caller.put(name, &Image::of(add(busybox()?)).config(config));
    Some(caller.run(&[&[reference.as_str()], flags].concat()))
}

#[test]
fn a_volume_has_the_image_s_content_and_belongs_to_its_owner() {
    let add = |layer: Layer| {
        let folder = |layer: Layer, name: &str, mode, owner| {
            layer.dir_of(name, mode, owner, owner).file_of(&format!("{name}/f"), 0o644, owner, owner, "content\n")
        };
        let layer = folder(layer, "root", 0o755, 0);
        let layer = folder(layer, "mine", 0o755, 65532);
        folder(layer, "all", 0o1777, 0)
    };
    let volumes = json!({ "Volumes": { "/root": {}, "/mine": {}, "/all": {}, "/fresh": {} } });
    let text = "cat /root/f /mine/f /all/f; for v in root mine all fresh; do echo x >/$v/new && echo $v; done; echo y >>/mine/f && echo mine; \
                echo y >>/all/f; echo '#!/bin/true' >/mine/p; chmod 755 /mine/p; /mine/p && echo exec; umask";
    for caller in callers() {
        let Some(output) = in_image(&caller, "volumes", add, volumes.clone(), text, &[]) else { return };
        assert_eq!(
            stdout(&output),
            "content\ncontent\ncontent\nmine\nall\nmine\nexec\n0022\n",
            "{}: {}",
            caller.mode(),
            said(&output)
        );
        let stderr = stderr(&output);
        let denied: Vec<_> = stderr.lines().filter(|line| line.ends_with("Permission denied")).collect();
        assert_eq!(denied.len(), 3, "{}: {stderr}", caller.mode());
        // Without the volume there is nothing to write to.
        let output = in_image(&caller, "none", add, json!({}), "echo x >/mine/new", &[]).unwrap();
        assert!(callers::stderr(&output).contains("Read-only file system"), "{}", said(&output));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_folder_of_the_kernel_s_may_not_be_a_link() {
    for caller in callers() {
        for place in ["proc", "dev", "sys"] {
            let link = |layer: Layer| layer.symlink(place, "/tmp");
            let Some(output) = in_image(&caller, &format!("link-{place}"), link, json!({}), "echo inside", &[]) else {
                return;
            };
            let expected = format!("/{place}, a folder and not a link");
            assert!(stderr(&output).contains(&expected), "{}: {}", caller.mode(), said(&output));
            assert!(output.stdout.is_empty() && stderr(&output).lines().count() <= 2, "{}", said(&output));
            let folder = |layer: Layer| layer.dir(place, 0o755);
            let output = in_image(&caller, &format!("dir-{place}"), folder, json!({}), "echo inside", &[]).unwrap();
            assert_eq!((stdout(&output).as_str(), output.status.code()), ("inside\n", Some(0)), "{}", said(&output));
        }
    }
}

#[test]
fn links_of_the_image_stay_inside() {
    // A volume, a tmpfs and /etc, each behind a link that would lead out if it were followed from the host.
    let add = |layer: Layer| {
        let layer = layer.symlink("out", "../../../../../../tmp").symlink("etc/hosts", "/../../../tmp/hosts");
        layer.symlink("away", "/www/../../../tmp")
    };
    let config = json!({ "Volumes": { "/out/volume": {} } });
    for caller in callers() {
        let text = "ls -d /tmp/volume /tmp/t; test -L /etc/hosts || grep -c austere /etc/hosts; echo x >/away/t/f && echo tmpfs";
        let flags = ["--tmpfs", "/away/t:mode=1777"];
        let Some(output) = in_image(&caller, "links", add, config.clone(), text, &flags) else { return };
        assert_eq!(stdout(&output), "/tmp/t\n/tmp/volume\n1\ntmpfs\n", "{}: {}", caller.mode(), said(&output));
    }
}

#[test]
fn a_working_directory_is_made_entered_and_never_outside() {
    for caller in callers() {
        let at = |dir: &str, name: &str| {
            let add = |layer: Layer| layer.dir("closed", 0o700).dir("there", 0o755);
            in_image(&caller, name, add, json!({ "WorkingDir": dir }), "pwd; ls -ld . | cut -c 1-10", &[])
        };
        // With one id the app owns everything, so the owner's bits say what others' would.
        let mode = if caller.is_root() { "drwxr-xr-x" } else { "dr-xr-xr-x" };
        let Some(output) = at("/there", "wd-there") else { return };
        assert_eq!(stdout(&output), format!("/there\n{mode}\n"), "{}", said(&output));
        let output = at("/a/b/c", "wd-missing").unwrap();
        assert_eq!(stdout(&output), format!("/a/b/c\n{mode}\n"), "{}", said(&output));
        let output = at("/closed", "wd-closed").unwrap();
        assert_eq!(output.status.code(), Some(126), "{}", said(&output));
        assert!(stderr(&output).contains("chdir(/closed): Permission denied (EACCES)"), "{}", said(&output));
        let (verdict, code) = caller.judge(&[caller.dir().join("wd-closed").to_str().unwrap(), "--exit", "0"]);
        assert_eq!((code, verdict["findings"][0]["code"].as_str()), (1, Some("D16")), "{verdict:#}");
        let (_, code) = caller.judge(&[caller.dir().join("wd-there").to_str().unwrap(), "--exit", "0"]);
        assert_eq!(code, 0);
    }
}

/// CVE-2024-21626: a working directory that is a descriptor of the host's, reached through /proc/self/fd.
#[test]
fn a_descriptor_as_a_working_directory_leads_nowhere() {
    let text = "pwd; cd ../../../../../..; [ . -ef / ] && echo inside";
    for caller in callers() {
        let mut refused = 0;
        for number in 3..40 {
            let dir = format!("/proc/self/fd/{number}");
            let Some(output) = in_image(&caller, "fd", |layer| layer, json!({ "WorkingDir": dir }), text, &[]) else {
                return;
            };
            if output.status.code() == Some(0) {
                // A descriptor of the launcher's own, of a place that the app sees anyway.
                let stdout = stdout(&output);
                assert!(stdout.starts_with('/') && stdout.ends_with("\ninside\n"), "{number}: {}", said(&output));
            } else {
                refused += 1;
                assert!(output.stdout.is_empty() && stderr(&output).contains(&dir), "{number}: {}", said(&output));
            }
        }
        assert!(refused > 0, "no descriptor was refused");
    }
}

#[test]
fn the_user_of_the_command_line_counts_and_the_image_s_does_not() {
    let add = |layer: Layer| {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nnobody:x:65532:65533::/nowhere:/bin/false\n";
        let layer =
            layer.file("etc/passwd", 0o644, passwd).file("etc/group", 0o644, "root:x:0:\nweb:x:34:\nextra:x:50:web\n");
        layer.file_of("secret", 0o640, 0, 0, "root's\n").file_of("web", 0o640, 0, 34, "web's\n")
    };
    for caller in callers() {
        let ask = |flags: &[&str]| {
            let text = "echo $(id -u):$(id -g) $(id -G) $HOME; cat /secret /web 2>/dev/null";
            in_image(&caller, "user", add, json!({ "User": "root" }), text, flags)
                .map(|output| stdout(&output) + &stderr(&output))
        };
        let Some(plain) = ask(&[]) else { return };
        assert_eq!(plain, "65532:65533 65533 /nowhere\n", "{}", caller.mode());
        // One id cannot carry supplementary groups.
        let groups = if caller.is_root() { "34 50" } else { "34" };
        assert_eq!(ask(&["--user", "web"]).unwrap(), format!("33:34 {groups} /srv\nweb's\n"), "{}", caller.mode());
        assert_eq!(ask(&["--user", "65532:34"]).unwrap(), "65532:34 34 /nowhere\nweb's\n", "{}", caller.mode());
        assert_eq!(ask(&["--user", "4444:0"]).unwrap(), "4444:0 0 /\nroot's\n", "{}", caller.mode());
    }
}

#[test]
fn file_capabilities_and_set_id_bits_gain_nothing() {
    // cap_net_bind_service=ep of revision 2 in its on-disk form (capability.h: VFS_CAP_REVISION_2 with the effective bit).
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let Ok(program) = std::fs::read("/bin/busybox") else { return common::skip("busybox: no /bin/busybox") };
    let add = |layer: Layer| {
        let layer = layer.file("bin/setuid", 0o4755, b"").file_of("suid/id", 0o4755, 0, 0, &program);
        layer.pax(&[("SCHILY.xattr.security.capability", capability)]).file("capable/id", 0o755, &program)
    };
    for caller in callers() {
        let text = "/suid/id -u; /capable/id -u; true";
        let Some(output) = in_image(&caller, "gain", add, json!({}), text, &[]) else { return };
        assert_eq!(stdout(&output), "65532\n", "{}: {}", caller.mode(), said(&output));
        // The bounding set is empty, and the kernel refuses a program that asks for more in its file.
        assert!(
            stderr(&output).contains("/capable/id: Operation not permitted"),
            "{}: {}",
            caller.mode(),
            said(&output)
        );
    }
}

/// A static i386 program that ends with 42: an ELF header, one program header, and `exit(42)` through `int 0x80`.
#[cfg(target_arch = "x86_64")]
fn i386() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    let code = [0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80];
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    let size = 52 + 32 + u32::try_from(code.len()).unwrap();
    for word in [BASE + 84, 52, 0, 0, 0x0020_0034, 0x0028_0001, 0] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    elf.extend_from_slice(&code);
    elf
}

/// Docker's profile names i386 beside `x86_64` in its `archMap`; a profile that does not refuses every call of it.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_program_of_another_architecture_of_the_machine_runs() {
    for caller in callers() {
        let image = Image::of(Layer::new().file("app", 0o755, i386())).config(json!({ "Entrypoint": ["/app"] }));
        let image = caller.put("i386", &image);
        let native = caller.dir().join("native.json");
        std::fs::write(&native, r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"]}"#).unwrap();
        let file = format!("seccomp={}", native.display());
        let output = caller.run(&[&image, "--security-opt", "seccomp=unconfined"]);
        if output.status.code() != Some(42) {
            return common::skip(&format!("i386: this kernel does not run it: {}", said(&output)));
        }
        for preset in ["docker", "docker@20.10", "podman", "kubernetes"] {
            let output = caller.run(&[&image, "--preset", preset]);
            assert_eq!(output.status.code(), Some(42), "{}: {preset}: {}", caller.mode(), said(&output));
        }
        let output = caller.run(&[&image, "--security-opt", &file]);
        assert_eq!(output.status.code(), Some(128 + 31), "{}: {}", caller.mode(), said(&output));
    }
}
