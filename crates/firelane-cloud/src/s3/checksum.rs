//! Checksums of S3: CRC-32, CRC-32C, CRC-64/NVME, SHA-1, SHA-256.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A checksum under way.
pub(super) enum Checksum {
    Crc32(flate2::Crc),
    Crc32c(u32),
    Crc64(u64),
    Sha1(Sha1),
    Sha256(Sha256),
}

/// Headers of checksums.
pub(super) const HEADERS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

impl Checksum {
    /// By its header's name, in lower case.
    pub(super) fn of_header(name: &str) -> Option<Self> {
        match name.strip_prefix("x-amz-checksum-")? {
            "crc32" => Some(Self::Crc32(flate2::Crc::new())),
            "crc32c" => Some(Self::Crc32c(0)),
            "crc64nvme" => Some(Self::Crc64(!0)),
            "sha1" => Some(Self::Sha1(Sha1::new())),
            "sha256" => Some(Self::Sha256(Sha256::new())),
            _ => None,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Self::Crc64(crc) => *crc = crc64(*crc, bytes),
            Self::Sha1(sha) => sha.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    /// In base64, as headers have it.
    pub(super) fn text(self) -> String {
        match self {
            Self::Crc32(crc) => STANDARD.encode(crc.sum().to_be_bytes()),
            Self::Crc32c(crc) => STANDARD.encode(crc.to_be_bytes()),
            Self::Crc64(crc) => STANDARD.encode((!crc).to_be_bytes()),
            Self::Sha1(sha) => STANDARD.encode(sha.finalize()),
            Self::Sha256(sha) => STANDARD.encode(sha.finalize()),
        }
    }
}

/// CRC-64/NVME, reflected, a byte at a time by table.
fn crc64(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |crc, byte| {
        let at = (crc ^ u64::from(*byte)) & 0xff;
        TABLE.get(at as usize).copied().unwrap_or_default() ^ (crc >> 8)
    })
}

static TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
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

    /// The check values of the catalogues: "123456789".
    #[test]
    fn known_values() {
        let of = |name: &str| {
            let mut checksum = Checksum::of_header(name).unwrap();
            checksum.update(b"1234");
            checksum.update(b"56789");
            checksum.text()
        };
        let hex = |text: &str| crate::auth::hex(&STANDARD.decode(text).unwrap());
        assert_eq!(hex(&of("x-amz-checksum-crc32")), "cbf43926");
        assert_eq!(hex(&of("x-amz-checksum-crc32c")), "e3069283");
        assert_eq!(hex(&of("x-amz-checksum-crc64nvme")), "ae8b14860a799888");
        assert_eq!(
            hex(&of("x-amz-checksum-sha1")),
            "f7c3bc1d808e04732adf679965ccc34ca7ae3441"
        );
        assert!(hex(&of("x-amz-checksum-sha256")).starts_with("15e2b0d3c33891eb"));
        assert!(Checksum::of_header("x-amz-checksum-md5").is_none());
    }
}
