//! From the text or TOML value of one key to a checked value, and back to TOML.

use super::keys::{Key, Kind};
use config::{Value, ValueKind};
use serde_json::json;
use std::net::SocketAddr;

/// The longest [`Kind::Text`], in characters.
const TEXT_CHARS_MAX: usize = 255;

/// The longest path or list of levels, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// The protocols a multiaddress of ours may begin with.
const MULTIADDR_STARTS: [&str; 6] = ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/"];

/// Checks a merged value: TOML types where the file gave them, text where environment or flags did.
///
/// # Errors
/// One sentence: what was found, what is allowed, what to do.
pub(super) fn check(key: &Key, value: &Value) -> Result<serde_json::Value, String> {
    if let (Kind::Multiaddrs { max }, ValueKind::Array(items)) = (key.kind, &value.kind) {
        let texts: Result<Vec<String>, String> = items.iter().map(|item| scalar(key, item)).collect();
        return multiaddrs(&texts?, max);
    }
    let text = scalar(key, value)?;
    parse(key.kind, text.trim())
}

/// The text of a scalar; TOML strings are not taken for numbers and switches for texts.
fn scalar(key: &Key, value: &Value) -> Result<String, String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text.clone()),
        ValueKind::Boolean(switch) => Ok(switch.to_string()),
        ValueKind::I64(number) => Ok(number.to_string()),
        ValueKind::U64(number) => Ok(number.to_string()),
        ValueKind::I128(number) => Ok(number.to_string()),
        ValueKind::U128(number) => Ok(number.to_string()),
        ValueKind::Float(number) => Ok(number.to_string()),
        ValueKind::Nil => Err("has no value; remove the line to get the default".into()),
        ValueKind::Table(_) => Err(format!("is a table, expected {}", range(key.kind))),
        ValueKind::Array(_) => Err(format!("is a list, expected {}", range(key.kind))),
    }
}

/// Parses a value written as text.
///
/// # Errors
/// One sentence: what was found, what is allowed.
pub(super) fn parse(kind: Kind, text: &str) -> Result<serde_json::Value, String> {
    let refused = || format!("is `{}`, expected {}", shorten(text), range(kind));
    match kind {
        Kind::Text if text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control) => Ok(json!(text)),
        Kind::Path if text.len() <= PATH_BYTES_MAX && !text.contains('\0') => Ok(json!(text)),
        Kind::Text | Kind::Path => Err(refused()),
        Kind::Switch => text.parse::<bool>().map(|switch| json!(switch)).map_err(|_| refused()),
        Kind::Number { min, max, .. } => in_range(text.replace('_', "").parse().ok(), min, max).ok_or_else(refused),
        Kind::Bytes { min, max } => in_range(parse_bytes(text), min, max).ok_or_else(refused),
        Kind::Choice(words) => {
            words.contains(&text).then(|| json!(text)).ok_or_else(|| match closest(text, words.iter().copied()) {
                Some(word) => format!("{}; did you mean `{word}`?", refused()),
                None => refused(),
            })
        }
        Kind::Address => match text.parse::<SocketAddr>() {
            Ok(address) => Ok(json!(address.to_string())),
            Err(_) => Err(refused()),
        },
        Kind::Multiaddrs { max } => {
            let items: Vec<String> =
                text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
            multiaddrs(&items, max)
        }
        Kind::History { .. } if text == "archive" => Ok(json!("archive")),
        Kind::History { min, max } => {
            let window = in_range(text.replace('_', "").parse().ok(), u64::from(min), u64::from(max));
            window.map(|blocks| json!({ "window": blocks })).ok_or_else(refused)
        }
        Kind::Levels => match text.parse::<tracing_subscriber::EnvFilter>() {
            Ok(_) if !text.is_empty() && text.len() <= PATH_BYTES_MAX => Ok(json!(text)),
            Ok(_) | Err(_) => Err(refused()),
        },
    }
}

fn in_range(number: Option<u64>, min: u64, max: u64) -> Option<serde_json::Value> {
    number.filter(|number| (min..=max).contains(number)).map(|number| json!(number))
}

fn multiaddrs(items: &[String], max: usize) -> Result<serde_json::Value, String> {
    if items.len() > max {
        return Err(format!("lists {} addresses, at most {max} are allowed", items.len()));
    }
    match items.iter().find(|item| !MULTIADDR_STARTS.iter().any(|start| item.starts_with(start))) {
        None => Ok(json!(items)),
        Some(item) => Err(format!(
            "contains `{}`, which is not a multiaddress; write it like /ip4/127.0.0.1/tcp/30333/p2p/12D3Koo…",
            shorten(item)
        )),
    }
}

/// `64 MiB`, `64MiB` or a plain number.
fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.trim().replace('_', "").parse::<u64>().ok()?.checked_mul(factor)
}

/// A number of bytes with the largest unit that divides it.
fn words_of_bytes(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// What a kind allows, in words.
pub(super) fn range(kind: Kind) -> String {
    match kind {
        Kind::Text => format!("a text of at most {TEXT_CHARS_MAX} characters"),
        Kind::Path => format!("a text of at most {PATH_BYTES_MAX} bytes"),
        Kind::Switch => "true or false".into(),
        Kind::Number { min, max, unit } => format!("a number from {min} to {max} ({unit})"),
        Kind::Bytes { min, max } => {
            format!("{} to {}, as a number of bytes or with KiB, MiB, GiB", words_of_bytes(min), words_of_bytes(max))
        }
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Address => "an IP address with port, such as 127.0.0.1:9944".into(),
        Kind::Multiaddrs { max } => format!("at most {max} multiaddresses"),
        Kind::History { min, max } => format!("archive, or a number of blocks from {min} to {max}"),
        Kind::Levels => "levels, such as info or info,cairn_network=debug".into(),
    }
}

/// A checked value as TOML.
#[must_use]
pub fn toml_literal(value: &serde_json::Value) -> String {
    match value {
        // `{"window": n}` is written as the number it was read from.
        serde_json::Value::Object(fields) => fields.values().next().map(toml_literal).unwrap_or_default(),
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_literal).collect::<Vec<_>>().join(", "))
        }
        // JSON's escapes are those of TOML's basic strings.
        scalar @ (serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)) => scalar.to_string(),
    }
}

/// The nearest of some words, if it is near enough to be a slip of the fingers.
pub(super) fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 { text.into() } else { format!("{}…", text.chars().take(80).collect::<String>()) }
}
