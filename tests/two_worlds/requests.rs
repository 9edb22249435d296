//! Requests that an app may send, among them many that probe for what is hidden.

use fhir::json::Json;
use fhir::{array, object};
use search::generate::{Generator, Place};
use tests::random::Random;
use tests::{Answer, Client, url, world};

use crate::asker::{Asker, PATIENT};

/// The first is the one of conditional patches.
const PATCHES: [&str; 4] = [
    r#"[{"op":"add","path":"/status","value":"final"}]"#,
    r#"[{"op":"test","path":"/status","value":"final"}]"#,
    r#"[{"op":"test","path":"/subject/reference","value":"Patient/bo"}]"#,
    r#"[{"op":"replace","path":"/subject/reference","value":"Patient/bo"}]"#,
];

/// Stands for the server's address while searches are generated; references in the data are relative.
const BASE: &str = "http://base.test/fhir";

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    None,
    Json(Json),
    Form(String),
    /// JSON Patch.
    Patch(String),
}

/// Makes them.
pub(crate) struct Requests<'a> {
    resources: &'a [Json],
    asker: Asker,
    searches: Generator<'a>,
    random: Random,
}

impl<'a> Requests<'a> {
    pub(crate) fn new(resources: &'a [Json], asker: Asker, seed: u64) -> Self {
        let references: Vec<_> = resources.iter().collect();
        Requests { resources, asker, searches: Generator::new(&references, BASE, seed), random: Random::seeded(seed) }
    }

    /// The next one; the server is to make up ids only where `creates` is true.
    pub(crate) fn next(&mut self, creates: bool) -> Request {
        match self.random.below(100) {
            0..36 => self.search(creates),
            36..42 => self.probe(),
            42..50 => self.read(),
            50..55 => self.history(),
            55..60 => self.conditional_read(),
            60..65 => self.update(),
            65..67 => self.delete(),
            67..71 => self.conditional_write(creates),
            71..74 => self.operation(),
            74..77 => self.patch(),
            77..82 if creates => self.create(),
            77..82 => self.odd(),
            _ => self.batch(creates),
        }
    }

    fn search(&mut self, creates: bool) -> Request {
        loop {
            let Some(search) = self.searches.next() else { return self.read() };
            let sorted_by_id = search.pairs.iter().any(|(name, value)| name == "_sort" && value.contains("_id"));
            if creates && sorted_by_id {
                continue;
            }
            let (path, more) = search.place.path();
            let is_plain = matches!(search.place, Place::Type(_));
            let mut pairs: Vec<_> = more.into_iter().chain(search.pairs).collect();
            if self.random.chance(30) && !pairs.iter().any(|(name, _)| name == "_total") {
                pairs.push(("_total".to_owned(), "accurate".to_owned()));
            }
            if is_plain && self.random.chance(15) {
                pairs.push(self.backwards());
            }
            if self.random.chance(20) {
                let separator = if path.is_empty() { "" } else { "/" };
                let path = format!("{path}{separator}_search");
                return Request { method: "POST", path, headers: Vec::new(), body: Body::Form(url::query(&pairs)) };
            }
            return Request::get(url::search(&path, &pairs));
        }
    }

    /// Includes what points at the matches, of whomever it is.
    fn backwards(&mut self) -> (String, String) {
        let names = ["_revinclude", "_revinclude:iterate"];
        let values = ["Observation:subject", "Encounter:patient", "Observation:*", "Observation:performer", "*"];
        ((*self.random.pick(&names)).to_owned(), (*self.random.pick(&values)).to_owned())
    }

    fn read(&mut self) -> Request {
        let path = self.some_path();
        let method = if self.random.chance(10) { "HEAD" } else { "GET" };
        Request { method, ..Request::get(path) }
    }

    fn history(&mut self) -> Request {
        let path = self.some_path();
        let resource_type = path.split('/').next().unwrap_or("Patient").to_owned();
        match self.random.below(6) {
            0 => Request::get(format!("{path}/_history")),
            1 => Request::get(format!("{path}/_history?_count=1")),
            2 => Request::get(format!("{resource_type}/_history?_count={}", 1 + self.random.below(20))),
            3 => Request::get(format!("{resource_type}/_history?_since=2020-01-01T00:00:00Z&_count=5")),
            4 => Request::get("_history?_count=10".to_owned()),
            _ => Request::get(format!("{path}/_history/{}", self.random.below(4))),
        }
    }

    fn conditional_read(&mut self) -> Request {
        let mut request = self.read();
        let version = format!("W/\"{}\"", self.random.below(3));
        let choices = [
            ("if-none-match", version),
            ("if-none-match", "*".to_owned()),
            ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT".to_owned()),
            ("accept", "application/fhir+xml".to_owned()),
        ];
        request.headers.push(self.random.pick(&choices).clone());
        request
    }

