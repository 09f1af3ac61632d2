//! A door for every decoder of bytes from outside: a function that takes any bytes, leads them to the decoder, and holds
//! what comes back to what was promised.
//!
//! It owns how bytes get past seals and signatures: what an attacker with a key could write, a door writes.
//! `tests/corpus.rs` throws at the doors what was worth keeping, from `fuzz/corpus`, and random bytes around it. A door says
//! whether the bytes were accepted; one that finds a broken promise panics.

mod local;
mod objects;
mod records;
mod workshop;

/// Takes bytes, and says whether they meant something.
pub type Door = fn(&[u8]) -> bool;

/// Every door, by the name of its target and its corpus.
pub const DOORS: &[(&str, Door)] = &[
    ("numbers", records::numbers),
    ("object_name", records::object_name),
    ("phrase", records::phrase),
    ("header", records::header),
    ("slot", records::slot),
    ("operations", records::operations),
    ("directory_leaf", records::directory_leaf),
    ("inode_leaf", records::inode_leaf),
    ("extents", records::extents),
    ("list", records::list),
    ("roster_entry", objects::roster_entry),
    ("sealed", objects::sealed),
    ("chunk", objects::chunk),
    ("pack_table", objects::pack_table),
    ("run_fence", objects::run_fence),
    ("run_block", objects::run_block),
    ("segment", objects::segment),
    ("head", objects::head),
    ("checkpoint", objects::checkpoint),
    ("journal_frames", local::journal_frames),
    ("journal_batch", local::journal_batch),
];

/// The door of this name, if there is one.
pub fn door(name: &str) -> Option<Door> {
    DOORS.iter().find(|(known, _)| *known == name).map(|(_, door)| *door)
}
