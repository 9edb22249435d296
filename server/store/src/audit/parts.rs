//! Events about very many: nothing of what happened is left out, so one request may have several rows. (CO-01)

use std::collections::BTreeSet;

use super::Event;

/// Most patients of one row.
const MOST_PATIENTS: usize = 500;

/// Most bytes of what was touched in one row.
const MOST_ENTITIES: usize = 1 << 18;

impl Event {
    /// The rows of this event, which have the same request: itself, if it is not too large. Else patients stand in rows
    /// of their own and what was touched in others, so that no row says of some patients what was about all of them.
    pub(super) fn parts(mut self) -> Vec<Event> {
        self.concern_touched();
        if self.patients.len() <= MOST_PATIENTS && self.entities.len() <= MOST_ENTITIES {
            return vec![self];
        }
        let mut parts = Vec::new();
        let rest = Event { patients: BTreeSet::new(), entities: String::new(), ..self.clone() };
        let mut add = |patients: BTreeSet<String>, entities: &str| {
            let id = numbered(self.id, parts.len());
            parts.push(Event { id, patients, entities: entities.to_owned(), ..rest.clone() });
        };
        let mut patients = self.patients.into_iter().peekable();
        while patients.peek().is_some() {
            add(patients.by_ref().take(MOST_PATIENTS).collect(), "");
        }
        let mut entities = self.entities.as_str();
        while !entities.is_empty() {
            let end = end_of_lines(entities);
            add(BTreeSet::new(), &entities[..end]);
            entities = &entities[end..];
        }
        parts
    }
}

/// Where the lines end that fit into one row; a line that fits into none stands by itself.
fn end_of_lines(text: &str) -> usize {
    let bytes = text.as_bytes();
    let within = &bytes[..bytes.len().min(MOST_ENTITIES)];
    let is_end = |byte: &u8| *byte == b'\n';
    let last = within.iter().rposition(is_end);
    last.or_else(|| bytes.iter().position(is_end)).map_or(bytes.len(), |at| at + 1)
}

/// The id of a further row: the same instant, and another number where the random ones are.
fn numbered(mut id: [u8; 16], number: usize) -> [u8; 16] {
    let mut low = [0; 4];
    low.copy_from_slice(&id[12..]);
    let low = u32::from_be_bytes(low).wrapping_add(number as u32);
    id[12..].copy_from_slice(&low.to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::super::{Entity, id_at, instant_of};
    use super::*;

    #[test]
    fn co_01_no_patient_and_nothing_touched_is_left_out() {
        let mut event = Event { id: id_at(7, [0xff; 8]), query: Some("Patient?".into()), ..Event::default() };
        for number in 0..20_000 {
            event.concern(&format!("p{number}"));
            event.touch(Entity { action: 'R', status: 200, reference: &format!("Observation/{number}-{:0>64}", 0) });
        }
        let whole = event.clone();
        let parts = event.parts();
        assert!(parts.iter().all(|part| part.patients.len() <= 500 && part.entities.len() <= 1 << 18));
        assert!(parts.iter().all(|part| part.query == whole.query && instant_of(&part.id) == 7));
        assert!(parts.iter().all(|part| part.patients.is_empty() != part.entities.is_empty()));
        let ids: BTreeSet<[u8; 16]> = parts.iter().map(|part| part.id).collect();
        assert_eq!(ids.len(), parts.len());
        let patients: BTreeSet<String> = parts.iter().flat_map(|part| part.patients.clone()).collect();
        assert_eq!(patients, whole.patients);
        assert_eq!(parts.iter().map(|part| part.entities.as_str()).collect::<String>(), whole.entities);
    }

    #[test]
    fn what_fits_is_one_row() {
        let mut event = Event { id: id_at(7, [1; 8]), ..Event::default() };
        (0..500).for_each(|number| event.concern(&format!("p{number}")));
        event.touch(Entity { action: 'R', status: 200, reference: "Group/g" });
        let parts = event.clone().parts();
        assert_eq!((parts.len(), parts[0].id, &parts[0].patients), (1, event.id, &event.patients));
    }
}
