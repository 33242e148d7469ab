use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;
use crate::inventory::{Entry, ReadSeek};

/// Files by path; a path that ends in `/` is a directory.
struct Files(BTreeMap<&'static str, (u32, Vec<u8>)>);

impl Tree for Files {
    fn find(&self, path: &str) -> io::Result<Found> {
        let path = format!(
            "/{}",
            path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
        );
        let entry = |mode, kind, size| Entry { kind, mode, uid: 0, gid: 0, size, capability: None };
        let (mode, bytes) = self.0.get(path.as_str()).ok_or(io::ErrorKind::NotFound)?;
        let searched = self.0.iter().filter(|(name, _)| name.ends_with('/') && path.starts_with(**name));
        let searched =
            searched.map(|(name, (mode, _))| ((*name).to_owned(), entry(*mode, EntryKind::Directory, 0))).collect();
        Ok(Found { path, entry: entry(*mode, EntryKind::File, bytes.len() as u64), searched })
    }

    fn open(&self, found: &Found) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.0[found.path.as_str()].1.clone())))
    }
}

#[test]
fn a_user_by_name_is_noticed() {
    let user = |user: &str| super::user(&Config { user: user.to_owned(), ..Config::default() }).map(|f| f.code);
    assert_eq!(user("app:app").as_deref(), Some("D51"));
    for number in ["", "0", "65532:65532", "1000:staff"] {
        assert_eq!(user(number), None, "{number}");
    }
}

