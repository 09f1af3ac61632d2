//! The store's volumes as this machine saw them last, so that it can be opened without asking anybody.

use std::path::Path;

use crate::error::{Result, TelegramError};
use crate::shelf::Shelf;
use crate::volume::{Volume, VolumeKey};

const FILE: &str = "volumes";
const FIRST_LINE: &str = "keepfs telegram volumes 1";
/// Longest file that is read, in bytes.
const TEXT_LEN_MAX: u64 = 1 << 20;

/// The kept volumes, oldest first; none if they were not kept.
pub(crate) fn load(directory: &Path) -> Vec<Volume> {
    let path = directory.join(FILE);
    let fits = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= TEXT_LEN_MAX);
    let text = fits.then(|| std::fs::read_to_string(&path).ok()).flatten();
    text.and_then(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Option<Vec<Volume>> {
    let lines = text.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?.strip_suffix("end\n")?.lines();
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [number, channel, access_hash] = words[..] else { return None };
            let key = VolumeKey { number: number.parse().ok()?, channel: channel.parse().ok()? };
            Some(Volume { key, access_hash: access_hash.parse().ok()? })
        })
        .collect()
}

fn text(volumes: &[Volume]) -> String {
    let line =
        |volume: &Volume| format!("{} {} {}\n", volume.key.number, volume.key.channel, volume.access_hash);
    let lines: String = volumes.iter().map(line).collect();
    format!("{FIRST_LINE}\n{lines}end\n")
}

impl Shelf {
    /// Keeps the volumes as they are known now.
    pub(crate) fn keep_volumes(&self) -> Result<()> {
        let text = text(&self.volumes.read());
        let failed = |error: std::io::Error| TelegramError::local("keeping the volumes", &error);
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        let beside = self.directory.join(format!("{FILE}.new-{}", std::process::id()));
        std::fs::write(&beside, text).map_err(failed)?;
        std::fs::rename(&beside, self.directory.join(FILE)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_come_back_and_a_damaged_file_is_none() {
        let volume =
            |number| Volume { key: VolumeKey { number, channel: i64::from(number) + 5 }, access_hash: -3 };
        let volumes = vec![volume(1), volume(2)];
        let text = text(&volumes);
        assert_eq!(parse(&text).unwrap(), volumes);
        for cut in 0..text.len() {
            assert!(parse(&text[..cut]).is_none(), "{cut}");
        }
    }
}
