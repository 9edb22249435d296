//! Links in the narratives of a transaction: "`<a href=""` & `<img src=""` in the narrative".
//! <https://hl7.org/fhir/R4/http.html#trules>

use std::ops::Range;

/// The narrative with those links replaced that have a target; nothing if none has one.
pub(super) fn rewritten(div: &str, target: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (mut out, mut copied) = (String::new(), 0);
    for place in links(div) {
        let Some(target) = target(&div[place.clone()].replace("&amp;", "&")) else { continue };
        out.push_str(&div[copied..place.start]);
        out.push_str(&target);
        copied = place.end;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&div[copied..]);
    Some(out)
}

/// Where links stand in the text, without their quotes. What is not well formed is refused later, with the resource.
fn links(div: &str) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(open) = div[at..].find('<').map(|distance| at + distance) {
        at = match div[open..].strip_prefix("<!--") {
            Some(comment) => open + comment.find("-->").map_or(div.len() - open, |end| end + "<!---->".len()),
            None => tag(div, open + 1, &mut found),
        };
    }
    found
}

/// Reads a tag whose name begins at `start`, and says where it ends.
fn tag(div: &str, start: usize, found: &mut Vec<Range<usize>>) -> usize {
    let name = div[start..].split(|letter: char| letter.is_whitespace() || matches!(letter, '>' | '/')).next();
    let name = name.unwrap_or_default();
    let wanted = match name {
        "a" => "href",
        "img" => "src",
        _ => "",
    };
    let mut at = start + name.len();
    loop {
        let Some(quote) = div[at..].find(['"', '\'', '>']).map(|distance| at + distance) else { return div.len() };
        let (before, mark) = (&div[at..quote], &div[quote..=quote]);
        if mark == ">" {
            return quote + 1;
        }
        let Some(end) = div[quote + 1..].find(mark).map(|distance| quote + 1 + distance) else { return div.len() };
        let attribute = before.trim_end().strip_suffix('=').and_then(|before| before.split_whitespace().next_back());
        if attribute.is_some_and(|attribute| attribute == wanted) {
            found.push(quote + 1..end);
        }
        at = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(div: &str) -> Option<String> {
        rewritten(div, |link| match link {
            "urn:uuid:1" => Some("Patient/a".to_owned()),
            "http://x/Binary/1?a&b" => Some("Binary/b".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn links_and_images_are_replaced() {
        for (before, after) in [
            (r#"<div><a href="urn:uuid:1">x</a></div>"#, r#"<div><a href="Patient/a">x</a></div>"#),
            (
                r#"<a class="b>c" href = 'urn:uuid:1' id="d"/><img alt="é"
                   src="http://x/Binary/1?a&amp;b"/>"#,
                r#"<a class="b>c" href = 'Patient/a' id="d"/><img alt="é"
                   src="Binary/b"/>"#,
            ),
        ] {
            assert_eq!(of(before).as_deref(), Some(after));
        }
    }

    #[test]
    fn all_else_stays() {
        for text in [
            r#"<div>href="urn:uuid:1" urn:uuid:1</div>"#,
            r#"<a id="urn:uuid:1" xhref="urn:uuid:1" href="urn:uuid:2">x</a>"#,
            r#"<p href="urn:uuid:1"/><img href="urn:uuid:1"/><abbr href="urn:uuid:1"/>"#,
            r#"<!-- <a href="urn:uuid:1"/> --><!--"#,
            r#"<a href="urn:uuid:1"#,
            "<a href=",
            "<",
            "",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