    fn update(&mut self) -> Request {
        let mut resource = self.some_resource().clone();
        if self.random.chance(30) {
            let number = self.random.below(2000);
            let patient = *self.random.pick(&[PATIENT, PATIENT, "bo", "nobody"]);
            resource = world::observation(&mut self.random, patient, number);
        }
        if self.random.chance(10)
            && let Some(members) = resource.as_object_mut()
        {
            members.insert("subject", object! { "reference": "Patient/bo" });
        }
        self.asker.written(&mut resource, &mut self.random);
        let mut headers = Vec::new();
        if self.random.chance(30) {
            headers.push(("if-match", format!("W/\"{}\"", self.random.below(4))));
        }
        Request { method: "PUT", path: path(&resource), headers, body: Body::Json(resource) }
    }

    fn delete(&mut self) -> Request {
        let path = self.some_path();
        // Whoever deletes their patients asks nothing any more.
        let path = if path.starts_with("Patient/") { path.replace(PATIENT, "bo").replace("eve", "bo") } else { path };
        Request { method: "DELETE", ..Request::get(path) }
    }

    /// Writes whose target is searched for: an oracle, if the search sees more than the writer.
    fn conditional_write(&mut self, creates: bool) -> Request {
        let criteria = [
            "Observation?subject=Patient/bo&code=8867-4",
            "Observation?_id=bo-o1",
            "Observation?_id=ana-o3",
            "Observation?_id=ana-o101",
            "Observation?identifier=urn:example:app|1",
            "Observation?identifer=typo",
            "Patient?identifier=urn:example:patients|bo",
            "Patient?identifier=urn:example:patients|ana",
            "Device?identifier=urn:example:devices|imei-bo",
            "Condition?subject=Patient/chloe",
        ];
        let target = (*self.random.pick(&criteria)).to_owned();
        let resource_type = target.split('?').next().unwrap_or("Observation").to_owned();
        match self.random.below(if creates { 3 } else { 2 }) {
            // Patients stay: their deletion would end the questions.
            0 if resource_type != "Patient" => Request { method: "DELETE", ..Request::get(target) },
            2 => {
                let mut resource = world::observation(&mut self.random, PATIENT, 0);
                self.asker.written(&mut resource, &mut self.random);
                resource.as_object_mut().expect("a resource is an object").remove("id");
                Request { method: "PUT", body: Body::Json(resource), ..Request::get(target) }
            }
            _ => Request { method: "PATCH", body: Body::Patch(PATCHES[0].to_owned()), ..Request::get(target) },
        }
    }

    /// Patches that test for values, of the visible and of the hidden.
    fn patch(&mut self) -> Request {
        let path = self.some_path();
        let operations = (*self.random.pick(&PATCHES)).to_owned();
        Request { method: "PATCH", body: Body::Patch(operations), ..Request::get(path) }
    }

    /// Operations that read many resources or judge one.
    fn operation(&mut self) -> Request {
        let path = self.some_path();
        let choices = [
            "Patient/ana/$everything".to_owned(),
            "Patient/ana/$everything?_count=7".to_owned(),
            "Patient/ana/$everything?_type=Observation,Encounter&_since=2020-01-01".to_owned(),
            "Patient/bo/$everything".to_owned(),
            "Patient/$everything?_count=20".to_owned(),
            "Encounter/ana-e0/$everything".to_owned(),
            "Encounter/bo-e0/$everything".to_owned(),
            "Observation/$lastn?patient=ana&max=2".to_owned(),
            "Observation/$lastn?patient=bo".to_owned(),
            "Observation/$stats?subject=Patient/ana&code=8867-4&system=http://loinc.org&statistic=average,count&duration=100000".to_owned(),
            "Observation/$stats?subject=Patient/bo&code=8867-4&system=http://loinc.org&statistic=count&duration=100000".to_owned(),
            format!("{path}/$validate"),
            format!("{path}/$meta"),
            format!("{path}/$diff?from=1"),
        ];
        Request::get(self.random.pick(&choices).clone())
    }

    fn create(&mut self) -> Request {
        let patient = *self.random.pick(&[PATIENT, PATIENT, "bo", "dov", "nobody"]);
        let mut observation = world::observation(&mut self.random, patient, 0);
        if let Some(members) = observation.as_object_mut() {
            members.remove("id");
            members.insert(
                "identifier",
                array![object! { "system": "urn:example:app", "value": self.random.below(20).to_string() }],
            );
        }
        let mut headers = Vec::new();
        if self.random.chance(50) {
            headers.push(("if-none-exist", format!("identifier=urn:example:app|{}", self.random.below(20))));
        }
        Request { method: "POST", path: "Observation".to_owned(), headers, body: Body::Json(observation) }
    }

