//! SHA-256 of eight messages at once with AVX2, for processors without SHA extensions.

#![expect(
    unsafe_code,
    reason = "calls functions that need a CPU with AVX2, and reads vectors as numbers"
)]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set_epi64x, _mm256_set1_epi32, _mm256_shuffle_epi8, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64, _mm256_xor_si256,
};
use std::mem::transmute;

use super::rounds::{K, SWAP, make_hash_lanes, sixteen};
use super::{BLOCK, Blocks, State};

const LANES: usize = 8;

type Vector = __m256i;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Hashes as many blocks of each message as the first has. `None` if this CPU lacks the instructions.
pub(super) fn compress(
    states: [State; LANES],
    blocks: [Blocks<'_>; LANES],
) -> Option<[State; LANES]> {
    // SAFETY: the feature has just been detected.
    is_available().then(|| unsafe { hash_lanes(states, blocks) })
}

make_hash_lanes!("avx2", 8);

#[target_feature(enable = "avx2")]
#[inline]
fn vector(numbers: [u32; LANES]) -> Vector {
    // SAFETY: both are 256 bits of which every pattern is a value.
    unsafe { transmute(numbers) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn numbers(vector: Vector) -> [u32; LANES] {
    // SAFETY: both are 256 bits of which every pattern is a value.
    unsafe { transmute(vector) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn constant(number: u32) -> Vector {
    _mm256_set1_epi32(number.cast_signed())
}

#[target_feature(enable = "avx2")]
#[inline]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Where `a` has ones, the bits of `b`; where it has zeros, those of `c`.
#[target_feature(enable = "avx2")]
#[inline]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(b, c), a), c)
}

/// The bits that at least two have.
#[target_feature(enable = "avx2")]
#[inline]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)), b)
}

/// Rotates each number `RIGHT` bits to the right; `LEFT` is what is missing to 32.
#[target_feature(enable = "avx2")]
#[inline]
fn rotate<const RIGHT: i32, const LEFT: i32>(a: Vector) -> Vector {
    const { assert!(RIGHT + LEFT == 32) };
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(a), _mm256_slli_epi32::<LEFT>(a))
}

#[target_feature(enable = "avx2")]
#[inline]
fn shift<const RIGHT: i32>(a: Vector) -> Vector {
    _mm256_srli_epi32::<RIGHT>(a)
}

/// The sixteen words of a block of each message: vector n has every message's word n.
#[target_feature(enable = "avx2")]
#[inline]
fn words(blocks: [&[u8; BLOCK]; LANES]) -> [Vector; 16] {
    let swap = _mm256_set_epi64x(SWAP[1], SWAP[0], SWAP[1], SWAP[0]);
    let halves = [0, 1].map(|half| {
        let row = |lane: usize| {
            let bytes: [u8; 32] = blocks[lane].as_chunks().0[half];
            // SAFETY: both are 256 bits of which every pattern is a value.
            _mm256_shuffle_epi8(unsafe { transmute::<[u8; 32], Vector>(bytes) }, swap)
        };
        // Each vector has two groups of four words. First four messages are turned within each of these groups, then
        // the groups come together that belong to the same words.
        let low = turn([row(0), row(1), row(2), row(3)]);
        let high = turn([row(4), row(5), row(6), row(7)]);
        let word = |n: usize| match n / 4 {
            0 => _mm256_permute2x128_si256::<0x20>(low[n % 4], high[n % 4]),
            _ => _mm256_permute2x128_si256::<0x31>(low[n % 4], high[n % 4]),
        };
        [word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)]
    });
    std::array::from_fn(|n| halves[n / 8][n % 8])
}

/// Within each group of four numbers, makes rows of columns.
#[target_feature(enable = "avx2")]
#[inline]
fn turn([a, b, c, d]: [Vector; 4]) -> [Vector; 4] {
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}
