use super::*;

#[test]
fn severities_have_an_order_and_many_spellings() {
    assert!(Severity::Critical > Severity::High && Severity::Low > Severity::Negligible);
    assert_eq!(Severity::parse("MODERATE"), Severity::Medium);
    assert_eq!(Severity::parse("new word"), Severity::Unknown);
    assert_eq!(Severity::of_score(7.0), Severity::High);
    assert_eq!(Severity::of_score(6.9), Severity::Medium);
    assert_eq!(Severity::of_score(0.0), Severity::Unknown);
}

#[test]
fn json_of_another_shape_is_refused_and_of_a_bent_shape_is_read() {
    for wrong in ["", "7", "{}", "[]", "{\"results\": 7}", "{\"matches\": {}}"] {
        assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
    }
    for bent in [
        r#"{"matches": [7, {"vulnerability": []}]}"#,
        r#"{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [null, {"FixedVersion": 7}]}]}"#,
        r#"{"results": [{"packages": [{"vulnerabilities": [{"affected": 7}], "groups": {}}]}]}"#,
        r#"{"@context": "https://openvex.dev/ns", "statements": [{"products": ["pkg:x/y", 7]}]}"#,
    ] {
        assert!(read(bent.as_bytes()).is_ok(), "{bent}");
    }
}
