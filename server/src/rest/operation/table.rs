//! Which operations there are, where, with which parameters, and what carries them out.

use std::future::ready;

use fhir::nearest::nearest;
use fhir::outcome::{Issue, IssueCode};
use futures::future::BoxFuture;

use super::{Invocation, Target};
use super::{convert, device_connections, diff, everything, export, lastn, meta, stats, validate};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::insurance::{copay, diagnoses, submit, visit, withdraw, worklist};
use crate::rest::response::Answer;

/// What an operation can be asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `[base]/$name`.
    System,
    /// `[base]/[type]/$name`.
    Type,
    /// `[base]/[type]/[id]/$name`.
    Instance,
    /// `[base]/[type]/[id]/_history/[vid]/$name`.
    Version,
}

/// An operation.
#[derive(Debug)]
pub struct Operation {
    /// Name without `$`.
    pub code: &'static str,
    /// Where it can be asked.
    pub levels: &'static [Level],
    /// Of which types; empty means all.
    pub types: &'static [&'static str],
    /// Whether it changes anything: then it needs `POST`.
    pub changes: bool,
    /// Whether all search parameters of the type are parameters of it too.
    pub searches: bool,
    /// Whether it can also be asked of types whose resources the server itself makes ([`projected`](crate::rest::projected)).
    pub of_projected: bool,
    /// What it takes.
    pub parameters: &'static [Parameter],
    /// Id of HL7's `OperationDefinition`, or the address of one that is not of R4 itself; nothing for what is ours.
    pub definition: Option<&'static str>,
    /// What it does.
    pub what: &'static str,
    /// The only way in which it is carried out.
    pub run: Run,
}

/// How an operation is carried out.
pub type Run = for<'a> fn(&'a App, &'a Caller, &'a Invocation) -> BoxFuture<'a, Result<Answer, Error>>;

/// A parameter of an operation.
#[derive(Debug)]
pub struct Parameter {
    /// Name.
    pub name: &'static str,
    /// Type of FHIR; `Resource` for a resource.
    pub kind: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it may be given several times.
    pub repeats: bool,
    /// What it says.
    pub what: &'static str,
}

const fn one(name: &'static str, kind: &'static str, what: &'static str) -> Parameter {
    Parameter { name, kind, required: false, repeats: false, what }
}

const fn required(name: &'static str, kind: &'static str, what: &'static str) -> Parameter {
    Parameter { name, kind, required: true, repeats: false, what }
}

const fn many(name: &'static str, kind: &'static str, what: &'static str) -> Parameter {
    Parameter { name, kind, required: false, repeats: true, what }
}

const SINCE: Parameter = one("_since", "instant", "resources that changed at or after this instant");
const TYPES: Parameter = many("_type", "code", "resource types, also separated by commas");
const COUNT: Parameter = one("_count", "integer", "most matches of a page");
const CURSOR: Parameter = one("_cursor", "string", "where a page begins; links hold it");
const META: Parameter = required("meta", "Meta", "profiles, tags and security labels");
const VENDOR: Parameter = one("vendor", "code", "vendor of the device, validic if not said");
const IMEI: Parameter = required("device", "string", "IMEI of the device, 15 digits");
const EVERY_TYPE: &[&str] = &[];
const SINCE_EXCLUSIVE: Parameter = one("_since", "instant", "only what changed after this instant");
const UNTIL: Parameter = one("_until", "instant", "the state at this instant instead of the present one");
const NDJSON: Parameter =
    one("_outputFormat", "string", "application/fhir+ndjson, application/ndjson or ndjson: all the same");
const FILTERS: Parameter =
    many("_typeFilter", "string", "searches, as Type?parameter=value: of that type only what one of them finds");
const ELEMENTS: Parameter = many("_elements", "string", "names of elements; what is mandatory is there beside them");
const MEMBERS: Parameter = many("patient", "Reference", "only these patients");

