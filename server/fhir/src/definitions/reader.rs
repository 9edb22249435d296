//! Walks the embedded definitions' JSON and takes single members out of it.
//!
//! Nine tenths of the twelve megabytes are prose that nobody asks for: skipping it costs a tenth of building documents.
//! The text is ours and known to be well-formed, so that there are no errors to report here.

/// A place in a JSON text, before a value or between values.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Gives `member` every member of the object that starts here; it must consume the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&'a str, &mut Self)) {
        self.at += 1;
        while self.byte() != b'}' {
            let name = self.string();
            self.at += 1;
            member(name, self);
            self.pass_comma();
        }
        self.at += 1;
    }

    /// Gives `item` every item of the array that starts here; it must consume the value.
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self)) {
        self.at += 1;
        while self.byte() != b']' {
            item(self);
            self.pass_comma();
        }
        self.at += 1;
    }

    /// The string that starts here, escapes not resolved: names, paths, codes and addresses have none.
    pub(super) fn string(&mut self) -> &'a str {
        let start = self.at + 1;
        self.skip_string();
        &self.text[start..self.at - 1]
    }

    /// The number, `true`, `false` or `null` that starts here.
    pub(super) fn scalar(&mut self) -> &'a str {
        let start = self.at;
        while !matches!(self.byte(), b',' | b'}' | b']') {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// Passes over the value that starts here.
    pub(super) fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.byte() {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let _scalar = self.scalar();
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            match bytes[self.at] {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    fn pass_comma(&mut self) {
        self.at += usize::from(self.byte() == b',');
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes()[self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_taken_and_the_rest_is_passed_over() {
        let text = r#"{"a":{"x":["}\"",{"y":null}],"z":{}},"b":[],"c":["q",1.5,true],"d":"end"}"#;
        let mut reader = Reader::new(text);
        let mut seen = Vec::new();
        reader.object(|name, reader| match name {
            "c" => reader.array(
                |item| {
                    if item.byte() == b'"' { seen.push(item.string()) } else { seen.push(item.scalar()) }
                },
            ),
            "d" => seen.push(reader.string()),
            _ => reader.skip(),
        });
        assert_eq!(seen, ["q", "1.5", "true", "end"]);
        assert_eq!(reader.at, text.len());
    }
}
