//! The narrative of a patched resource must not say what is no longer so. <https://hl7.org/fhir/R4/http.html#patch>
//!
//! "The server SHALL ensure that the narrative in a resource is not clinically unsafe after the PATCH operation is
//! performed." Of the ways that the page offers: a patch that changes data and says nothing of the text takes a text
//! out that was made of the data (`generated`, `extensions`); where it says more than the data (`additional`), the
//! patch is refused unless it replaces or removes the text too. An operation on the text is heeded, also if it puts
//! there what was there: the client has looked at it. <https://hl7.org/fhir/R4/narrative.html#Narrative>

use super::{PatchError, Refusal};
use crate::json::{Json, Object};

/// The narrative of a resource.
pub(super) const NARRATIVE: &str = "text";

/// Members that a narrative does not tell of.
const APART: &[&str] = &["text", "meta", "implicitRules", "_implicitRules"];

/// Takes an outdated narrative out of `changed`, or refuses the patch, none of whose operations is about it.
pub(super) fn settle(before: &Json, changed: &mut Json) -> Result<(), PatchError> {
    let (Json::Object(before), Json::Object(changed)) = (before, changed) else { return Ok(()) };
    if !is_outdated(before, changed) {
        return Ok(());
    }
    let status = changed.get(NARRATIVE).and_then(|text| text.str("status")).unwrap_or_default().to_owned();
    if matches!(status.as_str(), "generated" | "extensions") {
        changed.remove(NARRATIVE);
        return Ok(());
    }
    let text = format!(
        "the resource has a narrative with status {status}, which may say what the patch changes; replace or remove text in the same patch"
    );
    Err(Refusal::inapplicable(text).of_patch())
}

/// Whether `changed` has the narrative of `before` and tells of other data.
pub(crate) fn is_outdated(before: &Object, changed: &Object) -> bool {
    let Some(text) = changed.get(NARRATIVE).filter(|text| before.get(NARRATIVE) == Some(*text)) else { return false };
    text.str("status") != Some("empty") && !same_data(before, changed)
}

fn same_data(before: &Object, changed: &Object) -> bool {
    let told = |object: &Object| object.iter().filter(|(name, _)| !APART.contains(name)).count();
    let mut members = changed.iter().filter(|(name, _)| !APART.contains(name));
    told(before) == told(changed) && members.all(|(name, member)| before.get(name) == Some(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::Patch;
    use crate::{array, object};

    fn settled(status: &str, name: &str, value: Json) -> Result<bool, PatchError> {
        let before = object! { "resourceType": "Patient", "text": object! { "status": status }, "active": true };
        let mut changed = before.clone();
        changed.as_object_mut().unwrap().insert(name, value);
        settle(&before, &mut changed).map(|()| changed.get("text").is_some())
    }

    #[test]
    fn no_text_stays_that_was_made_of_other_data() {
        assert_eq!(settled("generated", "active", false.into()), Ok(false));
        assert_eq!(settled("extensions", "gender", "male".into()), Ok(false));
        assert_eq!(settled("empty", "active", false.into()), Ok(true));
        assert_eq!(settled("generated", "active", true.into()), Ok(true));
        assert_eq!(settled("generated", "meta", object! { "source": "x" }), Ok(true));
        assert_eq!(settled("additional", "text", object! { "status": "additional", "div": "x" }), Ok(true));
        let (generated, additional) = (object! { "status": "generated" }, object! { "status": "additional" });
        for text in [generated, additional] {
            let before = object! { "resourceType": "Patient", "text": text.clone(), "active": true };
            let operation = |op: &str, path: &str, value: Json| object! { "op": op, "path": path, "value": value };
            let change = operation("replace", "/active", false.into());
            let applied = |operations: Json| Patch::from_json_patch(&operations).unwrap().apply(&before);
            let kept = applied(array![change.clone(), operation("replace", "/text", text.clone())]).unwrap();
            assert_eq!(kept.get("text"), Some(&text), "the client said so");
            let tested = applied(array![change, operation("test", "/text", text.clone())]);
            assert!(tested.is_err() || tested.unwrap().get("text").is_none(), "a test says nothing of it");
        }
        assert!(settled("additional", "active", false.into()).is_err());
    }
}
