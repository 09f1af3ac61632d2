//! What the library counts, as the commands show it.

use keepfs_format::env::Env;
use keepfs_fs::{RecoveryReport, Time};

use crate::control::{MemoryStatus, Pending, Recovered};
use crate::environment::OperatingSystem;
use crate::size::Size;

/// What is only on this machine: bytes and objects, since when, and what the store says.
pub(crate) fn pending(
    (bytes, objects): (u64, u64),
    oldest: Option<Time>,
    store_error: Option<String>,
    retry_at: Option<Time>,
) -> Pending {
    let now = OperatingSystem.now().secs;
    let apart = |later: i64, earlier: i64| later.saturating_sub(earlier).max(0) as u64;
    Pending {
        bytes,
        objects,
        oldest_age_seconds: oldest.map(|oldest| apart(now, oldest.secs)),
        store_error,
        retry_in_seconds: retry_at.map(|at| apart(at.secs, now)),
    }
}

/// What was recovered; `None` when the last session ended in order.
pub(crate) fn recovered(report: &RecoveryReport) -> Option<Recovered> {
    let found = Recovered {
        operations: report.operations,
        bytes: report.raw_len,
        packs: report.packs_finished,
        rebuilt: report.rebuilt,
    };
    report.unclean.then_some(found)
}

/// The same in words.
pub(crate) fn recovered_sentence(recovered: &Recovered) -> String {
    let mut text = match (recovered.operations, recovered.bytes) {
        (0, 0) => "the last session did not end in order; nothing had to be recovered".to_owned(),
        (operations, bytes) => format!(
            "recovered {operations} operations and {} of files after a crash; nothing that was synced is lost",
            Size(bytes)
        ),
    };
    if recovered.packs > 0 {
        text += &format!("; {} packs that were being written are whole again", recovered.packs);
    }
    if recovered.rebuilt {
        text += "; the local database was rebuilt from the store";
    }
    text
}

/// Memory of the daemon by the file system's own counting, and by the kernel's.
pub(crate) fn memory(status: &keepfs_fs::Status) -> MemoryStatus {
    let pools = [("unwritten", status.held_len.0), ("blocks", status.space.block_cache_len as u64)];
    MemoryStatus {
        resident: resident().unwrap_or_default(),
        pools: pools.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect(),
    }
}

/// Resident bytes of this process.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
