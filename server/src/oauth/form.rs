//! Parameters of queries and forms, read strictly. <https://www.rfc-editor.org/rfc/rfc6749#section-3.1>

use actix_web::HttpRequest;
use actix_web::http::header;
use percent_encoding::percent_decode;
use smart::error::OAuthError;

/// Longest query or form that is looked at (OA-33).
pub const MAX_BYTES: usize = 64 * 1024;

/// Names and values in the order sent.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `a=b&c=d`; text that is not UTF-8 is an error, so that nothing is changed silently (SM-15), and so is
    /// U+0000, which PostgreSQL cannot hold (IN-11).
    pub fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        if text.len() > MAX_BYTES {
            return Err(OAuthError::invalid_request("the request is too long"));
        }
        let decoded = percent_decode(text).decode_utf8();
        if !decoded.is_ok_and(|text| !text.contains('\0')) {
            return Err(OAuthError::invalid_request("parameters must be UTF-8 without U+0000"));
        }
        Ok(Parameters(url::form_urlencoded::parse(text).into_owned().collect()))
    }

    /// Reads the body of a form.
    pub fn of_form(request: &HttpRequest, body: &[u8]) -> Result<Self, OAuthError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OAuthError::invalid_request("Content-Type must be application/x-www-form-urlencoded"));
        }
        Self::parse(body)
    }

    /// The same, if no name is there twice (SM-12).
    pub fn each_once(self) -> Result<Self, OAuthError> {
        let repeated =
            self.0.iter().enumerate().any(|(at, (name, _))| self.0[..at].iter().any(|(other, _)| other == name));
        if repeated { Err(OAuthError::invalid_request("a parameter is there more than once")) } else { Ok(self) }
    }

    /// The same without these names.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|(name, _)| !names.contains(&name.as_str()));
        self
    }

    /// The same with this value of a name in the place of any other.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        let mut changed = self.without(&[name]);
        changed.0.push((name.to_owned(), value.to_owned()));
        changed
    }

    /// A value; one without text counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, value)| other == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A value, or an error that names what is missing.
    pub fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request(format!("{name} is required")))
    }

    /// As a query again.
    pub fn to_query(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sm_12_repeated_parameters_are_refused() {
        let read = |text: &str| Parameters::parse(text.as_bytes()).and_then(Parameters::each_once);
        assert!(read("a=1&b=2&c=").is_ok());
        assert!(read("a=1&b=2&a=1").is_err());
    }

    #[test]
    fn sm_15_values_are_read_byte_for_byte() {
        let read = Parameters::parse(b"state=a%2Bb+c%25%C3%BC&x=").expect("valid");
        assert_eq!(read.get("state"), Some("a+b c%ü"));
        assert_eq!(read.get("x"), None);
        for bad in [&b"state=%FF"[..], b"state=a%00b", b"a%00=b", b"a=\0"] {
            assert!(Parameters::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn oa_33_long_requests_are_refused() {
        assert!(Parameters::parse(&vec![b'a'; MAX_BYTES + 1]).is_err());
    }
}
