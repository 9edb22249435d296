//! When something was measured: a moment, or an interval given by two of start, end and duration.

use fhir::outcome::{Issue, IssueCode};

use super::file::{Entry, File, Table};
use super::path::{Path, Scope};
use super::said::Said;
use super::unit::{self, Units};
use crate::bundle::Source;
use crate::observation::Effective;
use crate::time::{self, Moment, Unclear};
use crate::version::Version;
use crate::{error, number};

/// Settings of a time.
const SETTINGS: [&str; 8] = ["at", "start", "end", "duration", "format", "offset", "offset-unit", "zone"];

/// UCUM units of a duration, in microseconds.
const DURATIONS: [(&str, i64); 6] = [
    ("ms", 1000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("wk", 604_800_000_000),
];

/// Where the time of a record stands, and how it is written.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    at: Option<Path>,
    start: Option<Path>,
    end: Option<Path>,
    duration: Option<Duration>,
    writing: Writing,
}

/// How moments are written.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    format: Format,
    offset: Option<Said>,
    /// Seconds of one unit of a numeric offset.
    offset_unit: Option<i64>,
    zone: Option<Said>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `2026-05-01T07:30:00+02:00`.
    Rfc3339,
    /// `2026-05-01 07:30:00`, at an offset or in a zone that stands elsewhere.
    Local,
    /// A number of units of ten to the minus this power of a second since 1970.
    Epoch(i32),
}

#[derive(Clone, Debug)]
struct Duration {
    path: Path,
    unit: Option<Said>,
    units: Units,
    usual: Option<String>,
}

/// When it was measured.
#[derive(Clone, Debug)]
pub(super) enum When {
    /// At a moment.
    At(Moment),
    /// From one to another.
    Between(Moment, Moment),
}

impl When {
    /// The moment that decides whose it is.
    pub(super) fn start(&self) -> &Moment {
        match self {
            When::At(moment) | When::Between(moment, _) => moment,
        }
    }

    /// As it stands in a resource.
    pub(super) fn effective(&self) -> Effective<'_> {
        match self {
            When::At(moment) => Effective::At(&moment.text),
            When::Between(start, end) => Effective::Between(&start.text, &end.text),
        }
    }
}

