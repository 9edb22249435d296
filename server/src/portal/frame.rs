//! What stands around every page of the portal: who is signed in, and where one can go.

use crate::account::visitor::Visitor;

/// The frame of a page.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a place of the menu, and a person may have any of them")]
pub struct Frame<'a> {
    /// Name of the person.
    pub name: &'a str,
    /// Whether there are pages about apps.
    pub is_developer: bool,
    /// Whether the person is a patient, or somebody who cares for patients.
    pub has_record: bool,
    /// Whether there are pages about bills.
    pub is_billing: bool,
    /// Whether there are pages for administrators.
    pub is_admin: bool,
    /// The value of the hidden field of forms.
    pub form_token: String,
    /// Which of the places this page belongs to.
    pub place: &'static str,
}

impl<'a> Frame<'a> {
    /// The frame of a page for this person; `place` is the last part of the address of the menu's entry.
    pub fn of(visitor: &'a Visitor, place: &'static str) -> Self {
        Frame {
            name: &visitor.account.name,
            is_developer: visitor.account.developer.is_some(),
            has_record: visitor.account.fhir_user.is_some(),
            is_billing: visitor.is_billing,
            is_admin: visitor.account.is_admin,
            form_token: visitor.form_token(),
            place,
        }
    }
}
