//! What there is: manufacturers and products, organisations with nodes and pods, patients and the pods on them.

use fhir::json::{Json, Object};
use fhir::outcome::Issue;

use super::{Kind, Payload, mapped, missing};
use crate::{Delivery, Publication, bundle, device, json, time};

/// A manufacturer and its products.
pub(super) const PRODUCTS: Kind = Kind {
    recognises: &|bytes| {
        json(bytes).is_ok_and(|json| json.get("manufacturer").is_some() || json.get("products").is_some())
    },
    receive: &|bytes| json(bytes).map(|_| Delivery::default()),
    map: &|bytes, context| mapped(bytes, context, products),
};

/// An organisation with its devices.
pub(super) const DEVICES: Kind = Kind {
    recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("pods").is_some() || json.get("nodes").is_some()),
    receive: &|bytes| json(bytes).map(|_| Delivery::default()),
    map: &|bytes, context| mapped(bytes, context, devices),
};

/// A patient and the pod on them.
pub(super) const PATIENT: Kind = Kind {
    recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("patient").is_some()),
    receive: &|bytes| json(bytes).map(|_| Delivery::default()),
    map: &|bytes, context| mapped(bytes, context, patient),
};

fn products(payload: &Payload<'_>) -> Result<Publication, Vec<Issue>> {
    let maker = payload.fields.of(payload.json, "manufacturer").ok_or_else(|| missing(payload, "manufacturer"))?;
    let id = payload.text_of(maker, "manufacturer.id").ok_or_else(|| missing(payload, "manufacturer.id"))?;
    let name = payload.text_of(maker, "manufacturer.name");
    let kind = ("bus", "Non-Healthcare Business or Corporation");
    let (maker_url, entry) = organization(payload, "manufacturer", &id, name.as_deref(), kind);
    let mut entries = vec![entry];
    let products = payload.fields.of(payload.json, "products").map_or(&[][..], Json::items);
    for product in products {
        let id = payload.text_of(product, "product.id").ok_or_else(|| missing(payload, "product.id"))?;
        let mut resource = head(payload, "DeviceDefinition", "product", &id);
        resource.insert("manufacturerReference", fhir::object! { "reference": maker_url.as_str() });
        if let Some(name) = payload.text_of(product, "product.name") {
            resource.insert("deviceName", fhir::array![fhir::object! { "name": name, "type": "user-friendly-name" }]);
        }
        if let Some(kind) = payload.text_of(product, "product.type") {
            resource.insert("type", coded(payload, "product-type", &kind, Some(&kind)));
        }
        let mut properties = Vec::new();
        if let Some(size) = payload.text_of(product, "product.size") {
            let value = fhir::array![fhir::object! { "text": size }];
            properties.push(property(payload, ("size", "Size"), "valueCode", value));
        }
        if let Some(capacity) = number(payload, product, "product.capacity") {
            let value = fhir::array![quantity(&capacity, "mL")];
            properties.push(property(payload, ("capacity", "Absorption capacity"), "valueQuantity", value));
        }
        if !properties.is_empty() {
            resource.insert("property", properties);
        }
        entries.push(bundle::put("DeviceDefinition", &payload.system("product"), &id, resource.into()));
    }
    Ok(Publication::of(bundle::transaction(entries), Vec::new()))
}

