//! The port through which execution reads the state below a block.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Who is given values, one after the other; `None` where there is none.
pub type TakeValue<'a> = dyn FnMut(Option<&[u8]>) -> Result<(), StateReadError> + 'a;

/// The committed or overlaid state that a block executes on.
pub trait StateReader {
    /// The value under `key`; `None` where there is none.
    ///
    /// # Errors
    /// The state cannot be read; whatever was being executed must be given up, it is not known to be invalid.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateReadError>;

    /// Gives the values under several keys to `take`, in the order asked: calls it once for each.
    ///
    /// # Errors
    /// As [`Self::get`], and the first of `take`.
    fn get_many(&self, keys: &[&[u8]], take: &mut TakeValue<'_>) -> Result<(), StateReadError> {
        keys.iter().try_for_each(|key| take(self.get(key)?.as_deref()))
    }
}

/// The state could not be read or does not decode: the fault of this node, never of a block.
#[derive(Clone)]
pub struct StateReadError(Arc<dyn Error + Send + Sync>);

impl StateReadError {
    /// Wraps the error of the store.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(source.into()))
    }

    /// The value of a known item does not decode.
    pub(crate) fn malformed(item: &'static str, error: &parity_scale_codec::Error) -> Self {
        Self::new(format!("the stored value of {item} is malformed ({error}): check the database"))
    }
}

impl fmt::Debug for StateReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateReadError({})", self.0)
    }
}

impl fmt::Display for StateReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the state cannot be read: {}", self.0)
    }
}

impl Error for StateReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl StateReader for std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateReadError> {
        Ok(Self::get(self, key).cloned())
    }
}