fn files(list: &[(&'static str, u32, &[u8])]) -> Files {
    Files(list.iter().map(|(path, mode, bytes)| (*path, (*mode, bytes.to_vec()))).collect())
}

fn run_as(files: &Files, argv: &[&str], env: &[&str], architecture: &str) -> Entrypoint {
    let owned = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let credentials = Credentials { uid: 65532, gid: 0, groups: vec![] };
    resolve(
        files,
        &Command { argv: &owned(argv), env: &owned(env), working_dir: "/srv", credentials: &credentials, architecture },
    )
}

fn look(files: &Files, argv: &[&str]) -> Entrypoint {
    run_as(files, argv, &[], &crate::platform::Platform::host().architecture)
}

fn codes(entrypoint: &Entrypoint) -> Vec<&str> {
    entrypoint.findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// A static program for this machine: the test itself.
fn program() -> Vec<u8> {
    std::fs::read("/proc/self/exe").unwrap()
}

#[test]
fn a_static_program_needs_nothing() {
    let image = files(&[("/app", 0o755, &program())]);
    let found = look(&image, &["/app", "-x"]);
    assert_eq!((found.path.as_deref(), codes(&found)), (Some("/app"), vec![]));
    assert!(matches!(found.kind, Some(Kind::Elf(_))));
}

#[test]
fn a_name_without_a_slash_is_the_first_in_path_that_may_be_started() {
    let image =
        files(&[("/bin/app", 0o644, &program()), ("/opt/app", 0o755, &program()), ("/srv/app", 0o755, &program())]);
    assert_eq!(run_as(&image, &["app"], &["PATH=/x", "PATH=/bin:/opt"], "amd64").path.as_deref(), Some("/opt/app"));
    assert_eq!(look(&image, &["./app"]).path.as_deref(), Some("/srv/app"));
    assert_eq!(codes(&look(&image, &["app"])), ["D18"], "only /bin/app is in the default PATH");
    assert_eq!(codes(&look(&image, &["nothing"])), ["entrypoint-not-found"]);
}

#[test]
fn nothing_to_start_is_said() {
    assert_eq!(codes(&look(&files(&[]), &[])), ["no-entrypoint"]);
    assert_eq!(codes(&look(&files(&[]), &[""])), ["no-entrypoint"]);
}

#[test]
fn modes_stop_a_start() {
    let closed = files(&[("/app", 0o744, &program())]);
    assert_eq!(codes(&look(&closed, &["/app"])), ["D18"]);
    let hidden = files(&[("/root/", 0o700, b""), ("/root/app", 0o755, &program())]);
    let found = look(&hidden, &["/root/app"]);
    assert_eq!(codes(&found), ["D18"]);
    assert_eq!(found.findings[0].path.as_deref(), Some("/root/"));
}

#[test]
fn a_script_is_followed_to_its_interpreter() {
    let image = files(&[("/run.sh", 0o755, b"#!/bin/sh -e\n"), ("/bin/sh", 0o755, &program())]);
    let found = look(&image, &["/run.sh"]);
    assert_eq!((codes(&found), &found.interpreters[..]), (vec![], &["/bin/sh".to_owned()][..]));

    let alone = files(&[("/run.sh", 0o755, b"#!/bin/sh -e\n")]);
    let found = look(&alone, &["/run.sh"]);
    assert_eq!((codes(&found), &found.missing[..]), (vec!["D20"], &["/bin/sh".to_owned()][..]));
}

#[test]
fn carriage_returns_are_named() {
    let image = files(&[("/run.sh", 0o755, b"#!/bin/sh\r\n"), ("/bin/sh", 0o755, &program())]);
    let found = look(&image, &["/run.sh"]);
    assert_eq!(codes(&found), ["D20"]);
    assert!(found.findings[0].message.contains(r"CR LF") && found.findings[0].message.contains(r"`/bin/sh\r`"));
}

#[test]
fn env_must_find_its_program() {
    let script: &[u8] = b"#!/usr/bin/env node\n";
    let image = files(&[("/run.js", 0o755, script), ("/usr/bin/env", 0o755, &program())]);
    assert_eq!(codes(&look(&image, &["/run.js"])), ["D20"]);
    let image =
        files(&[("/run.js", 0o755, script), ("/usr/bin/env", 0o755, &program()), ("/usr/bin/node", 0o755, &program())]);
    assert_eq!(codes(&look(&image, &["/run.js"])), Vec::<&str>::new());
}

#[test]
fn a_ring_of_scripts_has_an_end() {
    let image = files(&[("/a", 0o755, b"#!/b\n"), ("/b", 0o755, b"#!/a\n")]);
    assert_eq!(look(&image, &["/a"]).findings[0].errno.as_deref(), Some("ELOOP"));
}

#[test]
fn shell_form_without_a_shell_is_told_from_a_missing_program() {
    let empty = files(&[]);
    assert_eq!(codes(&look(&empty, &["/bin/sh", "-c", "exec /app"])), ["D22"]);
    assert_eq!(codes(&look(&empty, &["/bin/sh", "/run.sh"])), ["entrypoint-not-found"]);
    let check = |test: &str| Config {
        healthcheck: Some(crate::image::Healthcheck {
            test: vec![test.to_owned(), "true".to_owned()],
            ..Default::default()
        }),
        ..Config::default()
    };
    assert_eq!(health_check(&empty, &check("CMD-SHELL")).map(|finding| finding.code).as_deref(), Some("D22"));
    assert_eq!(health_check(&empty, &check("CMD")), None);
    assert_eq!(health_check(&files(&[("/bin/sh", 0o755, b"")]), &check("CMD-SHELL")), None);
}

#[test]
fn what_is_no_program_is_named() {
    for (bytes, word) in
        [(&b""[..], "empty"), (b"echo hello", "neither"), (b"#!\n", "usable interpreter"), (b"\x7fELF\x02\x01", "ELF")]
    {
        let found = look(&files(&[("/app", 0o755, bytes)]), &["/app"]);
        assert_eq!(codes(&found), ["D21"], "{bytes:?}");
        assert!(found.findings[0].message.contains(word), "{}", found.findings[0].message);
    }
}

#[test]
fn a_program_for_another_machine_names_both() {
    let image = files(&[("/app", 0o755, &program())]);
    let found = run_as(&image, &["/app"], &[], "s390x");
    assert_eq!(codes(&found), ["D21"]);
    assert!(
        found.findings[0].message.contains("s390x")
            && found.findings[0].message.contains(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" })
    );
}
