//! Values that are read together.

/// The values of several keys, in their order: few pieces of memory for all of them.
#[derive(Debug, Default)]
pub struct Values(Vec<Share>);

/// What one thread read.
#[derive(Debug)]
pub(super) struct Share {
    bytes: Vec<u8>,
    /// Where each value ends; `None` where there is none.
    ends: Vec<Option<usize>>,
}

impl Values {
    pub(super) const fn new(shares: Vec<Share>) -> Self {
        Self(shares)
    }

    /// Each value in turn; `None` where there is none.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.0.iter().flat_map(|share| {
            let mut start = 0;
            share.ends.iter().map(move |end| {
                let value = share.bytes.get(start..(*end)?);
                start = end.unwrap_or(start);
                value
            })
        })
    }
}

impl Share {
    /// Room for so many values with so many bytes together; more is not refused.
    pub(super) fn with_capacity(values: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(values) }
    }

    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        self.ends.push(value.map(|value| {
            self.bytes.extend_from_slice(value);
            self.bytes.len()
        }));
    }
}