impl Timing {
    /// Reads the settings of a time.
    pub(super) fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        let table = file.table(entry, &SETTINGS)?;
        let mut path = |name: &str| table.get(name).and_then(|entry| file.path(&entry));
        let (at, start, end) = (path("at"), path("start"), path("end"));
        let duration = table.get("duration").and_then(|entry| Duration::read(file, &entry));
        let there = |name: &str| usize::from(table.get(name).is_some());
        if there("at") == 0 && there("start") + there("end") + there("duration") < 2 {
            file.wrong_table(&table, "says neither `at` nor two of start, end and duration");
        }
        Some(Timing { at, start, end, duration, writing: Writing::read(file, &table)? })
    }

    /// When an item was measured; the reason why that is not known.
    pub(super) fn when(&self, scope: &Scope<'_>) -> Result<When, Box<Issue>> {
        if let Some(at) = self.moment(self.at.as_ref(), scope)? {
            return Ok(When::At(at));
        }
        let (start, end) = (self.moment(self.start.as_ref(), scope)?, self.moment(self.end.as_ref(), scope)?);
        let wrong = |what: &str| match self.first() {
            Some(path) => unclear(path, what, scope),
            None => error(IssueCode::Value, format!("The time {what}; raw data kept"), &scope.place),
        };
        let length = match &self.duration {
            Some(duration) => duration.micros(scope)?,
            None => None,
        };
        let (start, end) = match (start, end, length) {
            (Some(start), Some(end), _) => (start, end),
            (Some(start), None, Some(length)) => {
                let end = time::later(&start, length).ok_or_else(|| wrong("has a duration that is out of reach"))?;
                (start, end)
            }
            (None, Some(end), Some(length)) => {
                let start = time::later(&end, -length).ok_or_else(|| wrong("has a duration that is out of reach"))?;
                (start, end)
            }
            _ => {
                return Err(wrong("says no time, nor do two of start, end and duration").into());
            }
        };
        match start.micros.cmp(&end.micros) {
            std::cmp::Ordering::Less => Ok(When::Between(start, end)),
            std::cmp::Ordering::Equal => Ok(When::At(start)),
            std::cmp::Ordering::Greater => Err(wrong("is after the end of the time").into()),
        }
    }

    /// A moment that stands elsewhere, in the same writing.
    pub(super) fn other(&self, path: &Path, scope: &Scope<'_>) -> Option<Moment> {
        self.moment(Some(path), scope).ok().flatten()
    }

    /// Which state of a record it is: a number, or a moment in the same writing.
    pub(super) fn version(
        &self,
        path: &Path,
        scope: &Scope<'_>,
        source: &Source<'_>,
    ) -> Result<Option<Version>, Box<Issue>> {
        let Some(text) = path.text(scope) else { return Ok(None) };
        let number = Version::number(&text, source).map(Ok);
        let version =
            number.unwrap_or_else(|| self.writing.read_moment(&text, scope).map(|it| Version::moment(it, source)));
        version
            .map(Some)
            .map_err(|_| unclear(path, "is neither a number nor a time that could order states", scope).into())
    }

    fn moment(&self, path: Option<&Path>, scope: &Scope<'_>) -> Result<Option<Moment>, Box<Issue>> {
        let Some((path, text)) = path.and_then(|path| Some((path, path.text(scope)?))) else { return Ok(None) };
        self.writing.read_moment(&text, scope).map(Some).map_err(|what| unclear(path, what, scope).into())
    }

    /// The path that the time is first looked for at.
    fn first(&self) -> Option<&Path> {
        let length = self.duration.as_ref().map(|duration| &duration.path);
        self.at.as_ref().or(self.start.as_ref()).or(self.end.as_ref()).or(length)
    }
}

impl Writing {
    fn read(file: &mut File<'_>, table: &Table<'_, '_>) -> Option<Self> {
        let entry = table.get("format");
        let format = match entry.as_ref().and_then(|entry| file.text(entry)).as_deref() {
            None | Some("rfc3339") => Format::Rfc3339,
            Some("local") => Format::Local,
            Some("epoch-seconds") => Format::Epoch(0),
            Some("epoch-milliseconds") => Format::Epoch(3),
            Some(other) => {
                let known = "rfc3339, local, epoch-seconds and epoch-milliseconds are";
                entry.as_ref().inspect(|entry| file.wrong(entry, format!("{other} is no format of times; {known}")));
                return None;
            }
        };
        let mut said = |name: &str| table.get(name).and_then(|entry| Said::read(file, &entry));
        let (offset, zone) = (said("offset"), said("zone"));
        let unit = table.get("offset-unit");
        let offset_unit = match unit.as_ref().and_then(|entry| file.text(entry)).as_deref() {
            None => None,
            Some("seconds") => Some(1),
            Some("minutes") => Some(60),
            Some("hours") => Some(3600),
            Some(other) => {
                let message = format!("{other} is no unit of an offset; seconds, minutes and hours are");
                unit.as_ref().inspect(|entry| file.wrong(entry, message));
                None
            }
        };
        let there = |name: &str| table.get(name).is_some();
        if format == Format::Local && !there("offset") && !there("zone") {
            file.wrong_table(
                table,
                "a local time needs the offset from UTC, or a time zone such as zone = { is = \"Europe/Rome\" }",
            );
        }
        Some(Writing { format, offset, offset_unit, zone })
    }

