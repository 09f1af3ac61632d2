//! What goes wrong in a world for a while, drawn by chance.

use keepfs_fs::disk::{self, FaultyDisk};
use keepfs_store::{Fault, Faults, Moment, Rates, Retry, StoreError, Strike, Weather};

use crate::seeded::Chance;

/// Most often that a call of the store fails by chance, in calls of a thousand.
const RATE_MAX: u64 = 200;
/// Calls of the disk among which one is struck: those of a few syncs, of an open, of a join.
const DISK_CALLS: [u64; 3] = [12, 60, 150];
/// Writes to the store among which one is struck: those of a few drains, of a sync, of many.
const STORE_WRITES: [u64; 3] = [5, 15, 50];

/// More writes than a session makes.
const WRITES_MAX: u64 = 1000;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Calls of the store fail by chance: before their effect, after it, with short or flipped answers.
    Flaky(Rates),
    /// The whole store is like this.
    Store(Weather),
    /// One write to the store fails: before its effect, after it, or torn.
    Struck(u64, Moment),
    /// From this write on the store has no room.
    StoreFullFrom(u64),
    /// The disk fails.
    Disk(disk::Trouble),
    /// The machine dies at a call of its disk.
    DeathAtDisk(u64),
    /// The machine dies at a write to the store.
    DeathAtStore(u64, Moment),
}

impl Trouble {
    /// One by chance.
    pub fn draw(chance: &mut Chance) -> Self {
        let moment = Moment::ALL[chance.below(3) as usize];
        match chance.below(20) {
            0..=1 => Self::None,
            2..=4 => Self::Flaky(rates(chance)),
            5 => Self::Store(Weather::Full),
            6 => Self::Store(Weather::Offline),
            7 => Self::Store(Weather::ReadOnly),
            8..=9 => Self::Struck(soon(chance, STORE_WRITES), moment),
            10..=12 => Self::Disk(disk_trouble(chance)),
            13..=16 => Self::DeathAtDisk(soon(chance, DISK_CALLS)),
            _ => Self::DeathAtStore(soon(chance, STORE_WRITES), moment),
        }
    }

    /// Whether it may make a call fail that would have succeeded.
    pub fn excuses(self) -> bool {
        self != Self::None
    }

    /// Whether there is only no room, so that everything can be read.
    pub fn is_want_of_room(self) -> bool {
        use disk::Trouble::Full;
        matches!(self, Self::StoreFullFrom(_) | Self::Store(Weather::Full) | Self::Disk(Full { .. }))
    }

    /// Lets it loose, from the next call on.
    pub fn begin(self, disk: &FaultyDisk, faults: &Faults) {
        end(disk, faults);
        match self {
            Self::None => {}
            Self::Flaky(rates) => faults.set_rates(rates),
            Self::Store(weather) => faults.set_weather(weather),
            Self::StoreFullFrom(number) => {
                for number in number..number + WRITES_MAX {
                    let error = StoreError::Full { detail: "no room is left".into() };
                    faults.add(at(faults, number), Fault::FailBefore(error));
                }
            }
            Self::Struck(number, moment) => faults.add(at(faults, number), struck(moment)),
            Self::DeathAtStore(number, moment) => faults.add(at(faults, number), Fault::Crash(moment)),
            Self::Disk(trouble) => disk.set_trouble(Some(trouble)),
            Self::DeathAtDisk(call) => disk.set_trouble(Some(disk::Trouble::PowerOff { call })),
        }
    }
}

/// Everything works again.
pub(super) fn end(disk: &FaultyDisk, faults: &Faults) {
    faults.clear();
    disk.set_trouble(None);
}

fn soon(chance: &mut Chance, among: [u64; 3]) -> u64 {
    let among = among[chance.below(3) as usize];
    chance.below(among)
}

fn at(faults: &Faults, number: u64) -> Strike {
    Strike::Write(faults.writes() + number)
}

fn struck(moment: Moment) -> Fault {
    let error = StoreError::Unavailable { detail: "struck".into(), retry: Retry::Soon };
    match moment {
        Moment::Before => Fault::FailBefore(error),
        Moment::Torn => Fault::Torn(error),
        Moment::After => Fault::FailAfter(error),
    }
}

fn rates(chance: &mut Chance) -> Rates {
    let total = 20 + chance.below(RATE_MAX - 20) as u32;
    match chance.below(4) {
        0 => Rates { fail_before: total, ..Rates::default() },
        1 => Rates { fail_after: total, ..Rates::default() },
        2 => Rates { short_read: total / 2, flip_bit: total / 2, ..Rates::default() },
        _ => {
            let part = total / 4;
            Rates { fail_before: part, fail_after: part, short_read: part, flip_bit: part }
        }
    }
}

fn disk_trouble(chance: &mut Chance) -> disk::Trouble {
    let errno = if chance.one_in(2) { libc::EIO } else { libc::ENOSPC };
    let call = soon(chance, DISK_CALLS);
    match chance.below(4) {
        0 => disk::Trouble::Full { call, errno: libc::ENOSPC },
        1 => disk::Trouble::Fail { call, errno },
        2 => disk::Trouble::FailAfter { call, errno },
        _ => disk::Trouble::FailFrom { call, errno },
    }
}
