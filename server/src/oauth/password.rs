//! Passwords: argon2id, a few at a time, on threads of their own. (OA-20, OA-21, OA-22)

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;

/// Shortest password that an account may have.
pub const MIN_CHARACTERS: usize = 8;

/// Longest text that is hashed.
pub const MAX_BYTES: usize = 1024;

/// Hashes at once: each takes 19 MiB and tens of milliseconds, and FHIR traffic goes on beside.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// A hash that no password has: unknown accounts take as long as known ones. (OA-21)
const OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("a password has at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// More than [`MAX_BYTES`].
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    /// The hash failed, which it does for want of memory only.
    #[error("the password could not be hashed")]
    Hash,
}

/// The PHC text to store for a new password.
pub fn hash(password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
    if password.chars().count() < MIN_CHARACTERS {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    let hash = hasher()?.hash_password_with_salt(normal(password).as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::Hash)
}

/// Whether a password is the one of a stored hash; without a stored hash it never is, but takes as long.
pub async fn verify(password: String, stored: Option<String>) -> bool {
    let Ok(_permit) = AT_ONCE.acquire().await else { return false };
    tokio::task::spawn_blocking(move || verify_now(&password, stored.as_deref())).await.unwrap_or(false)
}

fn verify_now(password: &str, stored: Option<&str>) -> bool {
    if password.len() > MAX_BYTES {
        return false;
    }
    let known = PasswordHash::new(stored.unwrap_or(OF_NOBODY));
    let (Ok(hash), Ok(hasher)) = (known, hasher()) else { return false };
    let matches = hasher.verify_password(normal(password).as_bytes(), &hash).is_ok();
    matches && stored.is_some()
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(19_456, 2, 1, None).map_err(|_| PasswordError::Hash)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// One text for all ways to type it.
fn normal(password: &str) -> String {
    password.nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_22_passwords_are_argon2id_and_one_text_however_typed() {
        let stored = hash("p\u{e4}ssword one", [3; 16]).expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify_now("pa\u{308}ssword one", Some(&stored)));
        assert!(!verify_now("password one", Some(&stored)));
        assert_eq!(hash("1234567", [3; 16]), Err(PasswordError::TooShort));
        assert_eq!(hash(&"x".repeat(1025), [3; 16]), Err(PasswordError::TooLong));
    }

    #[test]
    fn oa_21_nobody_has_a_password() {
        assert!(PasswordHash::new(OF_NOBODY).is_ok(), "else unknown accounts would answer faster");
        assert!(!verify_now("anything at all", None));
    }
}
