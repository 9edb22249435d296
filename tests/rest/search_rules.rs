//! Tests of what R4's page on search says in single sentences: what is missing, what SHALL be refused, what is ignored, what
//! is case sensitive, what a version is. <https://hl7.org/fhir/R4/search.html>

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer};

tests::on_both_engines!(
    in_30_what_has_no_value_to_compare_is_not_missing,
    in_30_leniency_keeps_what_shall_be_refused,
    in_30_empty_parameters_are_ignored_but_not_in_criteria,
    elements_are_of_matches_not_of_what_is_included,
    in_17_a_long_text_is_too_costly_and_sorts_by_its_beginning,
    codes_have_an_implied_system,
    words_are_a_logical_condition,
    canonicals_and_their_versions,
    media_types_lie_below_each_other,
    references_elsewhere_are_found_without_their_version,
    the_resource_inside_a_bundle_leads_nowhere,
    sort_keys_add_up,
    in_30_the_audit_trail_is_searched_leniently,
    every_page_leads_to_the_first,
);

async fn store(client: &Client, resource_type: &str, id: &str, members: &[(&str, Json)]) {
    let mut resource = fhir::json::Object::new();
    resource.insert("resourceType", resource_type);
    resource.insert("id", id);
    for (name, value) in members {
        resource.insert(name, value.clone());
    }
    client.store(&Json::Object(resource)).await;
}

fn reference(text: &str) -> Json {
    object! { "reference": text }
}

fn logical(value: &str) -> Json {
    object! { "identifier": object! { "system": "http://ids", "value": value } }
}

async fn found(client: &Client, cases: &[(&str, &[&str])]) {
    for (query, expected) in cases {
        assert_eq!(client.matches(query).await, *expected, "{query}");
    }
}

async fn statuses(client: &Client, preference: &str, cases: &[(u16, &str)]) {
    for (status, query) in cases {
        let answer = client.get(query).header("Prefer", preference).await;
        assert_eq!(answer.status, *status, "{query}: {}", answer.text());
    }
}

/// `:missing=true` "will return all the resources that don't have a value for the … parameter (which usually equates to not
/// having the relevant element in the resource)": <https://hl7.org/fhir/R4/search.html#modifiers>.
async fn in_30_what_has_no_value_to_compare_is_not_missing(server: TestServer) {
    let system = server.system();
    let text = object! { "text": "x" };
    let medication = object! { "resourceType": "Medication", "id": "m", "code": text.clone() };
    let request = |medication: Json| {
        [
            ("status", "active".into()),
            ("intent", "order".into()),
            ("subject", reference("Patient/p")),
            ("medicationReference", medication),
        ]
    };
    let inside = request(reference("#m"));
    let inside: Vec<_> = inside.into_iter().chain([("contained", array![medication.clone()])]).collect();
    store(&system, "MedicationRequest", "inside", &inside).await;
    store(&system, "MedicationRequest", "outside", &request(reference("Medication/x"))).await;
    let practitioner = array![logical("gp")];
    store(&system, "Patient", "logical", &[("generalPractitioner", practitioner)]).await;
    store(&system, "Patient", "none", &[("active", true.into())]).await;
    store(&system, "Condition", "text", &[("subject", logical("p")), ("code", text)]).await;
    store(&system, "Condition", "none", &[("subject", reference("Patient/p"))]).await;
    let often = object! { "repeat": object! { "frequency": Json::Number("2".into()) } };
    let request = |more: Option<(&'static str, Json)>| {
        [("status", "active".into()), ("intent", "order".into()), ("subject", reference("Patient/p"))]
            .into_iter()
            .chain(more)
            .collect::<Vec<_>>()
    };
    store(&system, "ServiceRequest", "often", &request(Some(("occurrenceTiming", often)))).await;
    store(&system, "ServiceRequest", "none", &request(None)).await;
    found(
        &system,
        &[
            ("MedicationRequest?medication:missing=true", &[]),
            ("MedicationRequest?medication:missing=false&_sort=_id", &["inside", "outside"]),
            ("Patient?general-practitioner:missing=true", &["none"]),
            ("Patient?general-practitioner:missing=false", &["logical"]),
            ("Patient?_filter=general-practitioner%20pr%20true", &["logical"]),
            ("Condition?subject:missing=true", &[]),
            ("Condition?code:missing=true", &["none"]),
            ("Condition?code:missing=false", &["text"]),
            ("ServiceRequest?occurrence:missing=true", &["none"]),
            ("ServiceRequest?occurrence:missing=false", &["often"]),
            ("Medication?code:missing=true&_contained=true", &[]),
            ("Medication?code:missing=false&_contained=true", &["inside"]),
        ],
    )
    .await;
    store(&system, "Condition", "text", &[("subject", logical("p"))]).await;
    found(&system, &[("Condition?code:missing=true&_sort=_id", &["none", "text"])]).await;
}

