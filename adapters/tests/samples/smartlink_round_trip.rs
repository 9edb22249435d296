//! FHIR Claim → SmartLink's body → FHIR: equal in value for all that the format carries, and the rest is told.

use adapters::{Context, Mapping};
use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::Issue;
use proptest::prelude::*;

use crate::smartlink::{body, made, visit};
use crate::{context, sample};

const NS: &str = "https://example.org/fhir/adapters/smartlink";
const PATIENT_PAID: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Claim.patientPaid";

/// An item of a generated claim.
#[derive(Clone, Debug)]
struct Line {
    quantity: Decimal,
    price: Decimal,
    code: String,
    name: Option<String>,
    group: Option<String>,
    info: Option<String>,
    authorized: Option<String>,
    /// Minutes after midnight; a day alone without.
    minute: Option<u32>,
}

/// What somebody else than the insurer pays.
#[derive(Clone, Debug)]
struct Payment {
    kind: usize,
    amount: Decimal,
    texts: [Option<String>; 6],
}

/// A generated claim: all that SmartLink's format carries.
#[derive(Clone, Debug)]
struct Made {
    invoice: String,
    lines: Vec<Line>,
    diagnoses: Vec<(String, bool, Option<String>)>,
    principal: prop::sample::Index,
    paid: Option<Decimal>,
    payments: Vec<Payment>,
    authorized: Vec<String>,
    etims: Option<String>,
    /// Offset from UTC in hours that times are written with.
    offset: i32,
}

fn amount(most: i64) -> impl Strategy<Value = Decimal> {
    (0_i64..most, 0_u32..5).prop_map(|(mantissa, scale)| Decimal::from_scaled(mantissa.into(), scale))
}

fn text() -> impl Strategy<Value = String> {
    "[A-Za-z0-9é/\"\\\\|][A-Za-z0-9 é/\"\\\\|]{0,10}[A-Za-z0-9é]"
}

fn line() -> impl Strategy<Value = Line> {
    let texts = (prop::option::of(text()), prop::option::of("[A-Z]{3,8}"), prop::option::of(text()));
    let numbers = (amount(1000), amount(100_000_000));
    let rest = ("[A-Z]{2,5}-[0-9]{1,3}", prop::option::of("[A-Z0-9]{3,8}"), prop::option::of(0_u32..1440));
    (numbers, texts, rest).prop_map(|((quantity, price), (name, group, info), (code, authorized, minute))| Line {
        quantity,
        price,
        code,
        name,
        group,
        info,
        authorized,
        minute,
    })
}

fn payment() -> impl Strategy<Value = Payment> {
    let texts = prop::array::uniform6(prop::option::of(text()));
    (0_usize..6, amount(10_000), texts).prop_map(|(kind, amount, mut texts)| {
        // A fixed copay of which nothing more is said is what the patient paid, and comes back as that.
        if kind == 1 && texts.iter().all(Option::is_none) {
            texts[0] = Some("receipt".to_owned());
        }
        Payment { kind, amount, texts }
    })
}

fn claims() -> impl Strategy<Value = Made> {
    let code = ("[A-Z][0-9]{2}\\.[0-9]", any::<bool>(), prop::option::of(text()));
    let of_visit = (prop::collection::vec(code, 1..4), any::<prop::sample::Index>(), -11_i32..13);
    let of_money = (prop::option::of(amount(10_000)), prop::collection::vec(payment(), 0..4));
    let more = (prop::collection::vec("[A-Z0-9]{2,8}", 0..3), prop::option::of(text()), "INV[/A-Z0-9|-]{1,12}");
    (prop::collection::vec(line(), 1..6), of_visit, of_money, more).prop_map(
        |(mut lines, (diagnoses, principal, offset), (paid, payments), (authorized, etims, invoice))| {
            // One line is dear enough that the others cannot pay more than everything.
            lines[0].quantity = Decimal::from(1);
            lines[0].price = Decimal::from_scaled(10_000_001, 2);
            let mut authorized = authorized;
            authorized.dedup();
            Made { invoice, lines, diagnoses, principal, paid, payments, authorized, etims, offset }
        },
    )
}

fn product(one: &Decimal, other: &Decimal) -> Decimal {
    let ((left, scale), (right, more)) = (one.to_scaled().expect("small"), other.to_scaled().expect("small"));
    Decimal::from_scaled(left * right, scale + more)
}

