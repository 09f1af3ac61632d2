//! Segments, heads and checkpoints: what was sealed comes back, and nothing else is believed.

use keepfs_format::FormatError;
use keepfs_format::checkpoint::{Checkpoint, Counters, Counts, PackEnd, RunRef};
use keepfs_format::codec::Writer;
use keepfs_format::directory::ObjectRef;
use keepfs_format::head::{CheckpointRef, Head};
use keepfs_format::identity::{SigningKey, VerifyingKey};
use keepfs_format::ids::{Hlc, Ino, LinkId, MachineTag, NamespaceId, VaultId};
use keepfs_format::keys::{NamespaceKeys, Role};
use keepfs_format::op::{Kind, Op, OpGroup, Place};
use keepfs_format::op_codec::{DeltaState, encode_group};
use keepfs_format::secret::Secret;
use keepfs_format::segment::{Segment, SegmentPlace};
use keepfs_format::signed::{ObjectHash, RosterPoint};
use keepfs_format::vector::Seen;

use crate::support::{
    CountingEnv, MACHINE, NAMESPACE, VAULT, chunk_id, inode, keys, roster, secrets, signer, time,
};

pub(crate) fn seen(machine: u32, seq: u64) -> Seen {
    Seen { machine: MachineTag(machine), seq, hash: ObjectHash([machine as u8; 32]) }
}

pub(crate) fn sample_groups() -> Vec<u8> {
    let at = Place { parent: Ino::ROOT, name: b"gone".as_slice().into() };
    let group = OpGroup { hlc: Hlc(77), time: time(1), ops: vec![Op::Unlink { at, link: LinkId(9) }] };
    let mut writer = Writer::new();
    encode_group(&mut writer, &group, &mut DeltaState::new()).unwrap();
    writer.into_bytes()
}

pub(crate) fn sample_segment() -> Segment {
    Segment {
        machine: MACHINE,
        seq: 2,
        previous: ObjectHash([3; 32]),
        roster: roster(),
        time: time(0),
        seen: vec![seen(2, 10), seen(7, 1)],
        seen_is_full: true,
        groups: sample_groups(),
    }
}

pub(crate) fn sample_place() -> SegmentPlace {
    SegmentPlace { machine: MACHINE, seq: 2, previous: ObjectHash([3; 32]) }
}

pub(crate) fn sample_head() -> Head {
    Head {
        machine: MACHINE,
        generation: 12,
        roster: roster(),
        time: time(0),
        seq: 2,
        segment: ObjectHash([4; 32]),
        seen: vec![seen(2, 10)],
        checkpoint: Some(CheckpointRef { number: 1, hash: ObjectHash([5; 32]) }),
    }
}

pub(crate) fn sample_checkpoint() -> Checkpoint {
    Checkpoint {
        machine: MACHINE,
        number: 4,
        roster: roster(),
        time: time(0),
        covered: vec![seen(2, 10), seen(5, 2)],
        hlc: Hlc(1 << 60),
        root: inode(Ino::ROOT, Kind::Directory, Ino::ROOT),
        children: ObjectRef { depth: 0, ids: vec![chunk_id(1)] },
        shared: ObjectRef::default(),
        counts: Counts { directories: 1, files: 3, bytes: 1 << 40 },
        runs: vec![RunRef {
            machine: MACHINE,
            number: 0,
            entries: 7,
            object_len: 66_000,
            hash: ObjectHash([6; 32]),
        }],
        packs: vec![PackEnd { machine: MachineTag(2), end: 1 }, PackEnd { machine: MACHINE, end: 10 }],
        counters: Counters { inode: 1, link: 2, pack: 10, run: 1 },
    }
}

pub(crate) fn key_at(machine: MachineTag, point: RosterPoint) -> Option<VerifyingKey> {
    (machine == MACHINE && point == roster()).then(|| signer().verifying_key())
}

fn seal_segment(segment: &Segment) -> Vec<u8> {
    segment.seal(&keys(), &signer(), &CountingEnv::new(1)).unwrap().0
}

#[test]
fn segments_heads_and_checkpoints_come_back() {
    let (keys, env) = (keys(), CountingEnv::new(1));
    let (object, hash) = sample_segment().seal(&keys, &signer(), &env).unwrap();
    assert_eq!(hash, ObjectHash::of(&object));
    let (segment, opened_hash) = Segment::open(&keys, &sample_place(), &object, &key_at).unwrap();
    assert_eq!((segment.clone(), opened_hash), (sample_segment(), hash));
    assert_eq!(segment.groups().unwrap().len(), 1);

    let (object, hash) = sample_head().seal(&keys, &signer(), &env).unwrap();
    assert_eq!(Head::open(&keys, MACHINE, &object, &key_at).unwrap(), (sample_head(), hash));

    let (object, hash) = sample_checkpoint().seal(&keys, &signer(), &env).unwrap();
    let opened = Checkpoint::open(&keys, (MACHINE, 4), &object, &key_at).unwrap();
    assert_eq!(opened, (sample_checkpoint(), hash));
}

