//! The text of an inspection: sections, and rows in them.

use std::fmt::Write as _;

use crate::report::clean;

/// Columns of a section's name, and of a row's.
const NAME: usize = 12;
const ROW: usize = 14;
/// How much is shown of a build step and of a label.
const LONGEST: usize = 160;

/// A text of sections with named rows.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
    /// The section whose first row is still to come.
    pub(super) section: &'static str,
}

impl Page {
    /// A row for each value, the name at the first; no row without a value.
    pub(super) fn row<T: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let mut name = clean(name);
        for value in values {
            let section = std::mem::take(&mut self.section);
            if !section.is_empty() {
                self.text.push('\n');
            }
            let value = clean(value.as_ref());
            let short: String = value.chars().take(LONGEST).collect();
            let more = if short.len() < value.len() { "…" } else { "" };
            let _ = writeln!(self.text, "{section:NAME$}{name:ROW$}{short}{more}");
            name.clear();
        }
    }
}
