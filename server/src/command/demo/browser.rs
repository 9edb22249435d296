//! A person's browser, as far as the demo needs one: cookies, redirects that are looked at, forms that are filled in.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use url::Url;

use crate::command::CommandError;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser with its own cookies.
pub(super) struct Browser {
    client: reqwest::Client,
}

/// What the browser shows after a request.
pub(super) struct Page {
    /// Where it is.
    pub(super) url: Url,
    /// Its status.
    pub(super) status: u16,
    /// Where it sends the browser next.
    pub(super) redirect: Option<Url>,
    /// Its source.
    pub(super) html: String,
}

/// A form as a person would send it.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Where it goes, relative to the page; empty for the page itself.
    pub(super) action: String,
    /// Names and values of its fields, as the page filled them in.
    pub(super) fields: Vec<(String, String)>,
    /// Names of the fields that a person types into, by their type (`text`, `password`, …).
    pub(super) typed: BTreeMap<String, String>,
    /// Name and value of its buttons, in order.
    pub(super) buttons: Vec<(String, String)>,
}

impl Browser {
    pub(super) fn new() -> Result<Self, CommandError> {
        Ok(Browser {
            client: reqwest::Client::builder().cookie_store(true).redirect(Policy::none()).timeout(PATIENCE).build()?,
        })
    }

    /// Opens an address and follows redirects as long as they stay on its server.
    pub(super) async fn open(&self, url: Url) -> Result<Page, CommandError> {
        let page = page(self.client.get(url)).await?;
        self.follow(page).await
    }

    /// Sends a form from the page it stands on.
    pub(super) async fn submit(&self, page: &Page, form: &Form) -> Result<Page, CommandError> {
        let target = page.url.join(&form.action)?;
        let origin = page.url.origin().ascii_serialization();
        let answer = self::page(self.client.post(target).header("Origin", origin).form(&form.fields)).await?;
        self.follow(answer).await
    }

    async fn follow(&self, mut page: Page) -> Result<Page, CommandError> {
        for _ in 0..5 {
            let next = page.redirect.clone().filter(|next| next.origin() == page.url.origin());
            let Some(next) = next else { return Ok(page) };
            page = self::page(self.client.get(next)).await?;
        }
        Err(CommandError::new(format!("{} redirects in a circle", page.url)))
    }
}

impl Page {
    /// The first form that is sent by POST and has a field of type `kind`, or any where `kind` is empty.
    pub(super) fn form(&self, kind: &str) -> Result<Form, CommandError> {
        let wanted = |form: &Form| kind.is_empty() || form.typed.contains_key(kind);
        forms(&self.html).into_iter().find(wanted).ok_or_else(|| {
            CommandError::new(format!(
                "{} (status {}) shows no form that asks for a {kind}",
                self.url.path(),
                self.status
            ))
        })
    }
}

impl Form {
    /// Types `value` into the field of type `kind`.
    pub(super) fn fill(&mut self, kind: &str, value: &str) {
        if let Some(name) = self.typed.get(kind) {
            self.fields.retain(|(field, _)| field != name);
            self.fields.push((name.clone(), value.to_owned()));
        }
    }

    /// Presses the first button whose value is one of `values`; false where there is none.
    pub(super) fn press(&mut self, values: &[&str]) -> bool {
        let pressed = self.buttons.iter().find(|(_, value)| values.contains(&value.as_str()));
        self.fields.extend(pressed.cloned());
        pressed.is_some()
    }
}

async fn page(request: reqwest::RequestBuilder) -> Result<Page, CommandError> {
    let response = request.send().await?;
    let url = response.url().clone();
    let redirect = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
    Ok(Page { url, status: response.status().as_u16(), redirect, html: response.text().await? })
}

/// The POST forms of a page. It reads our own pages, so tags and attributes in quotes are all it knows of HTML.
fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut inside = false;
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default().trim_end_matches('/');
        let (name, rest) = tag.split_at(tag.find(char::is_whitespace).unwrap_or(tag.len()));
        let attributes = attributes(rest);
        let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        match name {
            "form" => {
                inside = attribute("method").eq_ignore_ascii_case("post");
                if inside {
                    forms.push(Form { action: attribute("action"), ..Form::default() });
                }
            }
            "/form" => inside = false,
            "input" | "button" if inside => {
                if let Some(form) = forms.last_mut() {
                    add(form, name, &attributes);
                }
            }
            _ => {}
        }
    }
    forms
}

fn add(form: &mut Form, tag: &str, attributes: &BTreeMap<String, String>) {
    let attribute = |name: &str| attributes.get(name).cloned();
    let Some(name) = attribute("name").filter(|name| !name.is_empty()) else { return };
    let kind = attribute("type").unwrap_or_else(|| if tag == "button" { "submit" } else { "text" }.to_owned());
    match kind.as_str() {
        "submit" => form.buttons.push((name, attribute("value").unwrap_or_default())),
        "checkbox" | "radio" => {
            if attributes.contains_key("checked") {
                form.fields.push((name, attribute("value").unwrap_or_else(|| "on".to_owned())));
            }
        }
        "hidden" => form.fields.push((name, attribute("value").unwrap_or_default())),
        _ => {
            form.typed.entry(kind).or_insert_with(|| name.clone());
            form.fields.push((name, attribute("value").unwrap_or_default()));
        }
    }
}

fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let mut value = "";
        rest = after;
        if let Some(quoted) = after.strip_prefix("=\"") {
            let end = quoted.find('"').unwrap_or(quoted.len());
            value = &quoted[..end];
            rest = quoted.get(end + 1..).unwrap_or_default();
        } else if let Some(bare) = after.strip_prefix('=') {
            let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
            (value, rest) = bare.split_at(end);
        }
        attributes.insert(name.to_ascii_lowercase(), unescape(value));
        rest = rest.trim_start();
    }
    attributes
}

fn unescape(text: &str) -> String {
    let entities = [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&#60;", "<"),
        ("&gt;", ">"),
        ("&#62;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_buttons_and_what_is_ticked() {
        let html = r#"<form action="/search"><input name="q"></form>
            <form method="post" action="/login?a=1&amp;b=2"><input type="hidden" name="csrf" value="a&quot;b">
            <input id="u" name="username"><input type="password" name="password" required>
            <input type="checkbox" name="scope" value="x" checked><input type="checkbox" name="scope" value="y">
            <button name="decision" value="allow">Allow</button></form>"#;
        let mut found = forms(html);
        assert_eq!(found.len(), 1);
        let form = &mut found[0];
        form.fill("text", "ada");
        form.fill("password", "secret");
        assert!(form.press(&["allow"]));
        assert!(!form.press(&["no such"]));
        assert_eq!(form.action, "/login?a=1&b=2");
        let fields: BTreeMap<_, _> = form.fields.iter().cloned().collect();
        assert_eq!(fields["csrf"], "a\"b");
        assert_eq!((fields["username"].as_str(), fields["password"].as_str()), ("ada", "secret"));
        assert_eq!((fields["scope"].as_str(), fields["decision"].as_str()), ("x", "allow"));
    }
}
