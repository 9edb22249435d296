//! What an administrator was shown of an app, as a digest that the form of the decision carries: what is approved is
//! what was looked at. (OA-29, OA-30)

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use smart::client::{Client, ClientKeys};
use smart::redirect_uri::RedirectUri;
use store::apps::Registration;

/// The digest of everything that says what an app is and where it leads.
pub(super) fn of(registration: &Registration, client: &Client) -> String {
    let (sort, keys) = match &client.keys {
        ClientKeys::None => ("none", ""),
        ClientKeys::Inline(text) => ("inline", text.as_str()),
        ClientKeys::Url(url) => ("url", url.as_str()),
    };
    let scopes = client.scopes.to_string();
    let mut parts = vec![
        client.name.as_str(),
        client.kind.as_str(),
        client.authentication.as_str(),
        sort,
        keys,
        &scopes,
        registration.purpose.as_str(),
        &registration.description,
        registration.launch_uri.as_deref().unwrap_or_default(),
    ];
    parts.extend(client.redirect_uris.iter().map(RedirectUri::as_str));
    let mut digest = Sha256::new();
    for part in parts {
        // With its length before it, no part can be read as two.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use smart::client::{ClientAuthentication, ClientKind};
    use smart::scope::ScopeSet;
    use store::apps::{Purpose, Status};

    use super::*;

    fn app() -> (Registration, Client) {
        let registration = Registration {
            client_id: "a".to_owned(),
            account_id: "d".to_owned(),
            purpose: Purpose::Work,
            status: Status::Requested,
            is_on: true,
            stopped_at: None,
            description: "Shows the pulse.".to_owned(),
            launch_uri: None,
            reason: None,
            decided_at: None,
            created_at: 0,
        };
        let client = Client {
            id: "a".to_owned(),
            name: "Heart Watch".to_owned(),
            kind: ClientKind::Confidential,
            authentication: ClientAuthentication::Secret,
            keys: ClientKeys::None,
            redirect_uris: vec![uri("https://app.example/a"), uri("https://app.example/b")],
            scopes: ScopeSet::parse("patient/*.rs").expect("scopes"),
            valid_from: None,
            valid_to: None,
            disabled_at: Some(1),
        };
        (registration, client)
    }

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::register(text).expect("a redirect URI")
    }

    #[test]
    fn oa_30_every_change_of_what_was_shown_is_another_digest() {
        let changes: [fn(&mut Registration, &mut Client); 11] = [
            |_, client| client.name.push('s'),
            |_, client| client.kind = ClientKind::Backend,
            |_, client| client.authentication = ClientAuthentication::PrivateKeyJwt,
            |_, client| client.keys = ClientKeys::Inline("https://app.example/keys".to_owned()),
            |_, client| client.keys = ClientKeys::Url("https://app.example/keys".to_owned()),
            |_, client| client.scopes = ScopeSet::parse("patient/*.cruds").expect("scopes"),
            |_, client| client.redirect_uris.truncate(1),
            |_, client| client.redirect_uris = vec![uri("https://app.example/a"), uri("https://evil.example/b")],
            |app, _| app.launch_uri = Some("https://app.example/launch".to_owned()),
            |app, _| app.description.clear(),
            |app, _| app.purpose = Purpose::Personal,
        ];
        let (registration, client) = app();
        let mut digests = vec![of(&registration, &client)];
        for change in changes {
            let (mut registration, mut client) = app();
            change(&mut registration, &mut client);
            let digest = of(&registration, &client);
            assert!(!digests.contains(&digest), "{registration:?} {client:?}");
            digests.push(digest);
        }
        let (mut registration, mut client) = app();
        (registration.is_on, client.disabled_at) = (false, None);
        assert_eq!(of(&registration, &client), digests[0], "how it stands is the decision, not what it is about");
    }
}