    /// Questions about what is hidden, asked through what is not.
    fn probe(&mut self) -> Request {
        let probes = [
            "Observation?subject:Patient._id=bo",
            "Observation?performer:Practitioner._has:Observation:performer:subject=Patient/bo&_total=accurate",
            "Practitioner?_has:Observation:performer:subject=Patient/bo",
            "Practitioner?_has:Observation:performer:patient._id=chloe&_total=accurate",
            "Practitioner?_has:Observation:performer:_has:Provenance:target:agent:missing=true",
            "Organization?_has:Patient:organization:_id=bo,chloe,dov&_count=0",
            "Organization?_has:Patient:organization:family:missing=false&_sort=name",
            "Location?_has:Encounter:location:subject:not=Patient/ana",
            "Observation?encounter.subject:Patient.family:missing=false&_sort=subject,-encounter",
            "Observation?encounter:not=Encounter/bo-e0&_sort=-performer",
            "Observation?_filter=performer re Practitioner/doc1 and not (subject re Patient/bo)",
            "Observation?_filter=patient.birthdate gt 1900-01-01",
            "Practitioner?_filter=_has:Observation:performer:subject re Patient/bo",
            "Practitioner?_revinclude=Observation:performer&_revinclude:iterate=Encounter:participant",
            "Practitioner?_revinclude=Encounter:*&_include:iterate=Encounter:subject&_include:iterate=Patient:*",
            "Organization?_revinclude=Patient:organization&_revinclude:iterate=Observation:subject",
            "?_type=Patient,Observation,Encounter&_total=accurate&_count=3",
            "?_type=Patient,Practitioner,Basic,Group&_sort=_lastUpdated&_count=2",
            "Patient/ana/Observation?performer.family:missing=false&_total=accurate",
            "Patient/bo/Observation?_total=accurate",
            "Practitioner/doc1/Observation?_total=accurate",
            "Encounter/bo-e0/Observation",
            "Patient/ana/*?_count=5",
            "Patient/bo/*",
            "Device?_has:Observation:device:_id=bo-o1",
            "Patient?_list=1",
            "Patient?_content=bo",
            "Observation?code:text=heart&subject:identifier=urn:example:patients|bo&_total=estimate",
        ];
        Request::get((*self.random.pick(&probes)).to_owned())
    }

    /// Paths that are not there, types without a right, parameters that are misspelt.
    fn odd(&mut self) -> Request {
        let paths = [
            "Patient",
            "Patient/bo/Observation",
            "Patient/ana/Observation",
            "Basic/nobodys",
            "Basic",
            "AuditEvent",
            "_history",
            "Observation/_history",
            "Observation?subject:Patient.name=a",
            "Patient?_has:Observation:patient:code=8867-4",
            "Observation?patient=bo&_summary=count",
            "Observation?_total=accurate&_count=0",
            "Nonsense/1",
            "Observation?nonsense=1",
            "Observation/bo-o1/$everything",
            "Patient/bo/$everything",
            "Observation?_cursor=AAAA",
            "Patient/never-was/Observation",
            "?_type=Nonsense",
            "Group/_history",
            "metadata",
            "Group",
            "List",
        ];
        Request::get((*self.random.pick(&paths)).to_owned())
    }

    /// Several requests in one: each entry is authorized by itself (SM-29).
    fn batch(&mut self, creates: bool) -> Request {
        let entry = |url: String| object! { "request": object! { "method": "GET", "url": url } };
        let is_transaction = self.random.chance(20);
        let mut entries = Vec::new();
        for _ in 0..if is_transaction { 3 } else { 8 } {
            let url = match self.random.below(10) {
                0..3 => self.some_path(),
                3..5 => self.history().target(),
                5 => self.probe().target(),
                6 => self.operation().target(),
                _ => self.search(creates).target(),
            };
            entries.push(entry(url));
        }
        let kind = if is_transaction { "transaction" } else { "batch" };
        let bundle = object! { "resourceType": "Bundle", "type": kind, "entry": entries };
        Request { method: "POST", path: String::new(), headers: Vec::new(), body: Body::Json(bundle) }
    }

    fn some_resource(&mut self) -> &'a Json {
        self.random.pick(self.resources)
    }

    fn some_path(&mut self) -> String {
        if self.random.chance(5) { "Observation/never-was".to_owned() } else { path(self.some_resource()) }
    }
}

impl Request {
    fn get(path: String) -> Self {
        Request { method: "GET", path, headers: Vec::new(), body: Body::None }
    }

    /// As the URL of a bundle entry.
    fn target(self) -> String {
        match self.body {
            Body::Form(form) => self.path.replace("/_search", "?") + &form,
            _ => self.path,
        }
    }

    /// How many requests it holds: the entries of a batch, else one.
    pub(crate) fn weight(&self) -> usize {
        match &self.body {
            Body::Json(body) if body.str("resourceType") == Some("Bundle") => body.list("entry").len(),
            _ => 1,
        }
    }

    /// Whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        self.method == "GET" || self.method == "HEAD" || self.weight() > 1 || matches!(self.body, Body::Form(_))
    }

    pub(crate) async fn send(&self, client: &Client) -> Answer {
        let method = self.method.parse().expect("a method of HTTP");
        let mut call = client.call(method, &self.path);
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        match &self.body {
            Body::None => call.await,
            Body::Json(body) => call.json(body).await,
            Body::Patch(body) => call.body("application/json-patch+json", body.clone()).await,
            Body::Form(form) => call.body("application/x-www-form-urlencoded", form.clone()).await,
        }
    }
}

fn path(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap_or("Basic"), resource.str("id").unwrap_or("none"))
}