fn sum<'a>(amounts: impl IntoIterator<Item = &'a Decimal>) -> Decimal {
    let at = |amount: &Decimal| {
        let (mantissa, scale) = amount.to_scaled().expect("small");
        mantissa * 10_i128.pow(12 - scale)
    };
    Decimal::from_scaled(amounts.into_iter().map(at).sum(), 12)
}

fn money(amount: &Decimal) -> Json {
    fhir::object! { "value": Json::Number(amount.as_str().into()), "currency": "KES" }
}

fn coded(system: &str, code: &str, name: Option<&String>) -> Json {
    let mut coding = Object::new();
    coding.insert("system", system);
    coding.insert("code", code);
    if let Some(name) = name {
        coding.insert("display", name.as_str());
    }
    fhir::object! { "coding": fhir::array![Json::from(coding)] }
}

fn extension(name: &str, text: &str) -> Json {
    fhir::object! { "url": format!("{NS}/StructureDefinition/{name}"), "valueString": text }
}

impl Made {
    /// A moment of the day of the visit, written with the offset.
    fn time(&self, minute: u32) -> String {
        let local = jiff::civil::date(2025, 6, 1).at(0, 0, 0, 0) + jiff::Span::new().minutes(i64::from(minute));
        let offset = jiff::tz::Offset::constant(3);
        let instant = offset.to_timestamp(local).expect("in range");
        let other = jiff::tz::Offset::from_hours(i8::try_from(self.offset).expect("small")).expect("an offset");
        let sign = if self.offset < 0 { '-' } else { '+' };
        format!("{}{sign}{:02}:00", other.to_datetime(instant).strftime("%Y-%m-%dT%H:%M:%S"), self.offset.abs())
    }

    fn item(&self, index: usize, line: &Line) -> Json {
        let mut item = Object::new();
        let said = [("additional-info", &line.info), ("pre-authorization-code", &line.authorized)];
        let said = said.iter().filter_map(|(name, text)| Some(extension(name, text.as_deref()?)));
        let said: Vec<Json> = said.collect();
        if !said.is_empty() {
            item.insert("extension", said);
        }
        item.insert("sequence", index as i64 + 1);
        item.insert("careTeamSequence", fhir::array![1]);
        if let Some(group) = &line.group {
            item.insert("category", coded(&format!("{NS}/CodeSystem/service-group"), group, None));
        }
        item.insert("productOrService", coded(&format!("{NS}/item"), &line.code, line.name.as_ref()));
        match line.minute.map(|minute| self.time(minute)) {
            Some(at) => item.insert("servicedPeriod", fhir::object! { "start": at.as_str(), "end": at.as_str() }),
            None => item.insert("servicedDate", "2025-06-01"),
        }
        item.insert("quantity", fhir::object! { "value": Json::Number(line.quantity.as_str().into()) });
        item.insert("unitPrice", money(&line.price));
        item.insert("net", money(&product(&line.quantity, &line.price)));
        item.insert("encounter", fhir::array![fhir::object! { "reference": "Encounter/enc" }]);
        item.into()
    }

    fn extensions(&self) -> Vec<Json> {
        let paid = self.paid.iter().map(|paid| fhir::object! { "url": PATIENT_PAID, "valueMoney": money(paid) });
        let payments = self.payments.iter().map(|payment| {
            let kinds = ["cash-excess", "copay-fixed", "copay-percent", "tier-cash", "sha", "discount"];
            let mut parts = vec![
                fhir::object! { "url": "type", "valueCode": kinds[payment.kind] },
                fhir::object! { "url": "amount", "valueMoney": money(&payment.amount) },
            ];
            let names = ["reference", "contributor", "employer", "member", "relation", "site"].iter();
            parts.extend(
                names
                    .zip(&payment.texts)
                    .filter_map(|(name, text)| Some(fhir::object! { "url": *name, "valueString": text.as_deref()? })),
            );
            fhir::object! { "url": format!("{NS}/StructureDefinition/payment-modifier"), "extension": parts }
        });
        let etims = self.etims.iter().map(|number| extension("etims-number", number));
        paid.chain(payments).chain(etims).collect()
    }

