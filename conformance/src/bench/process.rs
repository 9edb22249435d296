//! What a process has used, as Linux counts it. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>

use std::fs;

use super::Failure;

/// CPU time is counted in hundredths of a second on every Linux that this runs on (`getconf CLK_TCK`).
const MICROS_PER_TICK: u64 = 10_000;

/// User and system time in microseconds that a process has used, all threads.
pub(crate) fn cpu_micros(process: u32) -> Result<u64, Failure> {
    Ok(Stat::of(process)?.own * MICROS_PER_TICK)
}

/// The same of a process with its children, those that have ended included.
pub(crate) fn tree_cpu_micros(process: u32) -> Result<u64, Failure> {
    let root = Stat::of(process)?;
    let numbers = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that ends between the listing and the reading is counted among those that have ended.
    let children = numbers.filter_map(|number| Stat::of(number).ok()).filter(|child| child.parent == process);
    Ok((root.own + root.ended + children.map(|child| child.own).sum::<u64>()) * MICROS_PER_TICK)
}

/// What a stat line says of time, in ticks.
struct Stat {
    parent: u32,
    own: u64,
    ended: u64,
}

impl Stat {
    fn of(process: u32) -> Result<Self, Failure> {
        let line = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let fields: Vec<&str> = line.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let sum = |index: usize| Some(number(index)? + number(index + 1)?);
        let stat = || Some(Stat { parent: fields.get(1)?.parse().ok()?, own: sum(11)?, ended: sum(13)? });
        stat().ok_or_else(|| "a stat line has fifteen fields".into())
    }
}

/// Resident memory of a process in MiB that is its own: what it maps of files is the system's cache.
pub(crate) fn resident_mib(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("a status has RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
