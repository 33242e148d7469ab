//! A verdict for programs: `austere.verdict/1`.

use crate::verdict::Verdict;

/// The verdict as indented JSON with a line feed at its end. The keys have the order of the type's fields.
///
/// Every character that a terminal could act on is written as an escape, which is the same text to a parser.
///
/// # Panics
///
/// Never: a verdict has text keys and finite numbers only.
pub fn render(verdict: &Verdict) -> String {
    page(verdict)
}

/// Any report of ours, in the same manner.
pub(super) fn page(report: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(report).expect("a report has text keys and finite numbers only");
    let mut escaped = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        // Outside of strings there is no character like this but the line feed.
        if character != '\n' && super::acts(character) {
            let mut units = [0; 2];
            escaped.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(character);
        }
    }
    escaped.push('\n');
    escaped
}

/// The JSON Schema of what [`render`] writes, as `docs/verdict.schema.json` has it.
///
/// # Panics
///
/// Never: a schema is JSON.
pub fn schema() -> String {
    super::schema_of::<Verdict>()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::fixtures::{self, Case};

    #[test]
    fn the_published_schema_is_the_type_s() {
        fixtures::is_published("verdict.schema.json", &schema());
    }

    #[test]
    fn every_verdict_is_valid() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for case in Case::ALL {
            let mut document: Value = serde_json::from_str(&render(&fixtures::verdict(case))).unwrap();
            assert!(validator.is_valid(&document), "{case:?}: {:?}", validator.iter_errors(&document).next());
            // The twin: the schema does refuse something.
            document["verdict"] = "maybe".into();
            assert!(!validator.is_valid(&document));
        }
    }

    #[test]
    fn every_key_of_the_form_is_there_and_in_order() {
        let text = render(&fixtures::verdict(Case::Pass));
        let keys = [
            "schema",
            "austere",
            "host",
            "started_at",
            "verdict",
            "reason",
            "baseline",
            "image",
            "preset",
            "relaxations",
            "ids",
            "plan",
            "ladder",
            "levels",
            "measures",
            "probes",
            "runs",
            "findings",
            "app",
            "durations_ms",
            "fit",
        ];
        let at: Vec<_> = keys.iter().map(|key| text.find(&format!("\n  \"{key}\": ")).unwrap_or(usize::MAX)).collect();
        assert!(at.is_sorted() && !at.contains(&usize::MAX), "{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document.as_object().unwrap().len(), keys.len());
        assert_eq!(document["schema"], "austere.verdict/1");
        assert_eq!(document["started_at"], "2026-10-01T12:00:00.250Z");
        assert_eq!(document["levels"]["L0"]["status"], "not_tried");
        assert_eq!(document["fit"]["status"], "not_tried");
    }

    #[test]
    fn foreign_text_is_kept_and_cannot_act() {
        let mut verdict = fixtures::verdict(Case::Fail);
        let foreign = "\u{1b}[2J\u{9b}x\u{202e}\u{7f}\u{e0041}ü\n";
        verdict.app.stderr_tail = foreign.to_owned();
        let text = render(&verdict);
        assert!(!text.chars().any(|c| c != '\n' && crate::report::acts(c)));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["app"]["stderr_tail"], foreign);
    }
}
