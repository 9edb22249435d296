//! Outbound: the Bundle of `Claim/$submit`. <https://hl7.org/fhir/us/davinci-pas/OperationDefinition-Claim-submit.html>
//!
//! | sent | what it is here | what goes out |
//! |---|---|---|
//! | a claim | a Claim | the Claim, and what it refers to |
//! | an update | a Claim whose `related` names the one before | the same, what changed marked, the one before with it |
//! | a withdrawal | a Claim that became `cancelled` | a Claim that says so of the one before |

use fhir::decimal::Decimal;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::parcel::{Source, Sources, entry, name};
use super::{DEFINITIONS, VENDOR};
use crate::{Context, bundle, error, money, warning};

/// The `Claim.use` that PAS is about; what claims are for, unless the connection says more.
pub(super) const PAS: &str = "preauthorization";

/// ISO 4217's code of no currency: for claims that name no amount.
const NO_CURRENCY: &str = "XXX";

/// What becomes of one claim before another: the relation of an update.
const PRIOR: &str = "prior";

/// X12's code of a withdrawal.
const CANCEL: &str = "3";

/// The profile of a claim that says something else of another, or that it is withdrawn.
const UPDATE: &str = "profile-claim-update";

/// A claim that is ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) body: Json,
    pub(super) invoice: String,
    pub(super) member: String,
    pub(super) net: Decimal,
    pub(super) currency: String,
    pub(super) warnings: Vec<Issue>,
}

/// The Bundle of a claim; or what is wrong with the claim.
pub(super) fn build(json: &Json, context: &Context<'_>) -> Result<Built, Vec<Issue>> {
    let sources = Sources::of(json, context.namespace);
    let Some(root) = sources.all.first().filter(|first| first.resource.str("resourceType") == Some("Claim")) else {
        return Err(vec![error(IssueCode::Required, "the Bundle must begin with the Claim", "Bundle.entry[0]")]);
    };
    let told = |name: &str| context.visit.and_then(|told| told.str(name));
    let cancels = told("intent") == Some("cancel");
    let claim = &insured(&sources, root.resource);
    let mut found = Findings::default();
    let invoice = identifier(claim).map(|(_, value)| value.to_owned());
    if invoice.is_none() {
        found.wrong(IssueCode::Required, "an identifier with system and value is needed", "Claim.identifier");
    }
    let taken = told("uses").unwrap_or(PAS);
    let used = claim.str("use").unwrap_or_default();
    if !taken.split([',', ' ']).any(|known| known == used) {
        let text = format!("this payer takes claims with use = {taken}; setting uses of the connection says so");
        found.wrong(IssueCode::BusinessRule, text, "Claim.use");
    }
    let mut along = sources.reached(claim);
    if cancels {
        along.retain(|it| it.resource.str("resourceType") != Some("Claim")); // what it updated is not sent again
    }
    let member = people(&sources, claim, &along, &mut found);
    let (net, currency) = sums(claim, &mut found);
    let prior = prior(&sources, claim, root);
    if !cancels {
        parts(claim, used, &mut found);
    }
    let sent = match prior {
        Some(prior) if !cancels => marked(claim, prior.resource, &mut found),
        _ => claim.clone(),
    };
    if !found.problems.is_empty() {
        return Err(found.problems);
    }
    // What lacks something that PAS asks for does not say that it is of its profiles.
    let is_alone = cancels || claim.list("related").len() == usize::from(prior.is_some());
    let is_pas = used == PAS && is_alone && found.warnings.is_empty();
    let profile_of = |name: &'static str| is_pas.then_some(name);
    let of_claim = profile_of(if prior.is_some() { UPDATE } else { "profile-claim" });
    let mut urls: Vec<&str> = along.iter().map(|it| it.url.as_str()).collect();
    urls.push(&root.url);
    let mut entries = Vec::new();
    if cancels {
        let url = bundle::full_url(&format!("{}/{VENDOR}/cancellation", context.namespace), &root.url);
        let withdrawal = active(&cancellation(claim, root, &url, context), profile_of(UPDATE));
        entries.push(entry(&url, sources.written(&withdrawal, &urls)));
    }
    entries.push(entry(&root.url, sources.written(&active(&sent, of_claim), &urls)));
    for source in along.iter().filter(|source| source.url != root.url) {
        entries.push(entry(&source.url, sources.written(source.resource, &urls)));
    }
    let version = claim.at(&["meta", "versionId"]).and_then(Json::as_str).unwrap_or_default();
    let transaction = format!("{}|{version}|{cancels}", root.url);
    let profile = profile_of("profile-pas-request-bundle");
    let body = collection("transaction", &transaction, profile, entries, context);
    let invoice = invoice.unwrap_or_default();
    Ok(Built { body, invoice, member, net, currency, warnings: found.warnings })
}