    fn claim(&self) -> Object {
        let mut claim = claim_of(&sample_bundle()).as_object().expect("a claim").clone();
        let identifier = fhir::object! { "system": format!("{NS}/invoice"), "value": self.invoice.as_str() };
        claim.insert("identifier", fhir::array![identifier]);
        claim.insert("created", self.time(1000));
        claim.insert("billablePeriod", fhir::object! { "start": self.time(500), "end": self.time(900) });
        let principal = self.principal.index(self.diagnoses.len());
        let diagnoses = self.diagnoses.iter().enumerate().map(|(index, (code, icd11, name))| {
            let system = if *icd11 { "http://id.who.int/icd/release/11/mms" } else { "http://hl7.org/fhir/sid/icd-10" };
            let mut diagnosis = Object::new();
            diagnosis.insert("sequence", index as i64 + 1);
            diagnosis.insert("diagnosisCodeableConcept", coded(system, code, name.as_ref()));
            if index == principal {
                let kind = coded("http://terminology.hl7.org/CodeSystem/ex-diagnosistype", "principal", None);
                diagnosis.insert("type", fhir::array![kind]);
            }
            Json::from(diagnosis)
        });
        claim.insert("diagnosis", diagnoses.collect::<Vec<_>>());
        let mut insurance = claim.get("insurance").expect("insurance").items()[0].as_object().expect("one").clone();
        if !self.authorized.is_empty() {
            insurance.insert("preAuthRef", self.authorized.iter().map(|it| it.as_str().into()).collect::<Vec<Json>>());
        }
        claim.insert("insurance", fhir::array![Json::from(insurance)]);
        let items = self.lines.iter().enumerate().map(|(index, line)| self.item(index, line));
        claim.insert("item", items.collect::<Vec<_>>());
        let nets: Vec<Decimal> = self.lines.iter().map(|line| product(&line.quantity, &line.price)).collect();
        claim.insert("total", money(&sum(&nets)));
        let extensions = self.extensions();
        claim.remove("extension");
        if !extensions.is_empty() {
            claim.insert("extension", extensions);
        }
        claim
    }
}

fn sample_bundle() -> Json {
    Json::parse(&sample("smartlink", "08-claim-outpatient.json")).expect("JSON")
}

fn claim_of(bundle: &Json) -> &Json {
    bundle.at(&["entry", "resource"]).expect("a claim")
}

/// The sample's Bundle with another claim.
fn bundle_with(claim: Object) -> Json {
    let mut bundle = sample_bundle();
    let Some(Json::Array(entries)) = bundle.as_object_mut().and_then(|it| it.get_mut("entry")) else { panic!() };
    entries[0].as_object_mut().expect("an entry").insert("resource", claim);
    bundle
}

/// The body of a claim, what was told of it, and the Claim that the body becomes.
fn there_and_back(claim: Object) -> (Json, Vec<Issue>, Json) {
    let (body, issues) = body(bundle_with(claim).to_string().as_bytes(), &visit());
    let Mapping::Publish(back) = made("claim-body", body.to_string().as_bytes(), &visit()) else { panic!("{body}") };
    let claim = claim_of(&back.bundle).clone();
    (body, issues, claim)
}

