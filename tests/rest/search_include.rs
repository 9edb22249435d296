//! Tests of what `_include`, `_revinclude` and chains lead to. <https://hl7.org/fhir/R4/search.html#include>

use fhir::json::Json;
use fhir::{array, object};
use tests::{Client, TestServer};

tests::on_both_engines!(
    a_star_is_every_type,
    sm_22_a_star_stands_for_what_may_be_searched,
    the_version_that_is_named_is_included,
    lk_15_versions_are_included_as_they_are_read,
    canonicals_lead_to_what_they_mean,
    lk_14_what_is_hidden_is_not_the_newest,
    canonicals_of_many,
);

fn reference(text: &str) -> Json {
    object! { "reference": text }
}

/// Stores a resource of these members.
async fn store(system: &Client, resource_type: &str, id: &str, members: &[(&str, Json)]) {
    let mut resource = object! { "resourceType": resource_type, "id": id };
    for (name, value) in members {
        resource.as_object_mut().unwrap().insert(name, value.clone());
    }
    system.store(&resource).await;
}

/// What a page includes, in the order of names.
async fn included(client: &Client, query: &str) -> Vec<String> {
    let mut found = client.get(query).await.expect_status(200).included();
    found.sort();
    found
}

/// Two patients with an observation each, a visit, and what is about them.
async fn ward(system: &Client) {
    for id in ["a", "b"] {
        store(system, "Patient", id, &[]).await;
        let (status, subject) = ("final".into(), reference(&format!("Patient/{id}")));
        let code = object! { "text": "x" };
        let visit = reference("Encounter/e");
        let mut members = vec![("status", status), ("code", code), ("subject", subject)];
        members.extend((id == "a").then_some(("encounter", visit)));
        store(system, "Observation", &format!("o{id}"), &members).await;
    }
    let class = object! { "code": "AMB" };
    let members = [("status", "finished".into()), ("class", class), ("subject", reference("Patient/a"))];
    store(system, "Encounter", "e", &members).await;
    store(system, "Basic", "n", &[("code", object! { "text": "x" }), ("subject", reference("Encounter/e"))]).await;
}

async fn a_star_is_every_type(server: TestServer) {
    let system = server.system();
    ward(&system).await;
    for (query, expected) in [
        ("Patient?_id=a&_revinclude=*", &["Encounter/e", "Observation/oa"][..]),
        ("Patient?_id=b&_revinclude=*", &["Observation/ob"]),
        ("Patient?_id=a&_revinclude:iterate=*", &["Basic/n", "Encounter/e", "Observation/oa"]),
        ("Encounter?_revinclude=*", &["Basic/n", "Observation/oa"]),
        ("Observation?_id=oa&_include=*", &["Encounter/e", "Patient/a"]),
        ("Basic?_include=*", &["Encounter/e"]),
        ("Basic?_include:iterate=*", &["Encounter/e", "Patient/a"]),
        ("Basic?_include:iterate=*&_revinclude:iterate=*", &["Encounter/e", "Observation/oa", "Patient/a"]),
        ("?_type=Patient,Encounter&_revinclude=*&_id=a,e", &["Basic/n", "Observation/oa"]),
        // One of twenty, however many types there are.
        ("Patient?_id=a&_revinclude=*&_revinclude=Encounter:patient", &["Encounter/e", "Observation/oa"]),
    ] {
        assert_eq!(included(&system, query).await, expected, "{query}");
    }
    let link = system.get("Patient?_revinclude=*").await.expect_status(200).link("self").unwrap();
    assert!(link.ends_with("Patient?_revinclude=%2A"), "{link}");
    for query in ["Patient?_revinclude=*:subject", "Patient?_revinclude=*:*", "Patient?_revinclude:all=*"] {
        system.get(query).await.expect_status(400);
    }
}

async fn sm_22_a_star_stands_for_what_may_be_searched(server: TestServer) {
    let system = server.system();
    ward(&system).await;
    let all = "Patient?_revinclude=*";
    assert_eq!(included(&server.patient("a"), all).await, ["Encounter/e", "Observation/oa"]);
    for (scope, expected) in [
        ("patient/Patient.rs patient/Observation.rs", &["Observation/oa"][..]),
        ("patient/Patient.rs patient/Observation.rs patient/Encounter.r", &["Observation/oa"]),
        ("patient/Patient.rs patient/Observation.rs?status=preliminary patient/Encounter.rs", &["Encounter/e"]),
        ("patient/Patient.rs patient/Basic.rs", &[]),
    ] {
        assert_eq!(included(&server.with_scope(scope, Some("a")), all).await, expected, "{scope}");
    }
    // What is hidden leads nowhere.
    let blind = server.with_scope("patient/Patient.rs patient/Basic.rs", Some("a"));
    assert!(included(&blind, "Patient?_revinclude:iterate=*").await.is_empty());
}