/// The claim that this one updates.
fn prior<'s, 'a>(sources: &'s Sources<'a>, claim: &Json, root: &Source<'_>) -> Option<&'s Source<'a>> {
    let is_update = |it: &&Json| it.at(&["relationship", "coding", "code"]).and_then(Json::as_str) == Some(PRIOR);
    let found = sources.target(claim.list("related").iter().find(is_update)?.get("claim"))?;
    (found.resource.str("resourceType") == Some("Claim") && found.url != root.url).then_some(found)
}

/// System and value of the identifier that a claim is known by: the payer is asked once for it.
pub(super) fn identifier(claim: &Json) -> Option<(&str, &str)> {
    claim
        .list("identifier")
        .iter()
        .find_map(|it| Some((it.str("system")?, it.str("value").filter(|it| !it.is_empty())?)))
}

/// Whether a Claim withdraws another.
pub(super) fn is_cancellation(claim: &Json) -> bool {
    let url = format!("{DEFINITIONS}/extension-certificationType");
    let mut own = claim.list("extension").iter().filter(|it| it.str("url") == Some(&url));
    own.any(|it| it.at(&["valueCodeableConcept", "coding", "code"]).and_then(Json::as_str) == Some(CANCEL))
}

/// A Bundle of PAS; the same `what` at the same moment is the same transaction.
pub(super) fn collection(
    kind: &str,
    what: &str,
    profile: Option<&str>,
    entries: Vec<Json>,
    context: &Context<'_>,
) -> Json {
    let value = bundle::full_url(&format!("{}/{VENDOR}/{kind}", context.namespace), what);
    let mut made = Object::new();
    made.insert("resourceType", "Bundle");
    if let Some(profile) = profile {
        made.insert("meta", declared(profile));
    }
    made.insert("identifier", fhir::object! { "system": "urn:ietf:rfc:3986", "value": value });
    made.insert("type", "collection");
    made.insert("timestamp", fhir::date::format_instant(context.now));
    made.insert("entry", entries);
    made.into()
}

/// `meta` of what is of a profile of PAS.
pub(super) fn declared(profile: &str) -> Json {
    fhir::object! { "profile": fhir::array![format!("{DEFINITIONS}/{profile}")] }
}

/// The claim with its insurer: where it names none, the payor of its Coverage.
fn insured(sources: &Sources<'_>, claim: &Json) -> Json {
    let mut coverages = claim.list("insurance").iter().filter_map(|it| sources.target(it.get("coverage")));
    let payor =
        coverages.find_map(|it| it.resource.list("payor").iter().find(|payor| payor.str("reference").is_some()));
    match payor {
        Some(payor) if claim.get("insurer").is_none_or(|it| it.str("reference").is_none()) => {
            let mut members = claim.as_object().cloned().unwrap_or_default();
            members.insert("insurer", payor.clone());
            members.into()
        }
        _ => claim.clone(),
    }
}

/// What is wrong, and what a person should know.
#[derive(Default)]
struct Findings {
    problems: Vec<Issue>,
    warnings: Vec<Issue>,
}

impl Findings {
    fn wrong(&mut self, code: IssueCode, text: impl Into<String>, at: &str) {
        self.problems.push(error(code, text, at));
    }
}

/// Checks that the claim says who is who, and that nobody else's record goes along; the member number.
fn people(sources: &Sources<'_>, claim: &Json, along: &[&Source<'_>], found: &mut Findings) -> String {
    for (element, resource_type) in [("patient", "Patient"), ("insurer", "Organization"), ("provider", "")] {
        let target = sources.target(claim.get(element));
        let kind = target.and_then(|it| it.resource.str("resourceType"));
        if !kind.is_some_and(|kind| resource_type.is_empty() || kind == resource_type) {
            let what = if resource_type.is_empty() { "resource" } else { resource_type };
            let text = format!("a reference to a {what} that can be sent is needed");
            found.wrong(IssueCode::Required, text, &format!("Claim.{element}"));
        }
    }
    let patient = sources.target(claim.get("patient"));
    let mut may_go: Vec<&str> = patient.iter().map(|it| it.url.as_str()).collect();
    let mut member = String::new();
    for (index, insurance) in claim.list("insurance").iter().enumerate() {
        let at = format!("Claim.insurance[{index}].coverage");
        let coverage = sources.target(insurance.get("coverage"));
        let Some(coverage) = coverage.filter(|it| it.resource.str("resourceType") == Some("Coverage")) else {
            found.wrong(IssueCode::Required, "a reference to a Coverage that can be sent is needed", &at);
            continue;
        };
        let beneficiary = sources.target(coverage.resource.get("beneficiary"));
        if beneficiary.is_none_or(|it| !may_go.contains(&it.url.as_str())) {
            found.wrong(IssueCode::BusinessRule, "the Coverage is not that of the claim's patient", &at);
        }
        may_go.extend(sources.target(coverage.resource.get("subscriber")).map(|it| it.url.as_str()));
        if member.is_empty() {
            coverage.resource.str("subscriberId").unwrap_or_default().clone_into(&mut member);
        }
    }
    if claim.list("insurance").is_empty() {
        found.wrong(IssueCode::Required, "the Coverage that the claim is made under is needed", "Claim.insurance");
    }
    let patients = along.iter().filter(|it| it.resource.str("resourceType") == Some("Patient"));
    for other in patients.filter(|it| !may_go.contains(&it.url.as_str())) {
        let text = format!("the claim refers to {}, who is not its patient; nothing is sent", name(other.resource));
        found.wrong(IssueCode::Security, text, "Claim");
    }
    member
}

