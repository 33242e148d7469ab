//! What an engine puts around an app: files, variables, writable folders.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::session::Session;
use crate::image;
use crate::netns;
use crate::profile::Profile;
use crate::profile::account::Account;
use crate::profile::settings::Network;
use crate::profile::tmpfs::Tmpfs;

pub(super) fn working_dir(config: &image::Config, profile: &Profile) -> String {
    profile.working_dir.clone().unwrap_or_else(|| config.working_dir.clone())
}

/// Those that were asked for, as the engine mounts them, and those that it makes of itself where the root is read-only and nothing else is there.
pub(in crate::cli) fn tmpfs(profile: &Profile) -> Vec<Tmpfs> {
    let style = profile.preset.tmpfs;
    let mut all: Vec<Tmpfs> = Vec::new();
    if profile.read_only {
        let taken = |path: &Path| {
            profile.tmpfs.iter().any(|tmpfs| tmpfs.path == path)
                || profile.binds.iter().any(|bind| bind.target == path)
                || profile.volumes.iter().any(|volume| Path::new(volume) == path)
        };
        let own = profile.preset.read_only_tmpfs.iter().filter(|path| !taken(path));
        all.extend(own.map(|path| Tmpfs::at(path.clone()).styled(style)));
    }
    all.extend(profile.tmpfs.iter().map(|tmpfs| tmpfs.clone().styled(style)));
    all
}

/// Where the app's user is at home: the image's own entry, else as the engine has it.
pub(super) fn home(session: &Session, profile: &Profile) -> String {
    if profile.preset.passwd_line && !session.knows_user() {
        return match working_dir(&session.opened.image.config, profile) {
            dir if dir.is_empty() => "/".to_owned(),
            dir => dir,
        };
    }
    session.account.home.clone()
}

/// The image's passwd with a line for the app's user, where the engine adds one.
pub(super) fn passwd(session: &Session, profile: &Profile, working_dir: &str) -> Vec<(String, String)> {
    if !profile.preset.passwd_line || session.knows_user() {
        return Vec::new();
    }
    let Account { uid, gid, .. } = session.account;
    let mut text = String::from_utf8_lossy(session.passwd()).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let home = if working_dir.is_empty() { "/" } else { working_dir };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{uid}:*:{uid}:{gid}:container user:{home}:/bin/sh");
    vec![("/etc/passwd".to_owned(), text)]
}

/// The files that engines put into every container. In a closed network there is no name server.
pub(super) fn files(profile: &Profile) -> anyhow::Result<Vec<(String, String)>> {
    let hostname = &profile.hostname;
    let host = |path: &str| std::fs::read_to_string(path).with_context(|| format!("reading {path} for --network host"));
    let (mut hosts, resolv_conf) = match profile.network {
        Network::None => {
            let hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n\
                 ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
            (hosts.to_owned(), String::new())
        }
        Network::Host => (host("/etc/hosts")?, host("/etc/resolv.conf")?),
    };
    for (name, address) in &profile.hosts {
        let _ = writeln!(hosts, "{address}\t{name}");
    }
    if profile.network == Network::None {
        let _ = writeln!(hosts, "{}\t{hostname}", netns::ADDRESS);
    }
    let files = [("/etc/hosts", hosts), ("/etc/hostname", format!("{hostname}\n")), ("/etc/resolv.conf", resolv_conf)];
    Ok(files.map(|(path, content)| (path.to_owned(), content)).to_vec())
}

/// The image's variables over the engine's, and the command line's over both; HOME as the engine finds it.
pub(super) fn environment(config: &image::Config, home: &str, profile: &Profile) -> Vec<String> {
    let mut env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={}", profile.hostname),
    ];
    for pair in profile.preset.env.iter().chain(&config.env).chain(&profile.env) {
        let name = pair.split('=').next().unwrap_or(pair);
        let same = |known: &String| known.split('=').next() == Some(name);
        match env.iter_mut().find(|known| same(known)) {
            Some(known) => known.clone_from(pair),
            None => env.push(pair.clone()),
        }
    }
    // A name alone takes the variable away, as docker's -e NAME does where the caller has none.
    env.retain(|pair| pair.contains('='));
    if !env.iter().any(|pair| pair.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    env
}