/// "Server SHALL reject any search request that contains a search parameter that is suffixed by a modifier that the server
/// does not support": <https://hl7.org/fhir/R4/search.html#modifiers>; and a named query that it does not know.
async fn in_30_leniency_keeps_what_shall_be_refused(server: TestServer) {
    let system = server.system();
    statuses(
        &system,
        "handling=lenient",
        &[
            (400, "Patient?_query=foo"),
            (400, "Patient?family:foo=x"),
            (400, "Patient?family:foo=x&gender:bar=y"),
            (400, "Patient?gender:of-type=x"),
            (400, "Patient?_text:exact=x"),
            (400, "Patient?_sort:desc=birthdate"),
            (400, "Observation?subject:Patient.name:foo=x"),
            (400, "Observation?subject.birthdate:foo=x"),
            (400, "Observation?subject:Nothing=x"),
            (400, "Observation?subject:Nothing.name=x"),
            (400, "Observation?_include:foo=Observation:subject"),
            (400, "Patient?_revinclude:recurse=Observation:subject"),
            (200, "Patient?famly=x"),
            (200, "Patient?famly:exact=x"),
            // Of the types that a chain may lead to some have the modifier.
            (200, "Observation?subject.name:exact=x"),
        ],
    )
    .await;
    statuses(&system, "handling=strict", &[(200, "Observation?subject.name:exact=x")]).await;
}

/// "Empty parameters are not an error - they are just ignored by the server": <https://hl7.org/fhir/R4/search.html>. Where
/// something is changed by what is found, less would be more.
async fn in_30_empty_parameters_are_ignored_but_not_in_criteria(server: TestServer) {
    let system = server.system();
    store(&system, "Patient", "a", &[("gender", "male".into())]).await;
    store(&system, "Patient", "b", &[("gender", "female".into())]).await;
    for empty in [
        "name=",
        "name",
        "gender=",
        "_type=",
        "_elements=",
        "_sort=",
        "_include=",
        "_count=",
        "_total=",
        "_summary=",
        "_filter=",
        "_text=",
        "_id=",
        "_lastUpdated=",
        "_format=",
        "_pretty=",
        "name:exact=",
        "=",
        "_contained=",
    ] {
        let answer = system.get(&format!("Patient?gender=male&{empty}")).await.expect_status(200);
        assert_eq!(answer.matches(), ["a"], "{empty}");
        let own = answer.link("self").expect("a self link");
        assert!(own.ends_with("Patient?gender=male"), "{own}");
    }
    let posted = system.post("Patient/_search").form(&[("gender", "male"), ("name", "")]).await.expect_status(200);
    assert_eq!(posted.matches(), ["a"]);
    found(&system, &[("?_type=Patient&gender=male&name=", &["a"]), ("Patient/a/*?_type=&_id=", &["a"])]).await;
    for query in ["name=,", "name=x,", "_cursor="] {
        system.get(&format!("Patient?{query}")).await.expect_status(400);
    }
    system.delete("Patient?gender=male&name=").await.expect_status(400);
    let patient = object! { "resourceType": "Patient" };
    system.post("Patient").header("If-None-Exist", "gender=male&name=").json(&patient).await.expect_status(400);
    system.get("Patient/a").await.expect_status(200);
}