#[test]
fn every_flipped_byte_and_every_other_length_is_refused() {
    let (keys, env) = (keys(), CountingEnv::new(1));
    let segment = seal_segment(&sample_segment());
    let head = sample_head().seal(&keys, &signer(), &env).unwrap().0;
    let checkpoint = sample_checkpoint().seal(&keys, &signer(), &env).unwrap().0;
    type Open<'a> = &'a dyn Fn(&[u8]) -> bool;
    let objects: [(&[u8], Open<'_>); 3] = [
        (&segment, &|bytes| Segment::open(&keys, &sample_place(), bytes, &key_at).is_ok()),
        (&head, &|bytes| Head::open(&keys, MACHINE, bytes, &key_at).is_ok()),
        (&checkpoint, &|bytes| Checkpoint::open(&keys, (MACHINE, 4), bytes, &key_at).is_ok()),
    ];
    for (object, opens) in objects {
        assert!(opens(object));
        for at in 0..object.len() {
            let mut bad = object.to_vec();
            bad[at] ^= 1 << (at % 8);
            assert!(!opens(&bad), "byte {at}");
            assert!(!opens(&object[..at]), "cut at {at}");
        }
        assert!(!opens(&[object, &[0]].concat()));
        assert!(!opens(&[object, object].concat()));
    }
}

#[test]
fn a_segment_is_believed_only_in_its_place() {
    let object = seal_segment(&sample_segment());
    let open = |keys: &NamespaceKeys, place| Segment::open(keys, &place, &object, &key_at).unwrap_err();
    let ours = keys();
    let not_authentic = FormatError::NotAuthentic { what: "segment" };
    let place = sample_place();
    assert_eq!(open(&ours, SegmentPlace { seq: 3, ..place }), not_authentic);
    assert_eq!(open(&ours, SegmentPlace { machine: MachineTag(6), ..place }), not_authentic);
    assert_eq!(
        open(&ours, SegmentPlace { previous: ObjectHash([9; 32]), ..place }),
        FormatError::Mismatch { what: "hash of the segment before" }
    );
    let other_vault = NamespaceKeys::derive(&secrets(VaultId([1; 32]), NAMESPACE, 1));
    let other_namespace = NamespaceKeys::derive(&secrets(VAULT, NamespaceId(2), 1));
    let other_epoch = NamespaceKeys::derive(&secrets(VAULT, NAMESPACE, 2));
    for keys in [other_vault, other_namespace, other_epoch] {
        assert_eq!(open(&keys, place), not_authentic);
    }
}

/// Somebody who has the symmetric keys seals a plaintext of his own under the right name.
fn reseal(role: Role, name: &str, plain: &[u8]) -> Vec<u8> {
    keys().seal_object(role, name, &CountingEnv::new(2), plain).unwrap()
}

fn plain_of(segment: &Segment) -> Vec<u8> {
    let name = keys().segment_name(MACHINE, segment.seq);
    keys().open_object(Role::Segment, &name, &seal_segment(segment), 1 << 20).unwrap()
}

#[test]
fn a_reader_who_cannot_write_forges_nothing() {
    let plain = plain_of(&sample_segment());
    let name = keys().segment_name(MACHINE, 2);
    for at in 0..plain.len() {
        for bit in 0..8 {
            let mut forged = plain.clone();
            forged[at] ^= 1 << bit;
            let object = reseal(Role::Segment, &name, &forged);
            let result = Segment::open(&keys(), &sample_place(), &object, &key_at);
            assert!(result.is_err(), "bit {bit} of byte {at}");
        }
    }
    let forger = SigningKey::from_seed(Secret::new([99; 32]));
    let object = sample_segment().seal(&keys(), &forger, &CountingEnv::new(1)).unwrap().0;
    let bad_signature = FormatError::BadSignature { what: "segment" };
    assert_eq!(Segment::open(&keys(), &sample_place(), &object, &key_at).unwrap_err(), bad_signature);
    let object = seal_segment(&sample_segment());
    let nobody = |_, _| None;
    assert_eq!(Segment::open(&keys(), &sample_place(), &object, &nobody).unwrap_err(), bad_signature);
    let stale = Segment { roster: RosterPoint { position: 2, ..roster() }, ..sample_segment() };
    let object = seal_segment(&stale);
    assert_eq!(Segment::open(&keys(), &sample_place(), &object, &key_at).unwrap_err(), bad_signature);
}

#[test]
fn a_signature_for_one_purpose_is_none_for_another() {
    let head_name = keys().head_name(MACHINE);
    let segment = plain_of(&sample_segment());
    let object = reseal(Role::Head, &head_name, &segment);
    assert!(Head::open(&keys(), MACHINE, &object, &key_at).is_err());
    // The same body, were it valid as both, still has another hash to sign: the words differ.
    let (body, signature) = segment.split_last_chunk::<64>().unwrap();
    for context in ["keepfs/1 head", "keepfs/1 checkpoint"] {
        let domain = keepfs_format::identity::Domain { context, what: "other" };
        assert!(signer().verifying_key().verify(domain, body, signature).is_err());
    }
}

#[test]
fn what_is_signed_for_another_vault_or_namespace_is_refused() {
    // The author of both vaults is one machine with one key; the store's owner has both sets of keys.
    let foreign = NamespaceKeys::derive(&secrets(VaultId([1; 32]), NAMESPACE, 1));
    let object = sample_segment().seal(&foreign, &signer(), &CountingEnv::new(1)).unwrap().0;
    let plain =
        foreign.open_object(Role::Segment, &foreign.segment_name(MACHINE, 2), &object, 1 << 20).unwrap();
    let moved = reseal(Role::Segment, &keys().segment_name(MACHINE, 2), &plain);
    let error = Segment::open(&keys(), &sample_place(), &moved, &key_at).unwrap_err();
    assert_eq!(error, FormatError::Mismatch { what: "vault" });

    let foreign = NamespaceKeys::derive(&secrets(VAULT, NamespaceId(7), 1));
    let object = sample_segment().seal(&foreign, &signer(), &CountingEnv::new(1)).unwrap().0;
    let plain =
        foreign.open_object(Role::Segment, &foreign.segment_name(MACHINE, 2), &object, 1 << 20).unwrap();
    let moved = reseal(Role::Segment, &keys().segment_name(MACHINE, 2), &plain);
    let error = Segment::open(&keys(), &sample_place(), &moved, &key_at).unwrap_err();
    assert_eq!(error, FormatError::Mismatch { what: "namespace" });
}

#[test]
fn objects_that_break_a_rule_are_not_made() {
    let (keys, env) = (keys(), CountingEnv::new(1));
    let segment = sample_segment();
    for bad in [
        Segment { seq: 0, ..segment.clone() },
        Segment { seq: 1, ..segment.clone() },
        Segment { previous: ObjectHash::NONE, ..segment.clone() },
        Segment { machine: MachineTag(0), ..segment.clone() },
        Segment { machine: MachineTag(1 << 22), ..segment.clone() },
        Segment { seen: vec![seen(7, 1), seen(2, 1)], ..segment.clone() },
        Segment { seen: vec![seen(7, 1), seen(7, 1)], ..segment.clone() },
        Segment { seen: vec![seen(7, 0)], ..segment.clone() },
        Segment { groups: vec![0; (32 << 20) + 1], ..segment.clone() },
    ] {
        assert!(bad.seal(&keys, &signer(), &env).is_err());
    }
    let head = sample_head();
    for bad in [
        Head { generation: 0, ..head.clone() },
        Head { seq: 0, ..head.clone() },
        Head { segment: ObjectHash::NONE, ..head.clone() },
        Head { checkpoint: Some(CheckpointRef { number: 0, hash: ObjectHash([5; 32]) }), ..head.clone() },
    ] {
        assert!(bad.seal(&keys, &signer(), &env).is_err());
    }
    let fresh = Head { seq: 0, segment: ObjectHash::NONE, checkpoint: None, ..head };
    fresh.seal(&keys, &signer(), &env).unwrap();
    let checkpoint = sample_checkpoint();
    let pack_end = |machine, end| PackEnd { machine: MachineTag(machine), end };
    for bad in [
        Checkpoint { number: 0, ..checkpoint.clone() },
        Checkpoint { root: inode(Ino(5), Kind::Directory, Ino::ROOT), ..checkpoint.clone() },
        Checkpoint { root: inode(Ino::ROOT, Kind::File, Ino::ROOT), ..checkpoint.clone() },
        Checkpoint { packs: vec![pack_end(3, 1), pack_end(2, 1)], ..checkpoint.clone() },
        Checkpoint { packs: vec![pack_end(3, 0)], ..checkpoint.clone() },
        Checkpoint { children: ObjectRef { depth: 1, ids: vec![] }, ..checkpoint.clone() },
        Checkpoint { runs: vec![RunRef { entries: 0, ..checkpoint.runs[0] }], ..checkpoint.clone() },
    ] {
        assert!(bad.seal(&keys, &signer(), &env).is_err());
    }
}

#[test]
fn a_wrong_version_is_named() {
    let mut plain = plain_of(&sample_segment());
    plain[0] = 2;
    let object = reseal(Role::Segment, &keys().segment_name(MACHINE, 2), &plain);
    let error = Segment::open(&keys(), &sample_place(), &object, &key_at).unwrap_err();
    assert_eq!(error, FormatError::WrongVersion { found: 2, supported: 1 });
}
