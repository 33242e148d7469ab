//! What somebody types who has not read the manual: the mistake is named together with what was meant, and that then works.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use callers::{Caller, app, callers, script, stderr, stdout};
use common::said;
use image::Image;

/// The arguments are wrong, and what is said of them has these words.
fn wrong(caller: &Caller, args: &[&str], words: &[&str]) {
    let output = caller.austere().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    for word in words {
        assert!(stderr(&output).contains(word), "{args:?}: no `{word}` in {}", stderr(&output));
    }
}

/// The arguments are right.
fn right(caller: &Caller, args: &[&str]) -> String {
    let output = caller.austere().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    stdout(&output)
}

fn archive(caller: &Caller, image: &Image) -> String {
    let path = image.oci_archive(&caller.dir().join("image.tar"));
    path.to_str().unwrap().to_owned()
}

fn caller() -> Caller {
    callers().pop().unwrap()
}

#[test]
fn a_command_that_was_written_for_docker() {
    let caller = caller();
    let hardened = ["--rm", "--read-only", "--cap-drop=ALL", "--user=65532", "--security-opt=no-new-privileges"];
    let line = [&["verify", "example:hello", "--quiet"][..], &hardened].concat();
    assert!(right(&caller, &line).starts_with("PASS  example:hello"));
    let words = ["no -i of docker's", "nor -t: ", "nor -d: ", "nor --name: ", "nor --restart: ", "hint: leave it out"];
    wrong(&caller, &[&line[..], &["-itd", "--name", "web", "--restart=always"]].concat(), &words);
    // What follows the dashes is the app's.
    let output = caller.austere().args([&line[..], &["-d", "--", "--name"]].concat()).output().unwrap();
    assert!(stderr(&output).contains("no -d of docker's") && !stderr(&output).contains("--name"), "{}", said(&output));
}

#[test]
fn a_word_where_there_is_none() {
    let (caller, Some(image)) = (caller(), app(&["/bin/sh"])) else { return };
    let image = archive(&caller, &image);
    wrong(&caller, &[&image], &["is no command", &format!("hint: austere verify {image}")]);
    wrong(&caller, &["run", &image, "hello"], &["`hello` is one word too many", "IMAGE -- hello"]);
    assert_eq!(right(&caller, &["run", &image, "--", "-c", "echo hello"]), "hello\n");
    let tagged = format!("{image}:latest");
    wrong(&caller, &["verify", &tagged], &[&format!("oci-archive:{image}:latest")]);
    wrong(&caller, &["verify", "--timout=3", &image], &["--timeout"]);
    wrong(&caller, &["verify", &image, "-v", "./src:/src"], &["`./src` is neither", "$PWD"]);
}

#[test]
fn what_is_no_image() {
    let (caller, Some(image)) = (caller(), app(&["/bin/true"])) else { return };
    let image = archive(&caller, &image);
    right(&caller, &["verify", &image, "-q"]);
    let other = format!("docker-archive:{image}");
    wrong(
        &caller,
        &["verify", &other],
        &["no `manifest.json`", &format!("hint: it is of the other kind: oci-archive:{image}")],
    );

    let at = |name: &str| caller.dir().join(name).to_str().unwrap().to_owned();
    let tree = at("tree");
    right(&caller, &["unpack", &image, &tree]);
    wrong(&caller, &["verify", &tree], &["names no program", "-- PROGRAM"]);
    right(&caller, &["run", &tree, "--", "/bin/true"]);
    let mut tar = tar::Builder::new(fs::File::create(at("root.tar")).unwrap());
    tar.append_dir("etc", Path::new("/")).unwrap();
    tar.finish().unwrap();
    wrong(&caller, &["verify", &at("root.tar")], &["docker export", "rootfs:DIR -- PROGRAM"]);
    fs::write(at("text"), "root:x:0:0:root\n".repeat(64)).unwrap();
    wrong(&caller, &["verify", &at("text")], &["not a whole tar archive"]);
    let output = caller.austere().args(["verify", &at("text")]).output().unwrap();
    assert!(!stderr(&output).contains("root:x:"), "what is in the file is said: {}", said(&output));
}

