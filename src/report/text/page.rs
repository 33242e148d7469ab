//! A page of 80 columns.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::report::clean;

/// Columns of the page, of a section's name, and of the state that starts a row.
const WIDTH: usize = 80;
const NAME: usize = 10;
const STATE: usize = 13;
/// A space at which no line is broken.
pub(super) const TIED: &str = "\u{a0}";

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();
pub(super) const DOUBT: Style = AnsiColor::Yellow.on_default();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const NAMES: Style = Style::new().bold();

/// Sections with a name in the margin, and rows that are wrapped at the page's width.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    pub(super) fn section(&mut self, name: &str) {
        let _ = write!(self.text, "\n{NAMES}{name}{NAMES:#}{:1$}", "", NAME - name.len());
    }

    pub(super) fn line(&mut self, text: &str) {
        self.wrapped(text, NAME);
    }

    /// The app's own words: never wrapped, so that they can be searched for.
    pub(super) fn raw(&mut self, text: &str) {
        self.indent(NAME);
        self.text.push_str(&clean(text));
        self.text.push('\n');
    }

    pub(super) fn row(&mut self, state: &str, style: Style, text: &str) {
        self.indent(NAME);
        let _ = write!(self.text, "{style}{state}{style:#}{:1$}", "", STATE - state.len());
        self.wrapped(text, NAME + STATE);
    }

    /// Fills the margin, unless a section's name has just done so.
    fn indent(&mut self, columns: usize) {
        if self.text.ends_with('\n') {
            let _ = write!(self.text, "{:columns$}", "");
        }
    }

    fn wrapped(&mut self, text: &str, margin: usize) {
        self.indent(margin);
        let mut column = margin;
        for (index, word) in clean(text).split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && column + 1 + length > WIDTH {
                let _ = write!(self.text, "\n{:margin$}", "");
                column = margin;
            } else if index > 0 {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(&word.replace(TIED, " "));
            column += length;
        }
        self.text.push('\n');
    }
}
