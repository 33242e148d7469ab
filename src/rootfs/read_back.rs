//! What the app's own mount table says of its root.

use std::path::Path;

use procfs::process::MountInfo;

use super::{Plan, binds, devices};
use crate::measure::Measure;
use crate::process::Process;

/// Where engines let a container write under a read-only root, whatever the image.
const WRITABLE: [&str; 5] = ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc"];

/// Whether the root is read-only, nothing else is writable, and the masked and the read-only paths are what they should be.
pub fn read_back(app: &Process, plan: &Plan) -> Vec<Measure> {
    let mounts = match app.mounts() {
        Ok(mounts) => mounts,
        Err(error) => {
            let unverified = |name| Measure::unverified(name, "", format!("/proc/PID/mountinfo: {error}"));
            return ["read-only-root", "writable-mounts", "masked-paths", "read-only-paths"].map(unverified).to_vec();
        }
    };
    let mut measures = Vec::new();
    if plan.read_only {
        measures.push(read_only_root(mounts, plan.no_upper));
        measures.push(writable_mounts(mounts, plan, &binds::places(app, plan)));
    }
    measures.extend(binds::owners(plan));
    measures.push(paths("masked-paths", "covered", &plan.masked_paths, app, |path| at(mounts, path).is_some()));
    let read_only = |path: &Path| at(mounts, path).is_some_and(|mount| !is_writable(mount));
    measures.push(paths("read-only-paths", "read-only", &plan.readonly_paths, app, read_only));
    measures
}

fn is_writable(mount: &MountInfo) -> bool {
    mount.mount_options.contains_key("rw") && mount.super_options.contains_key("rw")
}

/// Mounts that may be written to and executed from. /dev is root's, and its devices are no files.
pub fn writable_executable(app: &Process, is_ordinary: bool) -> Option<Vec<String>> {
    let mounts = app.mounts().ok()?;
    let is_open = |mount: &&MountInfo| is_writable(mount) && !mount.mount_options.contains_key("noexec");
    let path = |mount: &MountInfo| mount.mount_point.to_string_lossy().into_owned();
    let is_held = |path: &String| devices::is_device(path) || (is_ordinary && path == "/dev");
    // A cover of a masked file is the device /dev/null.
    let is_cover = |mount: &MountInfo| mount.root.ends_with("null") && mount.fs_type.ends_with("tmpfs");
    Some(
        mounts
            .iter()
            .filter(is_open)
            .filter(|mount| !is_cover(mount))
            .map(path)
            .filter(|path| !is_held(path))
            .collect(),
    )
}

/// The mount that is seen at a path: the last one attached there.
fn at<'a>(mounts: &'a [MountInfo], path: &Path) -> Option<&'a MountInfo> {
    mounts.iter().rfind(|mount| mount.mount_point == path)
}

fn read_only_root(mounts: &[MountInfo], no_upper: bool) -> Measure {
    let result = match at(mounts, Path::new("/")) {
        Some(root) if no_upper && root.super_options.contains_key("rw") => {
            Err(format!("/ is a read-only mount of a writable {}", root.fs_type))
        }
        Some(root) if no_upper && !is_writable(root) => Ok(format!("/ is a read-only {} file system", root.fs_type)),
        Some(root) if is_writable(root) => Err(format!("/ is a writable {} mount", root.fs_type)),
        Some(root) => Ok(format!("/ is a read-only {} mount", root.fs_type)),
        None => Err("there is no mount at /".to_owned()),
    };
    let asked = if no_upper { "the root's file system is read-only" } else { "the root is a read-only mount" };
    Measure::judged("read-only-root", asked, result)
}

/// A volume may have been named through a link (/var/run), so volumes and tmpfs are known by their kind, and counted.
fn writable_mounts(mounts: &[MountInfo], plan: &Plan, binds: &[String]) -> Measure {
    let asked = [
        WRITABLE.iter().map(ToString::to_string).collect(),
        plan.volumes.iter().map(|path| format!("volume {path}")).collect(),
        plan.tmpfs.iter().map(|tmpfs| format!("tmpfs {}", tmpfs.path.display())).collect(),
        plan.binds.iter().map(|bind| format!("bind {}", bind.target.display())).collect::<Vec<_>>(),
    ]
    .concat()
    .join(", ");
    let is_bind = |path: &Path| binds.iter().any(|place| path.starts_with(place));
    let (mut volumes, mut tmpfs, mut unexpected) = (Vec::new(), Vec::new(), Vec::new());
    for mount in mounts.iter().filter(|mount| is_writable(mount) && mount.mount_point != Path::new("/")) {
        let path = mount.mount_point.to_string_lossy().into_owned();
        // A masked file is covered with the device /dev/null, which no mount flag keeps from being written to; a masked folder is not.
        let is_cover = plan.masked_paths.contains(&path) && mount.root != "/";
        let is_ours = WRITABLE.contains(&path.as_str()) || devices::is_device(&path) || is_cover;
        match mount.fs_type.as_str() {
            _ if is_ours || is_bind(&mount.mount_point) => {}
            "overlay" if mount.root == path => volumes.push(path),
            "tmpfs" => tmpfs.push(path),
            _ => unexpected.push(path),
        }
    }
    let (copied_up, fresh): (Vec<_>, Vec<_>) = plan.tmpfs.iter().partition(|tmpfs| tmpfs.copy_up);
    let too_many = volumes.len() > plan.volumes.len() + copied_up.len() || tmpfs.len() > fresh.len();
    let seen =
        [WRITABLE.map(str::to_owned).to_vec(), volumes, tmpfs, binds.to_vec(), unexpected.clone()].concat().join(", ");
    let result = if too_many || !unexpected.is_empty() {
        Err(format!("more is writable than was asked for: {seen}"))
    } else {
        Ok(seen)
    };
    Measure::judged("writable-mounts", asked, result)
}

/// Each path that exists in the jail is as it should be; what this kernel lacks needs nothing.
fn paths(name: &str, how: &str, paths: &[String], app: &Process, is_right: impl Fn(&Path) -> bool) -> Measure {
    let there: Vec<&str> = paths.iter().map(String::as_str).filter(|path| app.sees(path)).collect();
    let wrong: Vec<&str> = there.iter().copied().filter(|path| !is_right(Path::new(path))).collect();
    let result = if wrong.is_empty() {
        Ok(format!("{} of {} exist here, all {how}", there.len(), paths.len()))
    } else {
        Err(format!("not {how}: {}", wrong.join(", ")))
    };
    Measure::judged(name, format!("{} paths {how}", paths.len()), result)
}