    fn read_moment(&self, text: &str, scope: &Scope<'_>) -> Result<Moment, &'static str> {
        let zone = self.zone.as_ref().and_then(|zone| zone.text(scope));
        let offset = match self.offset.as_ref().and_then(|offset| offset.text(scope)) {
            Some(text) => Some(self.offset_seconds(&text).ok_or("has an offset from UTC that cannot be read")?),
            None => None,
        };
        if let Format::Epoch(power) = self.format {
            let micros = number::shifted(text, 6 - power).and_then(|text| text.split('.').next()?.parse().ok());
            let moment =
                micros.and_then(time::from_micros).ok_or("is not a number of seconds since 1970 as expected")?;
            let shown = offset.or_else(|| time::offset_at(zone.as_deref()?, &moment));
            return Ok(shown.map_or_else(|| moment.clone(), |seconds| time::at_offset(&moment, seconds)));
        }
        match (time::moment(text, zone.as_deref()), offset) {
            (Ok(moment), None) => Ok(moment),
            (Ok(moment), Some(seconds)) => Ok(time::at_offset(&moment, seconds)),
            (Err(Unclear::NoOffset), Some(seconds)) => {
                time::local(text, seconds).ok_or("has an offset from UTC that no place has")
            }
            (Err(Unclear::NoOffset), None) => Err("has no offset from UTC, and none is known"),
            (Err(Unclear::Unreadable), _) => Err("is not a date with a time such as 2026-05-01T07:30:00+02:00"),
        }
    }

    /// Seconds east of UTC: `+02:00`, `-0400`, `Z`, or a number of the unit that is set.
    fn offset_seconds(&self, text: &str) -> Option<i64> {
        let Some(unit) = self.offset_unit else { return time::offset(text) };
        let hundredths = number::shifted(text.trim_start_matches('+'), 2)?;
        let hundredths: i64 = hundredths.split('.').next()?.parse().ok()?;
        let seconds = hundredths.checked_mul(unit)?;
        (seconds % 100 == 0).then_some(seconds / 100)
    }
}

impl Duration {
    fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        let table = file.table(entry, &["value", "unit", "units", "ucum"])?;
        let path = file.required(&table, "value").and_then(|entry| file.path(&entry));
        let unit = table.get("unit").and_then(|entry| Said::read(file, &entry));
        let units = table.get("units").map(|entry| unit::units(file, &entry)).unwrap_or_default();
        let usual = table.get("ucum").and_then(|entry| unit::ucum(file, &entry));
        let there = |name: &str| table.get(name).is_some();
        if there("unit") != there("units") || !(there("unit") || there("ucum")) {
            file.wrong_table(&table, "a duration needs its unit: ucum, or unit with units");
        }
        let codes = units.values().map(|unit| unit.ucum.as_str()).chain(usual.as_deref());
        let wrong: Vec<&str> = codes.filter(|code| length_of(code).is_none()).collect();
        if !wrong.is_empty() {
            let known: Vec<&str> = DURATIONS.iter().map(|(code, _)| *code).collect();
            let message = format!("{} cannot be the unit of a duration; {} can", wrong.join(", "), known.join(", "));
            file.wrong_table(&table, message);
        }
        Some(Duration { path: path?, unit, units, usual })
    }

    fn micros(&self, scope: &Scope<'_>) -> Result<Option<i64>, Box<Issue>> {
        let Some(text) = self.path.text(scope) else { return Ok(None) };
        let code = match self.unit.as_ref().and_then(|unit| unit.text(scope)) {
            Some(unit) => self.units.get(&unit).map(|unit| unit.ucum.as_str()),
            None => self.usual.as_deref(),
        };
        let length = code
            .and_then(length_of)
            .ok_or_else(|| unclear(&self.path, "has a unit of duration that is not known", scope))?;
        // In millionths, so that 0.5 h stays exact.
        let millionths = number::shifted(&text, 6).and_then(|text| text.split('.').next()?.parse::<i128>().ok());
        let micros = millionths.and_then(|it| i64::try_from(it.checked_mul(length.into())? / 1_000_000).ok());
        micros.filter(|it| *it >= 0).map(Some).ok_or_else(|| unclear(&self.path, "is no usual number", scope).into())
    }
}

fn length_of(ucum: &str) -> Option<i64> {
    DURATIONS.iter().find(|(code, _)| *code == ucum).map(|(_, micros)| *micros)
}

fn unclear(path: &Path, what: &str, scope: &Scope<'_>) -> Issue {
    error(IssueCode::Value, format!("{} {what}; raw data kept", path.written()), &path.place(scope))
}
