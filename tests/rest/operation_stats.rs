//! Tests of the regression of `$stats`, `server/src/rest/operation/stats.rs`.
//! <https://hl7.org/fhir/R4/observation-operation-stats.html>

use fhir::json::Json;
use tests::TestServer;

use crate::operation::{clinic, parameter};

tests::on_both_engines!(a_line_through_measurements);

async fn a_line_through_measurements(server: TestServer) {
    clinic(&server).await;
    let system = server.system();
    let path = "Observation/$stats?subject=Patient/a&system=http://loinc.org&code=29463-7";
    let line = system.get(&format!("{path}&statistic=regression")).await.expect_status(200);
    let observation = parameter(&line, "statistics")[0].get("resource").cloned().expect("an Observation");
    // On days 0, 31 and 60: 180 / 5402 a day, from (213 - 91 * 180 / 5402) / 3.
    for (component, (aspect, value, unit)) in observation
        .list("component")
        .iter()
        .zip([("gradient", "0.03332099222510181414290", "(kg)/d"), ("intercept", "69.9892632358385783043317", "kg")])
    {
        assert_eq!(component.at(&["code", "text"]).and_then(Json::as_str), Some(aspect));
        let found = component.at(&["valueQuantity", "value"]).and_then(Json::as_number).expect("a number");
        assert_eq!(
            (&found[..20], component.at(&["valueQuantity", "code"]).and_then(Json::as_str)),
            (&value[..20], Some(unit))
        );
    }
    assert_eq!(observation.list("component").len(), 2);
    let checked = system.post("Observation/$validate").json(&observation).await.expect_status(200);
    assert!(checked.text().contains("All OK"), "{}", checked.text());
}
