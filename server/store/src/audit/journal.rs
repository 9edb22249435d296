//! The journal of the trail beside SQLite: an event is a line of JSON at its end before its access is answered, and is
//! carried into the trail with many others later. (CO-05; decision 14)
//!
//! One `write` costs an access a few microseconds and no wait for another thread. What it has written outlives the
//! process. Two files take turns: one takes lines while the other's are carried.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Event;

/// Processes that can have journals beside one database at a time.
const MOST_PROCESSES: usize = 64;

/// The journal of this process.
#[derive(Debug)]
pub(super) struct Journal {
    paths: [PathBuf; 2],
    /// The first of them is locked by whoever has the journal.
    files: [File; 2],
    /// Which of them takes lines.
    current: usize,
    /// Bytes in it.
    length: u64,
}

impl Journal {
    /// The first journal beside this trail that no other process has, or has left with something in it.
    pub(super) fn open(trail: &Path) -> io::Result<Journal> {
        for number in 0..MOST_PROCESSES {
            if let Some(journal) = Journal::lock(trail, number)?
                && journal.is_empty()?
            {
                return Ok(journal);
            }
        }
        Err(io::Error::other(format!("{} has {MOST_PROCESSES} journals, none of them free", trail.display())))
    }

    /// Journals that processes have left which ended before they had carried everything.
    pub(super) fn left(trail: &Path) -> io::Result<Vec<Journal>> {
        let exist = (0..MOST_PROCESSES).filter(|number| paths(trail, *number).iter().any(|path| path.exists()));
        exist.filter_map(|number| Journal::lock(trail, number).transpose()).collect()
    }

    fn lock(trail: &Path, number: usize) -> io::Result<Option<Journal>> {
        let paths = paths(trail, number);
        let open = |path| OpenOptions::new().create(true).truncate(false).read(true).append(true).open(path);
        let first = open(&paths[0])?;
        match first.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let length = first.metadata()?.len();
        Ok(Some(Journal { files: [first, open(&paths[1])?], paths, current: 0, length }))
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.files[0].metadata()?.len() + self.files[1].metadata()?.len() == 0)
    }

    /// Writes a line. Of one that cannot be written whole nothing remains.
    pub(super) fn append(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut file = &self.files[self.current];
        let written = file.write_all(&line);
        match written {
            Ok(()) => self.length += line.len() as u64,
            Err(_) => file.set_len(self.length)?,
        }
        written
    }

    /// From now on the other file takes the lines; it must have been emptied.
    pub(super) fn turn(&mut self) {
        self.current = 1 - self.current;
        self.length = 0;
    }

    /// Empties the file that takes no lines now.
    pub(super) fn empty_other(&self) -> io::Result<()> {
        self.files[1 - self.current].set_len(0)
    }

    /// All events in both files. A last line that was cut off belongs to an access that was not answered.
    pub(super) fn events(&self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        for (mut file, path) in self.files.iter().zip(&self.paths) {
            file.seek(SeekFrom::Start(0))?;
            let mut lines = BufReader::new(file);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 {
                if line.ends_with(b"\n") {
                    let event = serde_json::from_slice(&line);
                    events.push(event.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?);
                }
                line.clear();
            }
        }
        Ok(events)
    }

    /// Empties both files.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.length = 0;
        self.files.iter().try_for_each(|file| file.set_len(0))
    }
}

fn paths(trail: &Path, number: usize) -> [PathBuf; 2] {
    ["a", "b"].map(|turn| {
        let mut path = trail.as_os_str().to_owned();
        path.push(format!("-events-{number}{turn}.ndjson"));
        path.into()
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Entity, Kind, id_at};
    use super::*;

    fn event(number: i64) -> Event {
        let mut event = Event { id: id_at(number, [7; 8]), kind: Kind::Rest, action: 'R', ..Event::default() };
        event.touch(Entity { action: 'R', status: 200, reference: "Patient/é\n\"" });
        event.concern("a");
        event
    }

    #[test]
    fn co_05_a_journal_is_read_back_without_the_line_that_was_cut_off() {
        let folder = std::env::temp_dir().join(format!("tributary-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let trail = folder.join("trail.db");
        let mut journal = Journal::open(&trail).expect("a journal");
        journal.append(&event(1)).expect("written");
        journal.turn();
        journal.append(&event(2)).expect("written");
        (&journal.files[1]).write_all(b"{\"id\":[1,").expect("written");
        let other = Journal::open(&trail).expect("another process's");
        assert!(other.events().expect("readable").is_empty());
        assert!(Journal::left(&trail).expect("readable").is_empty(), "both are in use");
        drop((journal, other));
        let next = Journal::open(&trail).expect("one that is empty");
        assert!(next.is_empty().expect("readable"));
        drop(next);
        let mut left = Journal::left(&trail).expect("readable");
        assert_eq!(left.len(), 2);
        let events = left[0].events().expect("readable");
        let told = |event: &Event| (event.id, event.entities.clone(), event.patients.clone(), event.action);
        assert_eq!(events.iter().map(told).collect::<Vec<_>>(), [1, 2].map(|number| told(&event(number))));
        left[0].empty().expect("emptied");
        assert!(left[0].events().expect("readable").is_empty());
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
