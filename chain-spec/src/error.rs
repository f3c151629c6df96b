//! What can be wrong with a chain spec, said so that it can be put right.

use std::fmt;

/// One thing that is wrong: where, what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The JSON path, such as `$.validators[2].power`.
    pub path: String,
    /// What is wrong, the limit and the cure.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Why a chain spec was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The text is longer than any chain spec.
    #[error("the chain spec has {actual} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes in the text.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The text is not JSON.
    #[error("the chain spec is not JSON: {0}")]
    Syntax(String),
    /// A key or a value does not belong where it is.
    #[error("the chain spec has the wrong shape: {0}")]
    Shape(Issue),
    /// The document was read, but cannot be a chain.
    #[error("the chain spec is wrong in {} place(s):{}", .0.len(), list(.0))]
    Invalid(Vec<Issue>),
}

fn list(issues: &[Issue]) -> String {
    issues.iter().map(|issue| format!("\n  {issue}")).collect()
}

impl SpecError {
    pub(crate) fn syntax(error: &serde_json::Error) -> Self {
        Self::Syntax(error.to_string())
    }

    pub(crate) fn shape(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let inner = error.inner();
        if inner.is_syntax() || inner.is_eof() {
            return Self::syntax(inner);
        }
        let path = error.path().to_string();
        let path = if path == "." { "$".to_owned() } else { format!("$.{path}") };
        let mut message = inner.to_string();
        if let Some(suggestion) = suggestion(&message) {
            message = format!("{message}; did you mean `{suggestion}`?");
        }
        Self::Shape(Issue { path, message })
    }

    /// Each issue on its own, for output that is not prose.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        match self {
            Self::TooLarge { .. } | Self::Syntax(_) => vec![Issue { path: "$".to_owned(), message: self.to_string() }],
            Self::Shape(issue) => vec![issue.clone()],
            Self::Invalid(issues) => issues.clone(),
        }
    }
}

/// The known name nearest to the unknown one, from the deserializer's message, which quotes the unknown name first and
/// the known ones after it.
fn suggestion(message: &str) -> Option<&str> {
    let names = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut quoted = names.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let (distance, nearest) = quoted.map(|known| (strsim::damerau_levenshtein(unknown, known), known)).min()?;
    // Further off than half of its letters, a name is another word and not a slip.
    (distance <= nearest.len().div_ceil(2)).then_some(nearest)
}