/// "The list of elements does not apply to included resources": <https://hl7.org/fhir/R4/search.html#elements>.
async fn elements_are_of_matches_not_of_what_is_included(server: TestServer) {
    let system = server.system();
    store(&system, "Patient", "p", &[("gender", "male".into()), ("birthDate", "2000".into())]).await;
    let code = object! { "coding": array![object! { "code": "x1" }] };
    let amount = object! { "value": Json::Number("7".into()) };
    let members =
        [("status", "final".into()), ("code", code), ("subject", reference("Patient/p")), ("valueQuantity", amount)];
    store(&system, "Observation", "o", &members).await;
    let one = |answer: tests::Answer, mode: &str| answer.entries(mode)[0].clone();
    let query = "Observation?code=x1&_include=Observation:subject&_elements=status";
    let included = one(system.get(query).await.expect_status(200), "include");
    assert_eq!((included.str("gender"), included.str("birthDate")), (Some("male"), Some("2000")), "{included}");
    let named = one(system.get(&format!("{query},Patient.gender")).await.expect_status(200), "include");
    assert_eq!((named.str("gender"), named.str("birthDate")), (Some("male"), None), "{named}");
    for name in ["valueQuantity", "value%5Bx%5D", "value", "Observation.valueQuantity"] {
        let found = one(system.get(&format!("Observation?_elements={name}")).await.expect_status(200), "match");
        assert!(found.get("valueQuantity").is_some() && found.get("subject").is_none(), "{name}: {found}");
    }
    system.get("Observation?_elements=valueNothing").await.expect_status(400);
}

async fn in_17_a_long_text_is_too_costly_and_sorts_by_its_beginning(server: TestServer) {
    let system = server.system();
    for (id, last) in [("a", "x"), ("b", "y"), ("c", "z")] {
        let long = format!("{}{last}", "\u{20ac}".repeat(30_000));
        let kind = object! { "text": "logic" };
        let members = [("status", "active".into()), ("type", kind), ("description", long.as_str().into())];
        store(&system, "Library", id, &members).await;
    }
    for order in ["description", "-description"] {
        let (mut url, mut pages) = (Some(format!("Library?_sort={order}&_count=1")), Vec::new());
        while let Some(next) = url {
            assert!(next.len() < 4_000, "{}", next.len());
            let page = system.get(&next).await.expect_status(200);
            pages.extend(page.matches());
            url = page.link("next");
        }
        assert_eq!(pages, ["c", "b", "a"], "{order}");
    }
    let long = "a".repeat(60_000);
    for name in ["name:contains", "name", "name:exact"] {
        let answer = system.post("Patient/_search").form(&[(name, long.as_str())]).await.expect_status(400);
        assert!(answer.text().contains("too-costly"), "{name}");
    }
    system.post("Patient/_search").form(&[("name:contains", &"%_\u{20ac}".repeat(3_333))]).await.expect_status(200);
}