/// Proves that the items add up, in one currency.
fn sums(claim: &Json, found: &mut Findings) -> (Decimal, String) {
    let mut currencies: Vec<&str> = Vec::new();
    let mut nets = Vec::new();
    for (index, item) in claim.list("item").iter().enumerate() {
        let at = format!("Claim.item[{index}].net");
        for money in ["unitPrice", "net"] {
            currencies.extend(item.get(money).and_then(|it| it.str("currency")));
        }
        let of = |path: &[&str]| item.at(path).and_then(money::amount);
        let net = of(&["net", "value"]);
        if let (Some(net), Some(quantity), Some(price)) =
            (&net, of(&["quantity", "value"]), of(&["unitPrice", "value"]))
        {
            let factor = item.get("factor").map_or(Some(Decimal::from(1)), money::amount);
            let product = money::product(&quantity, &price).zip(factor);
            let product = product.and_then(|(product, factor)| money::product(&product, &factor));
            if product.as_ref() != Some(net) {
                let right = product.map_or_else(|| "too large".to_owned(), |it| it.as_str().to_owned());
                found.wrong(IssueCode::BusinessRule, format!("the net is {net}, quantity × price is {right}"), &at);
            }
        }
        for element in ["quantity", "unitPrice", "net"] {
            let said = item.at(&[element, "value"]);
            if said.is_some_and(|it| money::amount(it).is_none_or(|amount| amount < Decimal::from(0))) {
                let text =
                    format!("{element} must be a decimal of nothing or more, with at most 15 digits before the point");
                found.wrong(IssueCode::Value, text, &at);
            }
        }
        match net {
            Some(net) => nets.push(net),
            None if claim.get("total").is_some() => {
                found.wrong(IssueCode::Required, "a claim with a total needs the net of each item", &at);
            }
            None => {}
        }
    }
    let Some(lines) = money::sum(&nets) else {
        found.wrong(IssueCode::Value, "the items are too large to be added exactly", "Claim.item");
        return (Decimal::from(0), NO_CURRENCY.to_owned());
    };
    match claim.get("total") {
        Some(total) => {
            currencies.extend(total.str("currency"));
            let value = total.get("value").and_then(money::amount);
            if value.as_ref() != Some(&lines) {
                let told = value.map_or_else(|| "no amount".to_owned(), |it| it.as_str().to_owned());
                let text = format!("the total is {told}, the items come to {lines}; they must be the same");
                found.wrong(IssueCode::BusinessRule, text, "Claim.total");
            }
        }
        None if claim.str("use") == Some("claim") => {
            found.wrong(IssueCode::Required, "the total is missing", "Claim.total");
        }
        None => {}
    }
    currencies.sort_unstable();
    currencies.dedup();
    match currencies.as_slice() {
        [] if nets.is_empty() => (lines, NO_CURRENCY.to_owned()),
        [only] => (lines, (*only).to_owned()),
        others => {
            let text = format!("all amounts have one currency; there is {}", others.join(", "));
            found.wrong(IssueCode::BusinessRule, text, "Claim.total.currency");
            (lines, NO_CURRENCY.to_owned())
        }
    }
}

