"""Small images for the benchmarks."""

import hashlib
import json
import os
import tarfile


def layout_of(scratch, program, name):
    """An OCI layout in `scratch` of an image whose only file, and entrypoint, is a static program."""
    layout = scratch / f"layout{name.replace('/', '-')}"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    with tarfile.open(scratch / "layer.tar", "w") as tar:
        tar.add(program, name.lstrip("/"))
    layer = put((scratch / "layer.tar").read_bytes())
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = put(json.dumps({"architecture": architecture, "os": "linux", "config": {"Entrypoint": [name]},
                             "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode())
    kind = "application/vnd.oci.image."
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
                               "config": {"mediaType": kind + "config.v1+json", **config},
                               "layers": [{"mediaType": kind + "layer.v1.tar", **layer}]}).encode())
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": kind + "manifest.v1+json", **manifest}]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return layout
