//! `${NAME}` in a compose file.
//!
//! Source: the Compose specification, "Interpolation".

use std::collections::BTreeMap;

use crate::manifest::ManifestError;
use crate::manifest::node::{Node, Value};

/// Puts variables in their places in all text below a node; names of those that are not set are added to `missing`.
pub(super) fn fill(
    node: &mut Node,
    path: &str,
    variables: &BTreeMap<String, String>,
    missing: &mut Vec<String>,
) -> Result<(), ManifestError> {
    match &mut node.value {
        Value::Text(text) if text.contains('$') => {
            let filled = interpolate(text, variables, missing, 0);
            match filled {
                Ok(filled) => node.value = Value::Text(filled),
                Err(why) => return Err(node.wrong(path, why)),
            }
        }
        Value::List(list) => {
            for (index, node) in list.iter_mut().enumerate() {
                fill(node, &format!("{path}[{index}]"), variables, missing)?;
            }
        }
        Value::Map(entries) => {
            for (key, node) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fill(node, &path, variables, missing)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
    Ok(())
}

/// How many variables may stand in each other's defaults.
const DEEPEST: usize = 16;

fn interpolate(
    text: &str,
    variables: &BTreeMap<String, String>,
    missing: &mut Vec<String>,
    depth: usize,
) -> Result<String, String> {
    if depth > DEEPEST {
        return Err(format!("more than {DEEPEST} variables stand in each other's defaults"));
    }
    let wrong = || format!("`{text}` has a `$` that names no variable; a `$` of its own is written `$$`");
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(wrong)?;
            out.push_str(&braced(&inner[..end], variables, missing, depth)?.ok_or_else(wrong)?);
            rest = &inner[end + 1..];
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            if name.is_empty() {
                return Err(wrong());
            }
            out.push_str(&value(name, variables, missing));
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands between the braces; nothing when it is not understood.
fn braced(
    inner: &str,
    variables: &BTreeMap<String, String>,
    missing: &mut Vec<String>,
    depth: usize,
) -> Result<Option<String>, String> {
    let (name, rest) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Ok(None);
    }
    let (is_strict, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    // With a colon, a variable that is empty counts as not set.
    let set = variables.get(name).filter(|value| !is_strict || !value.is_empty());
    Ok(Some(match (rest.chars().next(), set) {
        (None, _) if !is_strict => value(name, variables, missing),
        (Some('-' | '?'), Some(set)) => set.clone(),
        (Some('-'), None) | (Some('+'), Some(_)) => interpolate(&rest[1..], variables, missing, depth + 1)?,
        (Some('+'), None) => String::new(),
        (Some('?'), None) => return Err(format!("the variable {name} has to be set: {}", &rest[1..])),
        _ => return Ok(None),
    }))
}

fn value(name: &str, variables: &BTreeMap<String, String>, missing: &mut Vec<String>) -> String {
    variables.get(name).cloned().unwrap_or_else(|| {
        if !missing.iter().any(|known| known == name) {
            missing.push(name.to_owned());
        }
        String::new()
    })
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Where the brace ends that was open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_their_places() {
        let variables = [("A", "1"), ("E", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut missing = Vec::new();
        for (text, filled) in [
            ("$A-${A}", "1-1"),
            ("$$A $$", "$A $"),
            ("${B:-x}${B-y}${E:-z}${E-w}", "xyz"),
            ("${A:+yes}${E:+no}${E+set}${B+no}", "yesset"),
            ("${B:-${A}/${B:-c}}", "1/c"),
            ("${A?gone}", "1"),
            ("<$B>", "<>"),
        ] {
            assert_eq!(interpolate(text, &variables, &mut missing, 0).as_deref(), Ok(filled), "{text}");
        }
        assert_eq!(missing, ["B"]);
        for text in ["$", "${", "${A", "$1", "${}", "${A:x}", "${A:}", "${E:?empty}", "${B?}"] {
            assert!(interpolate(text, &variables, &mut missing, 0).is_err(), "{text}");
        }
        let nested = |levels| format!("{}x{}", "${B:-".repeat(levels), "}".repeat(levels));
        assert_eq!(interpolate(&nested(16), &variables, &mut missing, 0).as_deref(), Ok("x"));
        assert!(interpolate(&nested(100_000), &variables, &mut missing, 0).is_err());
    }
}
