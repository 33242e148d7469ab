//! What was pulled before: the manifest and configuration of a reference, in the store's folder `images/`. And what engines gave before.
//!
//! They are small, and checked again when they are read: what was damaged is as if it had never been there. A note is written when
//! every layer was right, so that a broken image is asked for again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::config::ConfigFile;
use crate::platform::Platform;
use crate::reference::ImageName;

/// More than two documents of a registry take, escaped.
const NOTE_MAX: u64 = 64 << 20;

/// One image of one platform, as a registry or an engine gave it. An engine's has the sizes of its layers for a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The complete name.
    pub(super) name: String,
    pub(super) platform: String,
    /// The manifest's.
    pub(super) digest: String,
    pub(super) media_type: String,
    pub(super) manifest: String,
    pub(super) config: String,
}

/// Removes the notes of images that have no layer in the store at `store` any more: `has` knows which layers are there.
pub fn forget(store: &Path, has: impl Fn(&Digest) -> bool) {
    let Ok(listing) = store.join("images").read_dir() else { return };
    for path in listing.flatten().map(|entry| entry.path()) {
        let note = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        let config = note.and_then(|note| ConfigFile::parse(note.config.as_bytes()).ok());
        if !config.is_some_and(|config| config.diff_ids.iter().any(&has)) {
            // What cannot be removed now can be the next time.
            let _ = fs::remove_file(path);
        }
    }
}

/// A note that is yet to be written.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) note: Note,
    pub(super) place: Place,
}

/// Where the note of an image is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: PathBuf,
    name: String,
    platform: String,
}

impl Place {
    pub(super) fn new(store: &Path, name: &ImageName, platform: &Platform) -> Self {
        Place { folder: store.join("images"), name: name.to_string(), platform: platform.to_string() }
    }

    /// For the image of this id in `engine`.
    pub(super) fn of_engine(store: &Path, engine: &str, id: &str, platform: &Platform) -> Self {
        Place { folder: store.join("images"), name: format!("{engine}: {id}"), platform: platform.to_string() }
    }

    fn file(&self) -> PathBuf {
        let key = Digest::sha256(format!("{}\n{}", self.name, self.platform).as_bytes());
        self.folder.join(format!("{}.json", key.hex()))
    }

    /// The note, if there is one that can be believed.
    pub(super) fn read(&self) -> Option<Note> {
        let file = self.file();
        if file.metadata().ok()?.len() > NOTE_MAX {
            return None;
        }
        let note: Note = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        let is_whole = Digest::sha256(note.manifest.as_bytes()).to_string() == note.digest;
        (is_whole && note.name == self.name && note.platform == self.platform).then_some(note)
    }

    /// A new note for this place.
    pub(super) fn note(&self, media_type: String, manifest: Vec<u8>, config: Vec<u8>) -> Option<Note> {
        Some(Note {
            name: self.name.clone(),
            platform: self.platform.clone(),
            digest: Digest::sha256(&manifest).to_string(),
            media_type,
            manifest: String::from_utf8(manifest).ok()?,
            config: String::from_utf8(config).ok()?,
        })
    }
}

impl Pulled {
    /// Writes the note, by rename: a process that is killed leaves the old one. What cannot be written now is asked for again the next time.
    pub(super) fn write(&self) {
        let file = self.place.file();
        let new = file.with_extension(format!("{}.new", std::process::id()));
        let written = || -> std::io::Result<()> {
            fs::create_dir_all(&self.place.folder)?;
            fs::File::create(&new)?.write_all(&serde_json::to_vec(&self.note)?)?;
            fs::rename(&new, &file)
        };
        if written().is_err() {
            let _ = fs::remove_file(&new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_believed_when_it_is_whole_and_about_the_same() {
        let store = tempfile::tempdir().unwrap();
        let name: ImageName = "r.example/app:1".parse().unwrap();
        let place = Place::new(store.path(), &name, &Platform::host());
        assert_eq!(place.read(), None);
        let note = place.note("type".to_owned(), b"{}".to_vec(), b"[]".to_vec()).unwrap();
        Pulled { note: note.clone(), place: place.clone() }.write();
        assert_eq!(place.read(), Some(note));
        let other = Place::new(store.path(), &"r.example/app:2".parse().unwrap(), &Platform::host());
        assert_eq!(other.read(), None);
        for text in [fs::read_to_string(place.file()).unwrap().replace("{}", "{ }"), String::new(), "{}".to_owned()] {
            fs::write(place.file(), text).unwrap();
            assert_eq!(place.read(), None);
        }
    }
}
