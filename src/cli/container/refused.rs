//! Flags of `docker run` that austere does not have, and why.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Name and reason, for those that people use; a rarer one is refused as any unknown flag is.
const FLAGS: [(&str, &str); 41] = [
    ("--privileged", "it would leave nothing to verify; --cap-add and --security-opt give back one thing at a time"),
    ("--device", "the jail has the six devices that every container has, and no others"),
    ("--device-cgroup-rule", "the jail has the six devices that every container has, and no others"),
    ("--gpus", "the jail has the six devices that every container has, and no others"),
    ("--pid", "the app has a pid namespace of its own"),
    ("--ipc", "the app has an ipc namespace of its own"),
    ("--uts", "the app has a uts namespace of its own"),
    ("--userns", "--ids says how ids become ids of the host"),
    ("--cgroupns", "the app has a cgroup namespace of its own"),
    ("--cgroup-parent", "limits are set in a group of austere's own"),
    ("--volumes-from", "there are no other containers here"),
    ("--link", "there are no other containers here; --add-host adds a name"),
    ("--network-alias", "there are no other containers here; --add-host adds a name"),
    ("--ip", "the jail's network is closed"),
    ("--dns", "the jail's network is closed; --network host has the host's name servers"),
    ("--dns-search", "the jail's network is closed; --network host has the host's name servers"),
    ("--dns-option", "the jail's network is closed; --network host has the host's name servers"),
    ("--mac-address", "the jail's network is closed"),
    ("--publish-all", "-p of `austere run` names each port; `verify` asks every exposed port"),
    ("--detach", "`verify` waits for its verdict, and `run` for the app"),
    ("--name", "a jail has no name"),
    ("--restart", "an app that ends has ended"),
    ("--label", "nothing is kept that could have a label"),
    ("--interactive", "standard input of `run` is the app's; that of `verify` is empty"),
    ("--tty", "the app gets pipes"),
    ("--log-driver", "--show-logs prints what the app wrote"),
    ("--stop-signal", "the image's own signal is used"),
    ("--stop-timeout", "--grace judges the stop"),
    ("--health-cmd", "a health check that is a command is a second exec; --http, --tcp and --plan ask from outside"),
    ("--runtime", "austere is the runtime"),
    ("--oom-kill-disable", "an app that meets its --memory is ended"),
    ("--cpu-shares", "--cpus is a limit; a share means something only beside other containers"),
    ("--cpuset-cpus", "--cpus limits the processor time"),
    ("--blkio-weight", "a weight means something only beside other containers"),
    ("--memory-reservation", "--memory is the limit"),
    ("--domainname", "--hostname sets the name"),
    ("--attach", "`run` has the app's streams; for `verify`, --show-logs prints what the app wrote"),
    ("--cidfile", "a jail has no id"),
    ("--no-healthcheck", "the image's health check is never run inside"),
    ("--health-interval", "--plan says what is asked, and how long it may take"),
    ("--sig-proxy", "`run` passes signals on to the app"),
];

/// Short forms of them.
const SHORT: [(&str, &str); 6] = [
    ("-a", "--attach"),
    ("-d", "--detach"),
    ("-i", "--interactive"),
    ("-t", "--tty"),
    ("-P", "--publish-all"),
    ("-l", "--label"),
];

/// What to say of a flag that docker has and austere has not; nothing for other errors. `line` is the whole command line: of a command that
/// was written for docker all such flags are named at once.
pub(in crate::cli) fn explain(error: &clap::Error, line: impl Iterator<Item = OsString>) -> Option<String> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let (flag, why) = refused(argument)?;
    let mut text = format!("austere has no {flag} of docker's: {why}");
    let mut named = vec![flag.to_owned()];
    for word in line.map(|word| word.to_string_lossy().into_owned()).take_while(|word| word != "--") {
        for (flag, why) in each(&word).iter().filter_map(|flag| refused(flag)) {
            if !named.iter().any(|named| named == flag) {
                let _ = write!(text, "\n  nor {flag}: {why}");
                named.push(flag.to_owned());
            }
        }
    }
    text.push_str("\n  hint: leave it out; what `austere run --help` lists of docker's flags can stay as it is");
    Some(text)
}

/// The flag in `argument`, and why there is none such.
fn refused(argument: &str) -> Option<(&str, &'static str)> {
    let flag = argument.split('=').next().unwrap_or(argument);
    let long = SHORT.iter().find(|(short, _)| *short == flag).map_or(flag, |(_, long)| long);
    FLAGS.iter().find(|(name, _)| *name == long).map(|(_, why)| (flag, *why))
}

/// The flags in a word of the command line: `-it` is two.
fn each(word: &str) -> Vec<String> {
    match word.strip_prefix('-') {
        Some(letters) if letters.chars().all(|letter| SHORT.iter().any(|(short, _)| short.ends_with(letter))) => {
            letters.chars().map(|letter| format!("-{letter}")).collect()
        }
        _ => vec![word.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_a_word_is_looked_at() {
        assert_eq!(each("-it"), ["-i", "-t"]);
        assert_eq!(each("--tty"), ["--tty"]);
        assert_eq!(each("-m"), ["-m"]);
        assert!(refused("-t").is_some() && refused("--name=web").is_some() && refused("--user").is_none());
    }
}
