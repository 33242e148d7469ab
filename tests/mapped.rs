//! A normal user with subordinate ids: the same verdicts as root's, the ids of the image inside, and without the means one id.
//!
//! The user, its ranges and the tools are there in a mount namespace of the test's own; the host's files stay as they are.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use common::{json, said};
use image::{Image, Layer, Stored};
use serde_json::Value;
use tempfile::TempDir;

/// Nobody on the host.
const UID: u32 = 2002;
const RANGE: &str = "mapped-tester:100000:65536\n";

/// Makes /etc an overlay with a user of ours in it, then becomes that user. Arguments: a folder, the ranges, the command.
const BECOME: &str = r#"set -e
folder=$1 ranges=$2
shift 2
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$folder/upper,workdir=$folder/work" /etc
echo "mapped-tester:x:2002:2002::/:/bin/sh" >>/etc/passwd
printf %s "$ranges" >/etc/subuid
printf %s "$ranges" >/etc/subgid
exec setpriv --reuid 2002 --regid 2002 --clear-groups "$@"
"#;

/// A user with ranges; home and store go when this is dropped.
struct Tester {
    home: TempDir,
}

impl Tester {
    /// `None`, and said, where there cannot be one.
    fn new() -> Option<Self> {
        if !common::root() {
            common::skip("mapped: the tests do not run as root, so that they cannot make a user with ranges");
            return None;
        }
        if !Path::new("/usr/bin/newuidmap").exists() {
            common::skip("mapped: there is no newuidmap (Debian: apt-get install uidmap)");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(home.path().join("etc")).unwrap();
        fs::create_dir(home.path().join("own")).unwrap();
        chown(home.path().join("own"), Some(UID), Some(UID)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_austere"), home.path().join("austere")).unwrap();
        Some(Tester { home })
    }

    /// A command as this user, with these ranges and this PATH.
    fn command(&self, ranges: &str, path: &str, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        let usual = "/usr/sbin:/usr/bin:/sbin:/bin";
        command.env_clear().env("PATH", usual).args(["--mount", "--propagation", "private", "sh", "-c", BECOME, "sh"]);
        command.arg(self.home.path().join("etc")).arg(ranges).args(["env", &format!("PATH={path}")]);
        command.env("AUSTERE_STORE", self.home.path().join("own/store")).arg(program).current_dir(self.home.path());
        command
    }

    fn austere(&self, ranges: &str) -> Command {
        self.command(ranges, "/usr/bin:/bin", &self.home.path().join("austere"))
    }

    fn verify(&self, ranges: &str, args: &[&str]) -> (Value, Output) {
        let output = self.austere(ranges).args(["verify", "--format", "json"]).args(args).output().unwrap();
        (json(&output), output)
    }

    fn put(&self, name: &str, image: &Image) -> String {
        image.oci_dir(&self.home.path().join(name)).to_str().unwrap().to_owned()
    }
}

#[test]
fn the_corpus_has_the_verdicts_of_its_labels() {
    let Some(tester) = Tester::new() else { return };
    let mut wrong = Vec::new();
    for label in common::labels() {
        let name = label["name"].as_str().unwrap();
        let Some(archive) = common::archive(name) else { continue };
        let here = tester.home.path().join("image.tar");
        fs::copy(&archive, &here).unwrap();
        let probe = &label["probe"];
        let asked = match probe["kind"].as_str().unwrap() {
            "http" => ["--http".to_owned(), format!("{}{}", probe["port"], probe["path"].as_str().unwrap())],
            "tcp" => ["--tcp".to_owned(), probe["port"].to_string()],
            _ => ["--exit".to_owned(), probe["code"].to_string()],
        };
        let timeout = probe["timeout"].as_u64().unwrap_or(20).to_string();
        let (verdict, output) =
            tester.verify(RANGE, &[here.to_str().unwrap(), &asked[0], &asked[1], "--timeout", &timeout]);
        let expected = if label["verdict_strict"] == "works" { "pass" } else { "fail" };
        let labelled = if label["baseline_works"] == true { "works" } else { "fails" };
        let baseline = if expected == "pass" { "not_tried" } else { labelled };
        let lacking = |measure: &Value| measure["required"] == true && measure["status"] != "holds";
        let holds = !verdict["measures"].as_array().unwrap().iter().any(lacking);
        let (first, cause) = (&verdict["findings"][0], &label["cause"]);
        let same = |ours: &str, theirs: &str| first[ours] == cause[theirs];
        let named = expected == "pass" || (same("call", "syscall") && same("errno", "errno") && same("path", "path"));
        let is_right = verdict["verdict"] == expected && verdict["baseline"] == baseline && holds && named;
        if !is_right || verdict["ids"]["mode"] != "mapped" || !output.stderr.is_empty() {
            wrong.push(format!("{name}: expected {expected}, baseline {baseline}\n{}", said(&output)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn inside_ids_are_the_image_s_and_outside_they_are_the_ranges() {
    let Some(tester) = Tester::new() else { return };
    let Some(layer) = callers::busybox() else { return };
    let layer =
        layer.dir("data", 0o755).file("data/open", 0o644, "o").dir("closed", 0o700).file("closed/x", 0o600, "x");
    let script =
        "id -u; id -g; id -G; stat -c '%u:%g %a' /data/open /closed /dev; cat /closed/x; cat /proc/self/uid_map";
    let config = serde_json::json!({ "Entrypoint": ["/bin/sh", "-c", script] });
    let image = tester.put("image", &Image::of(layer).config(config));
    // Two ranges, and one of a number and not of a name.
    let ranges = "mapped-tester:100000:1000\n2002:300000:64536\n";
    let output = tester.austere(ranges).args(["run", "--user", "1500:1600", &image]).output().unwrap();
    let text = callers::stdout(&output);
    let words: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected =
        ["1500", "1600", "1600", "0:0 644", "0:0 700", "0:0 755", "0 2002 1", "1 100000 1000", "1001 300000 64536"];
    assert_eq!(words, expected, "{}", said(&output));
    assert!(callers::stderr(&output).contains("Permission denied"), "the root's file is closed to the app");
}

#[test]
fn owners_are_kept_in_the_store_and_the_user_can_remove_it() {
    let Some(tester) = Tester::new() else { return };
    let Some(layer) = callers::busybox() else { return };
    let script = "cat /own/secret; touch /own/x || echo read-only";
    let layer = layer.dir_of("own", 0o700, 65532, 7).file_of("own/secret", 0o600, 65532, 7, "mine\n");
    let config = serde_json::json!({ "Entrypoint": ["/bin/sh", "-c", script] });
    let image = tester.put("image", &Image::of(layer).config(config));
    let output = tester.austere(RANGE).args(["run", &image]).output().unwrap();
    assert_eq!(callers::stdout(&output), "mine\nread-only\n", "{}", said(&output));
    let store = tester.home.path().join("own/store");
    let layer = fs::read_dir(store.join("layers")).unwrap().next().unwrap().unwrap().path();
    let key = fs::read_dir(layer).unwrap().next().unwrap().unwrap().path();
    assert!(key.file_name().unwrap().to_str().unwrap().starts_with("mapped-"));
    let own = fs::metadata(key.join("tree/own")).unwrap();
    assert_eq!((own.uid(), own.gid()), (100_000 + 65531, 100_000 + 6));
    assert_eq!(fs::metadata(key.join("tree/etc")).unwrap().uid(), UID);

    // The same layers for one id are others, side by side with these.
    let output = tester.austere(RANGE).args(["run", "--ids", "single", &image]).output().unwrap();
    assert_eq!(callers::stdout(&output), "mine\nread-only\n", "{}", said(&output));

    let mut remove = tester.command(RANGE, "/usr/bin:/bin", Path::new("rm"));
    assert!(!remove.arg("-rf").arg(&store).output().unwrap().status.success(), "what is others' stays");
    let mut remove = tester.command(RANGE, "/usr/bin:/bin", Path::new("unshare"));
    let output = remove.args(["--map-auto", "--map-root-user", "rm", "-rf"]).arg(&store).output().unwrap();
    assert!(output.status.success() && !store.exists(), "{}", said(&output));
}

#[test]
fn ids_above_the_map_are_never_taken_for_others() {
    let Some(tester) = Tester::new() else { return };
    let layer = Layer::new().dir_of("far", 0o750, 1_000_680_000, 1_000_680_000);
    let Some(busybox) = callers::busybox() else { return };
    let config = serde_json::json!({ "Entrypoint": ["/bin/true"] });
    let image = tester.put("image", &Image::of(busybox).layer(layer, Stored::Plain).config(config));
    let (verdict, output) = tester.verify(RANGE, &[&image, "--exit", "0"]);
    assert_eq!(verdict["verdict"], "inconclusive", "{}", said(&output));
    assert!(verdict["measures"].as_array().unwrap().iter().any(|measure| measure["name"] == "file-owners"));
    // A user that the ranges have no id for.
    let (verdict, output) = tester.verify(RANGE, &["example:hello", "--user", "1000680000"]);
    assert_eq!((&verdict["verdict"], &verdict["ids"]["mode"]), (&"pass".into(), &"single".into()), "{}", said(&output));
}

#[test]
fn without_the_means_there_is_one_id_and_the_report_says_why() {
    let Some(tester) = Tester::new() else { return };
    let mode = |output: &Output| {
        let verdict = json(output);
        assert_eq!(verdict["verdict"], "pass", "{}", said(output));
        (verdict["ids"]["mode"].as_str().unwrap().to_owned(), verdict["ids"]["why"].as_str().map(str::to_owned))
    };
    let args = ["verify", "--format", "json", "example:hello"];
    let run = |ranges: &str, path: &str| {
        tester.command(ranges, path, &tester.home.path().join("austere")).args(args).output().unwrap()
    };
    let single = |why: &str| ("single".to_owned(), Some(why.to_owned()));
    assert_eq!(mode(&run(RANGE, "/usr/bin:/bin")), ("mapped".to_owned(), None));
    assert_eq!(mode(&run("", "/usr/bin:/bin")), single("/etc/subuid has no ids for mapped-tester"));
    let small = "mapped-tester:100000:65000\n2002:100000:65000\n";
    assert_eq!(mode(&run(small, "/usr/bin:/bin")), single("/etc/subuid has 65000 ids, and 65535 are needed"));
    assert_eq!(mode(&run(RANGE, "/nonexistent")), single("there is no newuidmap"));
    assert_eq!(
        mode(&tester.austere(RANGE).args(args).args(["--ids", "single"]).output().unwrap()),
        single("it was asked for")
    );
    // A tool that refuses.
    let bin = tester.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for tool in ["newuidmap", "newgidmap"] {
        fs::write(bin.join(tool), format!("#!/bin/sh\necho {tool}: not today >&2\nexit 1\n")).unwrap();
        fs::set_permissions(bin.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(mode(&run(RANGE, bin.to_str().unwrap())), single("newuidmap: not today"));

    let output = tester.austere("").args(args).args(["--ids", "mapped"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(callers::stderr(&output).contains("/etc/subuid has no ids for mapped-tester"));
}

#[test]
fn doctor_knows_the_mode() {
    let Some(tester) = Tester::new() else { return };
    for (ranges, status, found) in [(RANGE, "ok", "mode mapped"), ("", "warn", "usermod --add-subuids")] {
        let output = tester.austere(ranges).args(["doctor", "--format", "json"]).output().unwrap();
        let examination = json(&output);
        let check = examination["checks"].as_array().unwrap().iter().find(|check| check["name"] == "ids").unwrap();
        assert!(check["status"] == status && check.to_string().contains(found), "{check}");
    }
}

/// The listener is handed out of a user namespace that a setuid helper has mapped: it has to be the same guard there.
#[test]
fn the_seal_holds_under_mapped_ids() {
    let Some(tester) = Tester::new() else { return };
    let stubborn = ["example:stubborn", "--tmpfs", "/run:mode=1777"];
    let (open, output) = tester.verify(RANGE, &stubborn);
    assert_eq!((&open["verdict"], &open["ids"]["mode"]), (&"pass".into(), &"mapped".into()), "{}", said(&output));
    let (verdict, output) = tester.verify(RANGE, &[&stubborn[..], &["--seal"]].concat());
    assert_eq!((&verdict["verdict"], &verdict["ids"]["mode"]), (&"fail".into(), &"mapped".into()), "{}", said(&output));
    let refused = &verdict["findings"][0];
    assert!(refused["code"] == "second-exec-refused" && refused["path"] == "/bin/sh", "{verdict:#}");
    let measures = verdict["measures"].as_array().unwrap();
    assert!(measures.iter().any(|measure| measure["name"] == "seal" && measure["status"] == "holds"), "{verdict:#}");
    // The guard that leaves, and the one that stays.
    for (flags, error) in
        [(&["--seal"][..], "Function not implemented"), (&["--seal", "--watch-exec"], "Permission denied")]
    {
        let output = tester.austere(RANGE).arg("run").args(stubborn).args(flags).output().unwrap();
        assert!(output.status.code() == Some(1) && callers::stderr(&output).contains(error), "{}", said(&output));
    }
    let (sealed, output) = tester.verify(RANGE, &["example:hello", "--preset", "sealed", "--require", "L2,L3,L4"]);
    assert_eq!((&sealed["verdict"], &sealed["ids"]["mode"]), (&"pass".into(), &"mapped".into()), "{}", said(&output));
    // A program that is let through is, and no other.
    let Some(layer) = callers::busybox() else { return };
    let config =
        serde_json::json!({ "Entrypoint": ["/bin/sh", "-c", "/bin/echo one; /bin/cat /www/index.html; true"] });
    let layer = layer.file("bin/echo", 0o755, fs::read("/bin/busybox").unwrap());
    let image = tester.put("image", &Image::of(layer).config(config));
    let run = |flags: &[&str]| tester.austere(RANGE).args(["run", &image]).args(flags).output().unwrap();
    assert_eq!(callers::stdout(&run(&[])), "one\nhello\n");
    assert_eq!(callers::stdout(&run(&["--seal"])), "");
    // All tools of the image are one file, but this copy is another.
    let output = run(&["--seal", "--allow-exec", "/bin/cat"]);
    assert_eq!(callers::stdout(&output), "hello\n", "{}", said(&output));
}
