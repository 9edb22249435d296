//! The XML form, with HL7's own examples.

use super::*;
use crate::json::MAX_DEPTH;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TRIBUTARY_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = root.join(name);
    if !path.exists() {
        println!("skipped: {name} (no test data)");
        return None;
    }
    Some(path)
}

fn json_examples() -> Vec<Json> {
    let Some(path) = shared("examples/r4-examples.ndjson.gz") else { return Vec::new() };
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| Json::parse(line.as_bytes()).unwrap()).collect()
}

/// File names and texts of HL7's XML examples.
fn xml_examples() -> Vec<(String, String)> {
    let Some(path) = shared("examples/r4-examples-xml.tgz") else { return Vec::new() };
    let folder = std::env::temp_dir().join(format!("tributary-xml-examples-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    assert!(Command::new("tar").arg("-xzf").arg(path).arg("-C").arg(&folder).status().unwrap().success());
    let mut examples = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.file_name().to_string_lossy().into_owned();
                examples.push((name, std::fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
    examples.sort_unstable();
    examples
}

/// The document with its members sorted by name, to compare values only.
fn sorted(json: &Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        Json::Object(object) => {
            let mut members: Vec<(&str, Json)> = object.iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            Json::Object(members.into_iter().collect())
        }
        scalar => scalar.clone(),
    }
}

/// What an XML document says, one line an event: comments and layout left out, the inside of narratives as written.
fn content(text: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut lines = Vec::new();
    loop {
        let at = reader.buffer_position() as usize;
        match reader.read_event().unwrap() {
            Event::Start(start) if start.name().as_ref() == "div" => {
                reader.read_to_end(start.name()).unwrap();
                lines.push(text[at..reader.buffer_position() as usize].to_owned());
            }
            Event::Start(start) => {
                let mut attributes: Vec<String> = start
                    .attributes()
                    .map(Result::unwrap)
                    .filter(|attribute| !attribute.key.as_ref().starts_with("xmlns"))
                    .filter(|attribute| !attribute.key.as_ref().starts_with("xsi:"))
                    .map(|attribute| {
                        let value = attribute.normalized_value(XmlVersion::Explicit1_0).unwrap();
                        format!("{}={value:?}", attribute.key.as_ref())
                    })
                    .collect();
                attributes.sort_unstable();
                lines.push(format!("<{} {}>", start.name().as_ref(), attributes.join(" ")));
            }
            Event::End(end) => lines.push(format!("</{}>", end.name().as_ref())),
            Event::Eof => return lines,
            _ => {}
        }
    }
}

#[test]
fn every_json_example_survives_the_way_through_xml() {
    let mut failures = String::new();
    for example in json_examples() {
        let name = format!("{}/{}", example.str("resourceType").unwrap(), example.str("id").unwrap_or("-"));
        let back = from_json(&example).and_then(|xml| to_json(xml.as_bytes()));
        match back {
            Ok(back) if sorted(&back) == sorted(&example) => {}
            Ok(_) => writeln!(failures, "{name}: differs").unwrap(),
            Err(error) => writeln!(failures, "{name}: {error}").unwrap(),
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_xml_example_survives_the_way_through_json() {
    let mut failures = String::new();
    for (name, text) in xml_examples() {
        match to_json(text.as_bytes()).and_then(|json| from_json(&json)) {
            Ok(back) if content(&back) == content(&text) => {}
            Ok(back) => {
                let (was, is) = (content(&text), content(&back));
                let first = was.iter().zip(&is).find(|(was, is)| was != is);
                writeln!(failures, "{name}: differs: {first:?}").unwrap();
            }
            Err(error) => writeln!(failures, "{name}: {error}").unwrap(),
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn patient(content: &str) -> String {
    format!("<Patient xmlns=\"http://hl7.org/fhir\">{content}</Patient>")
}

#[test]
fn primitives_carry_ids_and_extensions() {
    let json = r#"{"resourceType":"Patient","id":"p","_id":{"extension":[{"url":"u","valueBoolean":true}]},"name":[{"id":"n","given":["Ada",null,"B"],"_given":[null,{"extension":[{"url":"u","valueCode":"c"}]},{"id":"x"}]}],"_birthDate":{"extension":[{"extension":[{"url":"v","valueDecimal":1.00}],"url":"u"}]}}"#;
    let xml = from_json(&Json::parse(json.as_bytes()).unwrap()).unwrap();
    let expected = patient(concat!(
        r#"<id value="p"><extension url="u"><valueBoolean value="true"/></extension></id>"#,
        r#"<name id="n"><given value="Ada"/><given><extension url="u"><valueCode value="c"/></extension></given>"#,
        r#"<given id="x" value="B"/></name><birthDate><extension url="u"><extension url="v">"#,
        r#"<valueDecimal value="1.00"/></extension></extension></birthDate>"#
    ));
    assert_eq!(xml, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{expected}"));
    assert_eq!(to_json(xml.as_bytes()).unwrap().to_string(), json);
}

#[test]
fn elements_are_put_into_the_order_of_the_definitions() {
    let json = r#"{"gender":"male","contact":[{"gender":"female","name":{"text":"x"}}],"active":true,"resourceType":"Patient"}"#;
    let xml = from_json(&Json::parse(json.as_bytes()).unwrap()).unwrap();
    assert!(xml.ends_with(&patient(concat!(
        r#"<active value="true"/><gender value="male"/><contact><name><text value="x"/></name>"#,
        r#"<gender value="female"/></contact>"#
    ))));
}

#[test]
fn in_08_decimals_keep_their_text() {
    for number in ["1.00", "-0.0", "1e-7", "1E+3", "123456789012345678901234567890.10"] {
        let json = format!(r#"{{"resourceType":"Observation","valueQuantity":{{"value":{number}}}}}"#);
        let xml = from_json(&Json::parse(json.as_bytes()).unwrap()).unwrap();
        assert!(xml.contains(&format!("<value value=\"{number}\"/>")), "{xml}");
        assert_eq!(to_json(xml.as_bytes()).unwrap().to_string(), json);
    }
}

#[test]
fn narratives_keep_their_bytes() {
    let div = concat!(
        "<div  xmlns=\"http://www.w3.org/1999/xhtml\" >\r\n\t<p class='a'>1 &lt; 2 &#160; &amp; \"x\" <!-- kept -->",
        "<br/><br /><b></b></p>\n</div >"
    );
    let json = crate::object! {
        "resourceType": "Patient",
        "text": crate::object! { "status": "generated", "div": div },
        "active": true,
    };
    let xml = from_json(&json).unwrap();
    assert!(xml.contains(div));
    assert_eq!(to_json(xml.as_bytes()).unwrap(), json);
}

#[test]
fn strings_keep_white_space_and_markup_characters() {
    let json = crate::object! { "resourceType": "Basic", "id": "a", "language": "a\r\n\tb <&>\"' é😀 " };
    let xml = from_json(&json).unwrap();
    assert_eq!(to_json(xml.as_bytes()).unwrap(), json);
    let literal = "<Basic xmlns='http://hl7.org/fhir'><language value='a\r\nb\tc'/></Basic>";
    assert_eq!(to_json(literal.as_bytes()).unwrap().str("language"), Some("a b c"));
}

#[test]
fn prefixes_comments_instructions_and_schema_hints_change_nothing() {
    let xml = concat!(
        "\u{feff}<?xml version='1.0' encoding='utf-8'?><?xml-stylesheet href='x'?><!-- a --><f:Patient xmlns:f='http://hl7.org/fhir' ",
        "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='http://hl7.org/fhir x.xsd'>",
        "<f:contained><f:Basic><f:id value='b'/></f:Basic></f:contained><!-- b --><?php echo 1 ?><f:active value='true'/></f:Patient>\n"
    );
    assert_eq!(
        to_json(xml.as_bytes()).unwrap().to_string(),
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Basic","id":"b"}],"active":true}"#
    );
}

#[test]
fn in_01_document_types_and_entities_are_refused() {
    let laughs = format!(
        "<!DOCTYPE Patient [<!ENTITY a \"ha\">{}]>{}",
        "<!ENTITY b \"&a;&a;&a;&a;\">".repeat(20),
        patient("<language value='&b;'/>")
    );
    let div = |inside: &str| {
        patient(&format!(
            "<text><status value='generated'/><div xmlns='http://www.w3.org/1999/xhtml'>{inside}</div></text>"
        ))
    };
    for (text, reason) in [
        (laughs, "DOCTYPE"),
        (format!("<!DOCTYPE Patient SYSTEM 'file:///etc/passwd'>{}", patient("")), "DOCTYPE"),
        (patient("<language value='&x;'/>"), "unrecognized entity"),
        (patient("&amp;<active value='true'/>"), "entities"),
        (patient("<![CDATA[x]]>"), "CDATA"),
        (div("<?php x ?>"), "instructions"),
        (div("&nbsp;"), "&nbsp;"),
        (div("&#0;"), "&#0;"),
        (div("<b title='&x;'/>"), "unrecognized entity"),
    ] {
        let error = to_json(text.as_bytes()).unwrap_err();
        assert!(error.message.contains(reason), "{text}: {error}");
    }
}

#[test]
fn in_02_what_is_not_fhir_in_xml_is_refused_with_its_place() {
    for (text, path, reason) in [
        (patient("<nmae/>"), "Patient", "<nmae> is not an element of Patient"),
        (patient("<name><gvien value='x'/></name>"), "Patient.name[0]", "<gvien>"),
        (patient("<gender value='male'/><active value='true'/>"), "Patient", "must stand before <gender>"),
        (patient("<gender value='male'/><gender value='male'/>"), "Patient", "more than once"),
        (patient("<active value='yes'/>"), "Patient.active", "not a boolean"),
        (patient("<active/>"), "Patient.active", "must have a value"),
        (patient("<active value='true' value='true'/>"), "Patient.active", "duplicate"),
        (patient("<active valeu='true'/>"), "Patient.active", "no attribute \"valeu\""),
        (patient("<multipleBirthInteger value='+1'/>"), "Patient.multipleBirth", "not a number"),
        (patient("text"), "Patient", "text is not accepted"),
        (patient("<contained/>"), "Patient.contained[0]", "resource was expected"),
        (patient("<contained><Nothing/></contained>"), "Patient.contained[0]", "<Nothing>"),
        (patient("<contained><Basic/><Basic/></contained>"), "Patient.contained[0]", "only one"),
        (patient("<x:active xmlns:x='urn:x' value='true'/>"), "Patient", "namespace"),
        (patient("<text><div>x</div></text>"), "Patient.text", "namespace"),
        (patient("<language value='&#1;'/>"), "Patient.language", "XML 1.0"),
        (patient("<active value='true'>"), "Patient.active", "not well-formed"),
        ("<Patient/>".into(), "", "namespace"),
        ("<Patient xmlns='http://hl7.org/fhir/'/>".into(), "", "namespace"),
        ("<Observatio xmlns='http://hl7.org/fhir'/>".into(), "", "not a resource type"),
        ("<Resource xmlns='http://hl7.org/fhir'/>".into(), "", "not a resource type"),
        (format!("<?xml version='1.0' encoding='UTF-16'?>{}", patient("")), "", "UTF-8"),
        (patient("") + &patient(""), "", "nothing may follow"),
        (patient("<language value='\u{1}'/>"), "", "XML 1.0"),
        (String::new(), "", "a resource was expected"),
    ] {
        let error = to_json(text.as_bytes()).unwrap_err();
        assert!(error.message.contains(reason), "{text}: {error}");
        assert_eq!(error.path, path, "{text}: {error}");
    }
    assert!(to_json(b"\xff\xfe<\0P\0").unwrap_err().message.contains("UTF-8"));
}

#[test]
fn in_07_nesting_is_bounded_as_in_json() {
    let nested =
        |levels: usize| patient(&format!("{}{}", "<extension url='u'>".repeat(levels), "</extension>".repeat(levels)));
    let json = to_json(nested((MAX_DEPTH - 1) / 2).as_bytes()).unwrap().to_string();
    assert!(Json::parse(json.as_bytes()).is_ok());
    assert!(to_json(nested(MAX_DEPTH / 2).as_bytes()).unwrap_err().message.contains("nested deeper"));
    assert!(to_json(nested(100_000).as_bytes()).unwrap_err().message.contains("nested deeper"));
}

#[test]
fn what_xml_cannot_say_is_refused() {
    for (json, reason) in [
        (r#"{"resourceType":"Patient","nmae":1}"#, "nmae"),
        (r#"{"resourceType":"Patient","name":[null]}"#, "null"),
        (r#"{"resourceType":"Patient","active":[true]}"#, "array"),
        (r#"{"resourceType":"Patient","language":"\u0001"}"#, "U+0001"),
        (r#"{"resourceType":"Patient","text":{"div":"<div>x</div><p/>"}}"#, "one <div"),
        (
            r#"{"resourceType":"Patient","text":{"div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p></div>"}}"#,
            "narrative",
        ),
        (
            r#"{"resourceType":"Patient","text":{"div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"/></text>"}}"#,
            "narrative",
        ),
        (r#"{"resourceType":"Patient","name":["x"]}"#, "object"),
        (r#"{"resourceType":"Nothing"}"#, "resourceType"),
        ("[]", "resourceType"),
    ] {
        let error = from_json(&Json::parse(json.as_bytes()).unwrap()).unwrap_err();
        assert!(error.message.contains(reason), "{json}: {error}");
    }
}

#[test]
fn in_01_hostile_documents_are_answered_quickly_and_briefly() {
    let div = |inside: &str| {
        patient(&format!(
            "<text><status value='generated'/><div xmlns='http://www.w3.org/1999/xhtml'>{inside}</div></text>"
        ))
    };
    let numbered = |form: fn(usize) -> String| (0..60_000).map(form).collect::<Vec<_>>().join(" ");
    let bindings = numbered(|number| format!("xmlns:n{number}='u'"));
    let attributes = numbered(|number| format!("n{number}='u'"));
    for text in [
        format!("<Patient xmlns='http://hl7.org/fhir' {bindings}/>"),
        format!("<Patient xmlns='http://hl7.org/fhir' {attributes}/>"),
        patient(&format!("<contained {bindings}><Basic/></contained>")),
        patient(&format!("<{}/>", "n".repeat(1_000_000))),
        div(&format!("<p {attributes}/>")),
        div(&format!("<p {bindings}/>")),
        div(&"<b>".repeat(300_000)),
        div(&"<b xmlns:a='u'>".repeat(60_000)),
        div(&format!("{}{}", "<b>".repeat(100_000), "</b>".repeat(100_000))),
        patient(&"<name>".repeat(150_000)),
        "<".repeat(1_000_000),
        "<!--".repeat(250_000),
        "&amp;".repeat(200_000),
    ] {
        let start = std::time::Instant::now();
        let error = to_json(text.as_bytes()).unwrap_err();
        let took = start.elapsed();
        // All are linear: tens of milliseconds when optimised. The bound leaves room for a busy machine.
        assert!(took.as_secs() < 5, "{took:?}: {}", &text[..80]);
        assert!(error.to_string().len() < 500, "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn in_02_any_text_that_xml_can_hold_survives(text in "\\PC*[\t\r\n ]?\\PC*") {
        proptest::prop_assume!(text.chars().all(is_xml_character) && !text.is_empty());
        let json = crate::object! { "resourceType": "Basic", "language": text.as_str() };
        let xml = from_json(&json).unwrap();
        proptest::prop_assert_eq!(to_json(xml.as_bytes()).unwrap(), json);
    }

    #[test]
    fn in_50_no_bytes_make_the_reader_panic(inside in "(<|>|/|name|given|active| value='| |'|&|;|#|!|-|\\[|div|\\PC){0,40}") {
        let _ = to_json(inside.as_bytes());
        let _ = to_json(patient(&inside).as_bytes());
        let _ = narrative::check(&inside);
    }
}
