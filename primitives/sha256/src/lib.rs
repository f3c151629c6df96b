//! SHA-256 of many messages at once.
//!
//! ```text
//!   messages ──► AVX-512 on this processor? ──yes──► `wide`: 16 messages, one in each lane, block after block
//!                                           └─no───► `sha2`, one message after the other
//! ```
//! Both give the same digests; which one runs is decided once, at run time. Sixteen lanes hash a node of a tree in about
//! half the time of the processor's own SHA instructions. Where one of them has more than
//! [`WIDE_BYTES_MAX`] bytes they are hashed one by one: the other lanes would wait for it.
//!
//! The only `unsafe` code is the call of a function that is compiled for a processor with AVX-512, behind the check that this
//! is one, and the loads and stores of its registers.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

#[cfg(target_arch = "x86_64")]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "lanes of fixed width; words wrap")]
mod wide;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests: a failure here is the point")]
mod tests;

use sha2::{Digest, Sha256};

/// Messages that are hashed together.
pub const LANES: usize = 16;
/// Sixteen of which one is longer are hashed one by one, in bytes.
pub const WIDE_BYTES_MAX: usize = 503;
/// As many messages or fewer are hashed one by one: most lanes would be idle.
#[cfg(target_arch = "x86_64")]
const WIDE_MIN: usize = LANES / 4;
/// Two blocks of SHA-256.
const PADDED_BYTES: usize = 128;
/// The longest tag of [`digest_pairs`], in bytes: with two hashes it fills two blocks.
pub const TAG_BYTES_MAX: usize = 55;

/// Gives the digest of each message to `put`, in order.
#[allow(clippy::arithmetic_side_effects, reason = "counts to LANES")]
pub fn digest_all<'a>(messages: impl IntoIterator<Item = &'a [u8]>, mut put: impl FnMut([u8; 32])) {
    let mut messages = messages.into_iter();
    loop {
        let mut group: [&[u8]; LANES] = [&[]; LANES];
        let mut count = 0;
        for (place, message) in group.iter_mut().zip(messages.by_ref()) {
            *place = message;
            count += 1;
        }
        let Some(group) = group.get(..count) else { return };
        digest_group(group, &mut put);
        if count < LANES {
            return;
        }
    }
}

/// Gives the digest of `tag ‖ left ‖ right` for each pair to `put`, in order.
///
/// # Panics
/// The tag is longer than [`TAG_BYTES_MAX`].
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "within buffers of a fixed size, by the assertion"
)]
pub fn digest_pairs<'a>(
    tag: &[u8],
    pairs: impl IntoIterator<Item = (&'a [u8; 32], &'a [u8; 32])>,
    mut put: impl FnMut([u8; 32]),
) {
    assert!(tag.len() <= TAG_BYTES_MAX, "a tag of {} bytes", tag.len());
    let length = tag.len() + 64;
    let mut padded = padding(length);
    padded[..tag.len()].copy_from_slice(tag);
    let mut messages = [padded; LANES];
    let mut pairs = pairs.into_iter();
    loop {
        let mut count = 0;
        for (message, (left, right)) in messages.iter_mut().zip(pairs.by_ref()) {
            message[tag.len()..tag.len() + 32].copy_from_slice(left);
            message[tag.len() + 32..length].copy_from_slice(right);
            count += 1;
        }
        digest_padded(&messages, count, length, &mut put);
        if count < LANES {
            return;
        }
    }
}

/// What SHA-256 adds to a message that takes two blocks with it: the bit that ends it, and its bits.
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "lengths of two blocks")]
fn padding(length: usize) -> [u8; PADDED_BYTES] {
    let mut padded = [0; PADDED_BYTES];
    padded[length] = 0x80;
    padded[PADDED_BYTES - 8..].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    padded
}

/// The first `count` of padded messages, `length` bytes of each without the padding.
#[allow(clippy::indexing_slicing, reason = "within buffers of a fixed size")]
fn digest_padded(messages: &[[u8; PADDED_BYTES]; LANES], count: usize, length: usize, put: &mut impl FnMut([u8; 32])) {
    #[cfg(target_arch = "x86_64")]
    if count > WIDE_MIN
        && let Some(digests) = wide::digest_padded(messages)
    {
        digests.into_iter().take(count).for_each(put);
        return;
    }
    for message in &messages[..count] {
        put(Sha256::digest(&message[..length]).into());
    }
}

/// At most [`LANES`] messages.
fn digest_group(group: &[&[u8]], put: &mut impl FnMut([u8; 32])) {
    #[cfg(target_arch = "x86_64")]
    if group.len() > WIDE_MIN
        && group.iter().all(|message| message.len() <= WIDE_BYTES_MAX)
        && let Some(digests) = wide::digest_group(group)
    {
        digests.into_iter().take(group.len()).for_each(put);
        return;
    }
    for message in group {
        put(Sha256::digest(message).into());
    }
}
