//! What is in the store can be seen and removed, but not while it is used; and what may be half on the disk is not believed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use callers::{Caller, callers};
use common::{json, said};
use image::{Image, Layer};
use serde_json::Value;

const DAY: Duration = Duration::from_hours(24);

fn austere(caller: &Caller, args: &[&str]) -> Output {
    caller.austere().args(args).output().unwrap()
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn layers(caller: &Caller) -> Vec<Value> {
    let output = austere(caller, &["store", "ls", "--format", "json"]);
    done(&output);
    json(&output)["layers"].as_array().unwrap().clone()
}

/// The folder of the store's only layer.
fn folder(caller: &Caller) -> PathBuf {
    let only = |path: &Path| {
        let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    };
    only(&only(&caller.store().join("layers")))
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).unwrap().next().is_none()
}

/// With everything that is hard to remove.
fn image(text: &str) -> Image {
    let layer = Layer::new().dir("private", 0o700).dir("private/in", 0o000).file("private/in/file", 0o600, "");
    Image::of(layer.whiteout("gone").file("text", 0o644, text))
}

#[test]
fn what_root_put_into_a_user_s_store_is_named_and_root_removes_it() {
    if !common::root() {
        return common::skip("a user's store that root used: only root can");
    }
    let user = callers().remove(0);
    let (first, second) = (user.put("first", &image("1")), user.put("second", &image("2")));
    let unpacked =
        |caller: &mut std::process::Command, image: &str| caller.args(["store", "pull", image]).output().unwrap();
    done(&unpacked(&mut user.austere(), &first));
    done(&unpacked(&mut common::austere(&user.store()), &second));
    assert_eq!(layers(&user).len(), 1, "the user's own is listed");
    let refused = unpacked(&mut user.austere(), &second);
    let hint = format!("sudo austere store gc --unused --store {}", user.store().display());
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(callers::stderr(&refused).contains(&hint), "{}", said(&refused));
    done(&common::austere(&user.store()).args(["store", "gc", "--unused"]).output().unwrap());
    done(&unpacked(&mut user.austere(), &second));
}

#[test]
fn what_is_used_stays_and_the_rest_goes() {
    for caller in callers() {
        assert_eq!(layers(&caller), [Value::Null; 0]);
        assert!(!caller.store().exists(), "to look makes no store");
        let (one, two) = (caller.put("one", &image("1")), caller.put("two", &image("22")));
        done(&austere(&caller, &["inspect", &one]));
        let used = File::open(folder(&caller)).unwrap();
        done(&austere(&caller, &["inspect", &two]));

        used.lock_shared().unwrap();
        let all = layers(&caller);
        assert_eq!(all.len(), 2);
        let of = |image: &str| all.iter().find(|layer| layer["unpacked_for"] == *image).unwrap();
        assert_eq!((&of(&one)["bytes"], &of(&two)["bytes"]), (&1.into(), &2.into()));
        assert_eq!((&of(&one)["in_use"], &of(&two)["in_use"]), (&true.into(), &false.into()));
        assert_eq!(
            (&of(&one)["entries"], &of(&one)["usable"], &of(&one)["synced"]),
            (&5.into(), &true.into(), &false.into())
        );
        let text = done(&austere(&caller, &["store", "ls"]));
        assert!(text.contains(&of(&one)["diff_id"].as_str().unwrap()[7..19]) && text.contains("2 layers"), "{text}");

        assert!(done(&austere(&caller, &["store", "gc"])).contains("0 of 2 layers removed"));
        let dry = done(&austere(&caller, &["store", "gc", "--unused", "--dry-run"]));
        assert!(dry.contains("1 of 2 layers would be removed"), "{dry}");
        assert_eq!(layers(&caller).len(), 2);
        let gone = done(&austere(&caller, &["store", "gc", "--unused"]));
        assert!(gone.contains("1 of 2 layers removed") && gone.contains("1 layer in use"), "{gone}");
        assert_eq!(layers(&caller)[0]["unpacked_for"], *one);
        used.unlock().unwrap();
        assert!(done(&austere(&caller, &["store", "gc", "--max-size", "1"])).contains("0 of 1 layer removed"));
        assert!(done(&austere(&caller, &["store", "gc", "--max-size", "0"])).contains("1 of 1 layer removed"));
        assert!(is_empty(&caller.store().join("layers")) && is_empty(&caller.store().join("staging")));
        done(&austere(&caller, &["inspect", &one]));
        let both = austere(&caller, &["store", "gc", "--unused", "--max-size", "1g"]);
        assert_eq!(both.status.code(), Some(2));
    }
}

