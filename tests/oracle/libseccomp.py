#!/usr/bin/python3
"""What moby, runc and libseccomp make of a profile: libseccomp.py PROFILE.json amd64|arm64 MAJOR.MINOR [CAP...]

Written after what those projects do, and apart from austere's Rust, so that the two can be compared. Prints

    unknown NAME          a name this libseccomp does not have, which runc leaves out
    last ARCH NUMBER      the highest number named on ARCH; runc answers ENOSYS above it
    CODE JT JF K          the instructions libseccomp exports, in order

Needs Debian's python3-seccomp.
"""
import json
import os
import sys
import tempfile

import seccomp as s

profile, goarch, kernel, caps = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3], set(sys.argv[4:])
native = {"amd64": "X86_64", "arm64": "AARCH64"}[goarch]
version = lambda text: tuple(int(part) for part in text.split("."))


def applies(entry):
    inc, exc = entry.get("includes") or {}, entry.get("excludes") or {}
    if goarch in (exc.get("arches") or []) or caps & set(exc.get("caps") or []):
        return False
    if exc.get("minKernel") and version(kernel) >= version(exc["minKernel"]):
        return False
    if inc.get("arches") and goarch not in inc["arches"]:
        return False
    if not set(inc.get("caps") or []) <= caps:
        return False
    return not inc.get("minKernel") or version(kernel) >= version(inc["minKernel"])


def action(name, errno):
    errno = 1 if errno is None else errno
    plain = {"KILL": s.KILL, "KILL_PROCESS": s.KILL_PROCESS, "ALLOW": s.ALLOW, "LOG": s.LOG, "TRAP": s.TRAP}
    name = name.removeprefix("SCMP_ACT_")
    return s.ERRNO(errno) if name == "ERRNO" else s.TRACE(errno) if name == "TRACE" else plain[name]


default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
names = next((["SCMP_ARCH_" + native] + (m["subArchitectures"] or []) for m in profile["archMap"]
              if m["architecture"] == "SCMP_ARCH_" + native))
arches = [(name.removeprefix("SCMP_ARCH_"), getattr(s.Arch, name.removeprefix("SCMP_ARCH_"))) for name in names]
filter = s.SyscallFilter(default)
if goarch == "arm64":
    # The rules are for this machine's architecture first, and libseccomp carries them over by name.
    filter.remove_arch(s.Arch())
for _, arch in arches:
    if not filter.exist_arch(arch):
        filter.add_arch(arch)

last, unknown = {name: 0 for name, _ in arches}, set()
for entry in [e for e in profile["syscalls"] if applies(e)]:
    args = [s.Arg(a["index"], getattr(s, a["op"].removeprefix("SCMP_CMP_")), a["value"], a.get("valueTwo", 0))
            for a in entry.get("args") or []]
    sets = [args] if len({a["index"] for a in entry.get("args") or []}) == len(args) else [[a] for a in args]
    for name in entry["names"]:
        if s.resolve_syscall(s.Arch(), name) == -1:
            unknown.add(name)
            continue
        for label, arch in arches:
            last[label] = max(last[label], s.resolve_syscall(arch, name))
        act = action(entry["action"], entry.get("errnoRet"))
        if act != default:
            for conditions in sets:
                filter.add_rule(act, name, *conditions)

for name in sorted(unknown):
    print("unknown", name)
for label, number in last.items():
    print("last", label, number)
with tempfile.TemporaryFile() as out:
    filter.export_bpf(out)
    program = os.pread(out.fileno(), 1 << 20, 0)
for at in range(0, len(program), 8):
    code, jt, jf = int.from_bytes(program[at:at + 2], "little"), program[at + 2], program[at + 3]
    print(code, jt, jf, int.from_bytes(program[at + 4:at + 8], "little"))
