//! CRC32c (RFC 4960, appendix B; polynomial 0x1EDC6F41, reflected).

const TABLE: [u32; 256] = table();

/// A checksum in the making, over pieces.
pub(super) struct Crc32c(u32);

impl Crc32c {
    pub(super) const fn new() -> Self {
        Self(!0)
    }

    #[must_use]
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| {
            // The mask keeps the index within the table.
            (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize]
        }))
    }

    pub(super) const fn value(self) -> u32 {
        !self.0
    }
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // RFC 3720, appendix B.4, and the customary check value.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, crc) in [
            (&b""[..], 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ] {
            assert_eq!(Crc32c::new().with(bytes).value(), crc);
            let (front, back) = bytes.split_at(bytes.len() / 3);
            assert_eq!(Crc32c::new().with(front).with(back).value(), crc);
        }
    }
}
