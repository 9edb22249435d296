//! What the demo prints: each step with its request and its answer, in colour on a terminal.

use std::io::IsTerminal as _;

use fhir::json::Json;

/// Lines of an answer that are shown.
const SHOWN_LINES: usize = 14;

/// Prints the steps and remembers them for `--json`.
pub(super) struct Transcript {
    json: bool,
    colours: bool,
    steps: Vec<serde_json::Value>,
}

/// One exchange as it is shown.
pub(super) struct Exchange<'a> {
    /// What a person should see in it.
    pub(super) title: &'a str,
    /// Method and address.
    pub(super) request: String,
    /// Status of the answer.
    pub(super) status: u16,
    /// Body of the answer.
    pub(super) body: &'a str,
    /// What was checked, in words.
    pub(super) checked: String,
}

impl Transcript {
    pub(super) fn new(json: bool) -> Self {
        Transcript { json, colours: std::io::stdout().is_terminal(), steps: Vec::new() }
    }

    /// A line between the steps.
    pub(super) fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// One step that went as it should.
    pub(super) fn step(&mut self, exchange: &Exchange<'_>) {
        let Exchange { title, request, status, body, checked } = exchange;
        self.steps.push(serde_json::json!({
            "step": self.steps.len() + 1, "title": title, "request": request, "status": status, "checked": checked,
        }));
        if self.json {
            return;
        }
        println!();
        println!("{}", self.paint("1", &format!("{}. {title}", self.steps.len())));
        println!("   {} {}", self.paint("36", ">"), self.paint("36", request));
        println!("   {} {}", self.paint("33", "<"), self.paint("33", &status.to_string()));
        for line in shown(body) {
            println!("     {}", self.paint("2", &line));
        }
        println!("   {} {checked}", self.paint("32", "ok"));
    }

    /// Prints the end: in JSON everything at once.
    pub(super) fn finish(&self, seconds: f64) {
        if self.json {
            println!("{}", serde_json::json!({ "ok": true, "seconds": seconds, "steps": self.steps }));
        } else {
            println!();
            println!(
                "{}",
                self.paint("1;32", &format!("All {} steps went as they should, in {seconds:.1} s.", self.steps.len()))
            );
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The first lines of a body, JSON indented.
fn shown(body: &str) -> Vec<String> {
    let text = Json::parse(body.as_bytes()).map_or_else(|_| body.trim().to_owned(), |json| json.to_pretty());
    let mut lines: Vec<String> = text.lines().take(SHOWN_LINES).map(|line| line.chars().take(140).collect()).collect();
    if text.lines().count() > SHOWN_LINES {
        lines.push("…".to_owned());
    }
    lines
}
