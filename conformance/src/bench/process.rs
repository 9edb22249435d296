//! What a process has used, as Linux counts it. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>

use std::fs;

use super::Failure;

/// CPU time is counted in hundredths of a second on every Linux that this runs on (`getconf CLK_TCK`).
const MICROS_PER_TICK: u64 = 10_000;

/// User and system time in microseconds that a process has used, all threads.
pub(crate) fn cpu_micros(process: u32) -> Result<u64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit(')').next().ok_or("a stat line has a name")?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * MICROS_PER_TICK)
}

/// Resident memory of a process in MiB that is its own: what it maps of files is the system's cache.
pub(crate) fn resident_mib(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("a status has RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