/// `Type/id/version` of what a page includes, in the order of names.
async fn versions(client: &Client, query: &str) -> Vec<String> {
    let answer = client.get(query).await.expect_status(200);
    let name = |resource: &Json| {
        let version = resource.at(&["meta", "versionId"]).and_then(Json::as_str).unwrap();
        format!("{}/{}/{version}", resource.str("resourceType").unwrap(), resource.str("id").unwrap())
    };
    let mut found: Vec<String> = answer.entries("include").iter().map(name).collect();
    found.sort();
    found
}

async fn observe(system: &Client, id: &str, members: &[(&str, Json)]) {
    let own = [("status", "final".into()), ("code", object! { "text": "x" })];
    store(system, "Observation", id, &[&own, members].concat()).await;
}

/// "If a resource has a reference that is versioned and _include is performed, the specified version SHOULD be provided":
/// <https://hl7.org/fhir/R4/search.html#versions>.
async fn the_version_that_is_named_is_included(server: TestServer) {
    let system = server.system();
    for organization in ["x", "y", "z"] {
        store(&system, "Organization", organization, &[("name", organization.into())]).await;
        let reference = reference(&format!("Organization/{organization}"));
        store(&system, "Patient", "a", &[("managingOrganization", reference)]).await;
    }
    store(&system, "Practitioner", "p", &[]).await;
    system.delete("Practitioner/p").await;
    let base = server.fhir_base();
    for (id, subject) in [
        ("one", "Patient/a/_history/1".to_owned()),
        ("plain", "Patient/a".to_owned()),
        ("now", "Patient/a/_history/3".to_owned()),
        ("never", "Patient/a/_history/9".to_owned()),
        ("nobody", "Patient/nobody/_history/1".to_owned()),
        ("odd", "Patient/a/_history/x".to_owned()),
        ("whole", format!("{base}/Patient/a/_history/2")),
    ] {
        observe(&system, id, &[("subject", reference(&subject))]).await;
    }
    let performers = array![reference("Practitioner/p/_history/1"), reference("Practitioner/p/_history/2")];
    observe(&system, "by", &[("performer", performers), ("subject", reference("Patient/a"))]).await;
    let class = object! { "code": "AMB" };
    let members = [("status", "finished".into()), ("class", class), ("subject", reference("Patient/a"))];
    store(&system, "Encounter", "e", &members).await;
    let subject = "&_include=Observation:subject";
    for (query, expected) in [
        (format!("Observation?_id=one{subject}"), &["Patient/a/1"][..]),
        (format!("Observation?_id=one,plain{subject}"), &["Patient/a/1", "Patient/a/3"]),
        (format!("Observation?_id=one,whole{subject}:Patient"), &["Patient/a/1", "Patient/a/2"]),
        (format!("Observation?_id=one{subject}:Group"), &[]),
        (format!("Observation?_id=now{subject}"), &["Patient/a/3"]),
        (format!("Observation?_id=now,plain{subject}"), &["Patient/a/3"]),
        (format!("Observation?_id=never,nobody,odd{subject}"), &[]),
        ("Observation?_id=one&_include=*".to_owned(), &["Patient/a/1"]),
        ("Observation?_id=by&_include=Observation:performer".to_owned(), &["Practitioner/p/1"]),
        ("Observation?_id=by&_include=*".to_owned(), &["Patient/a/3", "Practitioner/p/1"]),
        (
            format!("Observation?_id=one{subject}&_include:iterate=Patient:organization"),
            &["Organization/x/1", "Patient/a/1"],
        ),
        (
            format!("Observation?_id=one,plain{subject}&_include:iterate=Patient:organization"),
            &["Organization/x/1", "Organization/z/1", "Patient/a/1", "Patient/a/3"],
        ),
        (
            format!("Observation?_id=one{subject}&_revinclude:iterate=Encounter:subject"),
            &["Encounter/e/1", "Patient/a/1"],
        ),
        (format!("?_type=Observation,Basic&_id=one{subject}"), &["Patient/a/1"]),
    ] {
        assert_eq!(versions(&system, &query).await, expected, "{query}");
    }
    let back = included(&system, "Patient?_revinclude=Observation:subject").await;
    assert_eq!(back.len(), 7, "whichever version is named: {back:?}");
}