/// All operations.
pub const TABLE: &[Operation] = &[
    Operation {
        code: "everything",
        levels: &[Level::Type, Level::Instance],
        types: &["Patient"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[
            one("start", "date", "care on or after this date; what has no date is answered too"),
            one("end", "date", "care on or before this date"),
            SINCE,
            TYPES,
            COUNT,
            CURSOR,
        ],
        definition: Some("Patient-everything"),
        what: "what lies in the patient's compartment, and what it refers to outside",
        run: |app, caller, it| Box::pin(everything::execute(app, caller, it)),
    },
    Operation {
        code: "everything",
        levels: &[Level::Instance],
        types: &["Encounter"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[SINCE, TYPES, COUNT, CURSOR],
        definition: Some("Encounter-everything"),
        what: "what lies in the encounter's compartment, and what it refers to outside",
        run: |app, caller, it| Box::pin(everything::execute(app, caller, it)),
    },
    Operation {
        code: "submit",
        levels: &[Level::Type, Level::Instance],
        types: &["Claim"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[
            one(
                "resource",
                "Resource",
                "of the type: a Claim, or a Bundle of Claims; of an instance it is the stored one",
            ),
            one("benefit", "string", "id of the benefit that is used, where several can be"),
            one("interim", "boolean", "whether it is a part of what a stay will come to"),
        ],
        definition: None,
        what: "checks a Claim, sends it to its payer in the background, and answers with the ClaimResponse, whose \
               notes say what could not be sent",
        run: |app, caller, it| Box::pin(submit::execute(app, caller, it)),
    },
    Operation {
        code: "withdraw",
        levels: &[Level::Instance],
        types: &["Claim"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[],
        definition: None,
        what: "cancels a Claim that its payer does not have: one that was not sent yet, or was refused",
        run: |app, caller, it| Box::pin(withdraw::execute(app, caller, it)),
    },
    Operation {
        code: "send-diagnoses",
        levels: &[Level::Instance],
        types: &["Claim"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[],
        definition: None,
        what: "sends the diagnoses of a visit whose Claim the payer has, where they were made after it",
        run: |app, caller, it| Box::pin(diagnoses::execute(app, caller, it)),
    },
    Operation {
        code: "fetch-copay",
        levels: &[Level::Instance],
        types: &["Encounter"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[one("benefit", "string", "id of the benefit that is used, where several can be")],
        definition: None,
        what: "asks the payer what the member pays of a benefit in this visit",
        run: |app, caller, it| Box::pin(copay::execute(app, caller, it)),
    },
    Operation {
        code: "worklist",
        levels: &[Level::Type],
        types: &["Claim"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[
            many("state", "code", "only claims in these states; without it all that are not billed or cancelled"),
            one("payer", "code", "only claims to this payer"),
            COUNT,
            CURSOR,
        ],
        definition: None,
        what: "claims on their way to payers, why they are not billed, their sums by payer and state, and sessions \
               that are about to expire",
        run: |app, caller, it| Box::pin(worklist::execute(app, caller, it)),
    },
    Operation {
        code: "fetch-visit",
        levels: &[Level::Type],
        types: &["CoverageEligibilityRequest"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[
            required("patient-number", "string", "number of the patient at the payer"),
            one("create-patient", "boolean", "whether a Patient is made of what the payer knows, if there is none"),
        ],
        definition: None,
        what: "asks the payer for a patient's open sessions, their cover and what is left of their benefits",
        run: |app, caller, it| Box::pin(visit::fetch(app, caller, it)),
    },
    Operation {
        code: "merge-visit",
        levels: &[Level::Instance],
        types: &["Encounter"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[
            required("session", "string", "the payer's id of the session"),
            one("visit-number", "string", "our number of the visit; the id of the Encounter where it is missing"),
        ],
        definition: None,
        what: "tells the payer which visit a session is: PENDING becomes ACTIVE",
        run: |app, caller, it| Box::pin(visit::merge(app, caller, it)),
    },
    Operation {
        code: "close-visit",
        levels: &[Level::Instance],
        types: &["Encounter"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[],
        definition: None,
        what: "closes the payer's session of a visit",
        run: |app, caller, it| Box::pin(visit::close(app, caller, it)),
    },
    Operation {
        code: "validate",
        levels: &[Level::Type, Level::Instance],
        types: EVERY_TYPE,
        changes: false,
        searches: false,
        of_projected: true,
        parameters: &[
            one("resource", "Resource", "what is checked; of an instance, where it is missing, the stored one"),
            one("mode", "code", "create, update, delete: whether that would succeed; profile: as without"),
            one("profile", "uri", "only the base definition of the type is supported"),
        ],
        definition: Some("Resource-validate"),
        what: "what is wrong with a resource",
        run: |app, caller, it| Box::pin(validate::execute(app, caller, it)),
    },
    Operation {
        code: "meta",
        levels: &[Level::System, Level::Type, Level::Instance, Level::Version],
        types: EVERY_TYPE,
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[],
        definition: Some("Resource-meta"),
        what: "profiles, tags and security labels in use",
        run: |app, caller, it| Box::pin(meta::read(app, caller, it)),
    },
    Operation {
        code: "meta-add",
        levels: &[Level::Instance],
        types: EVERY_TYPE,
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[META],
        definition: Some("Resource-meta-add"),
        what: "adds profiles, tags and security labels; that makes a new version",
        run: |app, caller, it| Box::pin(meta::change(app, caller, it, meta::Change::Add)),
    },
    Operation {
        code: "meta-delete",
        levels: &[Level::Instance],
        types: EVERY_TYPE,
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[META],
        definition: Some("Resource-meta-delete"),
        what: "takes profiles, tags and security labels out; that makes a new version",
        run: |app, caller, it| Box::pin(meta::change(app, caller, it, meta::Change::Delete)),
    },
    Operation {
        code: "lastn",
        levels: &[Level::Type],
        types: &["Observation"],
        changes: false,
        searches: true,
        of_projected: false,
        parameters: &[one("max", "positiveInt", "how many of each code, 1 if not said")],
        definition: Some("Observation-lastn"),
        what: "the newest observations of each code",
        run: |app, caller, it| Box::pin(lastn::execute(app, caller, it)),
    },
    Operation {
        code: "stats",
        levels: &[Level::Type],
        types: &["Observation"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[
            required("subject", "uri", "whose observations"),
            many("code", "string", "what was measured; also system|code"),
            one("system", "uri", "system of the codes"),
            many("coding", "Coding", "what was measured, as a Coding"),
            one("duration", "decimal", "hours up to now"),
            one("period", "Period", "when it was measured"),
            Parameter { required: true, ..many("statistic", "code", "which statistics, also separated by commas") },
            one("include", "boolean", "whether the observations are answered too"),
            one("limit", "positiveInt", "most observations that are answered"),
        ],
        definition: Some("Observation-stats"),
        what: "statistics of a subject's observations",
        run: |app, caller, it| Box::pin(stats::execute(app, caller, it)),
    },
    Operation {
        code: "diff",
        levels: &[Level::Type, Level::Instance],
        types: EVERY_TYPE,
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[
            one(
                "from",
                "string",
                "of an instance a version, the one before if not said; of a type Type/id or Type/id/_history/version",
            ),
            one("to", "string", "the same; of an instance the current version if not said"),
        ],
        definition: None,
        what: "the FHIRPath Patch that turns one version or resource into another",
        run: |app, caller, it| Box::pin(diff::execute(app, caller, it)),
    },
    Operation {
        code: "convert",
        levels: &[Level::System],
        types: EVERY_TYPE,
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[required("input", "Resource", "what is converted")],
        definition: Some("Resource-convert"),
        what: "a resource in the format of Accept",
        run: |_, _, it| Box::pin(ready(convert::execute(it))),
    },
    Operation {
        code: "export",
        levels: &[Level::System],
        types: EVERY_TYPE,
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[NDJSON, SINCE_EXCLUSIVE, UNTIL, TYPES, FILTERS, ELEMENTS],
        definition: Some("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"),
        what: "everything, as files",
        run: |_, _, _| Box::pin(ready(Err(export::no_entry()))),
    },
    Operation {
        code: "export",
        levels: &[Level::Type],
        types: &["Patient"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[NDJSON, SINCE_EXCLUSIVE, UNTIL, TYPES, FILTERS, ELEMENTS, MEMBERS],
        definition: Some("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export"),
        what: "what lies in the compartments of all patients, and what it refers to outside, as files",
        run: |_, _, _| Box::pin(ready(Err(export::no_entry()))),
    },
    Operation {
        code: "export",
        levels: &[Level::Instance],
        types: &["Group"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[NDJSON, SINCE_EXCLUSIVE, UNTIL, TYPES, FILTERS, ELEMENTS, MEMBERS],
        definition: Some("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export"),
        what: "the same of the members of a Group",
        run: |_, _, _| Box::pin(ready(Err(export::no_entry()))),
    },
    Operation {
        code: "provision-device-user",
        levels: &[Level::Instance],
        types: &["Patient"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[VENDOR],
        definition: None,
        what: "makes the patient's user at a vendor of devices, or finds it",
        run: |app, caller, it| Box::pin(device_connections::provision(app, caller, it)),
    },
    Operation {
        code: "connect-device",
        levels: &[Level::Instance],
        types: &["Patient"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[
            VENDOR,
            IMEI,
            required("device-type", "code", "blood_glucose, blood_pressure, weight_scale or pulse_ox"),
        ],
        definition: None,
        what: "connects a device with the patient at its vendor",
        run: |app, caller, it| Box::pin(device_connections::connect(app, caller, it)),
    },
    Operation {
        code: "disconnect-device",
        levels: &[Level::Instance],
        types: &["Patient"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[VENDOR, IMEI],
        definition: None,
        what: "takes a device from the patient at its vendor",
        run: |app, caller, it| Box::pin(device_connections::disconnect(app, caller, it)),
    },
    Operation {
        code: "disconnect-all-devices",
        levels: &[Level::Instance],
        types: &["Patient"],
        changes: true,
        searches: false,
        of_projected: false,
        parameters: &[VENDOR],
        definition: None,
        what: "takes all devices from the patient at their vendor",
        run: |app, caller, it| Box::pin(device_connections::disconnect_all(app, caller, it)),
    },
    Operation {
        code: "device-connections",
        levels: &[Level::Instance],
        types: &["Patient"],
        changes: false,
        searches: false,
        of_projected: false,
        parameters: &[VENDOR],
        definition: None,
        what: "the devices that are or were connected with the patient",
        run: |app, caller, it| Box::pin(device_connections::list(app, caller, it)),
    },
];

impl Operation {
    /// Whether it can be asked of resources of a type.
    pub fn is_of(&self, resource_type: &str) -> bool {
        self.types.is_empty() || self.types.contains(&resource_type)
    }

    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// The parameter that a body that is no Parameters resource is the value of.
    pub fn resource_parameter(&self) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.kind == "Resource")
    }
}

/// The operation of this name (with `$`) that can be asked of the target.
pub(super) fn find(name: &str, target: &Target) -> Result<&'static Operation, Error> {
    let code = name.trim_start_matches('$');
    let level = target.level();
    let is_here = |operation: &&Operation| {
        operation.levels.contains(&level) && (level == Level::System || operation.is_of(&target.resource_type))
    };
    if let Some(found) = TABLE.iter().find(|operation| operation.code == code && is_here(operation)) {
        return Ok(found);
    }
    let elsewhere: Vec<&Operation> = TABLE.iter().filter(|operation| operation.code == code).collect();
    let text = if elsewhere.is_empty() {
        let mut near = nearest(code, TABLE.iter().filter(is_here).map(|operation| operation.code));
        if near.is_empty() {
            near = TABLE.iter().filter(is_here).map(|operation| operation.code).collect();
        }
        format!("there is no operation {name} here; there are {}", listed(&near))
    } else {
        let places: Vec<String> = elsewhere.into_iter().flat_map(places).collect();
        format!("{name} cannot be asked here; it is at {}", places.join(", "))
    };
    Err(Error::not_found(Issue::error(IssueCode::NotSupported, text)))
}

fn listed(codes: &[&str]) -> String {
    codes.iter().map(|code| format!("${code}")).collect::<Vec<_>>().join(", ")
}

/// The paths at which an operation can be asked.
fn places(operation: &Operation) -> Vec<String> {
    let types = if operation.types.is_empty() { &["[type]"] } else { operation.types };
    let of_level = |level: &Level| {
        let code = operation.code;
        match level {
            Level::System => vec![format!("/${code}")],
            Level::Type => types.iter().map(|it| format!("/{it}/${code}")).collect(),
            Level::Instance => types.iter().map(|it| format!("/{it}/[id]/${code}")).collect(),
            Level::Version => types.iter().map(|it| format!("/{it}/[id]/_history/[vid]/${code}")).collect::<Vec<_>>(),
        }
    };
    operation.levels.iter().flat_map(of_level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(resource_type: &str, id: &str) -> Target {
        Target { resource_type: resource_type.into(), id: id.into(), version: String::new() }
    }

    #[test]
    fn found_where_it_is() {
        assert_eq!(find("$everything", &target("Patient", "")).unwrap().definition, Some("Patient-everything"));
        assert_eq!(find("$everything", &target("Encounter", "1")).unwrap().definition, Some("Encounter-everything"));
        assert_eq!(find("$convert", &target("", "")).unwrap().code, "convert");
        for (name, resource_type, id, hint) in [
            ("$everything", "Device", "1", "/Patient/$everything"),
            ("$everything", "Encounter", "", "/Encounter/[id]/$everything"),
            ("$everthing", "Patient", "1", "$everything"),
            ("$nothing", "Patient", "1", "$validate"),
            ("$lastn", "Patient", "", "/Observation/$lastn"),
        ] {
            let error = find(name, &target(resource_type, id)).unwrap_err();
            assert_eq!(error.status(), 404);
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn hl7_defines_what_the_table_says() {
        let text = profiles::operation_definitions();
        let defined: Vec<fhir::json::Json> =
            text.lines().map(|line| fhir::json::Json::parse(line.as_bytes()).unwrap()).collect();
        for operation in TABLE {
            let Some(id) = operation.definition.filter(|id| !id.contains("://")) else { continue };
            let definition = defined.iter().find(|it| it.str("id") == Some(id)).unwrap();
            assert_eq!(definition.str("code"), Some(operation.code));
            let parameters: Vec<_> =
                definition.list("parameter").iter().filter(|it| it.str("use") == Some("in")).collect();
            for parameter in &parameters {
                let name = parameter.str("name").unwrap();
                let own = operation.parameter(name).unwrap_or_else(|| panic!("{id} lacks {name}"));
                assert_eq!(parameter.str("max") != Some("1"), own.repeats, "{id} {name}");
            }
        }
    }
}
