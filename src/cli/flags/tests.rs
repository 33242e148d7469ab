use proptest::prelude::*;

use super::*;

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

proptest! {
    #[test]
    fn any_value_is_read_or_refused(text in "\\PC{0,16}") {
        let _ = (text.parse::<EnvVar>(), text.parse::<Publish>());
    }
}