/// A version is shown as vread shows it.
async fn lk_15_versions_are_included_as_they_are_read(server: TestServer) {
    let system = server.system();
    for id in ["a", "b"] {
        store(&system, "Patient", id, &[]).await;
    }
    let code = || ("code", object! { "text": "x" });
    for (id, changes) in [("came", [("b", "active"), ("a", "active")]), ("went", [("a", "inactive"), ("b", "active")])]
    {
        for (patient, status) in changes {
            let subject = reference(&format!("Patient/{patient}"));
            store(&system, "Flag", id, &[("status", status.into()), code(), ("subject", subject)]).await;
        }
    }
    let items = ["came/_history/1", "came/_history/2", "went/_history/1", "went/_history/2"];
    let items = items.map(|it| object! { "item": reference(&format!("Flag/{it}")) });
    let members = [
        ("status", "current".into()),
        ("mode", "working".into()),
        ("subject", reference("Patient/a")),
        ("entry", Json::Array(items.into())),
    ];
    store(&system, "List", "l", &members).await;
    let query = "List?_include=List:item";
    assert_eq!(versions(&system, query).await, ["Flag/came/1", "Flag/came/2", "Flag/went/1", "Flag/went/2"]);
    for (scope, expected) in [
        ("patient/List.rs patient/Flag.rs", &["Flag/came/2", "Flag/went/1"][..]),
        ("patient/List.rs patient/Flag.r", &["Flag/came/2", "Flag/went/1"]),
        ("patient/List.rs patient/Patient.rs", &[]),
    ] {
        let app = server.with_scope(scope, Some("a"));
        assert_eq!(versions(&app, query).await, expected, "{scope}");
        for version in ["came/_history/1", "came/_history/2", "went/_history/1", "went/_history/2"] {
            let is_read = app.get(&format!("Flag/{version}")).await.status == 200;
            let name = format!("Flag/{}", version.replace("_history/", ""));
            assert_eq!(is_read, expected.contains(&name.as_str()), "{scope}: {version}");
        }
    }
}

async fn questionnaire(system: &Client, id: &str, members: &[(&str, &str)]) {
    let members: Vec<(&str, Json)> = members.iter().map(|(name, value)| (*name, (*value).into())).collect();
    store(system, "Questionnaire", id, &members).await;
}

async fn response(system: &Client, id: &str, canonical: &str) {
    let members = [("status", "completed".into()), ("questionnaire", canonical.into())];
    store(system, "QuestionnaireResponse", id, &members).await;
}

/// Two versions of one questionnaire, of which the later one is stored first, another one, and answers to each.
async fn survey(system: &Client) {
    let (url, status) = (("url", "http://q"), ("status", "active"));
    let second = [url, ("status", "draft"), ("version", "2"), ("date", "2021"), ("title", "new")];
    questionnaire(system, "second", &second).await;
    questionnaire(system, "first", &[url, status, ("version", "1"), ("date", "2020"), ("title", "old")]).await;
    questionnaire(system, "other", &[("url", "http://other"), status, ("title", "third")]).await;
    for (id, canonical) in
        [("r", "http://q"), ("r1", "http://q|1"), ("r2", "http://q|2"), ("r9", "http://q|9"), ("r3", "http://other")]
    {
        response(system, id, canonical).await;
    }
}

async fn found(client: &Client, cases: &[(&str, &[&str])]) {
    for (query, expected) in cases {
        let answer = client.get(&format!("{query}&_sort=_id&_total=accurate")).await.expect_status(200);
        assert_eq!(answer.matches(), *expected, "{query}");
        let total = answer.json().get("total").and_then(Json::as_number).map(str::to_owned);
        assert_eq!(total, Some(expected.len().to_string()), "{query}");
    }
}

