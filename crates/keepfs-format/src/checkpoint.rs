//! Checkpoints: the whole tree at a version vector, by reference to its directory objects.
//!
//! It owns the bytes of the signed summary that a new machine starts from. The objects below it are chunks;
//! where they lie, the index runs say.

use crate::codec::{Reader, Writer, check_time};
use crate::directory::{
    ObjectRef, RecordState, read_directory_record, read_ref, write_directory_record, write_ref,
};
use crate::env::Env;
use crate::error::FormatError;
use crate::identity::{Domain, SigningKey};
use crate::ids::{COUNTER_BITS, Hlc, Ino, MACHINE_TAG_MAX, MachineTag, Time};
use crate::keys::{NamespaceKeys, Role};
use crate::op::Inode;
use crate::run::{RUN_ENTRIES_MAX, RUN_LEN_MAX};
use crate::signed::{KeyAt, Kind, ObjectHash, RosterPoint, check_machine, read_machine};
use crate::vector::{VECTOR_LEN_MAX, VersionVector, check_vector, read_vector, write_vector};

/// Longest object that is taken for a checkpoint.
pub const CHECKPOINT_OBJECT_LEN_MAX: usize = 16 << 20;
/// Most index runs of one checkpoint.
pub const CHECKPOINT_RUNS_MAX: usize = 65_536;

const KIND: Kind = Kind {
    role: Role::Checkpoint,
    domain: Domain { context: "keepfs/1 checkpoint", what: "checkpoint" },
    object_len_max: CHECKPOINT_OBJECT_LEN_MAX,
    // The object's limit, compressed or not.
    plain_len_max: CHECKPOINT_OBJECT_LEN_MAX,
};

/// Machine, number, entries, length, hash.
const RUN_REF_LEN_MIN: usize = 1 + 1 + 1 + 1 + 32;
const COUNTER_END_MAX: u64 = 1 << COUNTER_BITS;

/// How much the tree holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Directories, the root included.
    pub directories: u64,
    /// Inodes that are no directories.
    pub files: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
}

/// One index run that belongs to a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunRef {
    /// The machine that wrote it.
    pub machine: MachineTag,
    /// Its number among that machine's runs.
    pub number: u64,
    /// Number of entries.
    pub entries: u64,
    /// Length of the object in bytes.
    pub object_len: u64,
    /// Hash of the object.
    pub hash: ObjectHash,
}

/// Next numbers that the author of a checkpoint had not used when it made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Of inodes.
    pub inode: u64,
    /// Of links.
    pub link: u64,
    /// Of packs.
    pub pack: u64,
    /// Of index runs.
    pub run: u64,
}

/// A machine and the end of its pack counters: every pack the index runs name is below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackEnd {
    /// The machine.
    pub machine: MachineTag,
    /// One more than its highest pack counter.
    pub end: u64,
}

/// A checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Its author.
    pub machine: MachineTag,
    /// Its number among its author's, from 1.
    pub number: u64,
    /// The newest entry of the roster that its author knew.
    pub roster: RosterPoint,
    /// When it was made, by its author's clock.
    pub time: Time,
    /// The segments whose operations it contains, one entry a log.
    pub covered: VersionVector,
    /// Highest logical time among those operations.
    pub hlc: Hlc,
    /// The root directory's inode.
    pub root: Inode,
    /// The root directory's entries.
    pub children: ObjectRef,
    /// The inodes with several names.
    pub shared: ObjectRef,
    /// How much the tree holds.
    pub counts: Counts,
    /// The index, newest run last.
    pub runs: Vec<RunRef>,
    /// How far each machine's packs go, ascending by machine.
    pub packs: Vec<PackEnd>,
    /// What numbers its author may use next.
    pub counters: Counters,
}

impl Checkpoint {
    /// Signs and seals; returns the object and its hash. It belongs under
    /// [`NamespaceKeys::checkpoint_name`] of its author and number.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] or [`FormatError::TooLong`] when a rule is broken.
    pub fn seal(
        &self,
        keys: &NamespaceKeys,
        signer: &SigningKey,
        env: &dyn Env,
    ) -> Result<(Vec<u8>, ObjectHash), FormatError> {
        self.check()?;
        let mut writer = KIND.begin(keys, self.machine, self.roster)?;
        writer.varint(self.number);
        writer.time(self.time, Time::default());
        write_vector(&mut writer, &self.covered);
        writer.u64(self.hlc.0);
        write_directory_record(&mut writer, &mut RecordState::new(), &self.root, &self.children)?;
        write_ref(&mut writer, &self.shared)?;
        let Counts { directories, files, bytes } = self.counts;
        [directories, files, bytes].into_iter().for_each(|count| writer.varint(count));
        write_runs(&mut writer, &self.runs);
        write_packs(&mut writer, &self.packs);
        let Counters { inode, link, pack, run } = self.counters;
        [inode, link, pack, run].into_iter().for_each(|counter| writer.varint(counter));
        KIND.seal(keys, &keys.checkpoint_name(self.machine, self.number), writer, signer, env)
    }