fn devices(payload: &Payload<'_>) -> Result<Publication, Vec<Issue>> {
    let owner = payload.fields.of(payload.json, "organisation").ok_or_else(|| missing(payload, "organisation"))?;
    let id = payload.text_of(owner, "organisation.id").ok_or_else(|| missing(payload, "organisation.id"))?;
    let name = payload.text_of(owner, "organisation.name");
    let kind = ("prov", "Healthcare Provider");
    let (owner_url, entry) = organization(payload, "organisation", &id, name.as_deref(), kind);
    let mut entries = vec![entry];
    for (field, kind, display) in
        [("nodes", "node", "Smartz node (gateway)"), ("pods", "pod", "Smartz pod (wearable transceiver)")]
    {
        for told in payload.fields.of(payload.json, field).map_or(&[][..], Json::items) {
            let id = payload.text_of(told, "device.id").ok_or_else(|| missing(payload, "device.id"))?;
            let mut resource = head(payload, "Device", kind, &id);
            resource.insert("status", "active");
            resource.insert("manufacturer", "Smartz");
            if let Some(serial) = payload.text_of(told, "device.serial") {
                resource.insert("serialNumber", serial);
            }
            if let Some(name) = payload.text_of(told, "device.name") {
                let name = fhir::object! { "name": name, "type": "user-friendly-name" };
                resource.insert("deviceName", fhir::array![name]);
            }
            resource.insert("type", coded(payload, "device-kind", kind, Some(display)));
            if let Some(firmware) = payload.text_of(told, "device.firmware") {
                let version = fhir::object! { "type": fhir::object! { "text": "firmware" }, "value": firmware };
                resource.insert("version", fhir::array![version]);
            }
            if let Some(charge) = number(payload, told, "device.battery") {
                resource.insert("property", fhir::array![device::battery(&charge)]);
            }
            resource.insert("owner", fhir::object! { "reference": owner_url.as_str() });
            if let Some(node) = payload.text_of(told, "device.node") {
                let parent = bundle::full_url(&payload.system("node"), &node);
                resource.insert("parent", fhir::object! { "reference": parent });
            }
            entries.push(bundle::put("Device", &payload.system(kind), &id, resource.into()));
        }
    }
    redirect_absent(&mut entries, payload);
    Ok(Publication::of(bundle::transaction(entries), Vec::new()))
}

/// A parent that is not in the same answer is known by its identifier only.
fn redirect_absent(entries: &mut [Json], payload: &Payload<'_>) {
    let urls: Vec<String> = entries.iter().filter_map(|entry| entry.str("fullUrl").map(str::to_owned)).collect();
    let pods = payload.fields.of(payload.json, "pods").map_or(&[][..], Json::items);
    for node in pods.iter().filter_map(|pod| payload.text_of(pod, "device.node")) {
        let url = bundle::full_url(&payload.system("node"), &node);
        if urls.contains(&url) {
            continue;
        }
        let elsewhere = bundle::conditional("Device", &payload.system("node"), &node);
        let devices =
            entries.iter_mut().filter_map(|entry| entry.as_object_mut()?.get_mut("resource")?.as_object_mut());
        for device in devices {
            if device.get("parent").and_then(|parent| parent.str("reference")) == Some(&url) {
                device.insert("parent", fhir::object! { "reference": elsewhere.as_str() });
            }
        }
    }
}

fn patient(payload: &Payload<'_>) -> Result<Publication, Vec<Issue>> {
    let told = payload.fields.of(payload.json, "patient").ok_or_else(|| missing(payload, "patient"))?;
    let id = payload.text_of(told, "patient.id").ok_or_else(|| missing(payload, "patient.id"))?;
    if payload.context.query.split('&').any(|pair| pair == "patients=link") {
        // Smartz is not the source of patients: it only says who wears what.
        let entries = pod_use(payload, &id)?.into_iter().collect();
        return Ok(Publication::of(bundle::transaction(entries), Vec::new()));
    }
    let system = payload.system("patient");
    let mut resource = head(payload, "Patient", "patient", &id);
    let mut identifiers = vec![fhir::object! { "system": system.clone(), "value": id.as_str() }];
    if let Some(external) = payload.text_of(told, "patient.external") {
        identifiers.push(fhir::object! { "system": payload.system("external-id"), "value": external });
    }
    resource.insert("identifier", identifiers);
    if let Some(active) = payload.fields.of(told, "patient.active").and_then(Json::as_bool) {
        resource.insert("active", active);
    }
    let (family, given) = (payload.text_of(told, "patient.family"), payload.text_of(told, "patient.given"));
    if family.is_some() || given.is_some() {
        let mut name = Object::new();
        name.insert("use", "official");
        if let Some(family) = family {
            name.insert("family", family);
        }
        if let Some(given) = given {
            name.insert("given", fhir::array![given]);
        }
        resource.insert("name", fhir::array![Json::from(name)]);
    }
    let gender = payload.text_of(told, "patient.gender").map(|text| text.to_ascii_lowercase());
    if let Some(gender) = gender {
        let code = match gender.as_str() {
            "f" | "female" => "female",
            "m" | "male" => "male",
            "o" | "other" | "x" => "other",
            _ => "unknown",
        };
        resource.insert("gender", code);
    }
    if let Some(birth) = payload.text_of(told, "patient.birth") {
        resource.insert("birthDate", birth);
    }
    if let Some(organisation) = payload.context.organisation {
        let reference = bundle::conditional("Organization", &payload.system("organisation"), organisation);
        resource.insert("managingOrganization", fhir::object! { "reference": reference });
    }
    let mut entries = vec![bundle::put("Patient", &system, &id, resource.into())];
    entries.extend(pod_use(payload, &id)?);
    Ok(Publication::of(bundle::transaction(entries), Vec::new()))
}

