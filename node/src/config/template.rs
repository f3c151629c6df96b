//! The configuration as text: the commented file of `cairn init`, `config show` and `config explain`.

use super::keys::{KEYS, section_words, sections};
use super::load::Resolved;
use super::value::{parse, range, toml_literal};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A commented file: every key with words and range; those in `set` with a value, all others commented out at their
/// default.
#[must_use]
pub fn commented_file(set: &BTreeMap<String, serde_json::Value>) -> String {
    let mut text = String::from(
        "# Configuration of a Cairn node. A line that starts with `# key =` shows a default; remove the `# ` to change it.\n\
         # Every key can be set by environment (CAIRN_SECTION__KEY) and by flag too; `cairn config explain` shows which wins.\n",
    );
    for section in sections() {
        push(&mut text, format_args!("\n# {}\n[{section}]\n", section_words(section)));
        for key in KEYS.iter().filter(|key| key.section == section) {
            push(&mut text, format_args!("\n# {}\n# {}.\n", key.words, capital(&range(key.kind))));
            match set.get(&key.path()) {
                Some(value) => push(&mut text, format_args!("{} = {}\n", key.name, toml_literal(value))),
                None => {
                    let default = parse(key.kind, key.default).unwrap_or_default();
                    push(&mut text, format_args!("# {} = {}\n", key.name, toml_literal(&default)));
                }
            }
        }
    }
    text
}

/// The whole configuration as a file that gives the same result.
#[must_use]
pub fn toml_file(resolved: &Resolved) -> String {
    let mut text = String::new();
    for section in sections() {
        if !text.is_empty() {
            text.push('\n');
        }
        push(&mut text, format_args!("[{section}]\n"));
        for value in resolved.values.iter().filter(|value| value.key.section == section) {
            push(&mut text, format_args!("{} = {}\n", value.key.name, toml_literal(&value.value)));
        }
    }
    text
}

/// Every key with value, origin, range and the names it has in environment and flags.
#[must_use]
pub fn explain(resolved: &Resolved) -> String {
    let mut text = String::new();
    for value in &resolved.values {
        let key = value.key;
        push(&mut text, format_args!("{} = {}\n", key.path(), toml_literal(&value.value)));
        push(&mut text, format_args!("    from   {}\n", value.origin));
        push(&mut text, format_args!("    range  {}\n", range(key.kind)));
        push(&mut text, format_args!("    names  {} · --{}\n", key.variable(), key.flag()));
        push(&mut text, format_args!("    {}\n", key.words));
    }
    text
}

/// The same as data.
#[must_use]
pub fn explain_json(resolved: &Resolved) -> serde_json::Value {
    let entry = |value: &super::ResolvedValue| {
        serde_json::json!({
            "key": value.key.path(),
            "value": value.value,
            "origin": value.origin,
            "range": range(value.key.kind),
            "variable": value.key.variable(),
            "flag": format!("--{}", value.key.flag()),
            "words": value.key.words,
        })
    };
    resolved.values.iter().map(entry).collect()
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// Writing to a string cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a string takes all text");
}
