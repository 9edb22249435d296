//! A link code ties this server to an organisation. It works once, so it is sent once and kept nowhere; what is kept is
//! the organisation.

use fhir::json::{Json, Object};

use super::{Fields, Question, Token, items, path, segments};
use crate::app::App;
use crate::connections::{Failure, Opened};

/// Longest id of an organisation.
const MAX_ID: usize = 128;

/// Shows a code to the service; id and name of the organisation that it ties us to.
pub(in crate::connections) async fn link(
    app: &App,
    opened: &Opened,
    code: &str,
) -> Result<(String, Option<String>), Failure> {
    let mut token = Token::new(opened.client(app)?.hiding(code));
    let mut body = Object::new();
    body.insert(opened.required("link-field")?, code);
    // Nobody knows what became of a code that was not answered: it is not shown twice.
    let question = Question::post(&segments(&path(opened, "link", ""))).json(&body.into()).once();
    let answer = token.ask(app, opened, &question).await?.json()?;
    let own = opened.json("fields");
    let fields = Fields::new(own.as_ref());
    let told = items(opened, &answer).first().unwrap_or(&Json::Null);
    let told = fields.of(told, "organisation").unwrap_or(told);
    let text = |field: &str| {
        let value = fields.of(told, field)?;
        value.as_str().or(value.as_number()).map(str::to_owned).filter(|text| !text.is_empty())
    };
    let id = text("organisation.id").filter(|id| id.len() <= MAX_ID && !id.contains([',', '\n', '\r']));
    let missing = || {
        let pointer = fields.pointer("organisation.id");
        Failure::Unreadable(format!(
            "the code was taken, but {pointer} names no organisation; name it with --setting organisations=ID"
        ))
    };
    Ok((id.ok_or_else(missing)?, text("organisation.name")))
}