/// "The system using the reference should pick the latest version": <https://hl7.org/fhir/R4/references.html#canonical>.
async fn canonicals_lead_to_what_they_mean(server: TestServer) {
    let system = server.system();
    survey(&system).await;
    let has = "Questionnaire?_has:QuestionnaireResponse:questionnaire";
    let cases: &[(&str, &[&str])] = &[
        ("QuestionnaireResponse?questionnaire.title=old", &["r1"]),
        ("QuestionnaireResponse?questionnaire.title=new", &["r", "r2"]),
        ("QuestionnaireResponse?questionnaire:Questionnaire.title=third", &["r3"]),
        ("QuestionnaireResponse?questionnaire.status=active", &["r1", "r3"]),
        ("QuestionnaireResponse?questionnaire.title=none", &[]),
        ("QuestionnaireResponse?_filter=questionnaire.title%20eq%20new%20and%20_id%20eq%20r", &["r"]),
        (&format!("{has}:status=completed"), &["first", "other", "second"]),
        (&format!("{has}:_id=r"), &["second"]),
        (&format!("{has}:_id=r1"), &["first"]),
        (&format!("{has}:_id=r9"), &[]),
    ];
    found(&system, cases).await;
    let forward = "_include=QuestionnaireResponse:questionnaire";
    let back = "_revinclude=QuestionnaireResponse:questionnaire";
    for (query, expected) in [
        (format!("QuestionnaireResponse?_id=r&{forward}"), &["Questionnaire/second"][..]),
        (format!("QuestionnaireResponse?_id=r1,r9&{forward}"), &["Questionnaire/first"]),
        (
            format!("QuestionnaireResponse?_id=r,r1,r3&{forward}:Questionnaire"),
            &["Questionnaire/first", "Questionnaire/other", "Questionnaire/second"],
        ),
        ("QuestionnaireResponse?_id=r2&_include=*".to_owned(), &["Questionnaire/second"]),
        (format!("Questionnaire?_id=first&{back}"), &["QuestionnaireResponse/r1"]),
        (format!("Questionnaire?_id=second&{back}"), &["QuestionnaireResponse/r", "QuestionnaireResponse/r2"]),
        ("Questionnaire?_id=other&_revinclude=*".to_owned(), &["QuestionnaireResponse/r3"]),
        (
            "QuestionnaireResponse?_id=r&_include:iterate=*&_revinclude:iterate=*".to_owned(),
            &["Questionnaire/second", "QuestionnaireResponse/r2"],
        ),
    ] {
        assert_eq!(included(&system, &query).await, expected, "{query}");
    }
    // Of what is gone, and of what is called something else now, none is the newest.
    system.delete("Questionnaire/second").await;
    found(&system, &[("QuestionnaireResponse?questionnaire.title=old", &["r", "r1"])]).await;
    questionnaire(&system, "first", &[("url", "http://moved"), ("status", "active"), ("title", "old")]).await;
    found(&system, &[("QuestionnaireResponse?questionnaire.title=old", &[])]).await;
    for query in ["QuestionnaireResponse?questionnaire:Patient.name=x", "QuestionnaireResponse?questionnaire.nothing=x"]
    {
        system.get(query).await.expect_status(400);
    }
}

/// The newest is the newest of those that can be seen: what is hidden is not there.
async fn lk_14_what_is_hidden_is_not_the_newest(server: TestServer) {
    let system = server.system();
    survey(&system).await;
    let some = server.with_scope("system/QuestionnaireResponse.rs system/Questionnaire.rs?status=active", None);
    found(
        &some,
        &[
            ("QuestionnaireResponse?questionnaire.title=old", &["r", "r1"]),
            ("QuestionnaireResponse?questionnaire.title=new", &[]),
            ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=r", &["first"]),
            ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=r2", &[]),
        ],
    )
    .await;
    let forward = "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire";
    assert_eq!(included(&some, forward).await, ["Questionnaire/first", "Questionnaire/other"]);
    let back = "Questionnaire?_id=first&_revinclude=QuestionnaireResponse:questionnaire";
    assert_eq!(included(&some, back).await, ["QuestionnaireResponse/r", "QuestionnaireResponse/r1"]);
    let blind = server.with_scope("system/QuestionnaireResponse.rs", None);
    assert!(included(&blind, forward).await.is_empty());
    found(&blind, &[("QuestionnaireResponse?questionnaire.title=old", &[])]).await;
}

/// More than are named one by one.
async fn canonicals_of_many(server: TestServer) {
    let system = server.system();
    survey(&system).await;
    let many = |number: usize| {
        let (id, url) = (format!("q{number}"), format!("http://many/{number}"));
        let questionnaire = object! {
            "resourceType": "Questionnaire", "id": id.as_str(), "status": "active", "url": url.as_str(), "title": "many",
        };
        let response = object! {
            "resourceType": "QuestionnaireResponse", "id": id.as_str(), "status": "stopped", "questionnaire": "http://q",
        };
        [questionnaire, response].map(|resource| {
            let url = format!("{}/{id}", resource.str("resourceType").unwrap());
            object! { "resource": resource, "request": object! { "method": "PUT", "url": url } }
        })
    };
    let entries: Vec<Json> = (0..1_001).flat_map(many).collect();
    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
    system.post("").json(&bundle).await.expect_status(200);
    response(&system, "of-many", "http://many/7").await;
    found(
        &system,
        &[
            ("QuestionnaireResponse?questionnaire.title=many", &["of-many"]),
            ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=stopped", &["second"]),
        ],
    )
    .await;
}
