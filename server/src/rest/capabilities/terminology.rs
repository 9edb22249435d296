//! The `TerminologyCapabilities`. <https://hl7.org/fhir/R4/terminologycapabilities.html>

use fhir::json::Json;

use super::statement::head;

/// What this server knows of terminologies: what is stored here, and nothing beside that.
pub(super) fn capabilities(base_url: &str) -> Json {
    let mut capabilities = head("TerminologyCapabilities", base_url);
    capabilities.insert(
        "description",
        "This is no terminology server: it has no $expand, $lookup, $validate-code, $subsumes, $translate or $closure. \
         CodeSystem, ValueSet and ConceptMap are stored and searched like every other resource. Tokens in searches are \
         compared as written. The modifiers in, not-in, above and below of tokens know the codes that CodeSystem and \
         ValueSet resources stored here list; what they define by filters on systems that are not stored here is \
         refused, never guessed.",
    );
    capabilities.insert("codeSearch", "explicit");
    Json::Object(capabilities)
}
