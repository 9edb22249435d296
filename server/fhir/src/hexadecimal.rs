//! Bytes as hexadecimal digits, two each. <https://www.rfc-editor.org/rfc/rfc4648#section-8>

/// The digits of bytes, in lower case.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::hexadecimal;

    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(hexadecimal(&[0, 7, 0x5a, 0xff]), "00075aff");
        assert_eq!(hexadecimal(&[]), "");
    }
}
