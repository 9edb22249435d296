//! Passwords that people choose, and the one that they type once more before something that matters. (OA-22)

use actix_web::HttpRequest;
use store::users;
use tokio::sync::Semaphore;

use super::attempts;
use super::visitor::{Refused, Visitor};
use crate::app::App;
use crate::oauth::password::PasswordError;
use crate::oauth::{login, password};

/// Parts of passwords that every guesser tries first; a password that is little more than one of these is refused.
const TRIED_FIRST: [&str; 24] = [
    "password",
    "passwort",
    "motdepasse",
    "12345678",
    "123456789",
    "87654321",
    "11111111",
    "00000000",
    "qwertyui",
    "qwertyuiop",
    "qwertz",
    "asdfghjk",
    "1q2w3e4r",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "letmein",
    "welcome",
    "superman",
    "trustno1",
    "abcdefgh",
    "tributary",
];

/// New passwords that are hashed at once: each takes 19 MiB, and FHIR traffic goes on beside.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// The hash to keep of a new password, or why it is none; told to the person.
pub async fn accept(app: &App, username: &str, typed: &str) -> Result<String, String> {
    if is_guessed(username, typed) {
        return Err(
            "This password is among the first that are guessed. A few unrelated words make a good one.".to_owned()
        );
    }
    let (typed, salt) = (typed.to_owned(), app.random.bytes());
    let _permit = AT_ONCE.acquire().await;
    let hashed = tokio::task::spawn_blocking(move || password::hash(&typed, salt)).await;
    hashed.unwrap_or(Err(PasswordError::Hash)).map_err(|error| sentence(&error.to_string()))
}

/// Whether a signed-in person typed their own password, or what to tell them. Throttled as signing in is (OA-20).
pub async fn is_own(
    app: &App,
    request: &HttpRequest,
    visitor: &Visitor,
    typed: &str,
) -> Result<Result<(), &'static str>, Refused> {
    let username = &visitor.account.username;
    let Some(noted) = attempts::own_password(app, request, username).await? else {
        return Ok(Err("Too many attempts. Wait a minute and try again."));
    };
    if login::check(app, username, typed).await?.is_none() {
        return Ok(Err("This is not your password."));
    }
    app.store
        .write(move |tx| {
            let noted = noted.clone();
            Box::pin(async move { users::forgive(tx, &noted).await })
        })
        .await?;
    Ok(Ok(()))
}

fn is_guessed(username: &str, typed: &str) -> bool {
    let lower = typed.to_lowercase();
    let is_mostly = |word: &str| lower.contains(word) && lower.chars().count() < word.chars().count() + 4;
    let name = username.split('@').next().unwrap_or_default();
    let repeats_one = lower.chars().next().is_some_and(|first| lower.chars().all(|c| c == first));
    repeats_one || TRIED_FIRST.iter().any(|word| is_mostly(word)) || (name.len() > 3 && is_mostly(name))
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| format!("{}{}.", first.to_uppercase(), characters.as_str())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_22_what_is_guessed_first_is_refused() {
        for typed in ["password", "Password1!", "123456789", "aaaaaaaaaaaa", "Lovelace12", "qwertyuiop"] {
            assert!(is_guessed("lovelace@example.org", typed), "{typed}");
        }
        for typed in ["a calm river runs deep", "password of the calm river", "ada-lovelace-likes-numbers"] {
            assert!(!is_guessed("lovelace@example.org", typed), "{typed}");
        }
    }
}
