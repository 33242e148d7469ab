use proptest::prelude::*;

use super::*;

fn user(text: &str) -> Option<(Name, Option<Name>)> {
    text.parse::<User>().ok().map(|user| (user.user, user.group))
}

fn named(text: &str) -> Name {
    Name::Name(text.to_owned())
}

#[test]
fn users_are_names_or_ids() {
    assert_eq!(user("0"), Some((Name::Id(0), None)));
    assert_eq!(user("65532:65532"), Some((Name::Id(65532), Some(Name::Id(65532)))));
    assert_eq!(user("4294967294"), Some((Name::Id(4_294_967_294), None)));
    assert_eq!(user("nonroot:www-data"), Some((named("nonroot"), Some(named("www-data")))));
    assert_eq!(user("_apt"), Some((named("_apt"), None)));
    assert_eq!(user("machine$"), Some((named("machine$"), None)));
}

#[test]
fn what_could_become_another_user_is_refused() {
    for text in [
        "",
        "-1",
        "1000x",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "+0",
        ":",
        "0x0",
        "0:",
        ":0",
        "0:0:0",
        "00",
        "007",
        " 0",
        "0 ",
        "0\n",
        "root\0",
        "$",
        "a$b",
        ".x",
        "-x",
        "r\u{f6}\u{f6}t",
        "\u{661}",
        "1e3",
        "root/..",
    ] {
        assert_eq!(user(text), None, "{text:?}");
    }
}

#[test]
fn variables_are_given_or_passed_on() {
    let resolve =
        |text: &str| text.parse::<EnvVar>().map(|var| var.resolve(|name| (name == "HOME").then(|| "/root".to_owned())));
    assert_eq!(resolve("A=b=c"), Ok(Ok("A=b=c".to_owned())));
    assert_eq!(resolve("A="), Ok(Ok("A=".to_owned())));
    assert_eq!(resolve("HOME"), Ok(Ok("HOME=/root".to_owned())));
    assert_eq!(resolve("NONE"), Ok(Err(FlagError::Unset("NONE".to_owned()))));
    for text in ["", "=x", "A=\0"] {
        assert!(resolve(text).is_err(), "{text:?}");
    }
}

#[test]
fn ports_are_published_as_docker_spells_it() {
    let published =
        |text: &str| text.parse::<Publish>().ok().map(|p| (p.ip.map(|ip| ip.to_string()), p.host, p.container));
    assert_eq!(published("8080:80"), Some((None, 8080, 80)));
    assert_eq!(published("127.0.0.1:8080:80/tcp"), Some((Some("127.0.0.1".to_owned()), 8080, 80)));
    assert_eq!(published("[::1]:8080:80"), Some((Some("::1".to_owned()), 8080, 80)));
    for text in [
        "",
        "80",
        ":80",
        "80:",
        "0:80",
        "80:0",
        "65536:80",
        "8080:80/udp",
        "::1:8080:80",
        "[127.0.0.1]:8080:80",
        "host:1:2",
        "+1:2",
        "1:2:3",
        " 1:2",
        "1:2/tcp/tcp",
    ] {
        assert_eq!(published(text), None, "{text:?}");
    }
}

#[test]
fn a_tmpfs_is_locked_unless_said_otherwise() {
    let shown = |text: &str| text.parse::<Tmpfs>().map(|tmpfs| tmpfs.to_string());
    assert_eq!(shown("/run").unwrap(), "/run:rw,noexec,nosuid,nodev");
    assert_eq!(
        shown("/var/x:exec,size=64m,mode=1777,uid=65532,gid=0").unwrap(),
        "/var/x:rw,exec,nosuid,nodev,size=67108864,mode=1777,uid=65532,gid=0"
    );
    assert_eq!(shown("/run:ro,suid,dev").unwrap(), "/run:ro,noexec,suid,dev");
    for text in ["", "run", "/", "//", "/run/../etc", "../run", "/run\0"] {
        assert_eq!(shown(text), Err(FlagError::TmpfsPath(text.to_owned())), "{text:?}");
    }
    for option in
        ["x", "size=", "size=0", "size=-1", "size=1t", "size=20000000000g", "mode=8", "mode=10000", "uid=+0", "EXEC"]
    {
        assert_eq!(shown(&format!("/run:{option}")), Err(FlagError::TmpfsOption(option.to_owned())));
    }
    assert!(shown("/run:exec,").is_err());
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(text in "\\PC{0,16}") {
        let _ = (text.parse::<User>(), text.parse::<EnvVar>(), text.parse::<Publish>(), text.parse::<Tmpfs>());
    }

    #[test]
    fn a_tmpfs_reads_back(size in proptest::option::of(1u64..), mode in proptest::option::of(0u32..=0o7777), exec: bool) {
        let tmpfs = Tmpfs { exec, size, mode, ..Tmpfs::at("/run/x".into()) };
        prop_assert_eq!(tmpfs.to_string().parse::<Tmpfs>(), Ok(tmpfs));
    }
}
