//! Where an app gets its answer: registration rules and exact comparison. OA-01, OA-03,
//! <https://www.rfc-editor.org/rfc/rfc9700#section-4.1>, loopback of <https://www.rfc-editor.org/rfc/rfc8252#section-7.3>

use std::fmt;

use url::Url;

/// A registered redirect URI, kept as the text that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri(String);

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// Not an absolute URI, or one that parsers would rewrite.
    #[error("must be an absolute URI in its normal spelling")]
    Malformed,
    /// Neither https, nor http on loopback, nor a private-use scheme with a dot.
    #[error("must be https, http on a loopback address, or a private-use scheme such as com.example.app:/callback")]
    Scheme,
    /// Has a fragment.
    #[error("must not have a fragment")]
    Fragment,
    /// Has a wildcard.
    #[error("must not have a wildcard")]
    Wildcard,
    /// Has user information.
    #[error("must not have a user or password")]
    UserInformation,
}

impl RedirectUri {
    /// Checks a URI for registration.
    pub fn register(text: &str) -> Result<Self, RedirectUriError> {
        let uri = Url::parse(text).map_err(|_| RedirectUriError::Malformed)?;
        // `https://app.example` and its normal form with the slash are the one difference that people write.
        if uri.as_str() != text && uri.as_str() != format!("{text}/") {
            return Err(RedirectUriError::Malformed);
        }
        if uri.fragment().is_some() {
            return Err(RedirectUriError::Fragment);
        }
        if text.contains('*') {
            return Err(RedirectUriError::Wildcard);
        }
        if !uri.username().is_empty() || uri.password().is_some() {
            return Err(RedirectUriError::UserInformation);
        }
        let allowed = match uri.scheme() {
            "https" => uri.host_str().is_some(),
            "http" => matches!(uri.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")),
            private => private.contains('.'),
        };
        if allowed { Ok(RedirectUri(text.to_owned())) } else { Err(RedirectUriError::Scheme) }
    }

    /// Whether a request's URI is this one: byte for byte, except that a native app on a loopback *address* may
    /// listen on any port.
    pub fn matches(&self, requested: &str) -> bool {
        if requested == self.0 {
            return true;
        }
        ["http://127.0.0.1", "http://[::1]"].into_iter().any(|origin| {
            let rests = self.0.strip_prefix(origin).zip(requested.strip_prefix(origin));
            rests.is_some_and(|(mine, theirs)| match (without_port(mine), without_port(theirs)) {
                (Some(mine), Some(theirs)) => mine == theirs,
                _ => false,
            })
        })
    }

    /// As registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URI with parameters added to its query; what it has is kept as it is. Values are percent encoded, so that the
/// client decodes exactly what it sent (SM-15).
pub fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let mut answer = uri.to_owned();
    for (name, value) in parameters {
        let separator = match answer.find('?') {
            None => "?",
            Some(_) if answer.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        let value = percent_encoding::utf8_percent_encode(value, VALUE);
        answer.extend([separator, name, "="]);
        answer.extend(value);
    }
    answer
}

const VALUE: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What follows the port of `:1234/path`; none if the rest does not begin a port or a path.
fn without_port(rest: &str) -> Option<&str> {
    let Some(port) = rest.strip_prefix(':') else {
        return (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest);
    };
    let end = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
    let (digits, rest) = port.split_at(end);
    let is_port = digits.parse::<u16>().is_ok_and(|port| port > 0);
    (is_port && (rest.is_empty() || rest.starts_with(['/', '?']))).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_03_what_can_be_registered() {
        for good in [
            "https://app.example/callback",
            "https://app.example",
            "https://app.example/cb?tenant=1",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:4000/cb",
            "http://[::1]:4000/cb",
            "http://localhost:3000/cb",
            "com.example.app:/callback",
        ] {
            assert!(RedirectUri::register(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", RedirectUriError::Malformed),
            ("/callback", RedirectUriError::Malformed),
            ("https://APP.example/", RedirectUriError::Malformed),
            ("https://app.example/a/../b", RedirectUriError::Malformed),
            ("https://app.example\\@evil.example/", RedirectUriError::Malformed),
            ("https://app.example/\t", RedirectUriError::Malformed),
            ("https://app.example/#", RedirectUriError::Fragment),
            ("https://*.example/", RedirectUriError::Wildcard),
            ("https://me@app.example/", RedirectUriError::UserInformation),
            ("http://app.example/", RedirectUriError::Scheme),
            ("javascript:alert(1)", RedirectUriError::Scheme),
            ("data:text/html,x", RedirectUriError::Scheme),
            ("file:///etc/passwd", RedirectUriError::Scheme),
            ("myapp:/callback", RedirectUriError::Scheme),
            ("vbscript:msgbox(1)", RedirectUriError::Scheme),
            ("blob:https://app.example/1", RedirectUriError::Scheme),
            ("ftp://app.example/", RedirectUriError::Scheme),
            ("http://127.0.0.2/", RedirectUriError::Scheme),
            ("http://localhost.evil.example/", RedirectUriError::Scheme),
            ("https://app.example/*", RedirectUriError::Wildcard),
            ("https://a:b@app.example/", RedirectUriError::UserInformation),
            ("https://app.example/%zz\r\n", RedirectUriError::Malformed),
            ("HTTPS://app.example/", RedirectUriError::Malformed),
            ("https://app.example:443/", RedirectUriError::Malformed),
            ("https://аpp.example/", RedirectUriError::Malformed),
            ("//app.example/", RedirectUriError::Malformed),
            ("https://", RedirectUriError::Malformed),
        ] {
            assert_eq!(RedirectUri::register(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn oa_01_anything_but_the_registered_text_is_another_uri() {
        let registered = RedirectUri::register("https://app.example/cb?tenant=1&lang=en").expect("valid");
        assert!(registered.matches("https://app.example/cb?tenant=1&lang=en"));
        for other in [
            "",
            "https://app.example/cb",
            "https://app.example/cb?",
            "https://app.example/cb?tenant=1",
            "https://app.example/cb?lang=en&tenant=1",
            "https://app.example/cb?tenant=1&lang=en&x=y",
            "https://app.example/cb?tenant=1&lang=en&",
            "https://app.example/cb?tenant=1&lang=en#",
            "https://app.example/cb?tenant=1&lang=en#code",
            "https://app.example/cb/?tenant=1&lang=en",
            "https://app.example/cb/..?tenant=1&lang=en",
            "https://app.example/x/../cb?tenant=1&lang=en",
            "https://app.example/%63b?tenant=1&lang=en",
            "https://app.example/cb%2E%2E?tenant=1&lang=en",
            "https://app.example/cb%252E?tenant=1&lang=en",
            "https://app.example\\cb?tenant=1&lang=en",
            "https://app.example/cb\t?tenant=1&lang=en",
            "https://app.example/cb\r\n?tenant=1&lang=en",
            "https://APP.example/cb?tenant=1&lang=en",
            "HTTPS://app.example/cb?tenant=1&lang=en",
            "http://app.example/cb?tenant=1&lang=en",
            "https://user@app.example/cb?tenant=1&lang=en",
            "https://a@b@app.example/cb?tenant=1&lang=en",
            "https://app.example@evil.example/cb?tenant=1&lang=en",
            "https://app.example.evil.example/cb?tenant=1&lang=en",
            "https://app.example./cb?tenant=1&lang=en",
            "https://app.example:443/cb?tenant=1&lang=en",
            "https://xn--pp-tia.example/cb?tenant=1&lang=en",
            "https://аpp.example/cb?tenant=1&lang=en",
            "https://app.example/cb;x=1?tenant=1&lang=en",
            "https:app.example/cb?tenant=1&lang=en",
            "https:///app.example/cb?tenant=1&lang=en",
            "https://app.example//cb?tenant=1&lang=en",
            "https://app.example/CB?tenant=1&lang=en",
            "https://app.example/cb?tenant=1&lang=EN",
            "https://app.example/cb?tenant=1&amp;lang=en",
            "https://app.example/cb?tenant=%31&lang=en",
            "https://app.example/cb?tenant=1&lang=en&tenant=1",
            "https://app.example:8443/cb?tenant=1&lang=en",
            "https://www.app.example/cb?tenant=1&lang=en",
            "https://app.example/cb?tenant=1&lang=en\0",
            "http://localhost/cb?tenant=1&lang=en",
            "http://[::1%25eth0]/cb?tenant=1&lang=en",
            "//app.example/cb?tenant=1&lang=en",
            " https://app.example/cb?tenant=1&lang=en",
            "https://app.example/cb?tenant=1&lang=en ",
            "com.example.app:/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///cb",
        ] {
            assert!(!registered.matches(other), "{other}");
        }
    }

    #[test]
    fn oa_01_only_the_port_of_a_loopback_address_is_free() {
        let registered = RedirectUri::register("http://127.0.0.1:4000/cb?a=1").expect("valid");
        for same in ["http://127.0.0.1/cb?a=1", "http://127.0.0.1:51000/cb?a=1"] {
            assert!(registered.matches(same), "{same}");
        }
        for other in [
            "http://127.0.0.1:51000/cb",
            "http://127.0.0.1:51000/cb?a=2",
            "http://127.0.0.1:0/cb?a=1",
            "http://127.0.0.1:99999/cb?a=1",
            "http://127.0.0.1:51000@evil.example/cb?a=1",
            "http://127.0.0.1.evil.example/cb?a=1",
            "http://127.0.0.1evil.example/cb?a=1",
            "http://localhost:4000/cb?a=1",
            "http://[::1]:4000/cb?a=1",
            "http://127.0.0.2:4000/cb?a=1",
            "https://127.0.0.1:4000/cb?a=1",
            "http://[::1%25lo]:4000/cb?a=1",
        ] {
            assert!(!registered.matches(other), "{other}");
        }
        let named = RedirectUri::register("http://localhost:3000/cb").expect("valid");
        assert!(named.matches("http://localhost:3000/cb") && !named.matches("http://localhost:3001/cb"));
    }

    #[test]
    fn sm_15_values_survive_the_way_back() {
        let state = "a b+c%2Bd&e=f#g?h/ü\u{1F600}\"<";
        let answer = with_parameters("https://app.example/cb?x=1", &[("code", "abc-_~."), ("state", state)]);
        assert!(answer.starts_with("https://app.example/cb?x=1&code=abc-_~.&state="));
        let parsed = Url::parse(&answer).expect("a URL");
        assert_eq!(
            parsed.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned()),
            Some(state.to_owned())
        );
    }
}
