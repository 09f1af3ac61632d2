//! Who uses a mount: processes whose directories, open files or mapped files lie in it, as /proc tells.

use std::fs;
use std::path::Path;

/// More than this helps nobody.
const USERS_MAX: usize = 5;

/// Names and numbers of processes that use the mount at `point`, as far as this user may see them.
pub(crate) fn users_of(point: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut users = Vec::new();
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if users.len() == USERS_MAX {
            break;
        }
        if pid != std::process::id() && uses(&process.path(), point) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.push(format!("{} (pid {pid})", command.trim()));
        }
    }
    users
}

fn uses(process: &Path, point: &Path) -> bool {
    let leads_there = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(point));
    if ["cwd", "root", "exe"].iter().any(|name| leads_there(&process.join(name))) {
        return true;
    }
    ["fd", "map_files"].iter().any(|directory| {
        fs::read_dir(process.join(directory))
            .is_ok_and(|entries| entries.flatten().any(|entry| leads_there(&entry.path())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn process_with_its_directory_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let point = directory.path().canonicalize().unwrap();
        assert!(users_of(&point).is_empty());
        let mut child =
            Command::new("sleep").arg("60").current_dir(&point).stdin(Stdio::null()).spawn().unwrap();
        let users = users_of(&point);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(users, [format!("sleep (pid {})", child.id())]);
    }
}
