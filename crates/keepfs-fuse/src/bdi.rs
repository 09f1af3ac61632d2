//! The kernel's knobs for one mount's page cache, under `/sys/class/bdi`. They belong to root; without that
//! right they stay as they are, and nobody is told.

use std::fs;
use std::path::{Path, PathBuf};

/// Knobs and what they become: read 1 MiB ahead; let dirty pages of this mount grow as far as those of any
/// other; do not hold its writers to the slow start that FUSE mounts are given.
const KNOBS: [(&str, &str); 3] = [("read_ahead_kb", "1024"), ("max_ratio", "100"), ("strict_limit", "0")];

/// Turns the knobs of the mount with device number `major:minor`.
pub(crate) fn turn_knobs(device: &str) {
    let directory: PathBuf = Path::new("/sys/class/bdi").join(device);
    for (knob, value) in KNOBS {
        if let Err(error) = fs::write(directory.join(knob), value) {
            tracing::debug!(knob, %error, "knob left as it is");
        }
    }
}
