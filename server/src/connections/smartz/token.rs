//! An access token by client credentials: renewed before it ends, and once if it is refused.
//! <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>

use super::{Client, Failure, Opened, Question, hiding, login};
use crate::app::App;
use crate::connections::Answer;

/// How long before its end a token is renewed; of a short one half its life.
const MARGIN_SECONDS: i64 = 60;

/// How long a token is used that does not say how long it is good.
const UNSAID_SECONDS: i64 = 300;

/// Asks with a token.
pub(super) struct Token {
    client: Client,
    current: Option<Current>,
}

struct Current {
    client: Client,
    text: String,
    /// When it is to be renewed, microseconds since 1970.
    until: i64,
}

impl Token {
    /// Without a token yet.
    pub(super) fn new(client: Client) -> Self {
        Token { client, current: None }
    }

    /// Asks with the token, which is renewed first where it has to be.
    pub(super) async fn ask(&mut self, app: &App, opened: &Opened, question: &Question) -> Result<Answer, Failure> {
        match self.ask_once(app, opened, question).await {
            Err(Failure::Login(_)) => {
                self.current = None;
                self.ask_once(app, opened, question).await
            }
            answer => answer,
        }
    }

    async fn ask_once(&mut self, app: &App, opened: &Opened, question: &Question) -> Result<Answer, Failure> {
        let now = app.clock.now();
        let current = match self.current.take().filter(|current| now < current.until) {
            Some(current) => current,
            None => self.renew(app, opened).await?,
        };
        let question = question.clone().header("authorization", format!("Bearer {}", current.text));
        let answer = current.client.ask(&question.header("x-sub-key", opened.credential("sub-key")?)).await;
        self.current = Some(current);
        answer
    }

    async fn renew(&self, app: &App, opened: &Opened) -> Result<Current, Failure> {
        let answer = self.client.ask(&login(opened)?).await?.json()?;
        let unreadable = || Failure::Unreadable("it holds no access_token".to_owned());
        let text = answer.str("access_token").filter(|text| !text.is_empty()).ok_or_else(unreadable)?.to_owned();
        let seconds = answer.get("expires_in").and_then(|it| it.as_number().or(it.as_str()));
        let seconds = seconds.and_then(|text| text.parse::<i64>().ok()).unwrap_or(UNSAID_SECONDS).clamp(1, 86_400);
        let margin = MARGIN_SECONDS.min(seconds / 2);
        let until = app.clock.now() + (seconds - margin) * 1_000_000;
        Ok(Current { client: hiding(&self.client, &text), text, until })
    }
}

/// Only what the service says of a token, never the token.
impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Token")
    }
}