/// Elements of type `code` have the system that is bound to them: <https://hl7.org/fhir/R4/search.html#token>.
async fn codes_have_an_implied_system(server: TestServer) {
    let system = server.system();
    store(&system, "Patient", "a", &[("gender", "female".into())]).await;
    store(&system, "Patient", "b", &[("gender", "male".into())]).await;
    let code = object! { "coding": array![object! { "code": "bare" }] };
    store(&system, "Observation", "o", &[("status", "final".into()), ("code", code)]).await;
    let relates = array![object! { "code": "replaces", "target": reference("DocumentReference/first") }];
    store(&system, "DocumentReference", "first", &document()).await;
    let next = [document().as_slice(), &[("relatesTo", relates)]].concat();
    store(&system, "DocumentReference", "next", &next).await;
    let concept = object! { "code": "8480-6" };
    let include = object! { "system": "http://loinc.org", "concept": array![concept] };
    let compose = object! { "include": array![include] };
    let contains = array![object! { "system": "http://loinc.org", "code": "8480-6" }];
    let expansion = object! { "timestamp": "2020-01-01", "contains": contains };
    let members = [("status", "active".into()), ("compose", compose), ("expansion", expansion)];
    store(&system, "ValueSet", "v", &members).await;
    let gender = "http://hl7.org/fhir/administrative-gender";
    let relationship = "DocumentReference?relationship=DocumentReference/first";
    found(
        &system,
        &[
            (&format!("Patient?gender={gender}%7Cfemale"), &["a"]),
            (&format!("Patient?gender:not={gender}%7Cfemale"), &["b"]),
            (&format!("Patient?gender={gender}%7Cother"), &[]),
            (&format!("Patient?gender={gender}%7C&_sort=_id"), &["a", "b"]),
            ("Patient?gender=%7Cfemale", &["a"]),
            (&format!("Patient?_filter=gender%20ne%20{gender}%7Cfemale"), &["b"]),
            ("Observation?status=http://hl7.org/fhir/observation-status%7Cfinal", &["o"]),
            ("Observation?code=http://somewhere%7Cbare", &[]),
            ("ValueSet?code=http://loinc.org%7C8480-6", &["v"]),
            ("Patient?gender=http://loinc.org%7Cfemale", &[]),
            ("Patient?gender:not=http://loinc.org%7Cfemale&_sort=_id", &["a", "b"]),
            ("Observation?status=http://hl7.org/fhir/administrative-gender%7Cfinal", &[]),
            ("DocumentReference?contenttype=urn:ietf:bcp:13%7Ctext/plain&_sort=_id", &["first", "next"]),
            (&format!("{relationship}$replaces"), &["next"]),
            (&format!("{relationship}$http://hl7.org/fhir/document-relationship-type%7Creplaces"), &["next"]),
            (&format!("{relationship}$http://loinc.org%7Creplaces"), &[]),
        ],
    )
    .await;
}

