//! YAML with the place of everything in it, so that whatever is wrong can be pointed at.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::ManifestError;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
    /// What stands there.
    pub value: Value,
}

/// What YAML can hold. A number keeps its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A word that means yes or no.
    Bool(bool),
    /// Whole or not.
    Number(String),
    /// Anything else that is no collection.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order; no key is there twice.
    Map(Vec<(String, Node)>),
}

/// Whose reading of YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Kubernetes: `yes` is true, and `0644` is octal.
    Yaml11,
    /// Compose: `yes` is a word.
    Yaml12,
}

/// Reads all documents; empty ones are left out.
///
/// # Errors
///
/// [`ManifestError::At`]: the place of what is no YAML.
pub fn documents(text: &str, dialect: Dialect) -> Result<Vec<Node>, ManifestError> {
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = dialect == Dialect::Yaml11;
    options.strict_booleans = dialect == Dialect::Yaml12;
    let nodes: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| misread(&error))?;
    Ok(nodes.into_iter().filter(|node| node.value != Value::Null).collect())
}

fn misread(error: &serde_saphyr::Error) -> ManifestError {
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    // The place is said once, and the source is not repeated.
    let why = error.without_snippet().to_string();
    let why = why.split(" at line ").next().unwrap_or(&why);
    ManifestError::At { line, column, why: why.lines().next().unwrap_or(why).to_owned() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { line: referenced.line(), column: referenced.column(), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}

impl Node {
    /// An error about this place.
    pub fn wrong(&self, path: &str, why: impl std::fmt::Display) -> ManifestError {
        ManifestError::At { line: self.line, column: self.column, why: format!("{path}: {why}") }
    }

    /// What it is, for a message.
    fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn not(&self, path: &str, wanted: &str) -> ManifestError {
        let hint = match (&self.value, wanted) {
            (Value::Bool(_) | Value::Number(_), "text") => ": put it in quotes",
            _ => "",
        };
        self.wrong(path, format_args!("{} where {wanted} is wanted{hint}", self.kind()))
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// Something else stands there.
    pub fn text(&self, path: &str) -> Result<&str, ManifestError> {
        match &self.value {
            Value::Text(text) if text.contains('\0') => Err(self.wrong(path, "there is a NUL in it")),
            Value::Text(text) => Ok(text),
            _ => Err(self.not(path, "text")),
        }
    }

    /// Text, or what a number or a boolean is written as.
    ///
    /// # Errors
    ///
    /// A collection stands there.
    pub fn word(&self, path: &str) -> Result<String, ManifestError> {
        match &self.value {
            Value::Text(_) => self.text(path).map(str::to_owned),
            Value::Number(text) => Ok(text.clone()),
            Value::Bool(on) => Ok(on.to_string()),
            Value::Null => Ok(String::new()),
            Value::List(_) | Value::Map(_) => Err(self.not(path, "text")),
        }
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// Something else stands there.
    pub fn bool(&self, path: &str) -> Result<bool, ManifestError> {
        match &self.value {
            Value::Bool(on) => Ok(*on),
            // What a variable of a compose file stood for.
            Value::Text(text) if text == "true" || text == "false" => Ok(text == "true"),
            _ => Err(self.not(path, "true or false")),
        }
    }

    /// A whole number that fits.
    ///
    /// # Errors
    ///
    /// Something else stands there.
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Result<T, ManifestError> {
        match &self.value {
            Value::Number(text) => text.parse().map_err(|_| self.wrong(path, format_args!("{text} is out of range"))),
            _ => Err(self.not(path, "a number")),
        }
    }

    /// The elements; none where there is nothing.
    ///
    /// # Errors
    ///
    /// Something else stands there.
    pub fn list(&self, path: &str) -> Result<&[Node], ManifestError> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::List(list) => Ok(list),
            _ => Err(self.not(path, "a list")),
        }
    }

    /// The entries; none where there is nothing.
    ///
    /// # Errors
    ///
    /// Something else stands there.
    pub fn entries(&self, path: &str) -> Result<&[(String, Node)], ManifestError> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::Map(entries) => Ok(entries),
            _ => Err(self.not(path, "a mapping")),
        }
    }

    /// What lies at the end of these keys, if all are there.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        let mut node = self;
        for key in keys {
            let Value::Map(entries) = &node.value else { return None };
            node = &entries.iter().find(|(name, _)| name == key)?.1;
        }
        (node.value != Value::Null).then_some(node)
    }
}
