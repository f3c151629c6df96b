//! Sixteen messages in the lanes of AVX-512 registers.

use super::{LANES, PADDED_BYTES, padding};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_set4_epi32,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::sync::LazyLock;

/// A block of a message.
type Block = [u8; 64];
/// A register's content: a word for each lane.
type Lanes = [u32; LANES];

/// Ternary logic: `a ^ b ^ c`, `a ? b : c`, the majority.
const XOR: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// FIPS 180-4, 4.2.2.
#[rustfmt::skip]
const ROUNDS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

static IS_AVAILABLE: LazyLock<bool> =
    LazyLock::new(|| is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"));

/// The digests of at most 16 messages; `None` where the processor has no AVX-512.
pub(super) fn digest_group(group: &[&[u8]]) -> Option<[[u8; 32]; LANES]> {
    if !*IS_AVAILABLE {
        return None;
    }
    if let Some(length) = length_of_two_blocks(group) {
        let mut messages = [padding(length); LANES];
        for (padded, message) in messages.iter_mut().zip(group) {
            padded[..length].copy_from_slice(message);
        }
        return digest_padded(&messages);
    }
    let blocks_of = |message: &[u8]| message.len() / 64 + if message.len() % 64 < 56 { 1 } else { 2 };
    let longest = group.iter().map(|message| blocks_of(message)).max()?;
    let mut state = INITIAL.map(|word| [word; LANES]);
    let mut digests = [[0; 32]; LANES];
    let mut blocks = [[0; 64]; LANES];
    for index in 0..longest {
        for (message, block) in group.iter().zip(&mut blocks) {
            if index < blocks_of(message) {
                load(message, index, block);
            }
        }
        compress(&mut state, &blocks.each_ref());
        for (lane, (message, digest)) in group.iter().zip(&mut digests).enumerate() {
            if index + 1 == blocks_of(message) {
                *digest = digest_of(&state, lane);
            }
        }
    }
    Some(digests)
}

/// The digests of 16 messages of two blocks with their padding; `None` where the processor has no AVX-512.
pub(super) fn digest_padded(messages: &[[u8; PADDED_BYTES]; LANES]) -> Option<[[u8; 32]; LANES]> {
    if !*IS_AVAILABLE {
        return None;
    }
    const NONE: &Block = &[0; 64];
    let mut state = INITIAL.map(|word| [word; LANES]);
    compress(&mut state, &messages.each_ref().map(|message| message.first_chunk().unwrap_or(NONE)));
    compress(&mut state, &messages.each_ref().map(|message| message.last_chunk().unwrap_or(NONE)));
    Some(std::array::from_fn(|lane| digest_of(&state, lane)))
}

/// What a lane holds after the last block of its message.
fn digest_of(state: &[Lanes; 8], lane: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word[lane].to_be_bytes();
    }
    digest
}

/// The length that all messages have, as keys and values of accounts do, if they take two blocks each.
fn length_of_two_blocks(group: &[&[u8]]) -> Option<usize> {
    let length = group.first()?.len();
    let is_it = (56..=PADDED_BYTES - 9).contains(&length) && group.iter().all(|message| message.len() == length);
    is_it.then_some(length)
}

