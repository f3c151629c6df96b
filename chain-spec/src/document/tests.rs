use crate::{ChainSpec, Document, SpecError};

/// The preset's text with one piece replaced.
fn changed(from: &str, to: &str) -> String {
    let text = ChainSpec::dev().to_json();
    assert_eq!(text.matches(from).count(), 1, "`{from}` stands once in\n{text}");
    text.replacen(from, to, 1)
}

fn shape_issue(text: &str) -> (String, String) {
    match Document::parse(text) {
        Err(SpecError::Shape(issue)) => (issue.path, issue.message),
        other => panic!("expected a wrong shape, got {other:?}"),
    }
}

#[test]
fn document_written_reads_back() {
    let spec = ChainSpec::dev();
    assert_eq!(&Document::parse(&spec.to_json()).unwrap(), spec.document());
    assert_eq!(ChainSpec::parse(&spec.to_json()), Ok(spec));
}

#[test]
fn document_with_an_unknown_key_names_path_and_likely_key() {
    let (path, message) = shape_issue(&changed("\"retry_ms\"", "\"retry_sm\""));
    assert_eq!(path, "$.consensus.retry_sm");
    assert!(message.contains("unknown field `retry_sm`"), "{message}");
    assert!(message.ends_with("did you mean `retry_ms`?"), "{message}");
    let (path, message) = shape_issue(&changed("\"name\"", "\"nmae\""));
    assert_eq!(path, "$.nmae");
    assert!(message.ends_with("did you mean `name`?"), "{message}");
    let (path, _) = shape_issue(&changed("\"power\"", "\"powers\""));
    assert_eq!(path, "$.validators[0].powers");
}

#[test]
fn document_with_a_key_like_no_other_gets_no_suggestion() {
    let (_, message) = shape_issue(&changed("\"retry_ms\"", "\"colour\""));
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn document_with_an_unknown_chain_type_names_the_known_ones() {
    let (path, message) = shape_issue(&changed("\"development\"", "\"developmnt\""));
    assert_eq!(path, "$.chain_type");
    assert!(message.ends_with("did you mean `development`?"), "{message}");
}

#[test]
fn document_without_a_key_or_with_a_key_twice_is_refused() {
    let (_, message) = shape_issue(&changed("\"protocol_version\": 1,", ""));
    assert!(message.contains("missing field `protocol_version`"), "{message}");
    let (path, message) = shape_issue(&changed("\"retry_ms\": 1000,", "\"retry_ms\": 1000, \"retry_ms\": 1000,"));
    assert!(message.contains("duplicate field `retry_ms`"), "{path}: {message}");
}

#[test]
fn document_with_a_value_of_the_wrong_kind_names_its_path() {
    let (path, message) = shape_issue(&changed("\"power\": 1", "\"power\": -1"));
    assert_eq!(path, "$.validators[0].power");
    assert!(message.contains("expected u64"), "{message}");
    let (path, message) = shape_issue(&changed("\"base\": \"1000000\"", "\"base\": \"1.5\""));
    assert_eq!(path, "$.fees.base");
    assert!(message.contains("whole number"), "{message}");
}

#[test]
fn document_without_boot_nodes_has_none() {
    let document = Document::parse(&changed(",\n  \"boot_nodes\": []", "")).unwrap();
    assert!(document.boot_nodes.is_empty());
}

#[test]
fn text_that_is_no_json_is_refused_with_its_line() {
    let text = ChainSpec::dev().to_json();
    let cut = &text[..text.len() / 2];
    assert!(matches!(Document::parse(cut), Err(SpecError::Syntax(message)) if message.contains("line")));
    let longer = format!("{text}{{}}");
    assert!(matches!(Document::parse(&longer), Err(SpecError::Syntax(message)) if message.contains("trailing")));
    assert!(matches!(Document::parse(""), Err(SpecError::Syntax(_))));
}

#[test]
fn text_nested_deep_is_refused_without_harm() {
    let deep = format!("{{\"boot_nodes\": {}", "[".repeat(1 << 20));
    assert!(Document::parse(&deep).is_err());
    assert!(Document::parse(&"[".repeat(1 << 20)).is_err());
}
