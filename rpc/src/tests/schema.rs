//! The OpenRPC document against the meta-schema of the OpenRPC project, and that one's against the schema of schemas.
//!
//! The checker knows the keywords that the two schemas use and stops at any other, so nothing is passed over.

use serde_json::{Value, json};

const OPENRPC: &str = include_str!("../../../tests/vectors/openrpc_meta_schema.json");
const JSON_SCHEMA: &str = include_str!("../../../tests/vectors/json_schema_meta_schema.json");

/// Where the OpenRPC meta-schema finds the schema of schemas.
const JSON_SCHEMA_URL: &str = "https://meta.json-schema.tools";

/// The schemas, to which references lead.
struct Schemas {
    openrpc: Value,
    json_schema: Value,
}

/// A schema and the document that it is in.
#[derive(Clone, Copy)]
struct Schema<'a> {
    root: &'a Value,
    schema: &'a Value,
}

impl Schemas {
    fn new() -> Self {
        let [openrpc, json_schema] = [OPENRPC, JSON_SCHEMA].map(|text| serde_json::from_str(text).unwrap());
        Self { openrpc, json_schema }
    }

    fn resolve<'a>(&'a self, root: &'a Value, reference: &str) -> Schema<'a> {
        let (root, pointer) = match reference.strip_prefix(JSON_SCHEMA_URL) {
            Some(rest) => (&self.json_schema, rest.trim_start_matches('/')),
            None => (root, reference),
        };
        let pointer = pointer.strip_prefix('#').unwrap_or(pointer);
        let schema = root.pointer(pointer).unwrap_or_else(|| panic!("nothing at {reference}"));
        Schema { root, schema }
    }

    /// Every way in which a value breaks a schema.
    fn faults(&self, Schema { root, schema }: Schema<'_>, value: &Value, at: &str) -> Vec<String> {
        let Some(keywords) = schema.as_object() else {
            assert_eq!(schema, &Value::Bool(true), "no schema");
            return Vec::new();
        };
        if let Some(reference) = keywords.get("$ref") {
            return self.faults(self.resolve(root, reference.as_str().unwrap()), value, at);
        }
        let mut faults = Vec::new();
        for (keyword, rule) in keywords {
            let inner = |schema| Schema { root, schema };
            match keyword.as_str() {
                "oneOf" | "anyOf" => {
                    let each: Vec<_> =
                        rule.as_array().unwrap().iter().map(|rule| self.faults(inner(rule), value, at)).collect();
                    let holding = each.iter().filter(|faults| faults.is_empty()).count();
                    if holding == 0 || (keyword == "oneOf" && holding > 1) {
                        faults.push(format!("{at}: {holding} of {} alternatives hold: {each:?}", each.len()));
                    }
                }
                "items" => {
                    for (item, index) in value.as_array().into_iter().flatten().zip(0..) {
                        faults.extend(self.faults(inner(rule), item, &format!("{at}/{index}")));
                    }
                }
                // Only of lists whose items are listed one by one, which none of these is.
                "additionalItems" => assert!(keywords["items"].is_object()),
                "propertyNames" => {
                    for name in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
                        faults.extend(self.faults(inner(rule), &json!(name), at));
                    }
                }
                "properties" | "patternProperties" | "additionalProperties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        let at = format!("{at}/{name}");
                        match rule_of(keywords, keyword, name) {
                            None => {}
                            Some(Value::Bool(false)) => faults.push(format!("{at}: not allowed")),
                            Some(rule) => faults.extend(self.faults(inner(rule), field, &at)),
                        }
                    }
                }
                _ => faults.extend(fault(keyword, rule, value).map(|what| format!("{at}: {what}"))),
            }
        }
        faults
    }

    fn of_document(&self, document: &Value) -> Vec<String> {
        self.faults(Schema { root: &self.openrpc, schema: &self.openrpc }, document, "")
    }
}

/// What a keyword that looks at one value alone has against it.
fn fault(keyword: &str, rule: &Value, value: &Value) -> Option<String> {
    let limit = || rule.as_u64().unwrap();
    let list = || value.as_array().map(Vec::as_slice);
    let holds = match keyword {
        // Words.
        "$schema" | "$id" | "title" | "description" | "default" | "definitions" | "format" => true,
        "type" => is_of(rule, value),
        "enum" => rule.as_array().unwrap().contains(value),
        "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= limit()),
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > rule.as_f64().unwrap()),
        "minItems" => list().is_none_or(|list| list.len() as u64 >= limit()),
        "uniqueItems" => {
            list().is_none_or(|list| list.iter().zip(0..).all(|(item, index)| !list[..index].contains(item)))
        }
        "required" => value.as_object().is_none_or(|fields| {
            rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
        }),
        other => panic!("the checker does not know `{other}`"),
    };
    (!holds).then(|| format!("{value} breaks {keyword} {rule}"))
}

/// The rule that a keyword has for a field, if any.
fn rule_of<'a>(keywords: &'a serde_json::Map<String, Value>, keyword: &str, name: &str) -> Option<&'a Value> {
    let named = keywords.get("properties").and_then(|rules| rules.get(name));
    let patterned = keywords.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
    let patterned = patterned.filter(|(pattern, _)| matches(pattern, name)).map(|(_, rule)| rule).next();
    match keyword {
        "properties" => named,
        "patternProperties" => patterned,
        _ if named.is_none() && patterned.is_none() => keywords.get("additionalProperties"),
        _ => None,
    }
}

/// The patterns of names in these schemas.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern {
        "^x-" => name.starts_with("x-"),
        // One character between 0 and z anywhere.
        "[0-z]+" => name.chars().any(|letter| ('0'..='z').contains(&letter)),
        other => panic!("the checker does not know the pattern `{other}`"),
    }
}

fn is_of(rule: &Value, value: &Value) -> bool {
    if let Some(types) = rule.as_array() {
        return types.iter().any(|rule| is_of(rule, value));
    }
    match rule.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the checker does not know the type `{other}`"),
    }
}

#[test]
fn openrpc_document_passes_the_meta_schema() {
    let schemas = Schemas::new();
    assert_eq!(schemas.of_document(&crate::openrpc()), Vec::<String>::new());
}

#[test]
fn meta_schema_refuses_what_is_no_openrpc_document() {
    let schemas = Schemas::new();
    type Change = fn(&mut Value);
    let changes: [Change; 12] = [
        |document| document["openrpc"] = json!("9.9.9"),
        |document| document["surplus"] = json!(1),
        |document| drop(document.as_object_mut().unwrap().remove("info")),
        |document| document["info"]["version"] = json!(1),
        |document| document["methods"] = json!({}),
        |document| drop(document["methods"][0].as_object_mut().unwrap().remove("params")),
        |document| document["methods"][0]["paramStructure"] = json!("by-luck"),
        |document| document["methods"][0]["surplus"] = json!(1),
        |document| document["methods"][0]["result"]["schema"]["type"] = json!("thing"),
        |document| drop(document["methods"][0]["result"].as_object_mut().unwrap().remove("name")),
        |document| document["methods"][0]["errors"][0] = json!({ "code": "x", "message": 1 }),
        |document| document["components"]["errors"]["internal"]["code"] = json!("x"),
    ];
    for (change, number) in changes.into_iter().zip(0..) {
        let mut document = crate::openrpc();
        change(&mut document);
        assert!(!schemas.of_document(&document).is_empty(), "change {number} is accepted");
    }
}
