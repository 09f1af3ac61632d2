//! Every pair of calls over a tiny tree, and the death of the machine, disk and store together, at every call of
//! either. Unlike the crash tests of keepfs-fs, nothing outlives the other here, what the store had not synced of
//! staged packs is lost with the power, and another machine joins in the end.

use keepfs_fs::RenameMode;
use keepfs_sim::world::{Action, End, Named, Script, Trouble, Vault, play};
use keepfs_store::Moment;

use crate::failing::{at, play_all, spot, write};

fn before() -> Vec<Action> {
    vec![
        Action::Create(spot("/a")),
        write("/a", 0, b"content of a".to_vec()),
        Action::Create(spot("/b")),
        write("/b", 0, b"content of b".to_vec()),
        Action::MakeDirectory(spot("/d")),
    ]
}

/// Every call; the unmount is an end.
fn calls() -> Vec<Action> {
    vec![
        Action::Create(spot("/new")),
        write("/a", 2, b"WRITTEN".to_vec()),
        write("/b", 12, b"+more".to_vec()),
        Action::Truncate { file: at("/a"), size: 3 },
        Action::Rename(spot("/a"), spot("/moved"), RenameMode::NoReplace),
        Action::Rename(spot("/b"), spot("/a"), RenameMode::Replace),
        Action::Rename(spot("/a"), spot("/d"), RenameMode::Exchange),
        Action::Link(Named(b"/b".to_vec()), spot("/linked")),
        Action::Unlink(spot("/b")),
        Action::MakeDirectory(spot("/made")),
        Action::RemoveDirectory(spot("/d")),
        Action::SyncFile(at("/b")),
        Action::SyncDirectory,
        Action::SyncStore,
    ]
}

#[test]
fn every_pair_of_calls_survives_a_death_at_every_call() {
    let (vault, before, calls) = (Vault::found().unwrap(), before(), calls());
    let mut sequences: Vec<(Vec<Action>, End)> = Vec::new();
    for first in &calls {
        sequences.push((vec![first.clone()], End::Unmount));
        for second in &calls {
            let mut both = vec![first.clone(), second.clone()];
            if !second.is_sync() {
                both.push(Action::SyncDirectory);
            }
            sequences.push((both, End::PowerCut));
        }
    }
    let mut scripts = Vec::new();
    for (number, (during, end)) in sequences.iter().enumerate() {
        let script = |trouble, end, seed| Script { before: &before, during, trouble, end, seed };
        let whole = play(&vault, &script(Trouble::None, *end, 0)).unwrap();
        let mut add = |trouble| {
            let seed = (number + scripts.len()) as u64;
            // A process that dies alone leaves what a power cut may leave; one in four is enough.
            let kill = seed.is_multiple_of(4) && *end == End::PowerCut;
            scripts.push(script(trouble, if kill { End::Kill } else { *end }, seed));
        };
        (0..whole.disk_calls).for_each(|call| add(Trouble::DeathAtDisk(call)));
        for write in 0..whole.store_writes {
            Moment::ALL.iter().for_each(|moment| add(Trouble::DeathAtStore(write, *moment)));
        }
    }
    play_all(&vault, &scripts);
    println!("{} sequences, {} crashes, 0 violations", sequences.len(), scripts.len());
}
