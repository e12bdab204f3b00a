//! LZNT1, with which NTFS compresses files (MS-XCA 2.5).
//!
//! A stream is cut into units of 16 clusters. A unit all of whose clusters are there is stored as it is, one without any
//! is zeros, and any other begins with chunks: each a header of two bytes, and up to 4096 bytes of literals and
//! back-references.

/// The bytes of a chunk, uncompressed.
const CHUNK: usize = 4096;

/// Data that is not LZNT1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compressed data is damaged at byte {0}")]
pub(super) struct Damaged(usize);

/// Uncompresses one unit into `out`, as far as that reaches; what the data does not fill is zeros.
///
/// # Errors
/// [`Damaged`] if a chunk is cut off, or refers to what lies before it.
pub(super) fn uncompress(data: &[u8], out: &mut [u8]) -> Result<(), Damaged> {
    out.fill(0);
    let mut at = 0;
    for target in out.chunks_mut(CHUNK) {
        let Some(header) = data.get(at..at + 2) else { return Ok(()) };
        let header = u16::from_le_bytes([header[0], header[1]]);
        if header == 0 {
            return Ok(());
        }
        let length = usize::from(header & 0xfff) + 1;
        let chunk = data.get(at + 2..at + 2 + length).ok_or(Damaged(at))?;
        if header & 0x8000 == 0 {
            let count = length.min(target.len());
            target[..count].copy_from_slice(&chunk[..count]);
        } else {
            chunk_into(chunk, target).ok_or(Damaged(at))?;
        }
        at += 2 + length;
    }
    Ok(())
}

/// Uncompresses the tokens of one chunk; `None` if they make no sense.
fn chunk_into(tokens: &[u8], out: &mut [u8]) -> Option<()> {
    let mut tokens = tokens.iter().copied();
    let mut done = 0;
    while let Some(flags) = tokens.next() {
        for bit in 0..8 {
            if flags & (1 << bit) == 0 {
                let Some(literal) = tokens.next() else { return Some(()) };
                // The last chunk may go on behind the end of the file.
                let Some(place) = out.get_mut(done) else { return Some(()) };
                *place = literal;
                done += 1;
                continue;
            }
            let Some(low) = tokens.next() else { return Some(()) };
            let token = u16::from_le_bytes([low, tokens.next()?]);
            // The further into the chunk, the more bits of a token say how far back, and the fewer how much.
            let mut length_bits = 12;
            while done > 1 << (16 - length_bits) {
                length_bits -= 1;
            }
            let back = usize::from(token >> length_bits) + 1;
            let length = usize::from(token & ((1 << length_bits) - 1)) + 3;
            let from = done.checked_sub(back)?;
            for step in 0..length {
                let Some(place) = out.get(from + step).copied() else { return Some(()) };
                let Some(target) = out.get_mut(done) else { return Some(()) };
                *target = place;
                done += 1;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of MS-XCA 3.3.
    #[test]
    fn the_example_of_the_specification() {
        let compressed = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2,
            0x47, 0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0,
            0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58,
            0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01,
            0x18, 0x90, 0x00,
        ];
        let text = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D \
                    E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        let mut out = vec![0xff; text.len() + 10];
        uncompress(&compressed, &mut out).unwrap();
        assert_eq!(&out[..text.len()], text.as_bytes());
        assert_eq!(out[text.len()..], [0; 10]);
        let mut short = vec![0; 20];
        uncompress(&compressed, &mut short).unwrap();
        assert_eq!(short, text.as_bytes()[..20]);
    }

    #[test]
    fn plain_chunks_and_zeros() {
        let mut data = vec![0xff, 0x3f];
        data.extend([7; CHUNK]);
        data.extend([0x00, 0x30, 9]);
        let mut out = vec![1; 2 * CHUNK];
        uncompress(&data, &mut out).unwrap();
        assert!(out[..CHUNK].iter().all(|byte| *byte == 7));
        assert_eq!(out[CHUNK..CHUNK + 2], [9, 0]);
        let mut out = vec![1; 5];
        uncompress(&[0, 0], &mut out).unwrap();
        assert_eq!(out, [0; 5]);
    }

    #[test]
    fn nonsense_is_an_error_or_bytes() {
        let mut out = vec![0; 100];
        assert_eq!(uncompress(&[0xff, 0xbf, 1], &mut out), Err(Damaged(0)));
        // A reference to what lies before the chunk.
        assert_eq!(uncompress(&[0x02, 0xb0, 0x01, 0x00, 0x00], &mut out), Err(Damaged(0)));
        for byte in 0..=u8::MAX {
            let _ = uncompress(&[0x1f, 0xb0, byte, byte, byte, byte, 0x80, byte], &mut out);
        }
    }
}
