//! The narrative of a patched resource must not say what is no longer so. <https://hl7.org/fhir/R4/http.html#patch>
//!
//! "The server SHALL ensure that the narrative in a resource is not clinically unsafe after the PATCH operation is
//! performed." Of the ways that the page offers: a patch that changes data and leaves the text as it was takes a text
//! out that was made of the data (`generated`, `extensions`); where it says more than the data (`additional`), the
//! patch is refused unless it replaces or removes the text too. <https://hl7.org/fhir/R4/narrative.html#Narrative>

use super::{PatchError, Refusal};
use crate::json::{Json, Object};

/// Members that a narrative does not tell of.
const APART: &[&str] = &["text", "meta", "implicitRules", "_implicitRules"];

/// Takes an outdated narrative out of `changed`, or refuses the patch.
pub(super) fn settle(before: &Json, changed: &mut Json) -> Result<(), PatchError> {
    let (Json::Object(before), Json::Object(changed)) = (before, changed) else { return Ok(()) };
    let Some(text) = changed.get("text").filter(|text| before.get("text") == Some(*text)) else { return Ok(()) };
    let status = text.str("status").unwrap_or_default();
    if status == "empty" || same_data(before, changed) {
        return Ok(());
    }
    if matches!(status, "generated" | "extensions") {
        changed.remove("text");
        return Ok(());
    }
    let text = format!(
        "the resource has a narrative with status {status}, which may say what the patch changes; replace or remove text in the same patch"
    );
    Err(Refusal::inapplicable(text).of_patch())
}

fn same_data(before: &Object, changed: &Object) -> bool {
    let told = |object: &Object| object.iter().filter(|(name, _)| !APART.contains(name)).count();
    let mut members = changed.iter().filter(|(name, _)| !APART.contains(name));
    told(before) == told(changed) && members.all(|(name, member)| before.get(name) == Some(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

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
        assert!(settled("additional", "active", false.into()).is_err());
    }
}
