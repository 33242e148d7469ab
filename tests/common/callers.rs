//! Who calls austere: root, whose ids are real, and a normal user, who has one. And small images for both.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{self, Ordinary};
use crate::image::{Image, Layer};

/// Somebody who calls austere, with a folder and a store that go when this is dropped.
pub enum Caller {
    Root(TempDir),
    User(Ordinary),
}

/// Root and a normal user; without root the user alone, which is said.
pub fn callers() -> Vec<Caller> {
    let mut callers = vec![Caller::User(Ordinary::new())];
    if common::root() {
        callers.push(Caller::Root(open_folder()));
    } else {
        common::skip("root: the tests do not run as root");
    }
    callers
}

fn open_folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

impl Caller {
    /// How the report names the caller's id mode.
    pub fn mode(&self) -> &'static str {
        match self {
            Caller::Root(_) => "real",
            Caller::User(_) => "single",
        }
    }

    pub fn is_root(&self) -> bool {
        matches!(self, Caller::Root(_))
    }

    /// A folder for images that this caller may read.
    pub fn dir(&self) -> &Path {
        match self {
            Caller::Root(folder) => folder.path(),
            Caller::User(user) => user.home(),
        }
    }

    pub fn store(&self) -> PathBuf {
        self.dir().join("store")
    }

    pub fn austere(&self) -> Command {
        match self {
            Caller::Root(folder) => common::austere(&folder.path().join("store")),
            Caller::User(user) => user.austere(),
        }
    }

    /// Any program with this caller's ids and store; `"$AUSTERE"` is the binary.
    pub fn shell(&self, script: &str) -> Command {
        let (mut command, binary) = match self {
            Caller::Root(folder) => {
                let mut command = common::austere(&folder.path().join("store"));
                let environment: Vec<_> =
                    command.get_envs().map(|(k, v)| (k.to_owned(), v.unwrap().to_owned())).collect();
                command = Command::new("/bin/sh");
                command.env_clear().envs(environment);
                (command, PathBuf::from(env!("CARGO_BIN_EXE_austere")))
            }
            Caller::User(user) => (user.command(Path::new("/bin/sh")), user.binary()),
        };
        command.env("AUSTERE", binary).args(["-c", script]);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.austere().arg("run").args(args).output().unwrap()
    }

    pub fn verify(&self, args: &[&str]) -> Output {
        self.austere().arg("verify").args(args).output().unwrap()
    }

    /// The verdict as JSON, and the exit code.
    pub fn judge(&self, args: &[&str]) -> (Value, i32) {
        let output = self.verify(&[args, &["--format", "json"]].concat());
        let code = output.status.code().unwrap();
        assert!(output.stderr.is_empty(), "{}", common::said(&output));
        (common::json(&output), code)
    }

    /// Writes the image as an OCI layout, in place of what was there, and gives its path.
    pub fn put(&self, name: &str, image: &Image) -> String {
        let dir = self.dir().join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        image.oci_dir(&dir).to_str().unwrap().to_owned()
    }
}

/// A layer with a shell and its tools in one static file, and the folders that images have.
///
/// `None`, and said, where this host has no static busybox (Debian: busybox-static).
pub fn busybox() -> Option<Layer> {
    let Ok(program) = fs::read("/bin/busybox") else {
        common::skip("busybox: no /bin/busybox (Debian: apt-get install busybox-static)");
        return None;
    };
    let mut layer = Layer::new().dir("bin", 0o755).file("bin/busybox", 0o755, program);
    let tools = "cat chmod cut dd env false grep head httpd id ls mkdir mount nc ps readlink rm sed sh sleep stat sort tail test \
                 touch tr true umount wc wget";
    for tool in tools.split_whitespace() {
        layer = layer.symlink(&format!("bin/{tool}"), "busybox");
    }
    Some(layer.dir("etc", 0o755).dir("tmp", 0o1777).dir("www", 0o755).file("www/index.html", 0o644, "hello\n"))
}

/// An image whose program is `argv`.
pub fn app(argv: &[&str]) -> Option<Image> {
    Some(Image::of(busybox()?).config(serde_json::json!({ "Entrypoint": argv })))
}

/// An image that runs a shell script.
pub fn script(script: &str) -> Option<Image> {
    app(&["/bin/sh", "-c", script])
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
