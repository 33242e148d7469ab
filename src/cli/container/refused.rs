//! Flags of `docker run` that austere does not have, and why.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Name and reason. Every other flag of `docker run` is one of austere's too.
const FLAGS: [(&str, &str); 37] = [
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
    ("--rm", "austere leaves nothing behind"),
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
];

/// Short forms of them.
const SHORT: [(&str, &str); 5] =
    [("-d", "--detach"), ("-i", "--interactive"), ("-t", "--tty"), ("-P", "--publish-all"), ("-l", "--label")];

/// What to say of a flag that docker has and austere has not; nothing for other errors.
pub(in crate::cli) fn explain(error: &clap::Error) -> Option<String> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let flag = argument.split('=').next().unwrap_or(argument);
    let long = SHORT.iter().find(|(short, _)| *short == flag).map_or(flag, |(_, long)| long);
    let (_, why) = FLAGS.iter().find(|(name, _)| *name == long)?;
    Some(format!("austere has no {flag} of docker's: {why}"))
}
