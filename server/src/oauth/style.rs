//! `GET /oauth/style/<hash>.json`: how apps can look as these pages do. (SM-41)
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#styling>
//!
//! The address holds the hash of the content, so that it can be kept for ever and changes with it.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web};
use sha2::{Digest as _, Sha256};

use crate::app::App;

/// The colours and sizes of `templates/page.css`, in the names of the specification.
const STYLE: &str = r##"{
  "color_background": "#f3f7f8",
  "color_error": "#a3131f",
  "color_highlight": "#00667e",
  "color_modal_backdrop": "#11252e",
  "color_success": "#1f9d61",
  "color_text": "#11252e",
  "dim_border_radius": "10px",
  "dim_font_size": "17px",
  "dim_spacing_size": "16px",
  "font_family_body": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
  "font_family_heading": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
}
"##;

static NAME: LazyLock<String> = LazyLock::new(|| fhir::hexadecimal(&Sha256::digest(STYLE.as_bytes())[..8]) + ".json");

/// Its address, for `smart_style_url`.
pub fn address(app: &App) -> String {
    format!("{}/oauth/style/{}", app.config.base_url, *NAME)
}

/// The document, for any origin; other names are not known.
pub async fn get(name: web::Path<String>) -> HttpResponse {
    if *name != *NAME {
        return HttpResponse::NotFound().insert_header(("Access-Control-Allow-Origin", "*")).finish();
    }
    HttpResponse::Ok()
        .insert_header(("Access-Control-Allow-Origin", "*"))
        .insert_header(("Cache-Control", "public, max-age=31536000, immutable"))
        .content_type("application/json")
        .body(STYLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::json::Json;

    /// Names that the specification knows.
    const KNOWN: [&str; 11] = [
        "color_background",
        "color_error",
        "color_highlight",
        "color_modal_backdrop",
        "color_success",
        "color_text",
        "dim_border_radius",
        "dim_font_size",
        "dim_spacing_size",
        "font_family_body",
        "font_family_heading",
    ];

    #[test]
    fn sm_41_the_style_has_the_names_of_the_specification() {
        let style = Json::parse(STYLE.as_bytes()).expect("JSON");
        let names: Vec<&str> = style.as_object().expect("an object").iter().map(|(name, _)| name).collect();
        assert_eq!(names, KNOWN);
        assert!(NAME.len() == 21 && NAME.ends_with(".json"));
    }
}
