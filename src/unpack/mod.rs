//! Layers become trees of files.
//!
//! Each layer is decoded once: its blob is hashed and inflated in one pass and checked against digest and diffID, while its
//! entries are written below a folder's descriptor. A tree is either one layer in the form that overlayfs reads, for the
//! store, or all layers merged, for people and other tools.

mod added;
mod attributes;
mod content;
mod decode;
mod entries;
mod error;
mod facts;
mod limits;
mod merge;
mod pax;
mod place;
mod record;
mod remove;
mod sparse;
mod tree;
mod zstd;

use std::fs::File;
use std::os::fd::OwnedFd;

pub use attributes::OWNERS_NOT_MAPPED;
pub use error::UnpackError;
pub use facts::{DeviceKind, Facts, Special, SpecialKind};
pub use limits::{Limits, RATIO_FROM};
pub use merge::merge;

pub(crate) use decode::Reading;
pub(crate) use limits::Budget;
pub(crate) use place::{Form, Rights, is_opaque};
pub(crate) use record::{Record, project};
pub(crate) use remove::any as remove;
pub(crate) use tree::{below, is_whiteout};

use crate::image::Image;
use entries::Entries;
use place::Writer;

/// How the image's owners become owners here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// As the image says; for root.
    Real,
    /// As the image says, in a user namespace; the owners that others see depend on its map.
    Mapped {
        /// A name for the map, safe as a file name.
        map: String,
    },
    /// Every file belongs to us, and the bits that this user would have had become the owner's.
    Owner {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its further groups.
        groups: Vec<u32>,
    },
}

impl Projection {
    /// A name for it that is safe as a file name, the same for equal projections: `real`, `mapped-0a1b2c3d`, `u65532-g0`, `u1-g1-20-30`.
    pub fn key(&self) -> String {
        match self {
            Projection::Real => "real".to_owned(),
            Projection::Mapped { map } => format!("mapped-{map}"),
            Projection::Owner { uid, gid, groups } => {
                let mut groups: Vec<_> = groups.iter().filter(|group| *group != gid).collect();
                groups.sort_unstable();
                groups.dedup();
                groups.iter().fold(format!("u{uid}-g{gid}"), |key, group| format!("{key}-{group}"))
            }
        }
    }
}

/// One layer as it was written, before it is believed.
pub(crate) struct Written {
    pub(crate) facts: Facts,
    /// Folders that no entry speaks of: their attributes are those of lower layers, where those have them.
    pub(crate) implied: Vec<Vec<u8>>,
}

/// Writes one layer into `root` in the form for overlayfs, and checks it.
///
/// # Errors
///
/// Any [`UnpackError`], with the layer named. `root` then holds what was written so far.
pub(crate) fn layer(
    reading: Reading<'_>,
    image: &Image,
    index: usize,
    root: OwnedFd,
    rights: Rights,
    record: File,
    budget: &Budget,
) -> Result<Written, UnpackError> {
    let mut reading = reading;
    let mut writer = Writer::new(root, Form::Overlay, rights, budget, Some(Record::new(record)));
    let written = writer.layer(&mut Entries::new(&mut reading.pipe, budget), false);
    let written = written.and_then(|()| writer.finish());
    let (facts, implied) = reading.finish(written).map_err(in_layer(image, index))?;
    Ok(Written { facts, implied })
}

/// Names the layer in which an error happened.
fn in_layer(image: &Image, index: usize) -> impl FnOnce(UnpackError) -> UnpackError {
    let diff_id = image.layers[index].diff_id.clone();
    move |source| UnpackError::Layer { number: index + 1, diff_id, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_projections_have_equal_names() {
        let owner = |groups: &[u32]| Projection::Owner { uid: 65532, gid: 0, groups: groups.to_vec() }.key();
        assert_eq!(Projection::Real.key(), "real");
        assert_eq!(Projection::Mapped { map: "0a1b".into() }.key(), "mapped-0a1b");
        assert_eq!(owner(&[]), "u65532-g0");
        assert_eq!(owner(&[20, 0, 10]), owner(&[10, 20, 20]));
        assert_ne!(owner(&[10]), owner(&[1, 0]));
    }
}
