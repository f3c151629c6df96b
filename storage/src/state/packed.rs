//! Values as diffs and pages have them: words of eight bytes (little-endian, the last one filled up with zeros), each without those of
//! its most significant bytes that are zero. Before two words a byte tells how many these are: of the first in its low four bits, of
//! the second in its high ones.
//!
//! An account is zeros for the most part, and of its bytes a block changes few: where a value takes the place of another of the
//! same length, its words are what the two differ in (XOR).

const WORD_BYTES: usize = size_of::<u64>();
const PAIR_BYTES: usize = 2 * WORD_BYTES;
/// So much of a value is packed in a buffer of its own, in bytes: to grow a vector for each pair of words takes longer.
const PACKED_AT_ONCE: usize = 128;

/// The first bytes, zeros where there are too few.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    if let Some(whole) = bytes.first_chunk() {
        return *whole;
    }
    let mut padded = [0; N];
    padded.iter_mut().zip(bytes).for_each(|(byte, own)| *byte = *own);
    padded
}

/// Two words of a value; zero beyond its end.
fn pair(bytes: &[u8]) -> u128 {
    u128::from_le_bytes(padded(bytes))
}

/// The word of a value that begins at a byte; zero beyond its end.
fn word(value: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(padded(value.get(at..).unwrap_or_default()))
}

/// How many bytes a word has without its most significant ones that are zero.
fn length(word: u64) -> u8 {
    u8::try_from(u64::BITS.saturating_sub(word.leading_zeros()).div_ceil(8)).unwrap_or_default()
}

/// What a value is told by the difference to: another one of the same length.
fn base(other: &[u8], bytes: usize) -> &[u8] {
    if other.len() == bytes { other } else { &[] }
}

/// Appends a value, given what it takes the place of.
pub(super) fn pack(out: &mut Vec<u8>, value: &[u8], other: &[u8]) {
    let mut others = base(other, value.len()).chunks(PACKED_AT_ONCE);
    for value in value.chunks(PACKED_AT_ONCE) {
        let mut others = others.next().unwrap_or_default().chunks(PAIR_BYTES);
        let mut packed = [0; PACKED_AT_ONCE + PACKED_AT_ONCE / PAIR_BYTES + PAIR_BYTES];
        let mut end = 0_usize;
        for own in value.chunks(PAIR_BYTES) {
            let both = (pair(own) ^ others.next().map_or(0, pair)).to_le_bytes();
            let [first, second] = [0, WORD_BYTES].map(|at| word(&both, at));
            let lengths = [length(first), length(second)];
            let words = u128::from(first) | u128::from(second).wrapping_shl(u32::from(lengths[0]).wrapping_mul(8));
            // To copy two whole words, and the next ones over what was too much, is faster than to copy as many bytes as they have.
            let room = packed.get_mut(end..).and_then(<[u8]>::first_chunk_mut::<{ 1 + PAIR_BYTES }>);
            if let Some([head, room @ ..]) = room {
                *head = lengths[0] | lengths[1].wrapping_shl(4);
                *room = words.to_le_bytes();
            }
            end = end.saturating_add(1).saturating_add(lengths[0].into()).saturating_add(lengths[1].into());
        }
        out.extend_from_slice(packed.get(..end).unwrap_or_default());
    }
}

/// Takes a value of so many bytes off `rest`, given what it takes the place of; `None` if it is not there whole, or not as
/// [`pack`] writes it.
pub(super) fn unpack(rest: &mut &[u8], bytes: usize, other: &[u8]) -> Option<Vec<u8>> {
    let other = base(other, bytes);
    // Each two words take a byte at least: no length is believed that the rest cannot have.
    if bytes.div_ceil(PAIR_BYTES) > rest.len() {
        return None;
    }
    let mut value = Vec::with_capacity(bytes.saturating_add(PAIR_BYTES));
    while value.len() < bytes {
        let (lengths, mut after) = rest.split_first()?;
        for length in [lengths & 15, lengths.wrapping_shr(4)] {
            let (own, next) = after.split_at_checked(length.into())?;
            let mut packed = [0; WORD_BYTES];
            packed.get_mut(..own.len())?.copy_from_slice(own);
            if own.last() == Some(&0) {
                return None;
            }
            let at = value.len();
            value.extend_from_slice(&(u64::from_le_bytes(packed) ^ word(other, at)).to_le_bytes());
            after = next;
        }
        *rest = after;
    }
    // Nothing was told beyond the end.
    let is_whole = value.get(bytes..)?.iter().all(|byte| *byte == 0);
    value.truncate(bytes);
    is_whole.then_some(value)
}
