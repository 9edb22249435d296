//! Tests of `server/src/rest/capabilities.rs`.

use tests::TestServer;

tests::on_both_engines!(the_statement_needs_no_token_and_has_a_tag, stated_parameters_work);

async fn the_statement_needs_no_token_and_has_a_tag(server: TestServer) {
    let anonymous = server.anonymous();
    let statement = anonymous.get("metadata").await.expect_status(200);
    assert_eq!(statement.json().str("fhirVersion"), Some("4.0.1"));
    let tag = statement.header("etag").expect("the statement has a tag").to_owned();
    anonymous.get("metadata").header("If-None-Match", &tag).await.expect_status(304);
    let xml = anonymous.get("metadata?_format=xml").await.expect_status(200);
    assert!(xml.text().contains("<CapabilityStatement xmlns"));
    assert!(anonymous.head("metadata").await.expect_status(200).bytes().is_empty());
}

async fn stated_parameters_work(server: TestServer) {
    let statement = server.anonymous().get("metadata").await.expect_status(200).json();
    let system = server.system();
    for resource in statement.list("rest")[0].list("resource") {
        let resource_type = resource.str("type").expect("a type");
        if !["Patient", "Observation", "Claim", "ValueSet"].contains(&resource_type) {
            continue;
        }
        for parameter in resource.list("searchParam") {
            let name = parameter.str("name").expect("a name");
            let value = match parameter.str("type") {
                Some("date") => "2020",
                Some("number" | "quantity") => "1",
                Some("reference") => "Patient/1",
                _ => "x",
            };
            system.get(&format!("{resource_type}?{name}={value}")).await.expect_status(200);
        }
    }
}