/// Items and supporting information are told apart by their numbers; what PAS asks for and is not there is told.
fn parts(claim: &Json, used: &str, found: &mut Findings) {
    if claim.list("item").is_empty() {
        found.wrong(IssueCode::Required, "what is claimed is needed", "Claim.item");
    }
    for list in ["item", "supportingInfo"] {
        let mut numbers: Vec<&str> = claim.list(list).iter().filter_map(sequence).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() < count {
            found.wrong(IssueCode::BusinessRule, "each sequence stands once", &format!("Claim.{list}"));
        }
    }
    if used != PAS {
        return;
    }
    let has = |item: &Json, name: &str| {
        let url = format!("{DEFINITIONS}/extension-{name}");
        item.list("extension").iter().any(|it| it.str("url") == Some(&url))
    };
    let mut ask = |what: &str, is_there: &dyn Fn(&Json) -> bool| {
        if let Some(index) = claim.list("item").iter().position(|item| !is_there(item)) {
            let text = "PAS asks for it; the payer may refuse the claim without it";
            found.warnings.push(warning(IssueCode::Required, text, &format!("Claim.item[{index}].{what}")));
        }
    };
    ask("category", &|item| item.get("category").is_some());
    for name in ["serviceItemRequestType", "certificationType"] {
        ask(&format!("extension({name})"), &|item| has(item, name));
    }
}

/// The claim with what changed since the one before marked. All that was there is there still.
fn marked(claim: &Json, prior: &Json, found: &mut Findings) -> Json {
    let mut marked = claim.as_object().cloned().unwrap_or_default();
    for list in ["item", "supportingInfo"] {
        let before = prior.list(list);
        let missing = before.iter().filter_map(sequence).find(|number| numbered(claim.list(list), number).is_none());
        if let Some(number) = missing {
            let text = format!("{list} {number} of the claim before is missing; keep it, marked as cancelled");
            found.wrong(IssueCode::BusinessRule, text, &format!("Claim.{list}"));
        }
        if claim.list(list).is_empty() {
            continue;
        }
        let items =
            claim.list(list).iter().map(|item| match sequence(item).and_then(|number| numbered(before, number)) {
                Some(same) if same == item => item.clone(),
                Some(_) => changed(item, "changed"),
                None => changed(item, "added"),
            });
        let items: Vec<Json> = items.collect();
        marked.insert(list, items);
    }
    marked.into()
}

fn sequence(item: &Json) -> Option<&str> {
    item.get("sequence")?.as_number()
}

fn numbered<'a>(items: &'a [Json], number: &str) -> Option<&'a Json> {
    items.iter().find(|item| sequence(item) == Some(number))
}

fn changed(item: &Json, how: &str) -> Json {
    let url = format!("{DEFINITIONS}/extension-infoChanged");
    let mut extensions: Vec<Json> =
        item.list("extension").iter().filter(|it| it.str("url") != Some(&url)).cloned().collect();
    extensions.push(fhir::object! { "url": url, "valueCode": how });
    let mut members = item.as_object().cloned().unwrap_or_default();
    members.insert("extension", extensions);
    members.into()
}

/// What is sent is in force, whatever became of it here; which profile it is of is said anew.
fn active(claim: &Json, profile: Option<&str>) -> Json {
    let mut members = claim.as_object().cloned().unwrap_or_default();
    members.insert("status", "active");
    if let Some(profile) = profile {
        let mut meta = claim.get("meta").and_then(Json::as_object).cloned().unwrap_or_default();
        meta.insert("profile", fhir::array![format!("{DEFINITIONS}/{profile}")]);
        members.insert("meta", meta);
    }
    members.into()
}

/// A Claim that takes another back: an update of it that says the same, and that it is withdrawn.
fn cancellation(told: &Json, root: &Source<'_>, url: &str, context: &Context<'_>) -> Json {
    let concept = |system: &str, code: &str| {
        fhir::object! { "coding": fhir::array![fhir::object! { "system": system, "code": code }] }
    };
    let mut claim = told.as_object().cloned().unwrap_or_default();
    for element in ["id", "meta", "text"] {
        claim.remove(element);
    }
    let mut extensions = vec![fhir::object! {
        "url": format!("{DEFINITIONS}/extension-certificationType"),
        "valueCodeableConcept": concept("https://codesystem.x12.org/005010/1322", CANCEL),
    }];
    let others = told.list("extension").iter().filter(|it| it.str("url") != extensions[0].str("url"));
    let others: Vec<Json> = others.cloned().collect();
    extensions.extend(others);
    claim.insert("extension", extensions);
    let system = format!("{}/{VENDOR}/cancellation", context.namespace);
    claim.insert("identifier", fhir::array![fhir::object! { "system": system, "value": url }]);
    claim.insert("created", fhir::date::format_instant(context.now));
    let relation = concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", PRIOR);
    let related = fhir::object! { "claim": fhir::object! { "reference": root.url.as_str() }, "relationship": relation };
    claim.insert("related", fhir::array![related]);
    claim.into()
}
