//! What a profile file and flags add up to: `austere.profile/1`.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::clean;

/// Columns of a section's name, of a key, and of a value.
const NAME: usize = 10;
const KEY: usize = 26;
const VALUE: usize = 36;

/// All that a jail is made of, and where each part comes from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Effective {
    /// `austere.profile/1`.
    pub schema: &'static str,
    /// The file, as it was named; absent where flags alone were given.
    pub profile: Option<String>,
    /// The preset that they change.
    pub preset: crate::verdict::facts::Preset,
    /// Every key of a profile file, in the order of its documentation.
    pub settings: Vec<Setting>,
    /// What is given back or set otherwise than by the preset, as a verdict says it.
    pub relaxations: Vec<String>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Setting {
    /// As in the file.
    pub key: &'static str,
    /// The value, or each of a list's; none where the list is empty.
    pub values: Vec<Said>,
}

/// One value. Variables are named and their values are not said.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Said {
    /// A text, true or false; null where there is none.
    pub value: Value,
    /// Who says it.
    pub from: From,
    /// Where in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// The preset, or austere where it says nothing.
    Preset,
    /// The profile file.
    File,
    /// The command line.
    Flag,
}

impl Effective {
    /// For people.
    pub fn text(&self) -> String {
        let count =
            |from| self.settings.iter().flat_map(|setting| &setting.values).filter(|said| said.from == from).count();
        let file = self.profile.as_deref().map_or_else(String::new, |path| format!("{} over ", clean(path)));
        let mut text = format!(
            "{:NAME$}{file}preset {} {}: {} of the file, {} of the command line\n\n",
            "profile",
            self.preset.name,
            self.preset.engine_version,
            count(From::File),
            count(From::Flag)
        );
        let mut section = "settings";
        for Setting { key, values } in &self.settings {
            let mut key = *key;
            if values.is_empty() {
                let _ = writeln!(text, "{section:NAME$}{key:KEY$}none");
            }
            for Said { value, from, line } in values {
                let value = match value {
                    Value::String(value) => clean(value),
                    Value::Null => "none".to_owned(),
                    value => value.to_string(),
                };
                let from = match (from, line) {
                    (From::Preset, _) => String::new(),
                    (From::File, Some(line)) => format!("  file, line {line}"),
                    (From::File, None) => "  file".to_owned(),
                    (From::Flag, _) => "  flag".to_owned(),
                };
                // Nothing hangs over where nothing follows.
                let width = if from.is_empty() { 0 } else { VALUE };
                let _ = writeln!(text, "{section:NAME$}{key:KEY$}{value:width$}{from}");
                (key, section) = ("", "");
            }
            section = "";
        }
        let mut section = "relaxed";
        text.push('\n');
        if self.relaxations.is_empty() {
            let _ = writeln!(text, "{section:NAME$}nothing");
        }
        for relaxation in &self.relaxations {
            let _ = writeln!(text, "{section:NAME$}{}", clean(relaxation));
            section = "";
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        super::json::page(self)
    }
}

/// The JSON Schema of [`Effective::json`], as `docs/profile.schema.json` has it.
///
/// # Panics
///
/// Never: a schema is JSON.
pub fn schema() -> String {
    super::schema_of::<Effective>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_the_type_s() {
        crate::report::fixtures::is_published("profile.schema.json", &schema());
    }

    #[test]
    fn a_page_says_where_each_value_comes_from() {
        let said = |value: &str, from, line| Said { value: value.into(), from, line };
        let effective = Effective {
            schema: "austere.profile/1",
            profile: Some("x\u{1b}.yaml".to_owned()),
            preset: crate::verdict::facts::Preset { name: "sealed".to_owned(), engine_version: "1".to_owned() },
            settings: vec![
                Setting { key: "read_only", values: vec![Said { value: true.into(), from: From::Preset, line: None }] },
                Setting { key: "tmpfs", values: vec![said("/run", From::File, Some(3)), said("/x", From::Flag, None)] },
                Setting { key: "volumes", values: Vec::new() },
            ],
            relaxations: vec!["--tmpfs /run".to_owned()],
        };
        let lines = [
            "profile   x\\x1b.yaml over preset sealed 1: 1 of the file, 1 of the command line",
            "",
            "settings  read_only                 true",
            "          tmpfs                     /run                                  file, line 3",
            "                                    /x                                    flag",
            "          volumes                   none",
            "",
            "relaxed   --tmpfs /run",
            "",
        ];
        assert_eq!(effective.text(), lines.join("\n"));
    }
}