/// Fails unless all that `told` says comes back: numbers as decimals, times as moments, references by what is sent of
/// whom they mean.
fn comes_back(told: &Json, back: &Json, path: &str, bundle: &Json) {
    match (told, back) {
        (Json::Object(members), Json::Object(_)) => {
            if let Some(reference) = told.str("reference") {
                let entries = bundle.list("entry").iter().filter_map(|it| it.get("resource"));
                let address = |it: &Json| Some(format!("{}/{}", it.str("resourceType")?, it.str("id")?));
                let meant =
                    entries.into_iter().find(|it| address(it).as_deref() == Some(reference)).expect("in the Bundle");
                let own = meant.list("identifier").iter().filter_map(|it| it.str("value"));
                let name = meant.at(&["name", "text"]).and_then(Json::as_str);
                let mut own = own.chain(meant.str("subscriberId")).chain(name);
                assert!(own.any(|own| back.to_string().contains(own)), "{path}: {back}");
                return;
            }
            for (name, value) in members.iter() {
                let found = back.get(name).unwrap_or_else(|| panic!("{path}.{name} did not come back: {back}"));
                comes_back(value, found, &format!("{path}.{name}"), bundle);
            }
        }
        (Json::Array(items), Json::Array(others)) => {
            assert_eq!(items.len(), others.len(), "{path}: {back}");
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                comes_back(item, other, &format!("{path}[{index}]"), bundle);
            }
        }
        (Json::Number(one), Json::Number(other)) => {
            assert_eq!(Decimal::parse(one), Decimal::parse(other), "{path}");
        }
        (Json::String(one), Json::String(other)) if one != other => {
            let moment = |text: &str| DateTime::parse(text).map(|it| it.start());
            assert!(one.contains('T') && moment(one) == moment(other), "{path}: {one} became {other}");
        }
        _ => assert_eq!(told, back, "{path}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_field_that_the_format_carries_comes_back(made in claims()) {
        let claim = made.claim();
        let (body, issues, back) = there_and_back(claim.clone());
        prop_assert_eq!(issues, vec![]);
        let bundle = bundle_with(claim.clone());
        for (name, value) in claim.iter().filter(|(name, _)| !matches!(*name, "id" | "status" | "resourceType")) {
            let found = back.get(name).unwrap_or_else(|| panic!("{name} did not come back: {back}"));
            comes_back(value, found, name, &bundle);
        }
        let amount = |name: &str| body.get(name).and_then(Json::as_number).and_then(Decimal::parse).expect("an amount");
        let nets: Vec<Decimal> = made.lines.iter().map(|line| product(&line.quantity, &line.price)).collect();
        let others: Vec<Decimal> = made.paid.iter().chain(made.payments.iter().map(|it| &it.amount)).cloned().collect();
        prop_assert_eq!(amount("gross_amount"), sum(&nets));
        let asked = amount("amount");
        prop_assert_eq!(sum(others.iter().chain([&asked])), sum(&nets), "what is asked for and what others pay is all");
    }

    /// Each element that the format has no place for is told with its path, and no other is.
    #[test]
    fn what_the_format_cannot_carry_is_told(made in claims(), which in prop::sample::subsequence(UNCARRIED.to_vec(), 1..4)) {
        let mut claim = made.claim();
        for (name, value) in &which {
            claim.insert(name, Json::parse(value.as_bytes()).expect("JSON"));
        }
        let mut bytes = bundle_with(claim).to_string();
        bytes = bytes.replacen("\"productOrService\"", "\"bodySite\":{\"text\":\"arm\"},\"productOrService\"", 1);
        let (_, issues) = body(bytes.as_bytes(), &visit());
        let mut told: Vec<String> = issues.iter().flat_map(|issue| issue.expression.clone()).collect();
        let mut expected: Vec<String> = which.iter().map(|(name, _)| format!("Claim.{name}")).collect();
        expected.push("Claim.item[0].bodySite".to_owned());
        told.sort();
        expected.sort();
        prop_assert_eq!(told, expected);
    }
}

/// Elements of a Claim that SmartLink's format has no place for.
const UNCARRIED: [(&str, &str); 8] = [
    ("accident", r#"{"date":"2025-06-01"}"#),
    ("prescription", r#"{"display":"a prescription"}"#),
    ("subType", r#"{"text":"emergency"}"#),
    ("referral", r#"{"display":"a referral"}"#),
    ("payee", r#"{"type":{"text":"subscriber"}}"#),
    ("supportingInfo", r#"[{"sequence":1,"category":{"text":"an attachment"}}]"#),
    ("procedure", r#"[{"sequence":1,"procedureCodeableConcept":{"text":"a procedure"}}]"#),
    ("fundsReserve", r#"{"text":"none"}"#),
];

#[test]
fn a_body_alone_is_read_by_its_shape() {
    let (body, _) = body(&sample("smartlink", "08-claim-outpatient.json"), &visit());
    let bytes = body.to_string().into_bytes();
    let adapter = adapters::find("smartlink").expect("an adapter");
    let shape = adapter.shapes.iter().find(|shape| (shape.recognises)(&bytes)).expect("a shape");
    assert_eq!(shape.name, "claim-body");
    let Mapping::Publish(back) = (shape.map)(&bytes, &Context { visit: None, ..context(&[]) }) else { panic!() };
    assert_eq!(claim_of(&back.bundle).at(&["total", "value"]).and_then(Json::as_number), Some("3200.5"));
}
