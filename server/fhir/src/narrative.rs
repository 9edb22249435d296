//! What a narrative may hold: formatting, links and images, nothing active. <https://hl7.org/fhir/R4/narrative.html#rules>
//!
//! IN-03. The list is of what is allowed; a browser that reads the `div` as HTML instead of XML must find nothing else
//! in it either, hence the care about comments and CDATA.

use crate::xml::has_noncharacter;
use crate::xml::narrative::{Part, visit};

/// Attributes that hold an address.
const LINKS: &[&str] = &["cite", "href", "longdesc", "src"];

/// Schemes that a link may have; one without a scheme is relative.
const SCHEMES: &[&str] = &["http", "https", "mailto", "tel"];

/// Images that a narrative may bring along; not SVG, which can hold scripts.
const IMAGE_DATA: &[&str] =
    &["data:image/png", "data:image/jpeg", "data:image/gif", "data:image/webp", "data:image/bmp"];

/// What makes a style more than a style, in lower case.
const ACTIVE_STYLES: &[&str] =
    &["expression(", "javascript:", "vbscript:", "behavior", "-moz-binding", "@import", "\\"];

/// What is wrong with a narrative and what would be right.
pub fn check(div: &str) -> Result<(), String> {
    if has_noncharacter(div) {
        return Err("a narrative may not hold U+FFFE or U+FFFF, which are no characters".into());
    }
    visit(div, |part| match part {
        Part::Element(name, attributes) => {
            if !is_formatting(name) {
                return Err(format!("a narrative may not hold <{}>, only formatting, links and images", short(name)));
            }
            attributes.iter().try_for_each(|(attribute, value)| check_attribute(name, attribute, value))
        }
        Part::Comment(text) if text.starts_with('>') || text.starts_with("->") => {
            Err("a comment in a narrative may not begin with '>' or '->'".into()) // HTML ends it there
        }
        Part::Comment(_) => Ok(()),
        Part::CData => Err("a narrative may not hold CDATA; write &lt; and &amp; instead".into()),
    })
}

fn check_attribute(element: &str, name: &str, value: &str) -> Result<(), String> {
    let known = is_passive(name);
    let link = LINKS.contains(&name);
    if !known && !link {
        return Err(format!("a narrative may not hold the attribute \"{}\" of <{element}>", short(name)));
    }
    if link && !is_harmless_link(element, value) {
        return Err(format!(
            "the {name} of <{element}> in a narrative must be http, https, mailto, tel or relative, that of an image may \
             be data:image/png and the like; not {}",
            short(value)
        ));
    }
    if name == "style" {
        let style = value.to_ascii_lowercase();
        if let Some(active) = ACTIVE_STYLES.iter().find(|active| style.contains(**active)) {
            return Err(format!("a style in a narrative may not hold \"{active}\""));
        }
    }
    Ok(())
}

