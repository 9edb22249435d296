//! What an authenticator signs. <https://www.w3.org/TR/webauthn-3/#sctn-authenticator-data>

use ciborium::Value;
use sha2::{Digest as _, Sha256};

use super::{PasskeyError, RelyingParty};

/// Nesting of CBOR that is followed.
pub(super) const MAX_DEPTH: usize = 8;

/// Flags (§6.1).
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const MAY_BE_BACKED_UP: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;

/// Its parts.
pub(super) struct AuthenticatorData {
    party: [u8; 32],
    flags: u8,
    /// Signatures made so far; 0 from authenticators that do not count.
    pub(super) sign_count: u32,
    /// Id and public key of a new passkey.
    pub(super) credential: Option<(Vec<u8>, Vec<u8>)>,
}

/// The authenticator data in an attestation object (§6.5.4).
pub(super) fn of_attestation(bytes: &[u8]) -> Option<Vec<u8>> {
    let (object, rest) = first(bytes)?;
    let found = object.as_map()?.iter().find(|(name, _)| name.as_text() == Some("authData"))?;
    if rest.is_empty() { found.1.as_bytes().cloned() } else { None }
}

/// The first item of CBOR and what stands behind it.
pub(super) fn first(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH).ok()?;
    Some((value, rest))
}

impl AuthenticatorData {
    /// Takes it apart; none where anything is missing or left over.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (party, rest) = bytes.split_first_chunk::<32>()?;
        let (&flags, rest) = rest.split_first()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let mut credential = None;
        if flags & HAS_CREDENTIAL != 0 {
            let (_aaguid, after) = rest.split_first_chunk::<16>()?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let (id, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            let (_, behind) = first(after)?;
            let key = &after[..after.len() - behind.len()];
            credential = Some((id.to_vec(), key.to_vec()));
            rest = behind;
        }
        if flags & HAS_EXTENSIONS != 0 {
            let (extensions, behind) = first(rest)?;
            extensions.as_map()?;
            rest = behind;
        }
        let read = AuthenticatorData { party: *party, flags, sign_count: u32::from_be_bytes(*count), credential };
        rest.is_empty().then_some(read)
    }

    /// Made for this server, by somebody who was there and was verified.
    pub(super) fn check(&self, party: &RelyingParty) -> Result<(), PasskeyError> {
        let expected: [u8; 32] = Sha256::digest(party.id.as_bytes()).into();
        if self.party != expected {
            return Err(PasskeyError::RelyingParty);
        }
        if self.flags & (PRESENT | VERIFIED) != PRESENT | VERIFIED {
            return Err(PasskeyError::NotVerified);
        }
        let is_contradiction = self.flags & BACKED_UP != 0 && self.flags & MAY_BE_BACKED_UP == 0;
        if is_contradiction { Err(PasskeyError::Malformed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_24_nothing_is_missing_and_nothing_left_over() {
        let plain = [[7; 32].as_slice(), &[PRESENT], &[0, 0, 1, 2]].concat();
        assert_eq!(AuthenticatorData::read(&plain).map(|data| data.sign_count), Some(258));
        for length in 0..plain.len() {
            assert!(AuthenticatorData::read(&plain[..length]).is_none(), "{length}");
        }
        assert!(AuthenticatorData::read(&[plain.as_slice(), &[0]].concat()).is_none());
        let mut extended = [plain.as_slice(), &[0xa0]].concat();
        extended[32] |= HAS_EXTENSIONS;
        assert!(AuthenticatorData::read(&extended).is_some());
    }

    #[test]
    fn deep_or_endless_cbor_is_refused() {
        for bytes in [&[0x81; 100][..], &[0x9f; 100], &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[]] {
            assert!(first(bytes).is_none(), "{bytes:x?}");
        }
    }
}
