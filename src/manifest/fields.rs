//! The fields of a mapping, read by their names; what nobody asked for is said.

use std::collections::BTreeSet;

use super::ManifestError;
use super::node::{Node, Value};
use crate::finding::{Finding, Severity};

/// The fields of a mapping, which remembers those that nobody asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    entries: &'a [(String, Node)],
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// Of the mapping that `path` leads to.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn of(node: &'a Node, path: impl Into<String>) -> Result<Self, ManifestError> {
        let path = path.into();
        Ok(Fields { entries: node.entries(&path)?, path, known: BTreeSet::new() })
    }

    /// Where a field is, for a message.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A field, if it is there and not null.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.insert(key);
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node).filter(|node| node.value != Value::Null)
    }

    /// Fields that change nothing here.
    pub fn skip(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// A text field.
    ///
    /// # Errors
    ///
    /// Something else stands there; so of the following.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, ManifestError> {
        let path = self.path(key);
        self.get(key).map(|node| node.text(&path).map(str::to_owned)).transpose()
    }

    /// Text, or a number or boolean as it is written.
    ///
    /// # Errors
    ///
    /// A collection.
    pub fn word(&mut self, key: &'static str) -> Result<Option<String>, ManifestError> {
        let path = self.path(key);
        self.get(key).map(|node| node.word(&path)).transpose()
    }

    /// A field that is true or false.
    ///
    /// # Errors
    ///
    /// Neither.
    pub fn bool(&mut self, key: &'static str) -> Result<Option<bool>, ManifestError> {
        let path = self.path(key);
        self.get(key).map(|node| node.bool(&path)).transpose()
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// None, or one that does not fit.
    pub fn number<T: std::str::FromStr>(&mut self, key: &'static str) -> Result<Option<T>, ManifestError> {
        let path = self.path(key);
        self.get(key).map(|node| node.number(&path)).transpose()
    }

    /// The elements of a list, each with its path.
    ///
    /// # Errors
    ///
    /// No list.
    pub fn list(&mut self, key: &'static str) -> Result<Vec<(String, &'a Node)>, ManifestError> {
        let path = self.path(key);
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        Ok(node.list(&path)?.iter().enumerate().map(|(index, node)| (format!("{path}[{index}]"), node)).collect())
    }

    /// A list of texts.
    ///
    /// # Errors
    ///
    /// Something else stands there.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, ManifestError> {
        self.list(key)?.into_iter().map(|(path, node)| node.text(&path).map(str::to_owned)).collect()
    }

    /// A mapping.
    ///
    /// # Errors
    ///
    /// No mapping.
    pub fn map(&mut self, key: &'static str) -> Result<Option<Fields<'a>>, ManifestError> {
        let path = self.path(key);
        self.get(key).map(|node| Fields::of(node, path)).transpose()
    }

    /// A field that has to be there.
    ///
    /// # Errors
    ///
    /// It is not; `owner` is where.
    pub fn required(&mut self, key: &'static str, owner: &Node) -> Result<String, ManifestError> {
        let path = self.path(key);
        self.text(key)?.ok_or_else(|| owner.wrong(&path, "it has to be there"))
    }

    /// Refuses the first field that nobody asked for, and says which there are.
    ///
    /// # Errors
    ///
    /// There is one.
    pub fn refuse_rest(self, of: &str) -> Result<(), ManifestError> {
        let Some((name, node)) = self.entries.iter().find(|(name, _)| !self.known.contains(name.as_str())) else {
            return Ok(());
        };
        let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
        Err(node.wrong(&self.path(name), format_args!("it is no key of {of}; there are {known}")))
    }

    /// Says which fields nobody asked for.
    pub fn finish(self, findings: &mut Vec<Finding>) {
        for (name, node) in self.entries.iter().filter(|(name, _)| !self.known.contains(name.as_str())) {
            let message = format!(
                "line {}: {} is no field that austere knows, and was not looked at",
                node.line,
                self.path(name)
            );
            findings.push(super::note("unknown-field", Severity::Warning, message, ""));
        }
    }
}
