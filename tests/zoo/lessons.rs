//! What real images taught (the corpus's labels), one by one.

use crate::animals::Twin::Steps;
use crate::animals::{MKDIR, OPEN, animal, image};
use crate::callers::callers;
use crate::common::each;
use crate::{complaint, verdict};

pub fn what_the_corpus_taught() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let lessons = [
        // Not the first error, and not the last either: a harmless EPERM comes last.
        animal!(
            ["try:write:/etc/app.conf", "try:mkdir:/data/x", "warn:limit:", "must:write:/run/x.sock", "try:limit:"],
            "D53",
            OPEN,
            "EROFS",
            "/run/x.sock",
            "read-only mount",
            Steps(&[])
        ),
        animal!(
            ["must:child:quiet=write=/run/x.pid"],
            "D03",
            OPEN,
            "EROFS",
            "/run/x.pid",
            "read-only mount",
            Steps(&[])
        ),
        // Ends without a word.
        animal!(
            ["try:read:/etc/app.conf", "quiet:mkdir:/data/x"],
            "D53",
            MKDIR,
            "EROFS",
            "/data/x",
            "read-only mount",
            Steps(&[])
        ),
        // Not always a failing call.
        animal!(["try:write:/tmp/x", "must:child:must=root="], "needs-root", &["geteuid"], "", "", "", Steps(&[])),
        // ENOENT is the one that counts.
        animal!(
            ["try:write:/tmp/x", "must:read:/etc/no-such-file"],
            "file-missing",
            OPEN,
            "ENOENT",
            "/etc/no-such-file",
            "",
            Steps(&[])
        ),
        // What is missing because making it was refused.
        animal!(
            ["try:mkdir:/data/x", "must:read:/data/x/y"],
            "D53",
            MKDIR,
            "EROFS",
            "/data/x",
            "read-only mount",
            Steps(&[])
        ),
        // What a script throws away says nothing, and what it says of being root may be about a call.
        animal!(
            ["must:child:try=say=x,must=uring="],
            "D45",
            &["io_uring_register"],
            "EPERM",
            "",
            "seccomp filter",
            Steps(&[])
        ),
        // The network is as closed without hardening, and there it works: a lookup that fails is not the cause.
        animal!(
            ["try:lookup:db", "must:say:could_not_resolve_db", "must:mkdir:/data/x"],
            "D53",
            MKDIR,
            "EROFS",
            "/data/x",
            "read-only mount",
            Steps(&[])
        ),
        // A volume: EACCES, and the cure is an owner.
        animal!(["must:mkdir:/volume/x"], "volume-owner", MKDIR, "EACCES", "/volume/x", "file mode", Steps(&[])),
    ];
    each(&lessons, |lesson| {
        let (verdict, _) = verdict(caller, &image, &[], &[lesson.steps, &["serve"]].concat());
        complaint(&verdict, lesson)
    });
    // A tmpfs hides what the image had below it, and docker's are noexec.
    let hidden = animal!(["must:read:/opt/locked"], "file-missing", OPEN, "ENOENT", "/opt/locked", "", Steps(&[]));
    let carried = animal!(["must:carry:/tmp/me"], "D29", &["execve"], "EACCES", "/tmp/me", "noexec mount", Steps(&[]));
    for (flags, lesson) in [(["--tmpfs", "/opt"], hidden), (["--tmpfs", "/tmp"], carried)] {
        let (verdict, _) = verdict(caller, &image, &flags, &[lesson.steps, &["serve"]].concat());
        assert_eq!(complaint(&verdict, &lesson), None);
    }
}
