//! Events of a stream, read piece by piece.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` where it has none.
    pub name: String,
    /// Its data, several lines joined.
    pub data: String,
}

/// Reads events out of pieces that end anywhere.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    name: String,
    data: Vec<String>,
    /// The last byte was a carriage return: a line feed after it ends no second line.
    returned: bool,
    begun: bool,
}

impl EventReader {
    /// The events that are whole with this piece; what is unfinished waits for the next.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in piece {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = byte == b'\r';
                    events.extend(self.end_of_line());
                }
                _ => {
                    self.returned = false;
                    self.line.push(byte);
                }
            }
        }
        events
    }

    /// Bytes of the unfinished event: whoever reads without an end bounds them.
    pub fn pending(&self) -> usize {
        self.line.len() + self.data.iter().map(String::len).sum::<usize>()
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let line = if self.begun { line.as_str() } else { line.trim_start_matches('\u{feff}') };
        self.begun = true;
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            let name = if name.is_empty() { "message".to_owned() } else { name };
            return (!data.is_empty()).then(|| Event { name, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "\u{feff}: hello\nevent: data\ndata: {\ndata: }\nid: 7\n\ndata:ä\r\n\r\nevent: poke\ndata: {}\n";
        let wanted = [("data", "{\n}"), ("message", "ä")]
            .map(|(name, data)| Event { name: name.to_owned(), data: data.to_owned() });
        for size in 1..=text.len() {
            let mut reader = EventReader::default();
            let events: Vec<Event> = text.as_bytes().chunks(size).flat_map(|piece| reader.push(piece)).collect();
            assert_eq!(events, wanted, "in pieces of {size}");
            assert_eq!(reader.pending(), 2, "the unfinished one waits");
        }
    }
}