#[test]
fn a_running_jail_keeps_its_layers_and_a_killed_one_does_not() {
    for caller in callers() {
        let mut running = caller.austere().args(["run", "example:hello"]).spawn().unwrap();
        let until = |what: &dyn Fn() -> bool| {
            (0..400).any(|_| {
                what() || {
                    sleep(Duration::from_millis(25));
                    false
                }
            })
        };
        let in_use = |is: bool| layers(&caller).first().is_some_and(|layer| layer["in_use"] == is);
        let began = until(&|| in_use(true));
        let kept = done(&austere(&caller, &["store", "gc", "--unused"]));
        running.kill().unwrap();
        running.wait().unwrap();
        assert!(began && kept.contains("0 of 1 layer removed"), "{kept}");
        assert!(until(&|| in_use(false)), "the lock of the dead is held");
        assert!(done(&austere(&caller, &["store", "gc", "--unused"])).contains("1 of 1 layer removed"));
    }
}

#[test]
fn the_last_use_is_noted_once_a_day() {
    let caller = &callers()[0];
    let image = caller.put("image", &image("1"));
    done(&austere(caller, &["inspect", &image]));
    let layer = folder(caller);
    let state = || layer.metadata().map(|stat| (stat.mtime(), stat.ctime(), stat.ctime_nsec())).unwrap();
    let back = |age: Duration| File::open(&layer).unwrap().set_modified(SystemTime::now() - age).unwrap();
    back(DAY / 2);
    let before = state();
    done(&austere(caller, &["inspect", &image]));
    assert_eq!(state(), before, "a second run on the same day writes nothing");
    back(DAY * 3);
    let old = state();
    done(&austere(caller, &["inspect", &image]));
    assert!(state().0 >= old.0 + 3 * 86400 - 5);
    let gc = ["store", "gc", "--older-than", "2days"];
    assert!(done(&austere(caller, &gc)).contains("0 of 1 layer removed"));
    back(DAY * 3);
    assert!(done(&austere(caller, &gc)).contains("1 of 1 layer removed"));
}

/// Inspects in a boot of this name.
fn inspect_in(caller: &Caller, boot: &str, image: &str) -> Output {
    let name = caller.dir().join(format!("boot-{boot}"));
    fs::write(&name, format!("{boot}\n")).unwrap();
    let unshare = if caller.is_root() { "unshare -m --propagation private" } else { "unshare -Urm" };
    let inside = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$AUSTERE\" inspect \"$1\"";
    caller.shell(&format!("exec {unshare} sh -c '{inside}' {} {image}", name.display())).output().unwrap()
}

#[test]
fn a_layer_of_another_boot_is_believed_when_it_was_synced() {
    for caller in callers() {
        let image = caller.put("image", &image("1"));
        let inspect = |boot: &str| done(&inspect_in(&caller, boot, &image));
        inspect("a");
        let layer = folder(&caller);
        let (marker, synced, facts) = (layer.join("marker"), layer.join("synced"), layer.join("facts.json"));
        // What is unpacked anew has no marker.
        let mark = || fs::write(&marker, "").unwrap();

        mark();
        inspect("a");
        assert!(marker.exists() && !synced.exists(), "the same boot, and not a minute yet");
        inspect("b");
        assert!(!marker.exists() && !synced.exists(), "another boot");

        mark();
        let minutes = SystemTime::now() - Duration::from_secs(90);
        File::options().write(true).open(&facts).unwrap().set_modified(minutes).unwrap();
        inspect("b");
        assert!(marker.exists() && synced.exists(), "a minute later");
        inspect("c");
        assert!(marker.exists(), "another boot, and synced");
        fs::remove_file(&synced).unwrap();
        inspect("c");
        assert!(!marker.exists(), "another boot, and not synced");

        // What a power loss can make of it.
        mark();
        fs::write(&facts, "").unwrap();
        inspect("c");
        assert!(!marker.exists() && facts.metadata().unwrap().len() > 0);
        fs::remove_file(&facts).unwrap();
        inspect("d");
        assert!(facts.exists());

        // Not a power loss: nobody hides that a disk fails.
        fs::write(&synced, "").unwrap();
        fs::write(&facts, "").unwrap();
        let damaged = inspect_in(&caller, "d", &image);
        assert_eq!(damaged.status.code(), Some(2), "{}", said(&damaged));
        assert!(String::from_utf8_lossy(&damaged.stderr).contains("store gc"), "{}", said(&damaged));
        done(&austere(&caller, &["store", "gc"]));
        inspect("d");

        // Without a boot to remember.
        done(&austere(&caller, &["store", "gc", "--unused"]));
        inspect("");
        assert!(synced.exists());
    }
}
