//! Whether this machine runs on a battery. It reads `/sys/class/power_supply`, seldom.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where the kernel lists batteries and mains.
const SUPPLIES: &str = "/sys/class/power_supply";

/// How long an answer is believed.
const BELIEF: Duration = Duration::from_secs(10);

/// The machine's power, looked at when asked and when the last answer is old.
pub(crate) struct Power {
    looked: Option<Instant>,
    scarce: bool,
}

impl Power {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self { looked: None, scarce: false }
    }

    /// Whether a battery of the machine itself is being emptied.
    pub(crate) fn is_scarce(&mut self) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() > BELIEF) {
            self.scarce = is_battery_emptied(Path::new(SUPPLIES));
            self.looked = Some(Instant::now());
        }
        self.scarce
    }
}

/// Looks through a directory of supplies. A battery of scope `Device` is that of a mouse or the like.
fn is_battery_emptied(supplies: &Path) -> bool {
    let Ok(supplies) = fs::read_dir(supplies) else {
        return false;
    };
    supplies.flatten().any(|supply| {
        let says = |what: &str, word: &str| {
            fs::read_to_string(supply.path().join(what)).is_ok_and(|text| text.trim_end() == word)
        };
        says("type", "Battery") && says("status", "Discharging") && !says("scope", "Device")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(root: &Path, name: &str, facts: &[(&str, &str)]) {
        let directory = root.join(name);
        fs::create_dir_all(&directory).unwrap();
        for (fact, word) in facts {
            fs::write(directory.join(fact), format!("{word}\n")).unwrap();
        }
    }

    #[test]
    fn only_an_emptying_battery_of_the_machine_counts() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_battery_emptied(root.path()));
        assert!(!is_battery_emptied(&root.path().join("none")));
        supply(root.path(), "AC", &[("type", "Mains"), ("online", "0")]);
        supply(root.path(), "mouse", &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device")]);
        supply(root.path(), "BAT0", &[("type", "Battery"), ("status", "Charging")]);
        assert!(!is_battery_emptied(root.path()));
        supply(root.path(), "BAT0", &[("type", "Battery"), ("status", "Discharging")]);
        assert!(is_battery_emptied(root.path()));
    }
}
