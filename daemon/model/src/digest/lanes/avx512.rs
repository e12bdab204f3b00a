//! SHA-256 of sixteen messages at once with AVX-512.

#![expect(
    unsafe_code,
    reason = "calls functions that need a CPU with AVX-512, and reads vectors as numbers"
)]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_ror_epi32, _mm512_set_epi64, _mm512_set1_epi32,
    _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_ternarylogic_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::rounds::{K, SWAP, make_hash_lanes, sixteen};
use super::{BLOCK, Blocks, State};

const LANES: usize = 16;

type Vector = __m512i;

/// Groups 0 and 2, or 1 and 3, of one vector, then of another.
const EVEN: i32 = 0b10_00_10_00;
const ODD: i32 = 0b11_01_11_01;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Hashes as many blocks of each message as the first has. `None` if this CPU lacks the instructions.
pub(super) fn compress(
    states: [State; LANES],
    blocks: [Blocks<'_>; LANES],
) -> Option<[State; LANES]> {
    // SAFETY: the features have just been detected.
    is_available().then(|| unsafe { hash_lanes(states, blocks) })
}

make_hash_lanes!("avx512f,avx512bw", 16);

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn vector(numbers: [u32; LANES]) -> Vector {
    // SAFETY: both are 512 bits of which every pattern is a value.
    unsafe { transmute(numbers) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn numbers(vector: Vector) -> [u32; LANES] {
    // SAFETY: both are 512 bits of which every pattern is a value.
    unsafe { transmute(vector) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn constant(number: u32) -> Vector {
    _mm512_set1_epi32(number.cast_signed())
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

// The number of a ternary operation is the column of results for (a, b, c) = 000 to 111, the first in the lowest bit.

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1001_0110>(a, b, c)
}

/// Where `a` has ones, the bits of `b`; where it has zeros, those of `c`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1100_1010>(a, b, c)
}

/// The bits that at least two have.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1110_1000>(a, b, c)
}

/// Rotates each number `RIGHT` bits to the right; `LEFT` is what is missing to 32.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn rotate<const RIGHT: i32, const LEFT: i32>(a: Vector) -> Vector {
    const { assert!(RIGHT + LEFT == 32) };
    _mm512_ror_epi32::<RIGHT>(a)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn shift<const RIGHT: u32>(a: Vector) -> Vector {
    _mm512_srli_epi32::<RIGHT>(a)
}

/// The sixteen words of a block of each message: vector n has every message's word n.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn words(blocks: [&[u8; BLOCK]; LANES]) -> [Vector; 16] {
    let [low, high] = SWAP;
    let swap = _mm512_set_epi64(high, low, high, low, high, low, high, low);
    let row = |lane: usize| {
        // SAFETY: both are 512 bits of which every pattern is a value.
        _mm512_shuffle_epi8(unsafe { transmute::<[u8; BLOCK], Vector>(*blocks[lane]) }, swap)
    };
    // Each vector has four groups of four words. First four messages are turned within each of these groups, then the
    // groups come together that belong to the same words.
    let turned =
        [0, 4, 8, 12].map(|lane| turn([row(lane), row(lane + 1), row(lane + 2), row(lane + 3)]));
    let together = [0, 1, 2, 3].map(|n| {
        let [a, b, c, d] = turned.map(|four| four[n]);
        let (ab, cd) = (_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<EVEN>(c, d));
        let (ab_odd, cd_odd) =
            (_mm512_shuffle_i32x4::<ODD>(a, b), _mm512_shuffle_i32x4::<ODD>(c, d));
        [
            _mm512_shuffle_i32x4::<EVEN>(ab, cd),
            _mm512_shuffle_i32x4::<EVEN>(ab_odd, cd_odd),
            _mm512_shuffle_i32x4::<ODD>(ab, cd),
            _mm512_shuffle_i32x4::<ODD>(ab_odd, cd_odd),
        ]
    });
    std::array::from_fn(|n| together[n % 4][n / 4])
}

/// Within each group of four numbers, makes rows of columns.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn turn([a, b, c, d]: [Vector; 4]) -> [Vector; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}
