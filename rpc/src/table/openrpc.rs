//! The OpenRPC document.

use super::{Access, METHODS, Method, Param, schema};
use crate::error::Code;
use serde_json::{Value, json};

/// The version of the OpenRPC specification that the document follows.
const OPENRPC_VERSION: &str = "1.3.2";

/// The document: every name that can be called, aliases and ends of subscriptions included, and all errors.
pub(crate) fn document() -> Value {
    let mut methods: Vec<Value> = METHODS.iter().flat_map(of).collect();
    methods.sort_by(|left, right| left["name"].as_str().cmp(&right["name"].as_str()));
    let errors: serde_json::Map<_, _> = Code::ALL.iter().map(|code| (code.reason().to_owned(), error(*code))).collect();
    json!({
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "Cairn JSON-RPC",
            "description": "Amounts and power of cairn_* answers are decimal text. Subscriptions need a WebSocket.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0" },
        },
        "methods": methods,
        "components": { "errors": errors },
    })
}

fn of(method: &'static Method) -> Vec<Value> {
    let mut entries: Vec<_> = method.names().map(|name| entry(name, method)).collect();
    entries.extend(method.end_names().map(|name| {
        json!({
            "name": name,
            "summary": format!("Ends a subscription of {}.", method.name),
            "tags": tags(name, method.access),
            "paramStructure": "by-position",
            "params": [{ "name": "subscription", "required": true, "schema": schema("text") }],
            "result": { "name": "ended", "schema": schema("bool|null") },
            "errors": common(),
        })
    }));
    entries
}

fn entry(name: &'static str, method: &Method) -> Value {
    let result = if method.notification.is_some() { schema("text") } else { schema(method.result) };
    let mut entry = json!({
        "name": name,
        "summary": method.summary,
        "tags": tags(name, method.access),
        "paramStructure": "either",
        "params": method.params.iter().map(param).collect::<Vec<_>>(),
        "result": { "name": if method.notification.is_some() { "subscription" } else { "answer" }, "schema": result },
        "errors": common(),
    });
    if let (Some(notification), Some(fields)) = (method.notification, entry.as_object_mut()) {
        let ends: Vec<_> = method.end_names().collect();
        let shape = json!({ "method": notification, "schema": schema(method.result), "endedBy": ends });
        fields.insert("x-notification".to_owned(), shape);
    }
    entry
}

fn param((name, shape): &Param) -> Value {
    let (name, required) = name.strip_suffix('?').map_or((*name, true), |name| (name, false));
    json!({ "name": name, "required": required, "schema": schema(shape) })
}

/// The group, and whether the method is for the owner alone.
fn tags(name: &str, access: Access) -> Vec<Value> {
    let group = match name.split_once("_v1_") {
        Some((group, _)) => format!("{group}_v1"),
        None => name.split(['_', '.']).next().unwrap_or_default().to_owned(),
    };
    let mut tags = vec![json!({ "name": group })];
    if access == Access::Unsafe {
        tags.push(json!({ "name": "unsafe" }));
    }
    tags
}

/// Errors that any call may end with; those of a group are in the components.
fn common() -> [Value; 3] {
    [Code::InvalidParams, Code::RateLimited, Code::Timeout]
        .map(|code| json!({ "$ref": format!("#/components/errors/{}", code.reason()) }))
}

fn error(code: Code) -> Value {
    let data = json!({ "reason": code.reason(), "retryable": code.is_retryable() });
    json!({ "code": code.number(), "message": code.message(), "data": data })
}