fn document() -> [(&'static str, Json); 2] {
    let attachment = object! { "attachment": object! { "contentType": "text/plain", "data": "eA==" } };
    [("status", "current".into()), ("content", array![attachment])]
}

/// `_text=(bone OR liver) and metastases`: <https://hl7.org/fhir/R4/search.html#content>.
async fn words_are_a_logical_condition(server: TestServer) {
    let system = server.system();
    for (id, words) in [("a", "metastases in the bone"), ("b", "liver: Metastases"), ("c", "metastases"), ("d", "bone")]
    {
        let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{words}</div>");
        let narrative = object! { "status": "generated", "div": div };
        store(&system, "Condition", id, &[("text", narrative), ("subject", reference("Patient/p"))]).await;
    }
    let order = "&_sort=_id";
    for (text, expected) in [
        ("(bone%20OR%20liver)%20and%20metastases", &["a", "b"][..]),
        ("(bone%20or%20liver)%20metastases", &["a", "b"]),
        ("bone%20or%20liver%20and%20metastases", &["a", "b", "d"]),
        ("metastases%20and%20not%20(bone%20or%20liver)", &["c"]),
        ("not%20metastases", &["d"]),
        ("liver,bone%20not%20metastases", &["b", "d"]),
        ("metastases%20bone", &["a"]),
    ] {
        for name in ["_text", "_content"] {
            assert_eq!(system.matches(&format!("Condition?{name}={text}{order}")).await, expected, "{name} {text}");
        }
    }
    for text in ["(bone", "bone)", "and", "bone%20or", "not", "()", "bone%20and%20or%20liver"] {
        system.get(&format!("Condition?_text={text}")).await.expect_status(400);
    }
}

/// <https://hl7.org/fhir/R4/references.html#canonical>
async fn canonicals_and_their_versions(server: TestServer) {
    let system = server.system();
    for (id, version) in [("one", "1.0-RC1"), ("two", "2")] {
        let members = [("status", "active".into()), ("url", "http://ex.org/q".into()), ("version", version.into())];
        store(&system, "Questionnaire", id, &members).await;
    }
    for (id, canonical) in [("r1", "http://ex.org/q"), ("r2", "http://ex.org/q|2"), ("r3", "http://ex.org/q2")] {
        let members = [("status", "completed".into()), ("questionnaire", canonical.into())];
        store(&system, "QuestionnaireResponse", id, &members).await;
    }
    let meta = object! { "profile": array!["http://prof|1.0"] };
    store(&system, "Patient", "p", &[("meta", meta)]).await;
    let order = "&_sort=_id";
    for (query, expected) in [
        ("QuestionnaireResponse?questionnaire:below=http://ex.org/q", &["r1", "r2"][..]),
        ("QuestionnaireResponse?questionnaire=http://ex.org/q", &["r1", "r2"]),
        ("QuestionnaireResponse?questionnaire=http://ex.org/q%7C2", &["r2"]),
        ("Questionnaire?url=http://ex.org/q", &["one", "two"]),
        ("Questionnaire?url=http://ex.org/q%7C2", &["two"]),
        ("Questionnaire?url=http://ex.org/q%7C3", &[]),
        ("Questionnaire?url=http://other,http://ex.org/q%7C2", &["two"]),
        ("Questionnaire?url=http://ex.org/q%7C1.0-rc1", &["one"]),
        ("Questionnaire?version=1.0-rc1", &["one"]),
        ("Questionnaire?version=1.0-RC1", &["one"]),
        ("Questionnaire?version:not=1.0-rc1", &["two"]),
        ("Patient?_profile=http://prof", &["p"]),
        ("Patient?_profile=http://prof%7C1.0", &["p"]),
        ("Patient?_profile=http://prof%7C2.0", &[]),
    ] {
        assert_eq!(system.matches(&format!("{query}{order}")).await, expected, "{query}");
    }
    for query in
        ["QuestionnaireResponse?questionnaire:below=http://ex.org/q%7C2", "Questionnaire?url=http://ex.org/q%7C"]
    {
        system.get(query).await.expect_status(400);
    }
}

/// `contenttype:below=text/xml`: <https://hl7.org/fhir/R4/search.html#token>.
async fn media_types_lie_below_each_other(server: TestServer) {
    let system = server.system();
    for (id, kind) in [("a", "text/xml"), ("b", "text/XML; charset=utf-8"), ("c", "text/plain"), ("d", "text/xmlx")] {
        let content = array![object! { "attachment": object! { "contentType": kind, "url": "http://x" } }];
        store(&system, "DocumentReference", id, &[("status", "current".into()), ("content", content)]).await;
    }
    for (value, expected) in [
        (":below=text/xml", &["a", "b"][..]),
        (":below=text", &["a", "b", "c", "d"]),
        (":below=image,text/plain", &["c"]),
        (":below=urn:ietf:bcp:13%7Ctext/xml", &["a", "b"]),
        ("=text/xml", &["a"]),
    ] {
        assert_eq!(
            system.matches(&format!("DocumentReference?contenttype{value}&_sort=_id")).await,
            expected,
            "{value}"
        );
    }
    system.get("DocumentReference?contenttype:below=text/xml;charset=x").await.expect_status(400);
}

async fn references_elsewhere_are_found_without_their_version(server: TestServer) {
    let system = server.system();
    let elsewhere = "http://other.org/fhir/Patient/9";
    store(&system, "Condition", "a", &[("subject", reference(elsewhere))]).await;
    store(&system, "Condition", "b", &[("subject", reference(&format!("{elsewhere}/_history/3")))]).await;
    found(
        &system,
        &[
            (&format!("Condition?subject={elsewhere}&_sort=_id"), &["a", "b"]),
            (&format!("Condition?subject={elsewhere}/_history/3"), &["b"]),
            ("Condition?subject=http://other.org/fhir/Patient", &[]),
        ],
    )
    .await;
}

/// A Bundle's first resource is no resource of this server, whatever its id.
async fn the_resource_inside_a_bundle_leads_nowhere(server: TestServer) {
    let system = server.system();
    let composition = object! {
        "resourceType": "Composition", "id": "c", "status": "final", "title": "t", "date": "2020",
        "type": object! { "text": "x" }, "author": array![reference("Practitioner/p")],
    };
    system.store(&composition).await;
    let entry = array![object! { "fullUrl": "http://other.org/fhir/Composition/c", "resource": composition }];
    let identifier = object! { "system": "http://ids", "value": "1" };
    let members = [
        ("type", "document".into()),
        ("identifier", identifier),
        ("timestamp", "2020-01-01T00:00:00Z".into()),
        ("entry", entry),
    ];
    store(&system, "Bundle", "b", &members).await;
    found(&system, &[("Bundle?composition=Composition/c", &["b"])]).await;
    for query in [
        "Bundle?composition.title=t",
        "Bundle?_include=Bundle:composition",
        "Composition?_revinclude=Bundle:composition",
        "Composition?_has:Bundle:composition:type=document",
    ] {
        let answer = system.get(query).await.expect_status(400);
        assert!(answer.text().contains("stands inside"), "{query}: {}", answer.text());
    }
}

async fn sort_keys_add_up(server: TestServer) {
    let system = server.system();
    for (id, gender, born) in [("a", "male", "2001"), ("b", "female", "2002"), ("c", "female", "2000")] {
        store(&system, "Patient", id, &[("gender", gender.into()), ("birthDate", born.into())]).await;
    }
    found(
        &system,
        &[
            ("Patient?_sort=gender&_sort=birthdate", &["c", "b", "a"]),
            ("Patient?_sort=gender,birthdate", &["c", "b", "a"]),
            ("Patient?_sort=-gender&_sort=-birthdate", &["a", "b", "c"]),
        ],
    )
    .await;
    system.get("Patient?_sort=gender&_sort=-gender").await.expect_status(400);
    system.get("Patient?_sort=gender,birthdate,family,given&_sort=_id,_lastUpdated").await.expect_status(400);
    let lenient =
        system.get("Patient?_sort=foo,-birthdate").header("Prefer", "handling=lenient").await.expect_status(200);
    assert_eq!(lenient.matches(), ["b", "a", "c"]);
    assert_eq!(lenient.entries("outcome").len(), 1);
    assert!(lenient.link("self").unwrap().ends_with("Patient?_sort=-birthdate"));
    // A type without references is no obstacle to the includes of another one.
    store(&system, "Organization", "o", &[("name", "x".into()), ("partOf", reference("Organization/top"))]).await;
    store(&system, "Organization", "top", &[("name", "y".into())]).await;
    let several = system.get("?_type=Organization,CatalogEntry&_id=o&_include=*").await.expect_status(200);
    assert_eq!(several.included(), ["Organization/top"]);
    system.get("CatalogEntry?_include=*").await.expect_status(400);
}

async fn in_30_the_audit_trail_is_searched_leniently(server: TestServer) {
    let system = server.system();
    store(&system, "Patient", "a", &[]).await;
    system.get("AuditEvent?foo=bar").await.expect_status(400);
    let lenient =
        system.get("AuditEvent?foo=bar&action=C").header("Prefer", "handling=lenient").await.expect_status(200);
    assert_eq!((lenient.matches().len(), lenient.entries("outcome").len()), (1, 1));
    assert!(!lenient.link("self").unwrap().contains("foo"));
    statuses(&system, "handling=lenient", &[(400, "AuditEvent?patient:exact=true"), (400, "AuditEvent?date=x")]).await;
    assert_eq!(system.matches("?_type=AuditEvent&action=C&patient=").await.len(), 1);
    system.get("?_type=AuditEvent,Patient").await.expect_status(400);
    server.with_scope("system/Patient.rs", None).get("?_type=AuditEvent").await.expect_status(403);
}

async fn every_page_leads_to_the_first(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        store(&system, "Patient", id, &[]).await;
    }
    let first = system.get("Patient?_sort=_id&_count=1").await.expect_status(200);
    let second = system.get(&first.link("next").unwrap()).await.expect_status(200);
    assert_eq!(second.matches(), ["b"]);
    assert_eq!(system.get(&second.link("first").unwrap()).await.expect_status(200).matches(), ["a"]);
    assert_eq!(first.link("first"), first.link("self"));
}
