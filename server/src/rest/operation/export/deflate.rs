//! Files in parts, each compressed by itself, and how a part joins the others: what is stored is sent to who takes gzip
//! as it is. <https://www.rfc-editor.org/rfc/rfc1951>, <https://www.rfc-editor.org/rfc/rfc1952>
//!
//! A part is a row of DEFLATE blocks that ends on a byte and looks back at nothing before it; parts one after the
//! other, with a last empty block, are one stream. One stream, and not several members, because not all clients read
//! on after the first.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// The beginning of a gzip stream, without a name or a time.
pub(super) const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The last block of DEFLATE: an empty one.
const LAST: [u8; 2] = [3, 0];

/// The length and CRC-32 of what parts were made of, so far.
#[derive(Clone, Debug)]
pub struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// That of a file of this many bytes.
    pub fn of(crc: i64, bytes: i64) -> Self {
        let (crc, bytes) = (u32::try_from(crc).unwrap_or(0), u64::try_from(bytes).unwrap_or(0));
        Checksum(crc32fast::Hasher::new_with_initial_len(crc, bytes))
    }

    /// That of the file with these bytes at its end.
    pub fn with(mut self, bytes: &[u8]) -> i64 {
        self.0.update(bytes);
        i64::from(self.0.finalize())
    }
}

/// A part of a file, compressed.
pub fn deflate(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::new(3));
    encoder.write_all(bytes)?;
    encoder.flush()?;
    // What the encoder would add in the end is not of the part.
    Ok(std::mem::take(encoder.get_mut()))
}

/// The part as it was.
pub(super) fn inflate(part: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len() * 8);
    DeflateDecoder::new(part.chain(&LAST[..])).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of a gzip stream of this many bytes.
pub(super) fn tail(crc: i64, bytes: i64) -> Vec<u8> {
    let mut tail = LAST.to_vec();
    tail.extend(&crc.to_le_bytes()[..4]);
    tail.extend(&bytes.to_le_bytes()[..4]);
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    #[test]
    fn parts_are_one_stream() {
        let parts: Vec<Vec<u8>> = (0..5_u8).map(|n| vec![b'a' + n; usize::from(n) * 40_000]).collect();
        let (mut stream, mut crc, mut length) = (HEAD.to_vec(), 0, 0);
        for part in &parts {
            let compressed = deflate(part).unwrap();
            assert_eq!(inflate(&compressed).unwrap(), *part);
            stream.extend(compressed);
            crc = Checksum::of(crc, length).with(part);
            length += part.len() as i64;
        }
        stream.extend(tail(crc, length));
        let mut read = Vec::new();
        GzDecoder::new(&stream[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, parts.concat());
    }
}
