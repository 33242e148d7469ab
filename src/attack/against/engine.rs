//! docker and podman, through their command lines.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::{Errands, SHORT, tidy};
use super::{AgainstError, LONGEST, PROGRAM, Said, host, own_capabilities, whole};

/// Capabilities that a Docker Engine may be too old to know (Linux 5.8 and 5.9).
const YOUNG: [&str; 3] = ["PERFMON", "BPF", "CHECKPOINT_RESTORE"];

/// Ways to take every wall away that an engine can take away, the best first. A host that lacks a capability itself has no privileged containers.
fn no_walls(program: &str) -> [Vec<String>; 3] {
    let unmasked = if program == "podman" { "unmask=ALL" } else { "systempaths=unconfined" };
    let options = [unmasked, "seccomp=unconfined", "apparmor=unconfined", "label=disable"];
    let options = options.map(|option| format!("--security-opt={option}")).to_vec();
    let own = own_capabilities();
    let add = |name: &String| format!("--cap-add={name}");
    let old = own.iter().filter(|name| !YOUNG.contains(&name.as_str())).map(add).collect();
    let with = |more: &[Vec<String>]| {
        let user = ["--user=0:0", "--network=host", "--read-only=false"].map(str::to_owned);
        user.into_iter().chain(more.concat()).collect()
    };
    [
        with(&[vec!["--privileged".to_owned()]]),
        with(&[options.clone(), own.iter().map(add).collect()]),
        with(&[options, old]),
    ]
}

pub(super) fn attack(
    program: &str,
    image: Option<&str>,
    flags: &[String],
    outside: &str,
) -> Result<Said, AgainstError> {
    let engine = Engine::find(program)?;
    let imported = if image.is_none() { Some(Imported::new(&engine)?) } else { None };
    let image = image.or(imported.as_ref().map(|one| one.id.as_str())).unwrap_or_default();
    let inside = engine.run(image, flags, outside, "in")?;
    let run = |flags: &Vec<String>| engine.run(image, flags, outside, "out");
    let [best, second, third] = no_walls(program);
    let without = run(&best).or_else(|_| run(&second)).or_else(|_| run(&third))?;
    Ok(Said { inside, without, who: format!("{program} {}", engine.version) })
}

/// An engine that answers.
struct Engine {
    program: String,
    version: String,
    exe: PathBuf,
    errands: Errands,
}

impl Engine {
    fn find(program: &str) -> Result<Self, AgainstError> {
        let exe = std::env::current_exe().map_err(host("finding austere's own program"))?;
        // Podman has no server of its own.
        let format = if program == "podman" { "{{.Client.Version}}" } else { "{{.Server.Version}}" };
        let errands = Errands::new()?;
        let answer = errands.ask(Command::new(program).args(["version", "--format", format]), b"", SHORT);
        let version = answer.map_err(|error| match error {
            AgainstError::Failed { why, .. } => AgainstError::NoAnswer { program: program.to_owned(), why },
            other => other,
        })?;
        Ok(Engine { program: program.to_owned(), version, exe, errands })
    }

    /// The adversary's words in a container of this image.
    fn run(&self, image: &str, flags: &[String], outside: &str, which: &str) -> Result<String, AgainstError> {
        let name = format!("austere-attack-{which}-{}", std::process::id());
        let mut command = Command::new(&self.program);
        // Nothing is fetched, so that nothing is left behind.
        command.args(["run", "--rm", "--pull=never"]).args(flags);
        command.args(["--name", &name, "--volume", &volume(&self.exe), "--entrypoint", PROGRAM, image, outside]);
        let result = self.errands.run(&mut command, b"", LONGEST).and_then(|done| whole(&self.program, done));
        if result.is_err() {
            // It may run on without the one who asked for it, or was asked to stay.
            tidy(Command::new(&self.program).args(["rm", "--force", &name]));
        }
        result
    }
}

fn volume(exe: &Path) -> String {
    format!("{}:{PROGRAM}:ro", exe.display())
}

/// An image that was made for the adversary, and goes with this.
struct Imported<'a> {
    engine: &'a Engine,
    id: String,
}

impl<'a> Imported<'a> {
    fn new(engine: &'a Engine) -> Result<Self, AgainstError> {
        let files = almost_nothing().map_err(host("making an image in memory"))?;
        // A name tells whose it is, should it be left behind when this process is killed.
        let name = format!("localhost/austere-attack:{}", std::process::id());
        let mut command = Command::new(&engine.program);
        // Before it is there: who is stopped in the middle does not know whether it is.
        let imported = Imported { engine, id: name };
        engine.errands.ask(command.args(["import", "-", &imported.id]), &files, SHORT)?;
        Ok(imported)
    }
}

impl Drop for Imported<'_> {
    fn drop(&mut self) {
        tidy(Command::new(&self.engine.program).args(["rmi", "--force", &self.id]));
    }
}

/// The files of an image for a program that needs none: the folders that engines put things into.
fn almost_nothing() -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for folder in ["etc/", "dev/", "proc/", "sys/"] {
        let mut header = tar::Header::new_ustar();
        header.set_path(folder)?;
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, io::empty())?;
    }
    archive.into_inner()
}
