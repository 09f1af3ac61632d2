//! What a commit costs on the real disk. Run with `--ignored --nocapture`; prints figures, and holds them loosely.

use std::time::{Duration, Instant};

use super::*;
use crate::disk::tests::TestDir;
use crate::disk::{LocalFile, OsDisk};

const ROUNDS: usize = 2000;
const PAYLOAD_LEN: usize = 4096;

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

/// A file of the journal's length that has been written once.
fn raw_file(dir: &Path) -> Arc<dyn LocalFile> {
    let file = OsDisk.create(&dir.join("raw")).unwrap();
    file.write_at(0, &vec![0x5a; 16 << 20]).unwrap();
    file.sync_data().unwrap();
    file
}

#[test]
#[ignore = "measures the disk of this machine"]
fn append_costs_little_more_than_an_overwrite() {
    let dir = TestDir::new("journal-speed");
    let mut place = place(&disk(), 1, 1);
    (place.disk, place.dir) = (Arc::new(OsDisk), dir.0.join("journal"));
    place.options = JournalOptions::default();
    let opening = Instant::now();
    let (journal, _) = Journal::open(place, Position::OLDEST, &mut |_, _| Ok(())).unwrap();
    println!("first open {:?}", opening.elapsed());
    println!("prepare {:?}", timed(|| journal.prepare().unwrap()));
    let raw = raw_file(&dir.0);
    let payload = [7; PAYLOAD_LEN];
    let (mut raws, mut appends, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let offset = (round * PAYLOAD_LEN) as u64;
        raws.push(timed(|| {
            raw.write_at(offset, &payload).unwrap();
            raw.sync_data().unwrap();
        }));
        appends.push(timed(|| _ = journal.append(&payload).unwrap()));
        writes.push(timed(|| _ = journal.write(&payload).unwrap()));
        journal.sync().unwrap();
        if round % 500 == 0 {
            journal.prepare().unwrap();
        }
    }
    for (name, times) in
        [("raw overwrite+fdatasync", &mut raws), ("append", &mut appends), ("write", &mut writes)]
    {
        println!("{name}: p50 {:?} p99 {:?}", percentile(times, 50), percentile(times, 99));
    }
    assert!(percentile(&mut appends, 50) < percentile(&mut raws, 50) * 2);
    drop(journal);
    let mut place = self::place(&disk(), 1, 2);
    (place.disk, place.dir) = (Arc::new(OsDisk), dir.0.join("journal"));
    place.options = JournalOptions::default();
    let mut report = None;
    let took = timed(|| report = Some(Journal::open(place, Position::OLDEST, &mut |_, _| Ok(())).unwrap().1));
    println!("open with replay {took:?}: {report:?}");
}
