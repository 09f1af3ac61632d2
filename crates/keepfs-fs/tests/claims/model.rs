//! Random calls on one file agree with an array, through drains, commits, cuts and crashes.

use keepfs_format::ids::Ino;
use keepfs_fs::{AttrSet, Fs, Handle};

use crate::support::{CALLER, Calls, Place};

/// Longest file here, in bytes.
const LEN_MAX: u64 = 300_000;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

fn step(fs: &Fs, handle: Handle, ino: Ino, model: &mut Vec<u8>, random: &mut Random) {
    let offset = random.below(LEN_MAX);
    let len = 1 + random.below((LEN_MAX - offset).min(40_000));
    // Half of the calls are small, so that windows fragment and are joined again.
    let len = if random.below(2) == 0 { len.min(1 + random.below(900)) } else { len };
    match random.below(8) {
        0 => {
            let set = AttrSet { size: Some(offset), ..AttrSet::default() };
            fs.set_attr(ino, &set, Some(handle), CALLER).unwrap();
            model.resize(offset as usize, 0);
        }
        1 => {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            fs.allocate(handle, mode, offset, len).unwrap();
            let end = ((offset + len) as usize).min(model.len());
            if let Some(range) = model.get_mut(offset as usize..end) {
                range.fill(0);
            }
        }
        2 => fs.fsync(handle, false).unwrap(),
        _ => {
            let bytes: Vec<u8> = (0..len).map(|at| (at ^ random.0) as u8).collect();
            assert_eq!(fs.write(handle, offset, &bytes, false).unwrap(), bytes.len());
            let end = (offset + len) as usize;
            if model.len() < end {
                model.resize(end, 0);
            }
            model[offset as usize..end].copy_from_slice(&bytes);
        }
    }
}

#[test]
fn random_calls_agree_with_an_array_across_crashes() {
    for seed in 1..=6_u64 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let (place, mut fs) = Place::found(seed);
        let (attr, mut handle) = fs.file(Ino::ROOT, "file");
        let mut model = Vec::new();
        for round in 0..6 {
            for _ in 0..120 {
                step(&fs, handle, attr.ino, &mut model, &mut random);
            }
            let mut seen = Vec::new();
            fs.read(handle, 0, LEN_MAX as usize, &mut seen).unwrap();
            assert!(seen == model, "seed {seed} round {round}: before the crash");
            fs.fsync(handle, false).unwrap();
            drop(fs);
            place.disk.power_cut(seed * 100 + round);
            fs = place.reopen();
            assert!(fs.get(Ino::ROOT, "file") == model, "seed {seed} round {round}: after the crash");
            handle = fs.open(attr.ino, libc::O_RDWR).unwrap().handle;
        }
    }
}
