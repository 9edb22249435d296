//! One-time passwords as an authenticator app makes them. <https://www.rfc-editor.org/rfc/rfc6238>

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The one-time password of a key, in base32, so many steps from now.
pub fn code(key: &str, steps: i64) -> String {
    let seconds = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs() as i64;
    let mut bits = 0_u64;
    let mut count = 0;
    let mut secret = Vec::new();
    for character in key.bytes() {
        let value = if character.is_ascii_uppercase() { character - b'A' } else { character - b'2' + 26 };
        bits = (bits << 5) | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            secret.push((bits >> count) as u8);
        }
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(&secret).expect("any length");
    mac.update(&(seconds / 30 + steps).to_be_bytes());
    let digest: [u8; 20] = mac.finalize().into_bytes().into();
    let offset = usize::from(digest[19] & 15);
    let number = u32::from_be_bytes(digest[offset..offset + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}
