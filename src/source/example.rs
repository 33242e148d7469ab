//! Images made of this very binary.
//!
//! The binary is static, so it can be the only program of an image: `example:hello` is that one file, and `example:stubborn` has
//! an empty /run and a /bin/sh beside it, which the same file serves under another name. Which program it is, it reads from its own name.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use object::read::elf::{FileHeader, ProgramHeader};
use tar::EntryType;

use super::holder::{Part, Parts, open_file};
use super::{Found, SourceError};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::image::{Compression, Config, ExposedPort, Image, Layer, Protocol};
use crate::platform::Platform;

pub(super) fn open(name: &str) -> Result<Found, SourceError> {
    let port = match name {
        "hello" => 8080,
        "stubborn" => 80,
        _ => return Err(SourceError::Example(format!("no example `{name}`; there are `hello` and `stubborn`"))),
    };
    let unreadable =
        |error: &dyn std::fmt::Display| SourceError::Example(format!("cannot read austere's own file: {error}"));
    let exe = open_file("/proc/self/exe".as_ref()).map_err(|error| unreadable(&error))?;
    if needs_loader(&exe).map_err(|error| unreadable(&error))? {
        return Err(SourceError::Example(
            "this austere needs a dynamic loader, so it cannot be an image's only file\n  hint: build austere statically (`cargo build` \
             does, with the repository's .cargo/config.toml)"
                .to_owned(),
        ));
    }
    let path = format!("/austere-{name}");
    let layer = layer(exe, name).map_err(|error| unreadable(&error))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut reader = Parts::new(&layer);
    let mut buf = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buf).map_err(|error| unreadable(&error))? {
            0 => break,
            got => hasher.update(&buf[..got]),
        }
    }
    drop(reader);
    let diff_id = hasher.finish();
    let platform = Platform::host();
    let document = serde_json::json!({
        "architecture": platform.architecture, "os": platform.os,
        "config": { "Entrypoint": [path], "ExposedPorts": { format!("{port}/tcp"): {} } },
        "rootfs": { "type": "layers", "diff_ids": [diff_id.to_string()] },
    });
    let image = Image {
        manifest_digest: None,
        config_digest: Some(Digest::sha256(document.to_string().as_bytes())),
        platform,
        config: Config {
            entrypoint: vec![path],
            exposed_ports: vec![ExposedPort { port, protocol: Protocol::Tcp }],
            ..Config::default()
        },
        layers: vec![Layer {
            digest: Some(diff_id.clone()),
            diff_id,
            size: layer.iter().map(Part::size).sum(),
            compression: Compression::None,
            created_by: Some("austere, a copy of itself".to_owned()),
        }],
    };
    Ok((image, vec![layer]))
}

/// Whether the program asks the kernel for an interpreter, which a scratch image does not have.
fn needs_loader(exe: &File) -> object::read::Result<bool> {
    let data = object::ReadCache::new(exe);
    let header = object::elf::FileHeader64::<object::Endianness>::parse(&data)?;
    let endian = header.endian()?;
    let interp =
        |program: &object::elf::ProgramHeader64<object::Endianness>| program.p_type(endian) == object::elf::PT_INTERP;
    Ok(header.program_headers(endian, &data)?.iter().any(interp))
}

/// The shell that `example:stubborn` comes with: a script, so that the kernel starts the program under the name that it acts by.
const SHELL: &[u8] = b"#!/austere-sh\n";

/// A tar in parts: headers and small files from memory, the program from where it lies.
fn layer(exe: File, name: &str) -> std::io::Result<Vec<Part>> {
    let program = format!("austere-{name}");
    let size = exe.metadata()?.len();
    let mut parts = vec![
        Part::Bytes(header(EntryType::Regular, &program, size)?.as_bytes().to_vec()),
        Part::File { file: Arc::new(exe), offset: 0, size },
    ];
    let mut rest = padding(size);
    if name == "stubborn" {
        for folder in ["run/", "bin/"] {
            rest.extend(header(EntryType::Directory, folder, 0)?.as_bytes());
        }
        let mut shell = header(EntryType::Link, "austere-sh", 0)?;
        shell.set_link_name(&program)?;
        shell.set_cksum();
        rest.extend(shell.as_bytes());
        rest.extend(header(EntryType::Regular, "bin/sh", SHELL.len() as u64)?.as_bytes());
        rest.extend(SHELL);
        rest.extend(padding(SHELL.len() as u64));
    }
    // Two empty blocks end an archive (tar(5)).
    rest.extend([0; 2 * BLOCK]);
    parts.push(Part::Bytes(rest));
    Ok(parts)
}

/// What tar counts in, in bytes.
const BLOCK: usize = 512;

fn header(kind: EntryType, name: &str, size: u64) -> std::io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

fn padding(size: u64) -> Vec<u8> {
    let block = BLOCK as u64;
    vec![0; usize::try_from(size.next_multiple_of(block) - size).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_one_static_file() {
        let (image, layers) = open("hello").unwrap();
        let layer = &layers[0];
        let mut archive = tar::Archive::new(Parts::new(layer));
        let names: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [std::path::PathBuf::from("austere-hello")]);
        assert_eq!(image.config.argv(), ["/austere-hello"]);
        assert_eq!(image.layers[0].size % 512, 0);
    }

    #[test]
    fn the_stubborn_one_brings_what_it_wants() {
        let (_, layers) = open("stubborn").unwrap();
        let mut archive = tar::Archive::new(Parts::new(&layers[0]));
        let names: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, ["austere-stubborn", "run/", "bin/", "austere-sh", "bin/sh"].map(std::path::PathBuf::from));
    }

    #[test]
    fn other_examples_do_not_exist() {
        assert!(open("world").unwrap_err().to_string().contains("stubborn"));
    }
}
