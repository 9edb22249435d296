//! Tests of `server/src/rest/operation.rs` and of the operations.

use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, TestServer};

use crate::operation_meta::labels;

tests::on_both_engines!(
    stated_operations_are_there,
    what_is_wrong_with_a_request_is_named,
    everything_of_a_patient,
    everything_by_type_time_and_change,
    everything_of_an_encounter,
    lk_10_nothing_of_another_patient_is_in_everything,
    validation,
    last_of_each_code,
    statistics_of_observations,
    lk_17_statistics_count_nothing_hidden,
    what_is_converted_can_be_read,
    in_05_parameters_are_valid,
    conversion,
    operations_in_a_batch,
);

pub(crate) fn person(id: &str) -> Json {
    object! {
        "resourceType": "Patient",
        "id": id,
        "name": array![object! { "family": id }],
        "managingOrganization": object! { "reference": "Organization/o" },
    }
}

fn concept(code: &str) -> Json {
    object! { "coding": array![object! { "system": "http://loinc.org", "code": code }] }
}

fn observation(id: &str, patient: &str, (code, value, unit): (&str, &str, &str), day: &str) -> Json {
    object! {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": array![object! { "coding": array![object! { "code": "vital-signs" }] }],
        "code": concept(code),
        "subject": object! { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": day,
        "performer": array![object! { "reference": "Practitioner/d" }],
        "valueQuantity": object! {
            "value": Json::Number(value.into()),
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }
}

/// Two patients with their observations, a practitioner and an organisation; patient `b` is named by one of `a`.
pub(crate) async fn clinic(server: &TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Organization", "id": "o", "name": "O" }).await;
    system.store(&object! { "resourceType": "Practitioner", "id": "d" }).await;
    for id in ["a", "b"] {
        system.store(&person(id)).await;
    }
    let weights = [
        ("a1", "a", "70", "kg", "2024-01-01"),
        ("a2", "a", "71000", "g", "2024-02-01"),
        ("a3", "a", "72", "kg", "2024-03-01"),
    ];
    for (id, patient, value, unit, day) in weights.into_iter().chain([("b1", "b", "99", "kg", "2024-03-02")]) {
        system.store(&observation(id, patient, ("29463-7", value, unit), day)).await;
    }
    system.store(&observation("a4", "a", ("8867-4", "60", "/min"), "2024-01-15")).await;
    let mut focused = observation("a5", "a", ("8867-4", "64", "/min"), "2023-06-01");
    focused.as_object_mut().unwrap().insert("focus", array![object! { "reference": "Patient/b" }]);
    system.store(&focused).await;
}

pub(crate) fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort_unstable();
    list
}

pub(crate) fn parameter(answer: &Answer, name: &str) -> Vec<Json> {
    answer.json().list("parameter").iter().filter(|it| it.str("name") == Some(name)).cloned().collect()
}

pub(crate) fn parameters(list: Vec<Json>) -> Json {
    object! { "resourceType": "Parameters", "parameter": list }
}

async fn stated_operations_are_there(server: TestServer) {
    let anonymous = server.anonymous();
    let statement = anonymous.get("metadata").await.expect_status(200).json();
    let rest = &statement.list("rest")[0];
    let names = |holder: &Json| -> Vec<String> {
        holder.list("operation").iter().filter_map(|it| it.str("name").map(str::to_owned)).collect()
    };
    assert_eq!(names(rest), ["meta", "convert", "export"]);
    let patient = rest.list("resource").iter().find(|it| it.str("type") == Some("Patient")).expect("Patient");
    let of_devices = [
        "provision-device-user",
        "connect-device",
        "disconnect-device",
        "disconnect-all-devices",
        "device-connections",
    ];
    let of_all = ["everything", "validate", "meta", "meta-add", "meta-delete", "diff", "export"];
    assert_eq!(names(patient), [&of_all[..], &of_devices].concat());
    let own = patient.list("operation").iter().find(|it| it.str("name") == Some("diff")).expect("$diff");
    let url = own.str("definition").expect("a definition");
    let path = url.split_once("/fhir/").expect("a path").1;
    let definition = anonymous.get(path).await.expect_status(200).json();
    assert_eq!((definition.str("url"), definition.str("code")), (Some(url), Some("diff")));
    anonymous.get("OperationDefinition/tributary-nothing").await.expect_status(404);
}

async fn what_is_wrong_with_a_request_is_named(server: TestServer) {
    let system = server.system();
    system.store(&object! { "resourceType": "Patient", "id": "a" }).await;
    for (path, status, words) in [
        ("Patient/a/$everthing", 404, "$everything"),
        ("Patient/a/$nothing", 404, "$validate"),
        ("Patient/a/$no.thing", 404, "$validate"),
        ("Patient/$no.thing", 404, "$validate"),
        ("$no.thing", 404, "$export"),
        ("Device/a/$everything", 404, "/Patient/[id]/$everything"),
        ("$everything", 404, "/Patient/$everything"),
        ("Nothing/$meta", 404, "Nothing"),
        ("Patient/a/$everything?_sinc=2020-01-01T00:00:00Z", 400, "_since"),
        ("Patient/a/$everything?_count=1&_count=2", 400, "twice"),
        ("Patient/a/$everything?start=yesterday", 400, "start"),
        ("Patient/a/$everything?start=2024-02&end=2024-01-31", 400, "start is after end"),
        ("Patient/a/$everything?_type=Patient&start=2024&end=2023", 400, "start is after end"),
        ("Patient/a/$everything?_type=Nothing", 400, "Nothing"),
        ("Patient/a/$everything?_type=Practitioner", 400, "compartment"),
        ("Patient/a/$everything?_cursor=forged", 400, "_cursor"),
        ("Patient/a/$meta-add", 405, "POST"),
        ("Observation/$stats?subject=Patient/a&code=x&statistic=mode", 400, "regression"),
        ("Observation/$lastn?patient=a&code=x&_sort=date", 400, "_sort"),
        ("Observation/$lastn?code=x", 400, "patient"),
        ("Patient/$diff?from=Patient/a", 400, "to"),
    ] {
        let answer = system.get(path).await.expect_status(status);
        assert!(answer.issues().iter().any(|text| text.contains(words)), "{path}: {:?}", answer.issues());
    }
    server.anonymous().get("Patient/a/$everything").await.expect_status(401);
    let options = server.anonymous().call("OPTIONS".parse().unwrap(), "Patient/a/$everything").await.expect_status(204);
    assert_eq!(options.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
}

async fn everything_of_a_patient(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let all = system.get("Patient/a/$everything").await.expect_status(200);
    assert_eq!(sorted(all.matches()), ["a", "a1", "a2", "a3", "a4", "a5"]);
    assert_eq!(sorted(all.included()), ["Organization/o", "Practitioner/d"], "not the patient who is in focus");
    let (mut found, mut url, mut pages) = (Vec::new(), Some("Patient/a/$everything?_count=2".to_owned()), 0);
    while let Some(next) = url {
        let page = system.get(&next).await.expect_status(200);
        assert!(page.matches().len() <= 2);
        found.extend(page.matches());
        url = page.link("next");
        pages += 1;
    }
    assert_eq!((sorted(found), pages), (sorted(all.matches()), 3));
    let posted = parameters(vec![object! { "name": "_count", "valueInteger": 2_i64 }]);
    let posted = system.post("Patient/a/$everything").json(&posted).await.expect_status(200);
    assert_eq!(posted.matches().len(), 2);
    assert_eq!(system.post("Patient/a/$everything").await.expect_status(200).matches().len(), 6);
    system.get("Patient/$everything").await.expect_status(400);
    system.delete("Patient/b").await;
    system.get("Patient/b/$everything").await.expect_status(410);
    system.get("Patient/c/$everything").await.expect_status(404);
}

async fn everything_by_type_time_and_change(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let of = async |query: &str| {
        let answer = system.get(&format!("Patient/a/$everything?{query}")).await.expect_status(200);
        (sorted(answer.matches()), sorted(answer.included()))
    };
    let text = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(of("_type=Observation&start=2024-02-01").await, (text(&["a2", "a3"]), Vec::new()));
    assert_eq!(of("_type=Patient,Practitioner").await, (text(&["a"]), Vec::new()));
    assert_eq!(of("_type=Observation&_type=Practitioner&end=2023").await, (text(&["a5"]), text(&["Practitioner/d"])));
    assert_eq!(of("start=2024-01-10&end=2024-01-20").await.0, ["a", "a4"], "the patient has no date of care");
    let before = system.get("Observation/a2").await.json();
    let updated = before.at(&["meta", "lastUpdated"]).and_then(Json::as_str).expect("an instant").to_owned();
    let changed = of(&format!("_since={updated}")).await.0;
    assert!(
        changed.contains(&"a2".to_owned()) && changed.contains(&"a5".to_owned()) && !changed.contains(&"a1".to_owned())
    );
}

async fn everything_of_an_encounter(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let encounter = object! {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": object! { "code": "AMB" },
        "subject": object! { "reference": "Patient/a" },
        "serviceProvider": object! { "reference": "Organization/o" },
    };
    system.store(&encounter).await;
    let mut during = observation("a9", "a", ("8867-4", "61", "/min"), "2024-01-15");
    during.as_object_mut().unwrap().insert("encounter", object! { "reference": "Encounter/e" });
    system.store(&during).await;
    let all = system.get("Encounter/e/$everything").await.expect_status(200);
    assert_eq!(sorted(all.matches()), ["a9", "e"]);
    assert_eq!(sorted(all.included()), ["Organization/o", "Patient/a", "Practitioner/d"]);
    server.patient("b").get("Encounter/e/$everything").await.expect_status(404);
}

async fn lk_10_nothing_of_another_patient_is_in_everything(server: TestServer) {
    clinic(&server).await;
    let app = server.patient("a");
    let own = app.get("Patient/a/$everything").await.expect_status(200);
    assert_eq!(sorted(own.matches()), ["a", "a1", "a2", "a3", "a4", "a5"]);
    assert!(!own.included().contains(&"Patient/b".to_owned()));
    let of_type = app.get("Patient/$everything").await.expect_status(200);
    assert_eq!(sorted(of_type.matches()), sorted(own.matches()), "the token is of one patient");
    for id in ["b", "nobody"] {
        for name in ["$everything", "$meta", "$validate", "$diff"] {
            app.get(&format!("Patient/{id}/{name}")).await.expect_status(404);
        }
    }
    let hidden = app.get("Patient/b/$everything").await.text().replace("Patient/b", "X");
    assert_eq!(hidden, app.get("Patient/nobody/$everything").await.text().replace("Patient/nobody", "X"));
    let narrow = server.with_scope("patient/Patient.rs", Some("a"));
    assert_eq!(narrow.get("Patient/a/$everything").await.expect_status(200).matches(), ["a"]);
    narrow.get("Patient/a/$everything?_type=Observation").await.expect_status(403);
    server.with_scope("patient/Observation.rs", Some("a")).get("Patient/a/$everything").await.expect_status(403);
}

async fn validation(server: TestServer) {
    let system = server.system();
    let valid = object! { "resourceType": "Patient", "id": "a", "active": true };
    let invalid = object! { "resourceType": "Patient", "id": "a", "active": "yes" };
    let severity = |answer: &Answer| answer.json().list("issue")[0].str("severity").unwrap_or_default().to_owned();
    let fine = system.post("Patient/$validate").json(&valid).await.expect_status(200);
    assert_eq!(severity(&fine), "information");
    assert!(fine.text().contains("All OK"));
    let wrong = system.post("Patient/$validate").json(&invalid).await.expect_status(200);
    assert_eq!(severity(&wrong), "error");
    assert_eq!(severity(&system.post("Device/$validate").json(&valid).await.expect_status(200)), "error");
    let holding = |mode: &str, resource: &Json| {
        let mut list = vec![object! { "name": "mode", "valueCode": mode }];
        list.push(object! { "name": "resource", "resource": resource.clone() });
        parameters(list)
    };
    let update = system.post("Patient/a/$validate").json(&holding("update", &valid)).await.expect_status(200);
    assert_eq!(severity(&update), "information", "an update creates what is not there");
    system.store(&valid).await;
    for (client, mode, expected) in [
        (server.system(), "update", "information"),
        (server.patient("a"), "update", "information"),
        (server.with_scope("patient/*.rs", Some("a")), "update", "error"),
        (server.with_scope("patient/*.rs", Some("a")), "create", "error"),
        (server.patient("b"), "update", "error"),
    ] {
        let answer = client.post("Patient/a/$validate").json(&holding(mode, &valid)).await.expect_status(200);
        assert_eq!(severity(&answer), expected, "{mode}: {}", answer.text());
    }
    assert_eq!(severity(&system.get("Patient/a/$validate").await.expect_status(200)), "information");
    assert_eq!(severity(&system.get("Patient/a/$validate?mode=delete").await.expect_status(200)), "information");
    assert_eq!(severity(&system.get("Patient/b/$validate?mode=delete").await.expect_status(200)), "error");
    system.get("Patient/a/$validate?mode=odd").await.expect_status(400);
    system.get("Patient/$validate?mode=delete").await.expect_status(400);
    system.get("Patient/a/$validate?profile=http://elsewhere").await.expect_status(400);
    system.get("Patient/a").await.expect_status(200);
}

async fn last_of_each_code(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let newest = system.get("Observation/$lastn?patient=a&category=vital-signs").await.expect_status(200);
    assert_eq!(newest.matches(), ["a3", "a4"]);
    let two = system.get("Observation/$lastn?subject=Patient/a&category=vital-signs&max=2").await.expect_status(200);
    assert_eq!(two.matches(), ["a3", "a2", "a4", "a5"]);
    let one = system.get("Observation/$lastn?patient=a&code=http://loinc.org|8867-4").await.expect_status(200);
    assert_eq!(one.matches(), ["a4"]);
    let app = server.patient("a");
    let own = app.get("Observation/$lastn?category=vital-signs").await.expect_status(200);
    assert_eq!(own.matches(), ["a3", "a4"], "LK-17: the token says whose");
    assert_eq!(own.json().get("total").and_then(Json::as_number), Some("2"));
    let other = app.get("Observation/$lastn?patient=b&category=vital-signs").await.expect_status(200);
    assert_eq!(other.json().get("total").and_then(Json::as_number), Some("0"));
    let none = server.with_scope("patient/Patient.rs", Some("a"));
    none.get("Observation/$lastn?category=vital-signs").await.expect_status(403);
    // More of one code than are looked at together, all newer than what else there is.
    let entries: Vec<Json> = (0..510)
        .map(|index| {
            let id = format!("many{index}");
            let request = object! { "method": "PUT", "url": format!("Observation/{id}") };
            object! { "request": request, "resource": observation(&id, "a", ("9279-1", "16", "/min"), "2024-06-01") }
        })
        .collect();
    let batch = object! { "resourceType": "Bundle", "type": "batch", "entry": entries };
    system.post("").json(&batch).await.expect_status(200);
    let newest = system.get("Observation/$lastn?patient=a&category=vital-signs").await.expect_status(200).matches();
    assert_eq!(newest[1..], ["a3", "a4"]);
    assert!(newest[0].starts_with("many") && newest.len() == 3, "{newest:?}");
    let eleven = system.get("Observation/$lastn?patient=a&category=vital-signs&max=520").await.expect_status(200);
    assert_eq!(eleven.matches().len(), 515);
}

/// The value of a statistic in each answered Observation.
fn statistic(answer: &Answer, code: &str) -> Vec<String> {
    let observations = parameter(answer, "statistics");
    let found = observations.iter().filter_map(|it| {
        let components = it.get("resource")?.list("component").to_vec();
        let component = components
            .into_iter()
            .find(|component| component.at(&["code", "coding", "code"]).and_then(Json::as_str) == Some(code))?;
        let value = component.at(&["valueQuantity", "value"]).and_then(Json::as_number).unwrap_or("none").to_owned();
        let unit = component.at(&["valueQuantity", "code"]).and_then(Json::as_str).unwrap_or("").to_owned();
        Some(format!("{value} {unit}"))
    });
    found.collect()
}

async fn statistics_of_observations(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let path = "Observation/$stats?subject=Patient/a&system=http://loinc.org&code=29463-7";
    let answer =
        system.get(&format!("{path}&statistic=average,min,max,count,variance,total-count")).await.expect_status(200);
    for (code, expected) in [
        ("average", "71 kg"),
        ("minimum", "70 kg"),
        ("maximum", "72 kg"),
        ("count", "3 1"),
        ("total-count", "3 1"),
        ("variance", "1 (kg).(kg)"),
    ] {
        assert_eq!(statistic(&answer, code), [expected], "{code}");
    }
    assert!(parameter(&answer, "source").is_empty());
    let sources = system.get(&format!("{path}&statistic=sum&include=true&limit=2")).await.expect_status(200);
    assert_eq!(parameter(&sources, "source").len(), 2);
    let period = object! { "name": "period", "valuePeriod": object! { "start": "2024-02", "end": "2024-12" } };
    let posted = parameters(vec![
        object! { "name": "subject", "valueUri": "Patient/a" },
        object! { "name": "coding", "valueCoding": object! { "system": "http://loinc.org", "code": "29463-7" } },
        object! { "name": "coding", "valueCoding": object! { "system": "http://loinc.org", "code": "8867-4" } },
        object! { "name": "statistic", "valueCode": "count" },
        period,
    ]);
    let posted = system.post("Observation/$stats").json(&posted).await.expect_status(200);
    assert_eq!(statistic(&posted, "count"), ["2 1"], "of the pulse there is none in the period");
    let first = parameter(&posted, "statistics")[0].get("resource").cloned().expect("an Observation");
    assert_eq!(first.at(&["effectivePeriod", "start"]).and_then(Json::as_str), Some("2024-02"));
    let checked = system.post("Observation/$validate").json(&first).await.expect_status(200);
    assert!(checked.text().contains("All OK"), "{}", checked.text());
    let recent = system.get(&format!("{path}&statistic=count,average&duration=1")).await.expect_status(200);
    assert_eq!(
        (statistic(&recent, "count"), statistic(&recent, "average")),
        (vec!["0 1".into()], vec!["none ".into()])
    );
    system.get("Observation/$stats?subject=http://else/Patient/a&code=x&statistic=sum").await.expect_status(400);
    system.get("Observation/$stats?subject=Patient/a&statistic=sum").await.expect_status(400);
}

async fn lk_17_statistics_count_nothing_hidden(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let shared = object! {
        "resourceType": "Observation",
        "id": "panel",
        "status": "final",
        "code": concept("85353-1"),
        "subject": object! { "reference": "Patient/a" },
        "hasMember": array![
            object! { "reference": "Observation/a4" },
            object! { "reference": "Observation/b1" },
        ],
    };
    system.store(&shared).await;
    let app = server.patient("a");
    let of = |subject: &str, code: &str| {
        format!("Observation/$stats?subject=Patient/{subject}&code={code}&statistic=count,total-count&include=true")
    };
    let own = app.get(&of("a", "29463-7")).await.expect_status(200);
    assert_eq!(statistic(&own, "count"), ["3 1"]);
    let other = app.get(&of("b", "29463-7")).await.expect_status(200);
    assert_eq!(statistic(&other, "total-count"), ["0 1"]);
    assert!(parameter(&other, "source").is_empty());
    let nobody = app.get(&of("nobody", "29463-7")).await.expect_status(200);
    assert_eq!(other.text().replace("Patient/b", "X"), nobody.text().replace("Patient/nobody", "X"));
    for client in [app, server.system()] {
        let panel = client.get(&of("a", "85353-1")).await.expect_status(200);
        assert_eq!(statistic(&panel, "total-count"), ["1 1"], "members of the subject only");
        assert!(!panel.text().contains("\"b1\""));
    }
    server.with_scope("patient/Patient.rs", Some("a")).get(&of("a", "x")).await.expect_status(403);
}

async fn in_05_parameters_are_valid(server: TestServer) {
    let system = server.system();
    system.store(&person("a")).await;
    let labels = labels(&["x"]);
    let with = |name: &str, value: Json| {
        let mut body = labels.clone();
        body.as_object_mut().unwrap().insert(name, value);
        body
    };
    let part = |value: Json| {
        parameters(vec![object! { "name": "meta", "valueMeta": object! { "source": "x" }, "parts": value }])
    };
    for (body, named) in [
        (with("foo", Json::from(1)), "foo"),
        (with("parameter", object! { "name": "meta", "valueMeta": object! { "source": "x" } }), "parameter"),
        (part(array![]), "parts"),
    ] {
        let refused = system.post("Patient/a/$meta-add").json(&body).await.expect_status(400);
        assert!(refused.text().contains(named), "{}", refused.text());
    }
    assert_eq!(system.get("Patient/a").await.header("etag"), Some("W/\"1\""));
    let invalid = object! { "resourceType": "Patient", "odd": true };
    let holding = parameters(vec![object! { "name": "resource", "resource": invalid }]);
    let checked = system.post("Patient/$validate").json(&holding).await.expect_status(200);
    assert!(checked.text().contains("odd"), "what is to be validated may be invalid: {}", checked.text());
}

async fn what_is_converted_can_be_read(server: TestServer) {
    let system = server.system();
    let with = |name: &str, value: Json| {
        let mut patient = object! { "resourceType": "Patient" };
        patient.as_object_mut().unwrap().insert(name, value);
        patient
    };
    let mut both = with("multipleBirthBoolean", true.into());
    both.as_object_mut().unwrap().insert("multipleBirthInteger", Json::from(2));
    for odd in [
        with("name", array![object! {}]),
        with("telecom", array![]),
        with("name", object! { "family": "x" }),
        with("active", "true".into()),
        both,
    ] {
        for format in ["xml", "json"] {
            system.post(&format!("$convert?_format={format}")).json(&odd).await.expect_status(422);
        }
    }
    let lacking = object! { "resourceType": "Observation", "valueString": "x" };
    system.post("$convert?_format=xml").json(&lacking).await.expect_status(200);
}

async fn conversion(server: TestServer) {
    let client = server.with_scope("patient/Patient.rs", Some("a"));
    let observation = observation("x", "a", ("29463-7", "1.00", "kg"), "2024");
    let xml =
        client.post("$convert").header("Accept", "application/fhir+xml").json(&observation).await.expect_status(200);
    assert!(xml.text().starts_with("<Observation") || xml.text().starts_with("<?xml"), "{}", xml.text());
    let json = client.post("$convert?_format=json").xml(xml.bytes().to_vec()).await.expect_status(200);
    assert_eq!(json.json().at(&["valueQuantity", "value"]).and_then(Json::as_number), Some("1.00"));
    let holding = parameters(vec![object! { "name": "input", "resource": observation.clone() }]);
    assert_eq!(
        client.post("$convert").json(&holding).await.expect_status(200).json().str("resourceType"),
        Some("Observation")
    );
    client.get("$convert").await.expect_status(400);
    for name in [object! { "family": "\u{1}" }, object! { "family": "\u{ffff}" }, object! { "famly": "x" }] {
        let broken = object! { "resourceType": "Patient", "name": array![name] };
        for format in ["xml", "json"] {
            client.post(&format!("$convert?_format={format}")).json(&broken).await.expect_status(422);
        }
    }
    server.anonymous().post("$convert").json(&observation).await.expect_status(401);
}

async fn operations_in_a_batch(server: TestServer) {
    clinic(&server).await;
    let get = |url: &str| object! { "request": object! { "method": "GET", "url": url } };
    let post = |url: &str, body: Json| {
        object! { "request": object! { "method": "POST", "url": url }, "resource": body }
    };
    let entries = array![
        get("Patient/a/$everything?_type=Patient"),
        get("Patient/b/$everything"),
        get("Patient/a/$meta-add"),
        post("Patient/a/$meta-add", labels(&["x"])),
        post("Patient/$validate", object! { "resourceType": "Patient" }),
        get("Patient/a/$evrything"),
    ];
    let bundle = |kind: &str| object! { "resourceType": "Bundle", "type": kind, "entry": entries.clone() };
    let app = server.patient("a");
    let answer = app.post("").json(&bundle("batch")).await.expect_status(200).json();
    let entries = answer.list("entry");
    let status =
        |entry: &Json| entry.at(&["response", "status"]).and_then(Json::as_str).unwrap_or_default()[..3].to_owned();
    assert_eq!(entries.iter().map(status).collect::<Vec<_>>(), ["200", "404", "405", "200", "200", "404"]);
    assert_eq!(entries[0].get("resource").map(|it| it.list("entry").len()), Some(1));
    app.post("").json(&bundle("transaction")).await.expect_status(400);
}
