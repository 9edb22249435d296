//! How much memory there is.

use std::sync::OnceLock;

use sysinfo::System;

/// Bytes that this process may use: those of the machine, or of the group that it is confined to.
pub(crate) fn available() -> u64 {
    static AVAILABLE: OnceLock<u64> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let mut system = System::new();
        system.refresh_memory();
        system.cgroup_limits().map_or_else(|| system.total_memory(), |limits| limits.total_memory)
    })
}
