//! The one table of all methods: names, parameters, answers, who may call, and what a call costs.
//!
//! The OpenRPC document is made from it, and the server asks it who may call what; a test holds it against the methods that
//! are registered. Shapes are given in a short notation, see [`schema`].

mod openrpc;
mod rows;

pub(crate) use openrpc::document;
pub(crate) use rows::METHODS;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Safe,
    /// The node's owner.
    Unsafe,
}

/// What a call takes from a client's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// A point read.
    Point,
    /// Walks, proofs, whole blocks and runtime calls.
    Walk,
}

impl Cost {
    /// Tokens of a budget of point reads.
    pub(crate) const fn tokens(self) -> u32 {
        match self {
            Self::Point => 1,
            Self::Walk => 10,
        }
    }
}

/// A parameter. A name that ends in `?` may be left out.
pub(crate) type Param = (&'static str, &'static str);

/// One method, or a subscription with the method that ends it.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) params: &'static [Param],
    /// The shape of the answer, or of the notifications.
    pub(crate) result: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    pub(crate) cost: Cost,
    /// Of a subscription: the name of its notifications, and how it ends.
    pub(crate) notification: Option<&'static str>,
    pub(crate) unsubscribe: Option<(&'static str, &'static [&'static str])>,
}

impl Method {
    /// All names under which it can be called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The names of the method that ends the subscription.
    pub(crate) fn end_names(&self) -> impl Iterator<Item = &'static str> {
        self.unsubscribe.into_iter().flat_map(|(name, aliases)| std::iter::once(name).chain(aliases.iter().copied()))
    }
}

/// The JSON schema of a shape: `hex`, `hash`, `text`, `int`, `bool`, `null`, `any`, `object`, `block` (hash or height),
/// `[shape]` for a list, `shape|shape` for either, a list last.
fn schema(shape: &str) -> serde_json::Value {
    use serde_json::json;
    if let Some((first, rest)) = shape.split_once('|').filter(|_| !shape.starts_with('[')) {
        return json!({ "oneOf": [schema(first), schema(rest)] });
    }
    if let Some(inner) = shape.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({ "type": "array", "items": schema(inner) });
    }
    match shape {
        "hex" => json!({ "type": "string", "pattern": "^(0x)?([0-9a-fA-F]{2})*$" }),
        "hash" => json!({ "type": "string", "pattern": "^(0x)?[0-9a-fA-F]{64}$" }),
        "text" => json!({ "type": "string" }),
        "int" => json!({ "type": "integer", "minimum": 0 }),
        "bool" => json!({ "type": "boolean" }),
        "null" => json!({ "type": "null" }),
        "object" => json!({ "type": "object" }),
        "block" => json!({ "oneOf": [schema("hash"), schema("int")] }),
        _ => json!({}),
    }
}