fn is_harmless_link(element: &str, value: &str) -> bool {
    // Browsers drop white space and control characters before they look for the scheme.
    let address: String = value
        .chars()
        .filter(|character| !character.is_control() && !character.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect();
    let Some(end) = address.find([':', '/', '?', '#']).filter(|end| address[*end..].starts_with(':')) else {
        return true;
    };
    SCHEMES.contains(&&address[..end]) || (element == "img" && IMAGE_DATA.iter().any(|kind| address.starts_with(kind)))
}

/// HTML 4.0 chapters 7 to 11 and 15 without forms and frames; links and images.
fn is_formatting(name: &str) -> bool {
    matches!(
        name,
        "a" | "abbr"
            | "acronym"
            | "address"
            | "area"
            | "b"
            | "bdo"
            | "big"
            | "blockquote"
            | "br"
            | "caption"
            | "cite"
            | "code"
            | "col"
            | "colgroup"
            | "dd"
            | "del"
            | "dfn"
            | "div"
            | "dl"
            | "dt"
            | "em"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "hr"
            | "i"
            | "img"
            | "ins"
            | "kbd"
            | "li"
            | "map"
            | "ol"
            | "p"
            | "pre"
            | "q"
            | "s"
            | "samp"
            | "small"
            | "span"
            | "strong"
            | "sub"
            | "sup"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "tt"
            | "u"
            | "ul"
            | "var"
    )
}

/// Attributes that only format, name or explain, on any element.
fn is_passive(name: &str) -> bool {
    matches!(
        name,
        "abbr"
            | "accesskey"
            | "align"
            | "alt"
            | "axis"
            | "bgcolor"
            | "border"
            | "cellpadding"
            | "cellspacing"
            | "char"
            | "charoff"
            | "class"
            | "clear"
            | "color"
            | "colspan"
            | "compact"
            | "coords"
            | "datetime"
            | "dir"
            | "frame"
            | "headers"
            | "height"
            | "hreflang"
            | "hspace"
            | "id"
            | "idref"
            | "ismap"
            | "lang"
            | "name"
            | "nohref"
            | "noshade"
            | "nowrap"
            | "rel"
            | "rev"
            | "rowspan"
            | "rules"
            | "scope"
            | "shape"
            | "size"
            | "span"
            | "start"
            | "style"
            | "summary"
            | "tabindex"
            | "target"
            | "title"
            | "type"
            | "usemap"
            | "valign"
            | "value"
            | "vspace"
            | "width"
            | "xml:id"
            | "xml:lang"
            | "xml:space"
            | "xmlns"
    )
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrative(inside: &str) -> Result<(), String> {
        check(&format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inside}</div>"))
    }

    #[test]
    fn formatting_links_and_images_are_allowed() {
        for inside in [
            "a &lt; b &#160;",
            "<p class=\"x\" style=\"color: red\">x<br/></p>",
            "<table border='1'><tbody><tr><td colspan='2'>x</td></tr></tbody></table>",
            "<a href='http://example.org/?a=b:c'>x</a>",
            "<a href='Patient/1'>x</a><a href='#x'>x</a><a href='mailto:a@b.example'>x</a><a name='x'/>",
            "<img src='data:image/png;base64,QUJD' alt='x'/>",
            "<img src='#picture'/>",
            "x<!-- a comment -->",
            "x<!-- <p>as tools leave them</p> -> -->",
        ] {
            assert_eq!(narrative(inside), Ok(()), "{inside}");
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_refused() {
        assert!(narrative("a\u{ffff}").is_err() && narrative("a\u{fffd}").is_ok());
    }

    #[test]
    fn in_03_whatever_could_act_is_refused() {
        for inside in [
            "<script>alert(1)</script>",
            "<style>p { }</style>x",
            "<SCRIPT>alert(1)</SCRIPT>",
            "x<iframe src='http://x'/>",
            "x<object data='x'/>",
            "x<embed src='x'/>",
            "x<form action='x'/>",
            "x<input/>",
            "x<base href='x'/>",
            "x<link href='x'/>",
            "x<meta content='x'/>",
            "x<svg/>",
            "x<math/>",
            "x<template/>",
            "x<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>",
            "x<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
            "<p onclick='x'>x</p>",
            "<p ONCLICK='x'>x</p>",
            "<img src='x' onerror='x'/>",
            "<a href='javascript:alert(1)'>x</a>",
            "<a href='&#106;avascript:alert(1)'>x</a>",
            "<a href=' java&#10;script:alert(1)'>x</a>",
            "<a href='JaVaScRiPt:alert(1)'>x</a>",
            "<a href='vbscript:x'>x</a>",
            "<a href='data:text/html,x'>x</a>",
            "<a href='data:image/png;base64,QUJD'>x</a>",
            "<img src='data:image/svg+xml,x'/>",
            "<p style='width: expression(alert(1))'>x</p>",
            "<p style='background: url(javascript:x)'>x</p>",
            "<p style='b\\65 havior: x'>x</p>",
            "x<!--><script>alert(1)</script>-->",
            "x<!---><script>alert(1)</script>-->",
            "x<!-- --!><script>alert(1)</script>-->",
            "x<![CDATA[><script>alert(1)</script>]]>",
            "<p srcdoc='x' formaction='x'>x</p>",
        ] {
            assert!(narrative(inside).is_err(), "{inside}");
        }
    }

    #[test]
    fn in_01_in_03_only_a_whole_xhtml_div_is_a_narrative() {
        for div in [
            "",
            "x",
            "<div>x</div>",
            "<p xmlns=\"http://www.w3.org/1999/xhtml\">x</p>",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">x",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div><div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>",
            "<!DOCTYPE div [<!ENTITY x \"y\">]><div xmlns=\"http://www.w3.org/1999/xhtml\">&x;</div>",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">&nbsp;</div>",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>x</b></div>",
        ] {
            assert!(check(div).is_err(), "{div}");
        }
    }
}
