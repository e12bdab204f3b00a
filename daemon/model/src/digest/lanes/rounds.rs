//! SHA-256 (FIPS 180-4, 6.2.2) of one message in each lane of a vector.
//!
//! What differs between AVX2 and AVX-512 is a handful of operations on vectors, which each module has under the same
//! names. A function with a target feature cannot be a trait's, so a macro stands where a generic function would.

/// FIPS 180-4, 4.2.2: one constant for each round.
pub(super) const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The order of bytes that makes big-endian words of four words in memory: the low and the high half.
pub(super) const SWAP: [i64; 2] = [0x0405_0607_0001_0203, 0x0c0d_0e0f_0809_0a0b];

/// Sixteen rounds unrolled: words and parts of the state have fixed names then, so the compiler keeps them in registers.
macro_rules! sixteen {
    ($t:ident => $body:expr) => {
        sixteen!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; $t => $body)
    };
    ($($number:literal)*; $t:ident => $body:expr) => { $({
        const $t: usize = $number;
        $body;
    })* };
}

/// Makes `hash_lanes` for `$lanes` messages, of the operations of the module in which it stands: `vector`, `numbers`,
/// `words`, `constant`, `add`, `xor3`, `choose`, `majority`, `rotate` and `shift`.
macro_rules! make_hash_lanes {
    ($features:literal, $lanes:literal) => {
        /// Hashes as many blocks of each message as the first has.
        #[target_feature(enable = $features)]
        fn hash_lanes(states: [State; $lanes], blocks: [Blocks<'_>; $lanes]) -> [State; $lanes] {
            let mut state: [Vector; 8] =
                std::array::from_fn(|part| vector(states.map(|state| state[part])));
            for number in 0..blocks[0].len() {
                let before = state;
                let mut words = words(blocks.map(|blocks| &blocks[number]));
                sixteen!(T => round(&mut state, words[T], K[T]));
                for group in [16, 32, 48] {
                    sixteen!(T => {
                        next_word::<T>(&mut words);
                        round(&mut state, words[T], K[group + T])
                    });
                }
                for (part, before) in state.iter_mut().zip(before) {
                    *part = add(*part, before);
                }
            }
            let parts = state.map(|part| numbers(part));
            std::array::from_fn(|lane| parts.map(|part| part[lane]))
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn round(state: &mut [Vector; 8], word: Vector, k: u32) {
            let [a, b, c, d, e, f, g, h] = *state;
            let sum_e = xor3(rotate::<6, 26>(e), rotate::<11, 21>(e), rotate::<25, 7>(e));
            let sum_a = xor3(rotate::<2, 30>(a), rotate::<13, 19>(a), rotate::<22, 10>(a));
            let one = add(add(add(h, constant(k)), word), add(sum_e, choose(e, f, g)));
            let two = add(sum_a, majority(a, b, c));
            *state = [add(one, two), a, b, c, add(d, one), e, f, g];
        }

        /// Makes the word for round `T` out of those of the sixteen rounds before.
        #[target_feature(enable = $features)]
        #[inline]
        fn next_word<const T: usize>(words: &mut [Vector; 16]) {
            let (second, last) = (words[(T + 1) % 16], words[(T + 14) % 16]);
            let small_0 = xor3(rotate::<7, 25>(second), rotate::<18, 14>(second), shift::<3>(second));
            let small_1 = xor3(rotate::<17, 15>(last), rotate::<19, 13>(last), shift::<10>(last));
            words[T] = add(add(words[T], small_0), add(words[(T + 9) % 16], small_1));
        }
    };
}

pub(super) use {make_hash_lanes, sixteen};
