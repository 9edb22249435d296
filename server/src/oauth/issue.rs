//! What the token endpoint hands out. <https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-access-token>

use actix_web::HttpResponse;
use fhir::json::Object;
use smart::grant::Terms;
use smart::id_token::{Claims, SignIn};
use smart::metadata::Metadata;
use smart::token::{Kind, Secret};
use store::{StoreError, Tx, tokens};

use super::error::{Failure, json};
use crate::app::App;

/// Tokens that are about to be written and handed out.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The access token.
    pub access: Secret,
    /// The refresh token, handed out where the grant can be renewed.
    pub refresh: Secret,
    /// Now, microseconds since 1970.
    pub now: i64,
    /// How long the access token lives, microseconds.
    pub lifetime: i64,
}

/// What was handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    terms: Terms,
    renewable: bool,
    /// For which client, and what is known of the sign-in: makes an `id_token`, if the scopes ask for one.
    sign_in: Option<(String, SignIn)>,
}

impl Issued {
    /// The same with what an `id_token` is made of.
    #[must_use]
    pub fn signed_in(self, client_id: String, sign_in: SignIn) -> Self {
        Issued { sign_in: Some((client_id, sign_in)), ..self }
    }
}

impl Issue {
    /// Draws the tokens.
    pub fn new(app: &App, lifetime: i64) -> Self {
        Issue {
            access: Secret::new(Kind::Access, app.random.bytes()),
            refresh: Secret::new(Kind::Refresh, app.random.bytes()),
            now: app.clock.now(),
            lifetime,
        }
    }

    /// Writes them for a grant; `terms` are those of the access token, and `renewable` says that the refresh token is
    /// handed out too.
    pub async fn write(
        &self,
        tx: &mut Tx,
        (grant_id, grant_expires_at): (&str, i64),
        terms: Terms,
        renewable: bool,
    ) -> Result<Issued, StoreError> {
        let (scope, ends) = (terms.scopes().to_string(), self.now + self.lifetime);
        let beside = renewable.then(|| self.refresh.hash());
        tokens::insert_access(tx, self.access.hash(), grant_id, (&scope, beside), self.now, ends).await?;
        if renewable {
            tokens::insert_refresh(tx, self.refresh.hash(), grant_id, grant_expires_at, self.now).await?;
        }
        Ok(Issued { terms, renewable, sign_in: None })
    }

    /// The answer: what was granted is always said (SM-28), the context of the grant (SM-42), and to an app that asked
    /// who signed in also that (SM-70).
    pub async fn answer(&self, app: &App, issued: Issued) -> Result<HttpResponse, Failure> {
        let mut body = Object::new();
        body.insert("access_token", self.access.expose());
        body.insert("token_type", "Bearer");
        body.insert("expires_in", self.lifetime / 1_000_000);
        body.insert("scope", issued.terms.scopes().to_string());
        if issued.renewable {
            body.insert("refresh_token", self.refresh.expose());
        }
        for (name, value) in super::launch::members(app, &issued.terms) {
            body.insert(name, value);
        }
        if let Some((client_id, sign_in)) = issued.sign_in {
            let metadata = Metadata::new(&app.config.base_url);
            if let Some(claims) = Claims::of_grant(&metadata, &issued.terms, &client_id, sign_in, self.now) {
                body.insert("id_token", app.signer.id_token(claims).await?);
            }
        }
        Ok(json(&mut HttpResponse::Ok(), body))
    }
}
