//! A verdict for people, and for programs.
//!
//! An app's output and an image's names are foreign text. Both reports show every byte of it and let none act on a terminal.

pub mod compare;
pub mod handover;
pub mod inspect;
pub mod json;
mod listed;
pub mod profile;
pub mod sbom;
pub mod text;

use std::fmt::Write as _;

/// Whether a terminal may act on a character, or a reader be misled by it: controls, and what reorders or hides text.
///
/// Source: Unicode's `Cc` and the `Cf` of Unicode Technical Report 36, section 2.10 (bidirectional and invisible controls).
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Foreign text on one line: every character that acts is spelled out, a tab is a space.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => cleaned.push(' '),
            '\n' => cleaned.push_str("\\n"),
            '\r' => cleaned.push_str("\\r"),
            c if acts(c) && u32::from(c) < 0x100 => drop(write!(cleaned, "\\x{:02x}", u32::from(c))),
            c if acts(c) => drop(write!(cleaned, "\\u{{{:x}}}", u32::from(c))),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// The JSON Schema of a document of ours.
fn schema_of<T: schemars::JsonSchema>() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(T)).expect("a schema is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_paints_the_terminal() {
        assert_eq!(clean("\u{1b}[31mred\u{7}\u{9b}2J"), "\\x1b[31mred\\x07\\x9b2J");
        assert_eq!(clean("a\tb\r\nc"), "a b\\r\\nc");
        assert_eq!(clean("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        assert_eq!(clean("Grüße, 世界 ✓"), "Grüße, 世界 ✓");
    }
}
