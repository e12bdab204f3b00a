//! SHA-256 (FIPS 180-4) of two messages at once with the x86 SHA extensions.
//!
//! Each pair of rounds needs the result of the pair before, so one message leaves the unit that computes rounds idle
//! for part of the time. The rounds of a second, independent message fill these gaps.

#![expect(unsafe_code, reason = "calls a function that needs a CPU with the SHA extensions")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_setr_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::BLOCK;

/// FIPS 180-4, 4.2.2: one constant for each round, in groups of four.
const K: [[u32; 4]; 16] = [
    [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
    [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
    [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
    [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
    [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
    [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
    [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
    [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
    [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
    [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
    [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
    [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
    [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
    [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
    [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
    [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
];

/// Hashes blocks of two messages into their states, as many blocks as both have. `None` if this CPU lacks the
/// instructions.
pub(super) fn compress(
    states: [[u32; 8]; 2],
    a: &[[u8; BLOCK]],
    b: &[[u8; BLOCK]],
) -> Option<[[u32; 8]; 2]> {
    if !(is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1"))
    {
        return None;
    }
    // SAFETY: every x86-64 CPU has SSE2, and the other features have just been detected.
    Some(unsafe { compress_common(states, a, b) })
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn compress_common(
    [a_state, b_state]: [[u32; 8]; 2],
    a: &[[u8; BLOCK]],
    b: &[[u8; BLOCK]],
) -> [[u32; 8]; 2] {
    let mut lanes = [pack(a_state), pack(b_state)];
    for (a, b) in a.iter().zip(b) {
        let before = lanes;
        let mut words = [load(a), load(b)];
        // A loop unrolled by hand: the constants become immediate values, the words stay in registers, and the compiler
        // drops the words that the last groups compute for groups that do not come.
        macro_rules! groups {
            ($($group:literal)*) => { $(
                for (lane, words) in lanes.iter_mut().zip(&mut words) {
                    four_rounds(lane, words, K[$group]);
                }
            )* };
        }
        groups!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for (lane, before) in lanes.iter_mut().zip(before) {
            *lane = [_mm_add_epi32(lane[0], before[0]), _mm_add_epi32(lane[1], before[1])];
        }
    }
    let [a, b] = lanes;
    [unpack(a), unpack(b)]
}

/// Four rounds of one lane. `words` are the next sixteen words of its message schedule; they move on by four.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
#[inline]
fn four_rounds([abef, cdgh]: &mut [__m128i; 2], words: &mut [__m128i; 4], k: [u32; 4]) {
    let [w0, w1, w2, w3] = *words;
    let [k0, k1, k2, k3] = k.map(u32::cast_signed);
    let sum = _mm_add_epi32(w0, _mm_setr_epi32(k0, k1, k2, k3));
    // Two rounds make a new (a, b, e, f) out of (a, b, e, f) and (c, d, g, h); the old (a, b, e, f) is the new
    // (c, d, g, h).
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sum, 0b1110));
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    *words = [w1, w2, w3, _mm_sha256msg2_epu32(sum, w3)];
}

/// A block as sixteen big-endian words.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
#[inline]
fn load(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    // The compiler merges the two halves into one load; a load through a pointer would need `unsafe`.
    let four = |quarter: usize| {
        let halves = block.as_chunks::<16>().0[quarter].as_chunks().0;
        let [low, high] = [halves[0], halves[1]].map(i64::from_le_bytes);
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap)
    };
    [four(0), four(1), four(2), four(3)]
}

/// A state in the order that the instructions expect.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn pack(state: [u32; 8]) -> [__m128i; 2] {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn unpack([abef, cdgh]: [__m128i; 2]) -> [u32; 8] {
    let [a, b] = [_mm_extract_epi32(abef, 3), _mm_extract_epi32(abef, 2)];
    let [c, d] = [_mm_extract_epi32(cdgh, 3), _mm_extract_epi32(cdgh, 2)];
    let [e, f] = [_mm_extract_epi32(abef, 1), _mm_extract_epi32(abef, 0)];
    let [g, h] = [_mm_extract_epi32(cdgh, 1), _mm_extract_epi32(cdgh, 0)];
    [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
}
