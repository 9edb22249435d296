//! `tributary user link-openid`: who somebody is at the other OpenID provider, so that they can sign in there.

use store::{StoreError, external_identities, users};

use crate::app::App;
use crate::command::{CommandError, told};
use crate::oauth::login::fold_username;

/// Options of `user link-openid`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Name of the account here.
    pub username: String,
    /// Name of the person there: the claim `sub` of the provider's `id_token`s.
    #[arg(long, value_name = "SUBJECT")]
    pub openid_subject: String,
}

/// Links an account to a person at the provider that the settings name.
pub(super) async fn link(app: &App, args: &Args) -> Result<(), CommandError> {
    let issuer = issuer(app)?;
    let folded = fold_username(&args.username);
    let found = match &folded {
        Some(username) => users::find_by_username(&app.store, username).await?,
        None => None,
    };
    let (account, _) = found.ok_or_else(|| CommandError::new(format!("there is no account \"{}\"", args.username)))?;
    if args.openid_subject.is_empty() || args.openid_subject.len() > 255 {
        return Err(CommandError::usage("--openid-subject has 1 to 255 characters"));
    }
    let (subject, now) = (args.openid_subject.clone(), app.clock.now());
    let event = told(app, "account-linked", 'U', &format!("account/{}", account.username));
    let linked = app.store.write(move |tx| {
        let (issuer, subject, id) = (issuer.clone(), subject.clone(), account.id.clone());
        let event = event.clone();
        Box::pin(async move {
            tx.record(event);
            external_identities::link(tx, (&issuer, &subject), &id, now).await
        })
    });
    linked.await.map_err(|error: StoreError| CommandError::from(error))
}

/// The provider; linking needs one.
pub(super) fn issuer(app: &App) -> Result<String, CommandError> {
    app.config.openid_issuer.clone().ok_or_else(|| {
        CommandError::usage("--openid-subject needs the provider: set openid-issuer as the server has it")
    })
}
