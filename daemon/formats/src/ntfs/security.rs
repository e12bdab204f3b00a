//! The table of security descriptors, the stream `$SDS` of `$Secure`.

use std::collections::HashMap;

use super::{Damage, length, u32_at};

/// A copy follows each 256 KiB.
const HALF: usize = 256 << 10;
/// What stands before each descriptor: hash, number, offset, length.
const HEADER: usize = 20;

/// Reads the stream: the descriptors by number. Each begins at a multiple of 16.
///
/// # Errors
/// [`Damage::Security`] if a descriptor is cut off.
pub fn table(data: &[u8]) -> Result<HashMap<u32, Vec<u8>>, Damage> {
    let mut all = HashMap::new();
    let mut at = 0;
    while let (Some(number), Some(size)) = (u32_at(data, at + 4), u32_at(data, at + 16)) {
        if at % (2 * HALF) >= HALF {
            at = (at / (2 * HALF) + 1) * 2 * HALF;
            continue;
        }
        let size = length(size);
        if size == 0 {
            at = (at / HALF + 1) * HALF;
            continue;
        }
        let descriptor = data.get(at + HEADER..at + size).ok_or(Damage::Security(at))?;
        all.insert(number, descriptor.to_vec());
        at += size.next_multiple_of(16);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(data: &mut [u8], at: usize, number: u32, descriptor: &[u8]) {
        data[at + 4..at + 8].copy_from_slice(&number.to_le_bytes());
        let size = u32::try_from(HEADER + descriptor.len()).unwrap();
        data[at + 16..at + 20].copy_from_slice(&size.to_le_bytes());
        data[at + HEADER..at + HEADER + descriptor.len()].copy_from_slice(descriptor);
    }

    #[test]
    fn descriptors_of_both_halves_and_no_copies() {
        let mut data = vec![0; 2 * HALF + 100];
        put(&mut data, 0, 256, b"first");
        put(&mut data, 32, 257, b"second");
        put(&mut data, HALF, 999, b"copy");
        put(&mut data, 2 * HALF, 258, b"third");
        let right = [(256, b"first".to_vec()), (257, b"second".to_vec()), (258, b"third".to_vec())];
        assert_eq!(table(&data), Ok(HashMap::from(right)));
        put(&mut data, 2 * HALF, 258, &[1; 80]);
        data.truncate(2 * HALF + 50);
        assert_eq!(table(&data), Err(Damage::Security(2 * HALF)));
    }
}
