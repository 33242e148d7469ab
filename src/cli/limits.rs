//! The flags that say what an image may cost.

use crate::unpack::Limits;

// Bounds on what an image may unpack to.
#[derive(clap::Args, Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "the fields are the flags")]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Files, folders and links in all layers together
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries, hide_short_help = true)]
    max_entries: u64,
    /// Uncompressed bytes of all layers together
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes, hide_short_help = true)]
    max_bytes: u64,
    /// Bytes of one path
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().path, hide_short_help = true)]
    max_path: usize,
    /// Folders inside folders
    #[arg(long, value_name = "N", default_value_t = Limits::default().depth, hide_short_help = true)]
    max_depth: usize,
    /// Uncompressed bytes for each compressed one, in layers of more than 128 MiB
    #[arg(long, value_name = "N", default_value_t = Limits::default().ratio, hide_short_help = true)]
    max_ratio: u64,
    /// Bytes that a zstd frame may ask to be remembered
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().zstd_window, hide_short_help = true)]
    max_zstd_window: u64,
}

impl LimitArgs {
    /// The limits that the flags say.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            entries: self.max_entries,
            bytes: self.max_bytes,
            path: self.max_path,
            depth: self.max_depth,
            ratio: self.max_ratio,
            zstd_window: self.max_zstd_window,
        }
    }
}