#[test]
fn somebody_who_is_not_in_the_image() {
    let (caller, Some(image)) = (caller(), app(&["/bin/true"])) else { return };
    let image = caller.put("image.tar", &image);
    wrong(&caller, &["verify", &image, "--user", "nobody-here"], &["no user `nobody-here`", "hint: ", "number"]);
    right(&caller, &["verify", &image, "-q", "--user", "4242"]);
}

#[test]
fn a_store_where_nobody_can_write() {
    let (caller, Some(image)) = (caller(), app(&["/bin/true"])) else { return };
    let image = caller.put("image.tar", &image);
    wrong(&caller, &["verify", &image, "--store", "/proc/store"], &["hint: --store DIR or AUSTERE_STORE"]);
    right(&caller, &["verify", &image, "-q", "--store", caller.dir().join("other").to_str().unwrap()]);
}

#[test]
fn an_engine_that_one_may_not_ask() {
    if !common::root() {
        return common::skip("docker's socket: only root can make one that a user may not use");
    }
    let [user, root] = <[Caller; 2]>::try_from(callers()).ok().unwrap();
    let socket = user.dir().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let ask = |caller: &Caller| {
        let mut austere = caller.austere();
        austere.args(["verify", "docker-daemon:app:ci"]).env("DOCKER_HOST", format!("unix://{}", socket.display()));
        stderr(&austere.output().unwrap())
    };
    assert!(ask(&user).contains("hint: docker's socket is for root"), "{}", ask(&user));
    assert!(ask(&root).contains("Connection refused") && !ask(&root).contains("hint"), "{}", ask(&root));
}

#[test]
fn a_code_that_a_verdict_shows_is_explained() {
    let caller = caller();
    for (code, word) in
        [("d03", "pid file"), ("no-port-exposed", "plan"), ("D51", "USER"), ("L0", "shell"), ("stand-in", "--pod")]
    {
        let text = right(&caller, &["doctor", "--explain", code]);
        assert!(text.starts_with("## ") && text.contains(word), "{code}: {text}");
    }
    wrong(&caller, &["doctor", "--explain", "D999"], &["no code of a finding", "in brackets"]);
}

#[test]
fn a_level_that_nobody_required_is_not_called_failed() {
    let (caller, Some(image)) = (caller(), script("exit 0")) else { return };
    let image = caller.put("image.tar", &image);
    let page = right(&caller, &["verify", &image, "--ladder"]);
    assert!(
        page.starts_with("PASS") && page.contains("not reached  L0 ") && !page.contains("failed       L"),
        "{page}"
    );
    let output = caller.austere().args(["verify", &image, "--no-shell"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(stdout(&output).contains("L0 (no shell or interpreter in the image) is not reached"), "{}", said(&output));
}

/// The commands of the documents' shell blocks and tables, as the shell would split them, with what a person fills in.
fn commands(document: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut block: Option<&str> = None;
    for line in document.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh" | "")) => found.extend(line.find("austere ").map(|at| &line[at..])),
            (None, None) if line.starts_with('|') => {
                found.extend(line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("austere ")));
            }
            (None, _) => {}
        }
    }
    let filled = |word: String| match word.as_str() {
        "IMAGE" | "$image" => "./image.tar".to_owned(),
        name if !name.contains('/') && Path::new(name).extension().is_some_and(|end| end == "tar") => {
            format!("./{name}")
        }
        _ => word.replace("$PWD", "/here"),
    };
    let is_shell_s = |word: &String| [">", "|", "||", "&&"].contains(&word.as_str());
    let words = |text: &str| shlex::split(text).unwrap_or_else(|| panic!("not a command: {text}"));
    let command = |text| words(text).into_iter().take_while(|word| !is_shell_s(word)).map(filled).collect();
    found.into_iter().map(command).collect()
}

#[test]
fn what_the_documents_tell_to_type_is_understood() {
    let mut count = 0;
    for name in ["recipes", "fit", "manifests", "plan", "images", "profile", "packages"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name).with_extension("md");
        for words in commands(&fs::read_to_string(path).unwrap()) {
            if let Err(error) = austere::cli::command().try_get_matches_from(&words) {
                panic!("docs/{name}.md: {words:?}: {error}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}
