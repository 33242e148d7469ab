//! The comparison as a table: columns side by side where they fit, else one variant after the other.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::Comparison;
use crate::report::clean;

const BEST: Style = AnsiColor::Green.on_default();
const NAMES: Style = Style::new().bold();
/// What stands behind the best value, for those who see no colours.
const MARK: &str = " *";
const GAP: usize = 2;

/// The shortest names that tell the variants apart: without folders and endings, if that is enough.
fn names(comparison: &Comparison) -> Vec<String> {
    let full: Vec<String> = comparison.images.iter().map(|image| clean(&image.reference)).collect();
    let short = |name: &String| {
        let file = name.rsplit('/').next().unwrap_or(name);
        file.strip_suffix(".tar").unwrap_or(file).to_owned()
    };
    let shorts: Vec<String> = full.iter().map(short).collect();
    let mut unique = shorts.clone();
    unique.sort();
    unique.dedup();
    if unique.len() == shorts.len() { shorts } else { full }
}

pub(super) fn text(comparison: &Comparison, width: usize) -> String {
    let names = names(comparison);
    let first = comparison.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let long = |index: usize| {
        let value = |row: &super::Row| clean(&row.values[index]).chars().count() + MARK.len();
        comparison.rows.iter().map(value).chain([names[index].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(long).collect();
    let total = first + widths.iter().map(|width| width + GAP).sum::<usize>();
    let mut text =
        if total <= width { wide(comparison, &names, first, &widths) } else { narrow(comparison, &names, first) };
    for (name, image) in names.iter().zip(&comparison.images) {
        if let (Some(verdict), Some(reason)) = (&image.verdict, &image.reason)
            && verdict != "pass"
        {
            let _ = writeln!(text, "\n{} {verdict}: {}", clean(name), clean(reason));
        }
    }
    for failed in &comparison.failed {
        let _ = writeln!(text, "\nFAIL {}", clean(failed));
    }
    text
}

fn wide(comparison: &Comparison, names: &[String], first: usize, widths: &[usize]) -> String {
    let mut text = " ".repeat(first);
    for (name, width) in names.iter().zip(widths) {
        let _ = write!(text, "{:GAP$}{NAMES}{name}{NAMES:#}{:2$}", "", "", width - name.chars().count());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for row in &comparison.rows {
        let mut line = format!("{:first$}", row.name);
        for (index, width) in widths.iter().enumerate() {
            let (shown, length) = cell(row, index);
            let _ = write!(line, "{:GAP$}{shown}{:2$}", "", "", width - length);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A block a variant.
fn narrow(comparison: &Comparison, names: &[String], first: usize) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{NAMES}{name}{NAMES:#}");
        for row in &comparison.rows {
            let _ = writeln!(text, "{:first$}{:GAP$}{}", row.name, "", cell(row, index).0);
        }
    }
    text
}

/// A value as it is shown, and how many columns it takes.
fn cell(row: &super::Row, index: usize) -> (String, usize) {
    let value = clean(&row.values[index]);
    let length = value.chars().count();
    if row.best.contains(&index) {
        (format!("{BEST}{value}{MARK}{BEST:#}"), length + MARK.len())
    } else {
        (value, length)
    }
}

pub(super) fn markdown(comparison: &Comparison) -> String {
    let escape = |text: &str| clean(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    let names: Vec<String> = names(comparison).iter().map(|name| escape(name)).collect();
    let mut text = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for row in &comparison.rows {
        let value = |(index, value): (usize, &String)| {
            let value = escape(value);
            if row.best.contains(&index) { format!("**{value}**") } else { value }
        };
        let values: Vec<String> = row.values.iter().enumerate().map(value).collect();
        let _ = writeln!(text, "| {} | {} |", row.name, values.join(" | "));
    }
    for failed in &comparison.failed {
        let _ = writeln!(text, "\n**FAIL** {}", escape(failed));
    }
    text
}