fn pod_use(payload: &Payload<'_>, patient: &str) -> Result<Option<Json>, Vec<Issue>> {
    let Some(told) = payload.fields.of(payload.json, "pod") else { return Ok(None) };
    let pod = payload.text_of(told, "pod.id").ok_or_else(|| missing(payload, "pod.id"))?;
    let moment = |field| payload.text_of(told, field).and_then(|text| time::moment(&text, None).ok());
    let start = moment("pod.assigned").ok_or_else(|| missing(payload, "pod.assigned"))?;
    let end = moment("pod.unassigned");
    let (system, value) = (payload.system("pod-assignment"), format!("{patient}:{pod}:{}", start.text));
    let mut period = Object::new();
    period.insert("start", start.text.as_str());
    if let Some(end) = &end {
        period.insert("end", end.text.as_str());
    }
    let device = bundle::conditional("Device", &payload.system("pod"), &pod);
    let statement = fhir::object! {
        "resourceType": "DeviceUseStatement",
        "identifier": fhir::array![fhir::object! { "system": system.clone(), "value": value.clone() }],
        "status": if end.is_some() { "completed" } else { "active" },
        "subject": fhir::object! { "reference": payload.patient(patient) },
        "timingPeriod": period,
        "device": fhir::object! { "reference": device },
    };
    Ok(Some(bundle::put("DeviceUseStatement", &system, &value, statement)))
}

fn organization(
    payload: &Payload<'_>,
    kind: &str,
    id: &str,
    name: Option<&str>,
    (code, display): (&str, &str),
) -> (String, Json) {
    let mut resource = head(payload, "Organization", kind, id);
    resource.insert("active", true);
    let coding = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/organization-type",
        "code": code,
        "display": display,
    };
    resource.insert("type", fhir::array![fhir::object! { "coding": fhir::array![coding] }]);
    if let Some(name) = name {
        resource.insert("name", name);
    }
    let system = payload.system(kind);
    (bundle::full_url(&system, id), bundle::put("Organization", &system, id, resource.into()))
}

fn head(payload: &Payload<'_>, resource_type: &str, kind: &str, id: &str) -> Object {
    let mut resource = Object::new();
    resource.insert("resourceType", resource_type);
    resource.insert("meta", fhir::object! { "source": payload.source(&format!("{kind}/"), id).uri() });
    let identifier = fhir::object! { "system": payload.system(kind), "value": id };
    resource.insert("identifier", fhir::array![identifier]);
    resource
}

fn coded(payload: &Payload<'_>, system: &str, code: &str, display: Option<&str>) -> Json {
    let mut coding = Object::new();
    coding.insert("system", payload.system(&format!("CodeSystem/{system}")));
    coding.insert("code", code);
    if let Some(display) = display {
        coding.insert("display", display);
    }
    fhir::object! { "coding": fhir::array![Json::from(coding)] }
}

fn property(payload: &Payload<'_>, (code, text): (&str, &str), name: &str, value: Json) -> Json {
    let mut kind = coded(payload, "product-property", code, None);
    if let Some(kind) = kind.as_object_mut() {
        kind.insert("text", text);
    }
    let mut property = Object::new();
    property.insert("type", kind);
    property.insert(name, value);
    property.into()
}

fn quantity(value: &str, ucum: &str) -> Json {
    fhir::object! {
        "value": Json::Number(value.into()),
        "unit": ucum,
        "system": fhir::ucum::SYSTEM,
        "code": ucum,
    }
}

fn number(payload: &Payload<'_>, json: &Json, field: &str) -> Option<String> {
    payload.fields.of(json, field)?.as_number().map(str::to_owned)
}
