//! The text of an answer, which is long and not copied on its way out.

use std::ops::Deref;
use std::sync::Arc;

/// A text that was made for an answer, or one that is kept elsewhere too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Made(Arc<String>),
    Kept(Arc<str>),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Held::Made(text) => text,
            Held::Kept(text) => text,
        }
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Default for Text {
    fn default() -> Self {
        String::new().into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(Held::Made(Arc::new(text)))
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Text(Held::Kept(text))
    }
}
