//! From the fields of the form to a client, or to what is wrong with each field.

use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind};
use smart::jwk::JwkSet;
use smart::redirect_uri::RedirectUri;
use smart::scope::{Scope, ScopeSet};
use store::apps::Purpose;

use super::{Fields, Problem};
use crate::access;
use crate::account::sign_up::plain_name;
use crate::portal::words::{DAY, of_date_field};

/// Longest name of an app.
const MAX_NAME: usize = 60;
/// Longest description.
const MAX_DESCRIPTION: usize = 1000;
/// Redirect URIs of one app.
const MOST_URIS: usize = 20;
/// Longest address of a key set.
const MAX_URL: usize = 500;

impl Fields {
    /// The client that the fields describe; of one that exists, what the form does not show stays.
    pub(super) fn read(
        &self,
        id: String,
        old: Option<&Client>,
        purpose: Purpose,
        base: &str,
    ) -> Result<Client, Vec<Problem>> {
        let mut problems = Vec::new();
        let kind = ClientKind::parse(&self.kind).unwrap_or_else(|| {
            problems.push(("kind", "Choose where the app runs.".to_owned()));
            ClientKind::Public
        });
        if kind == ClientKind::Backend && purpose == Purpose::Personal {
            problems.push((
                "kind",
                "A service without people sees many patients: it needs an account for work.".to_owned(),
            ));
        }
        let authentication = self.authentication(kind);
        let mut noted = |field: &'static str, result: Result<(), String>| {
            problems.extend(result.err().map(|text| (field, text)));
        };
        let name = plain_name(&self.name, MAX_NAME);
        noted("name", name.is_some().then_some(()).ok_or("Give a name of at most 60 characters.".to_owned()));
        noted("description", self.check_description());
        let redirect_uris = keep(&mut noted, "redirect_uris", self.read_redirect_uris(kind));
        noted("launch_uri", self.check_launch_uri());
        let keys = keep(&mut noted, "keys", self.read_keys(authentication));
        let scopes = keep(&mut noted, "scopes", self.read_scopes(kind, base));
        let valid_from = keep(&mut noted, "valid_from", read_day(&self.valid_from));
        let valid_to = keep(&mut noted, "valid_to", read_day(&self.valid_to)).map(|day| day + DAY);
        if let (Some(from), Some(to)) = (valid_from, valid_to) {
            noted("valid_to", (from < to).then_some(()).ok_or("The last day is before the first.".to_owned()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let disabled_at = old.and_then(|old| old.disabled_at);
        let name = name.unwrap_or_default();
        Ok(Client { id, name, kind, authentication, keys, redirect_uris, scopes, valid_from, valid_to, disabled_at })
    }

    fn check_description(&self) -> Result<(), String> {
        let is_short = self.description.chars().count() <= MAX_DESCRIPTION;
        match (self.description.is_empty(), is_short) {
            (true, _) => Err("Say in a sentence what the app is for: administrators read it.".to_owned()),
            (false, true) => Ok(()),
            (false, false) => Err(format!("At most {MAX_DESCRIPTION} characters.")),
        }
    }

    fn read_redirect_uris(&self, kind: ClientKind) -> Result<Vec<RedirectUri>, String> {
        let texts: Vec<&str> = self.redirect_uris.split_whitespace().collect();
        if kind == ClientKind::Backend && !texts.is_empty() {
            return Err("A service without people gets no answers by redirect; leave this empty.".to_owned());
        }
        if kind == ClientKind::Public && texts.is_empty() {
            return Err("Say where answers go, one address a line.".to_owned());
        }
        if texts.len() > MOST_URIS {
            return Err(format!("At most {MOST_URIS} addresses."));
        }
        texts.into_iter().map(|text| RedirectUri::register(text).map_err(|error| format!("{text} {error}."))).collect()
    }

    fn check_launch_uri(&self) -> Result<(), String> {
        let is_good = self.launch_uri.is_empty()
            || (self.launch_uri.len() <= MAX_URL && RedirectUri::register(&self.launch_uri).is_ok());
        if is_good { Ok(()) } else { Err("An address that begins with https, without a fragment.".to_owned()) }
    }

    fn read_keys(&self, authentication: ClientAuthentication) -> Result<ClientKeys, String> {
        if authentication != ClientAuthentication::PrivateKeyJwt {
            return Ok(ClientKeys::None);
        }
        if self.keys.starts_with('{') {
            JwkSet::parse(self.keys.as_bytes()).map_err(|error| format!("This key set cannot be used: {error}."))?;
            return Ok(ClientKeys::Inline(self.keys.clone()));
        }
        let is_address = self.keys.len() <= MAX_URL && RedirectUri::register(&self.keys).is_ok();
        if is_address && self.keys.starts_with("http") {
            return Ok(ClientKeys::Url(self.keys.clone()));
        }
        Err("Give the public keys as a JWK Set, or the https address of one.".to_owned())
    }

    fn read_scopes(&self, kind: ClientKind, base: &str) -> Result<ScopeSet, String> {
        let text = self.scopes.split_whitespace().collect::<Vec<_>>().join(" ");
        let scopes = ScopeSet::parse(&text).map_err(|error| format!("{error}."))?;
        if scopes.is_empty() {
            return Err("Say what the app may ask for.".to_owned());
        }
        if let Some(scope) = scopes.iter().find(|scope| !kind.can_hold(scope)) {
            return Err(format!(
                "{scope} is not for this kind of app: system/ is for services without people, and they have no other."
            ));
        }
        let unusable = |scope: &&Scope| matches!(scope, Scope::Resource(it) if !access::is_honoured(it, base));
        if let Some(scope) = scopes.iter().find(unusable) {
            return Err(format!("The conditions of {scope} cannot be honoured by a search of its type."));
        }
        Ok(scopes)
    }
}

/// What was read, or the problem noted and nothing read.
fn keep<T: Default>(
    noted: &mut impl FnMut(&'static str, Result<(), String>),
    field: &'static str,
    read: Result<T, String>,
) -> T {
    match read {
        Ok(read) => read,
        Err(text) => {
            noted(field, Err(text));
            T::default()
        }
    }
}

fn read_day(text: &str) -> Result<Option<i64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    of_date_field(text).map(Some).ok_or_else(|| "A day as 2026-11-22.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let text = str::to_owned;
        Fields {
            name: text("Heart Watch"),
            description: text("Shows the pulse."),
            kind: text("public"),
            redirect_uris: text("https://app.example/cb\r\nhttp://127.0.0.1/cb"),
            scopes: text("launch/patient patient/Observation.rs"),
            valid_from: text("2026-01-01"),
            valid_to: text("2026-01-01"),
            ..Fields::default()
        }
    }

    fn read(fields: &Fields, purpose: Purpose) -> Result<Client, Vec<&'static str>> {
        let read = fields.read("id".to_owned(), None, purpose, "https://server.example/fhir");
        read.map_err(|problems| problems.into_iter().map(|(field, _)| field).collect())
    }

    #[test]
    fn a_day_counts_to_its_end() {
        let client = read(&fields(), Purpose::Personal).expect("faultless");
        assert_eq!(client.redirect_uris.len(), 2);
        assert_eq!(client.valid_to.zip(client.valid_from).map(|(to, from)| to - from), Some(DAY));
    }

    #[test]
    fn oa_03_oa_29_each_fault_is_told_at_its_field() {
        let with = |change: fn(&mut Fields)| {
            let mut fields = fields();
            change(&mut fields);
            read(&fields, Purpose::Personal).expect_err("faulty")
        };
        assert_eq!(with(|it| it.name = "a\u{202e}b".into()), ["name"]);
        assert_eq!(with(|it| it.description = String::new()), ["description"]);
        assert_eq!(with(|it| it.redirect_uris = "http://app.example/cb".into()), ["redirect_uris"]);
        assert_eq!(with(|it| it.redirect_uris = String::new()), ["redirect_uris"]);
        assert_eq!(with(|it| it.launch_uri = "javascript:alert(1)".into()), ["launch_uri"]);
        assert_eq!(with(|it| it.scopes = "patient/Observation.rs nonsense".into()), ["scopes"]);
        assert_eq!(with(|it| it.scopes = "system/*.rs".into()), ["scopes"]);
        assert_eq!(with(|it| it.scopes = "patient/Observation.rs?nonsense=1".into()), ["scopes"]);
        assert_eq!(with(|it| it.valid_to = "2025-12-31".into()), ["valid_to"]);
        assert_eq!(with(|it| it.valid_from = "yesterday".into()), ["valid_from"]);
        let faults = with(|it| {
            it.kind = "backend".into();
            it.redirect_uris = String::new();
            it.scopes = "system/*.rs".into();
        });
        assert_eq!(faults, ["kind", "keys"], "a personal account has no services without people");
    }
}