    /// Opens and verifies: size, name and seal, form, vault and namespace and author, signature. Its number
    /// is bound into its name.
    ///
    /// # Errors
    /// As [`crate::segment::Segment::open`].
    pub fn open(
        keys: &NamespaceKeys,
        place: (MachineTag, u64),
        sealed: &[u8],
        key_at: KeyAt<'_>,
    ) -> Result<(Self, ObjectHash), FormatError> {
        let (machine, number) = place;
        let plain = KIND.unseal(keys, &keys.checkpoint_name(machine, number), sealed)?;
        let mut envelope = KIND.parse(&plain)?;
        let roster = envelope.roster;
        let reader = &mut envelope.reader;
        let found_number = reader.varint()?;
        let time = reader.time(Time::default())?;
        let covered = read_vector(reader)?;
        let hlc = Hlc(reader.u64()?);
        let (mut root, children) = read_directory_record(reader, &mut RecordState::new())?;
        root.parent = Ino::ROOT;
        let shared = read_ref(reader)?;
        let counts =
            Counts { directories: reader.varint()?, files: reader.varint()?, bytes: reader.varint()? };
        let runs = read_runs(reader)?;
        let packs = read_packs(reader)?;
        let counters = Counters {
            inode: reader.varint()?,
            link: reader.varint()?,
            pack: reader.varint()?,
            run: reader.varint()?,
        };
        reader.clone().finish()?;
        let checkpoint = Self {
            // The place is checked right below, so naming the machine that was asked for claims nothing.
            machine,
            number: found_number,
            roster,
            time,
            covered,
            hlc,
            root,
            children,
            shared,
            counts,
            runs,
            packs,
            counters,
        };
        checkpoint.check()?;

        envelope.check_place(keys, machine)?;
        if found_number != number {
            return Err(FormatError::Mismatch { what: "number of the checkpoint" });
        }
        envelope.check_signature(&KIND, key_at)?;
        Ok((checkpoint, ObjectHash::of(sealed)))
    }

    fn check(&self) -> Result<(), FormatError> {
        let rule = |holds, what| if holds { Ok(()) } else { Err(FormatError::Invalid { what }) };
        check_time(self.time)?;
        check_vector(&self.covered)?;
        rule(self.number > 0, "checkpoints count from 1")?;
        rule(self.root.ino == Ino::ROOT && self.root.parent == Ino::ROOT, "number of the root")?;
        rule(self.runs.len() <= CHECKPOINT_RUNS_MAX, "number of index runs")?;
        for run in &self.runs {
            check_machine(run.machine)?;
            rule(run.entries > 0 && run.entries <= RUN_ENTRIES_MAX as u64, "entries of an index run")?;
            rule(run.object_len <= RUN_LEN_MAX, "length of an index run")?;
        }
        rule(self.packs.len() <= VECTOR_LEN_MAX, "number of machines")?;
        rule(self.packs.is_sorted_by(|a, b| a.machine < b.machine), "pack ends ascend by machine")?;
        for PackEnd { machine, end } in &self.packs {
            check_machine(*machine)?;
            rule(*end > 0 && *end <= COUNTER_END_MAX, "counter of packs")?;
        }
        let Counters { inode, link, pack, run } = self.counters;
        rule([inode, link, pack, run].iter().all(|counter| *counter <= COUNTER_END_MAX), "counter")
    }
}

fn write_runs(writer: &mut Writer, runs: &[RunRef]) {
    writer.varint(runs.len() as u64);
    for RunRef { machine, number, entries, object_len, hash } in runs {
        writer.varint(u64::from(machine.0));
        writer.varint(*number);
        writer.varint(*entries);
        writer.varint(*object_len);
        writer.raw(&hash.0);
    }
}

fn read_runs(reader: &mut Reader<'_>) -> Result<Vec<RunRef>, FormatError> {
    let count = reader.count("index runs", CHECKPOINT_RUNS_MAX, RUN_REF_LEN_MIN)?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        runs.push(RunRef {
            machine: read_machine(reader)?,
            number: reader.varint()?,
            entries: reader.varint()?,
            object_len: reader.varint()?,
            hash: ObjectHash(reader.array()?),
        });
    }
    Ok(runs)
}

fn write_packs(writer: &mut Writer, packs: &[PackEnd]) {
    writer.varint(packs.len() as u64);
    let mut last = 0;
    for PackEnd { machine, end } in packs {
        writer.varint(u64::from(machine.0 - last));
        writer.varint(*end);
        last = machine.0;
    }
}

fn read_packs(reader: &mut Reader<'_>) -> Result<Vec<PackEnd>, FormatError> {
    let count = reader.count("machines with packs", VECTOR_LEN_MAX, 2)?;
    let mut packs = Vec::with_capacity(count);
    let mut last = 0u32;
    for _ in 0..count {
        // Each step is below 2^22 and checked by then, so the sum stays far below 2^32.
        last += reader.varint_max("tag of a machine", u64::from(MACHINE_TAG_MAX))? as u32;
        let machine = MachineTag(last);
        check_machine(machine)?;
        packs.push(PackEnd { machine, end: reader.varint()? });
    }
    Ok(packs)
}
