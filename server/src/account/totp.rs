//! Time-based one-time passwords. <https://www.rfc-editor.org/rfc/rfc6238>, <https://www.rfc-editor.org/rfc/rfc4226>
//!
//! HMAC-SHA-1, six digits, steps of 30 seconds: what every authenticator app knows. The secret is derived from a salt
//! in the database and the server's key, so that a copy of the database makes no codes.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use qrcodegen::{QrCode, QrCodeEcc};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Length of a step, microseconds.
const STEP: i64 = 30_000_000;

/// How many steps a clock may be off, either way (OA-24).
const SKEW: i64 = 1;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret of 160 bits.
#[derive(Clone)]
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// The secret of an account, from the server's key for this purpose and the salt that is kept.
    pub fn derive(key: &[u8; 32], account_id: &str, salt: &[u8]) -> Self {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(account_id.as_bytes());
        mac.update(&[0]);
        mac.update(salt);
        let derived: [u8; 32] = mac.finalize().into_bytes().into();
        TotpSecret(derived[..20].try_into().expect("20 of 32 bytes"))
    }

    /// As people type it into their app: base32 in groups of four.
    pub fn in_groups(&self) -> String {
        let text = base32(&self.0);
        let groups: Vec<&str> = (0..text.len()).step_by(4).map(|at| &text[at..(at + 4).min(text.len())]).collect();
        groups.join(" ")
    }

    /// The address that authenticator apps read.
    /// <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>
    pub fn address(&self, username: &str) -> String {
        let username = percent_encoding::utf8_percent_encode(username, percent_encoding::NON_ALPHANUMERIC);
        format!("otpauth://totp/Tributary:{username}?secret={}&issuer=Tributary", base32(&self.0))
    }

    /// The step whose code this is, if it is one of now.
    pub fn step_of(&self, code: &str, now: i64) -> Option<i64> {
        let current = now / STEP;
        let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let mut found = None;
        for step in current - SKEW..=current + SKEW {
            if self.code(step).as_bytes().ct_eq(digits.as_bytes()).into() {
                found = Some(step);
            }
        }
        found
    }

    /// The code of a step, §5.3 of RFC 4226.
    fn code(&self, step: i64) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&step.to_be_bytes());
        let digest: [u8; 20] = mac.finalize().into_bytes().into();
        let offset = usize::from(digest[19] & 0x0f);
        let four = [digest[offset] & 0x7f, digest[offset + 1], digest[offset + 2], digest[offset + 3]];
        format!("{:06}", u32::from_be_bytes(four) % 1_000_000)
    }
}

/// A QR code as the path of an SVG, one unit a module, with its width in units; none where the text is too long.
pub fn qr_code(text: &str) -> Option<(String, i32)> {
    const BORDER: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            let _infallible = write!(path, "M{} {}h1v1h-1z", x + BORDER, y + BORDER);
        }
    }
    Some((path, code.size() + 2 * BORDER))
}

/// RFC 4648 §6, without padding.
pub fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut block = [0; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let characters = (chunk.len() * 8).div_ceil(5);
        text.extend((0..characters).map(|at| char::from(ALPHABET[(bits >> (35 - 5 * at)) as usize & 31])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, cut to six digits.
    #[test]
    fn oa_24_codes_are_those_of_the_rfc() {
        let secret = TotpSecret(*b"12345678901234567890");
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.step_of(code, seconds * 1_000_000), Some(seconds / 30), "{code}");
        }
    }

    #[test]
    fn oa_24_a_clock_may_be_off_by_one_step() {
        let secret = TotpSecret(*b"12345678901234567890");
        let at = |seconds: i64| secret.step_of("050 471", seconds * 1_000_000);
        let step = Some(1_111_111_111 / 30);
        assert_eq!([-60, -31, 0, 31, 60].map(|off| at(1_111_111_111 + off)), [None, step, step, step, None]);
        assert_eq!(secret.step_of("", 0), None);
    }

    #[test]
    fn secrets_differ_by_account_and_salt() {
        let secret = |account: &str, salt: &[u8]| TotpSecret::derive(&[1; 32], account, salt).0;
        assert_eq!(secret("a", b"x"), secret("a", b"x"));
        assert_ne!(secret("a", b"x"), secret("b", b"x"));
        assert_ne!(secret("a", b"x"), secret("a", b"y"));
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
