//! Numbers, quantities and dates that are ranges: `Range`, what a series measured, the second of a time.
//! <https://hl7.org/fhir/R4/search.html#prefix>

use fhir::json::Json;
use tests::TestServer;

tests::on_both_engines!(
    a_range_is_compared_from_end_to_end,
    probabilities_and_composites_are_ranges_too,
    sampled_data_is_found_by_its_bounds,
    a_value_below_what_can_be_measured_is_not_that_value,
    ranges_are_sorted_by_their_lower_end,
    a_range_is_replaced_whole,
    a_leap_second_is_of_the_day_that_it_ends,
);

async fn store(server: &TestServer, resources: &[&str]) {
    for resource in resources {
        server.system().store(&Json::parse(resource.as_bytes()).unwrap()).await;
    }
}

/// What is asked, and the ids of what is found, by id.
async fn check(server: &TestServer, table: &[(&str, &[&str])]) {
    for (asked, found) in table {
        let url = format!("{}&_sort=_id", asked.replace(' ', "%20").replace('|', "%7C"));
        let answer = server.system().get(&url).await.expect_status(200);
        assert_eq!(answer.matches(), *found, "{asked}");
    }
}

async fn conditions(server: &TestServer) {
    let age =
        |number: &str| format!(r#"{{"value":{number},"unit":"a","system":"http://unitsofmeasure.org","code":"a"}}"#);
    for (id, onset) in [
        ("c1", format!(r#""onsetRange":{{"low":{},"high":{}}}"#, age("10"), age("20"))),
        ("c2", format!(r#""onsetRange":{{"low":{}}}"#, age("10"))),
        ("c3", format!(r#""onsetAge":{}"#, age("15"))),
    ] {
        let text = format!(r#"{{"resourceType":"Condition","id":"{id}","subject":{{"display":"somebody"}},{onset}}}"#);
        store(server, &[&text]).await;
    }
}

async fn a_range_is_compared_from_end_to_end(server: TestServer) {
    conditions(&server).await;
    check(
        &server,
        &[
            ("Condition?onset-age=sa15", &[]),
            ("Condition?onset-age=sa9", &["c1", "c2", "c3"]),
            ("Condition?onset-age=eb15", &[]),
            ("Condition?onset-age=eb21", &["c1", "c3"]),
            ("Condition?onset-age=eq10", &[]),
            ("Condition?onset-age=15", &["c3"]),
            ("Condition?onset-age=0e2", &["c1", "c3"]),
            ("Condition?onset-age=ge15", &["c1", "c2", "c3"]),
            ("Condition?onset-age=ge20", &["c1", "c2"]),
            ("Condition?onset-age=gt20", &["c2"]),
            ("Condition?onset-age=gt30", &["c2"]),
            ("Condition?onset-age=lt15", &["c1", "c2"]),
            ("Condition?onset-age=le10", &["c1", "c2"]),
            ("Condition?onset-age=lt10", &[]),
            ("Condition?onset-age=ne10", &["c1", "c2", "c3"]),
            ("Condition?onset-age=ap15", &["c1", "c2", "c3"]),
            ("Condition?onset-age=ap30", &["c2"]),
            ("Condition?onset-age=ge180|http://unitsofmeasure.org|mo", &["c1", "c2", "c3"]),
            ("Condition?onset-age=gt240|http://unitsofmeasure.org|mo", &["c2"]),
            ("Condition?onset-age=eb241|http://unitsofmeasure.org|mo", &["c1", "c3"]),
            ("Condition?onset-age=gt15||mo", &["c1", "c2", "c3"]),
            ("Condition?onset-age=gt15||a", &["c1", "c2"]),
            ("Condition?_filter=onset-age eb 15 or onset-age gt 30", &["c2"]),
            ("Condition?onset-age=gt30&onset-age=lt15", &["c2"]),
        ],
    )
    .await;
}

async fn probabilities_and_composites_are_ranges_too(server: TestServer) {
    let risk = |id: &str, probability: &str| {
        format!(
            r#"{{"resourceType":"RiskAssessment","id":"{id}","status":"final","subject":{{"display":"x"}},"prediction":[{{{probability}}}]}}"#
        )
    };
    let set = |id: &str, low: &str, high: &str| {
        let end = |number: &str| format!(r#"{{"value":{number},"system":"http://unitsofmeasure.org","code":"a"}}"#);
        let code = r#"{"system":"http://terminology.hl7.org/CodeSystem/usage-context-type","code":"age"}"#;
        let range = format!(r#"{{"low":{},"high":{}}}"#, end(low), end(high));
        format!(
            r#"{{"resourceType":"ValueSet","id":"{id}","status":"draft","useContext":[{{"code":{code},"valueRange":{range}}}]}}"#
        )
    };
    store(
        &server,
        &[
            &risk("r1", r#""probabilityRange":{"low":{"value":0.1},"high":{"value":0.3}}"#),
            &risk("r2", r#""probabilityDecimal":0.1"#),
            &set("v1", "2", "12"),
            &set("v2", "12", "18"),
        ],
    )
    .await;
    check(
        &server,
        &[
            ("RiskAssessment?probability=0.1", &["r2"]),
            ("RiskAssessment?probability=sa0.2", &[]),
            ("RiskAssessment?probability=gt0.2", &["r1"]),
            ("RiskAssessment?probability=ap0.2", &["r1"]),
            ("RiskAssessment?probability=le0.1", &["r1", "r2"]),
            ("ValueSet?context-quantity=ap6", &["v1"]),
            ("ValueSet?context-type-quantity=age$gt12", &["v2"]),
            ("ValueSet?context-type-quantity=age$ge12", &["v1", "v2"]),
            ("ValueSet?context-type-quantity=age$sa2", &["v2"]),
            ("ValueSet?context-type-quantity=age$ap6", &["v1"]),
            ("ValueSet?context-type-quantity=age$eb156|http://unitsofmeasure.org|mo", &["v1"]),
            ("ValueSet?context-type-quantity=age$lt24|http://unitsofmeasure.org|mo", &[]),
            ("ValueSet?context-type-quantity=age$le24|http://unitsofmeasure.org|mo", &["v1"]),
        ],
    )
    .await;
}

async fn a_value_below_what_can_be_measured_is_not_that_value(server: TestServer) {
    let code = r#"{"coding":[{"system":"http://loinc.org","code":"2339-0"}]}"#;
    for (id, comparator) in [("at", ""), ("above", ">"), ("below", "<"), ("most", "<=")] {
        let comparator = if comparator.is_empty() { String::new() } else { format!(r#""comparator":"{comparator}","#) };
        let value =
            format!(r#"{{"value":20,{comparator}"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}}"#);
        let text = format!(
            r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{code},"valueQuantity":{value}}}"#
        );
        store(&server, &[&text]).await;
    }
    check(
        &server,
        &[
            ("Observation?value-quantity=20", &["at"]),
            ("Observation?value-quantity=20||mg/dL", &["at"]),
            ("Observation?value-quantity=lt10", &["below", "most"]),
            ("Observation?value-quantity=lt20", &["below", "most"]),
            // What is above is taken for what is at least that.
            ("Observation?value-quantity=le20", &["above", "at", "below", "most"]),
            ("Observation?value-quantity=le19", &["below", "most"]),
            ("Observation?value-quantity=gt20", &["above"]),
            ("Observation?value-quantity=gt30", &["above"]),
            ("Observation?value-quantity=sa19", &["above", "at"]),
            ("Observation?value-quantity=eb21", &["at", "below", "most"]),
            ("Observation?value-quantity=lt0.1|http://unitsofmeasure.org|g/L", &["below", "most"]),
            ("Observation?code-value-quantity=2339-0$lt10", &["below", "most"]),
            ("Observation?_filter=value-quantity gt 25", &["above"]),
            ("Observation?value-quantity:missing=true", &[]),
        ],
    )
    .await;
}

async fn sampled_data_is_found_by_its_bounds(server: TestServer) {
    let series = |rest: &str| {
        format!(
            r#"{{"origin":{{"value":0,"unit":"mV","system":"http://unitsofmeasure.org","code":"mV"}},"period":10,"dimensions":1,{rest}}}"#
        )
    };
    let code = r#"{"coding":[{"system":"urn:oid:2.16.840.1.113883.6.24","code":"131328"}]}"#;
    let limited = series(r#""lowerLimit":-5,"upperLimit":5,"data":"1 2""#);
    let plain = series(r#""factor":2,"data":"-3 1 E 20""#);
    store(
        &server,
        &[
            &format!(r#"{{"resourceType":"Observation","id":"o1","status":"final","code":{code},"valueSampledData":{limited}}}"#),
            &format!(r#"{{"resourceType":"Observation","id":"o2","status":"final","code":{code},"component":[{{"code":{code},"valueSampledData":{plain}}}]}}"#),
        ],
    )
    .await;
    check(
        &server,
        &[
            ("Observation?value-quantity=gt3", &["o1"]),
            ("Observation?value-quantity=gt5", &[]),
            ("Observation?value-quantity:missing=true", &["o2"]),
            ("Observation?value-quantity=ge0.005|http://unitsofmeasure.org|V", &["o1"]),
            ("Observation?component-value-quantity=ge40", &["o2"]),
            ("Observation?component-value-quantity=gt40", &[]),
            ("Observation?combo-value-quantity=lt-4", &["o1", "o2"]),
            ("Observation?combo-value-quantity=lt-5||mV", &["o2"]),
        ],
    )
    .await;
}

async fn ranges_are_sorted_by_their_lower_end(server: TestServer) {
    conditions(&server).await;
    let early =
        r#"{"resourceType":"Condition","id":"c0","subject":{"display":"x"},"onsetRange":{"high":{"value":99}}}"#;
    store(&server, &[early]).await;
    for (sort, found) in [("onset-age,_id", ["c0", "c1", "c2", "c3"]), ("-onset-age,_id", ["c3", "c1", "c2", "c0"])] {
        let answer = server.system().get(&format!("Condition?_sort={sort}")).await.expect_status(200);
        assert_eq!(answer.matches(), found, "{sort}");
    }
}

async fn a_range_is_replaced_whole(server: TestServer) {
    conditions(&server).await;
    let again = r#"{"resourceType":"Condition","id":"c1","subject":{"display":"x"},"onsetRange":{"low":{"value":10},"high":{"value":12}}}"#;
    server.system().put("Condition/c1").json(&Json::parse(again.as_bytes()).unwrap()).await.expect_status(200);
    let none = r#"{"resourceType":"Condition","id":"c2","subject":{"display":"x"}}"#;
    server.system().put("Condition/c2").json(&Json::parse(none.as_bytes()).unwrap()).await.expect_status(200);
    check(&server, &[("Condition?onset-age=gt12", &["c3"]), ("Condition?onset-age=eb13", &["c1"])]).await;
}

async fn a_leap_second_is_of_the_day_that_it_ends(server: TestServer) {
    let leap = r#"{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},
        "effectiveDateTime":"2016-12-31T23:59:60Z"}"#;
    store(&server, &[leap]).await;
    check(
        &server,
        &[
            ("Observation?date=2016-12-31", &["o"]),
            ("Observation?date=2017", &[]),
            ("Observation?date=lt2017", &["o"]),
            ("Observation?date=2016-12-31T23:59:60Z", &["o"]),
        ],
    )
    .await;
}