/// A block of a message, padded where the message ends.
fn load(message: &[u8], index: usize, block: &mut Block) {
    let rest = message.get(index * 64..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk::<64>() {
        *block = *whole;
        return;
    }
    block[..rest.len()].copy_from_slice(rest);
    block[rest.len()..].fill(0);
    // The bit that ends a message follows its last byte: in the next block, if that one is full.
    if message.len() >= index * 64 {
        block[rest.len()] = 0x80;
    }
    if rest.len() < 56 {
        block[56..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    }
}

fn compress(state: &mut [Lanes; 8], blocks: &[&Block; LANES]) {
    assert!(*IS_AVAILABLE, "no AVX-512");
    // SAFETY: the processor has AVX-512 F and BW, as asserted; the function has no other requirement.
    #[allow(unsafe_code, reason = "calls a function compiled for a processor feature")]
    unsafe {
        compress_avx512(state, blocks);
    }
}

/// One round; the new values are in `$h` and `$d`.
macro_rules! round {
    ($k:ident, $w:ident, $at:literal, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        let constant = _mm512_set1_epi32($k[$at].cast_signed());
        let choice = _mm512_ternarylogic_epi32::<CHOOSE>($e, $f, $g);
        let one = add(add(add($h, constant), $w[$at]), add(choice, big_1($e)));
        $d = add($d, one);
        $h = add(one, add(big_0($a), _mm512_ternarylogic_epi32::<MAJORITY>($a, $b, $c)));
    };
}

/// The word that takes the place of another sixteen rounds later.
macro_rules! schedule {
    (last, $w:ident, $at:literal) => {};
    (more, $w:ident, $at:literal) => {
        let near = add($w[$at], small_0($w[($at + 1) % 16]));
        $w[$at] = add(near, add($w[($at + 9) % 16], small_1($w[($at + 14) % 16])));
    };
}

/// Sixteen rounds, after which all values are in their places again.
macro_rules! sixteen_rounds {
    ($next:ident, $k:ident, $w:ident, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        round!($k, $w, 0, $a $b $c $d $e $f $g $h);
        schedule!($next, $w, 0);
        round!($k, $w, 1, $h $a $b $c $d $e $f $g);
        schedule!($next, $w, 1);
        round!($k, $w, 2, $g $h $a $b $c $d $e $f);
        schedule!($next, $w, 2);
        round!($k, $w, 3, $f $g $h $a $b $c $d $e);
        schedule!($next, $w, 3);
        round!($k, $w, 4, $e $f $g $h $a $b $c $d);
        schedule!($next, $w, 4);
        round!($k, $w, 5, $d $e $f $g $h $a $b $c);
        schedule!($next, $w, 5);
        round!($k, $w, 6, $c $d $e $f $g $h $a $b);
        schedule!($next, $w, 6);
        round!($k, $w, 7, $b $c $d $e $f $g $h $a);
        schedule!($next, $w, 7);
        round!($k, $w, 8, $a $b $c $d $e $f $g $h);
        schedule!($next, $w, 8);
        round!($k, $w, 9, $h $a $b $c $d $e $f $g);
        schedule!($next, $w, 9);
        round!($k, $w, 10, $g $h $a $b $c $d $e $f);
        schedule!($next, $w, 10);
        round!($k, $w, 11, $f $g $h $a $b $c $d $e);
        schedule!($next, $w, 11);
        round!($k, $w, 12, $e $f $g $h $a $b $c $d);
        schedule!($next, $w, 12);
        round!($k, $w, 13, $d $e $f $g $h $a $b $c);
        schedule!($next, $w, 13);
        round!($k, $w, 14, $c $d $e $f $g $h $a $b);
        schedule!($next, $w, 14);
        round!($k, $w, 15, $b $c $d $e $f $g $h $a);
        schedule!($next, $w, 15);
    };
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress_avx512(state: &mut [Lanes; 8], blocks: &[&Block; LANES]) {
    let mut w = [_mm512_setzero_si512(); 16];
    for (register, block) in w.iter_mut().zip(blocks) {
        *register = load_bytes(block);
    }
    transpose(&mut w);
    let mut start = [_mm512_setzero_si512(); 8];
    for (register, lanes) in start.iter_mut().zip(&*state) {
        *register = load_words(lanes);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = start;
    let (first, last) = ROUNDS.split_at(48);
    for k in first.as_chunks::<16>().0 {
        sixteen_rounds!(more, k, w, a b c d e f g h);
    }
    sixteen_rounds!(last, last, w, a b c d e f g h);
    for (lanes, (before, after)) in state.iter_mut().zip(start.into_iter().zip([a, b, c, d, e, f, g, h])) {
        store_words(lanes, add(before, after));
    }
}

/// Words of 16 messages, a message in each register, to a word of each message in each register.
#[target_feature(enable = "avx512f")]
fn transpose(w: &mut [__m512i; 16]) {
    // Within groups of four registers, then of four words: first squares of 4 words, then of 4 registers.
    for four in w.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *four;
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        *four = [
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ];
    }
    // Now lane `j` of register `4 i + k` holds word `4 j + k` of messages `4 i` to `4 i + 3`.
    let rows = *w;
    for k in 0..4 {
        let (a, b, c, d) = (rows[k], rows[k + 4], rows[k + 8], rows[k + 12]);
        let (ab_low, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
        let (cd_low, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
        w[k] = _mm512_shuffle_i32x4::<0x88>(ab_low, cd_low);
        w[k + 4] = _mm512_shuffle_i32x4::<0xdd>(ab_low, cd_low);
        w[k + 8] = _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high);
        w[k + 12] = _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high);
    }
}

/// The big-endian words of a block.
#[target_feature(enable = "avx512f,avx512bw")]
fn load_bytes(block: &Block) -> __m512i {
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    // SAFETY: reads the 64 bytes of `block`; the load needs no alignment.
    #[allow(unsafe_code, reason = "loads of registers take pointers")]
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    _mm512_shuffle_epi8(bytes, swap)
}

#[target_feature(enable = "avx512f")]
fn load_words(lanes: &Lanes) -> __m512i {
    // SAFETY: reads the 64 bytes of `lanes`; the load needs no alignment.
    #[allow(unsafe_code, reason = "loads of registers take pointers")]
    unsafe {
        _mm512_loadu_si512(lanes.as_ptr().cast())
    }
}

#[target_feature(enable = "avx512f")]
fn store_words(lanes: &mut Lanes, register: __m512i) {
    // SAFETY: writes the 64 bytes of `lanes`; the store needs no alignment.
    #[allow(unsafe_code, reason = "stores of registers take pointers")]
    unsafe {
        _mm512_storeu_si512(lanes.as_mut_ptr().cast(), register);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(a, b, c)
}

// The four functions of FIPS 180-4, 4.1.2, in its order.

#[inline]
#[target_feature(enable = "avx512f")]
fn big_0(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<2>(x), _mm512_ror_epi32::<13>(x), _mm512_ror_epi32::<22>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_1(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<6>(x), _mm512_ror_epi32::<11>(x), _mm512_ror_epi32::<25>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_0(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_1(x: __m512i) -> __m512i {
    xor(_mm512_ror_epi32::<17>(x), _mm512_ror_epi32::<19>(x), _mm512_srli_epi32::<10>(x))
}
