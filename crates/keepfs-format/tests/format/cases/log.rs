//! Vectors of segments, heads and checkpoints. Invalid ones are sealed and signed as they should be: only
//! the flaw in their name is left to find.

use keepfs_format::codec::Writer;
use keepfs_format::identity::Domain;
use keepfs_format::keys::Role;

use crate::log_objects::{sample_checkpoint, sample_groups, sample_head, sample_segment};
use crate::support::{CountingEnv, MACHINE, NAMESPACE, VAULT, keys, signer};
use crate::vectors::{Vector, hex};

pub(crate) fn all() -> Vec<Vector> {
    [good(), segments(), envelopes(), heads(), checkpoints()].concat()
}

fn segment(name: &str, bytes: Vec<u8>) -> Vector {
    Vector::new("segment", name, bytes).arg(MACHINE.0).arg(2).arg(hex(&[3; 32]))
}

fn head(name: &str, bytes: Vec<u8>) -> Vector {
    Vector::new("head", name, bytes).arg(MACHINE.0)
}

fn checkpoint(name: &str, bytes: Vec<u8>) -> Vector {
    Vector::new("checkpoint", name, bytes).arg(MACHINE.0).arg(4)
}

fn good() -> Vec<Vector> {
    let (keys, env) = (keys(), CountingEnv::new(6));
    let sealed = sample_segment().seal(&keys, &signer(), &env).unwrap().0;
    let moved = |name: &str, machine: u32, seq: u64, previous: u8| {
        Vector::new("segment", name, sealed.clone()).arg(machine).arg(seq).arg(hex(&[previous; 32]))
    };
    vec![
        segment("good_segment", sealed.clone()),
        moved("of_another_number", MACHINE.0, 3, 3),
        moved("of_another_machine", 6, 2, 3),
        moved("of_another_history", MACHINE.0, 2, 4),
        head("good_head", sample_head().seal(&keys, &signer(), &env).unwrap().0),
        checkpoint("good_checkpoint", sample_checkpoint().seal(&keys, &signer(), &env).unwrap().0),
        head("segment_as_head", sealed.clone()),
        checkpoint("segment_as_checkpoint", sealed),
    ]
}

/// The envelope's pieces, all as they should be.
struct Envelope {
    version: u8,
    vault: [u8; 32],
    namespace: u32,
    machine: u64,
    position: u64,
    context: &'static str,
}

impl Envelope {
    fn new(context: &'static str) -> Self {
        let machine = u64::from(MACHINE.0);
        Self { version: 1, vault: VAULT.0, namespace: NAMESPACE.0, machine, position: 3, context }
    }

    fn plain(&self, body: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.version);
        writer.raw(&self.vault);
        writer.u32(self.namespace);
        writer.varint(self.machine);
        writer.varint(self.position);
        writer.raw(&[8; 32]);
        writer.raw(body);
        let signature = signer().sign(Domain { context: self.context, what: "test" }, writer.as_slice());
        writer.raw(&signature);
        writer.into_bytes()
    }

    fn seal(&self, role: Role, body: &[u8]) -> Vec<u8> {
        let keys = keys();
        let name = match role {
            Role::Segment => keys.segment_name(MACHINE, 2),
            Role::Head => keys.head_name(MACHINE),
            _ => keys.checkpoint_name(MACHINE, 4),
        };
        keys.seal_object(role, &name, &CountingEnv::new(7), &self.plain(body)).unwrap()
    }
}

/// Number, hash before, time, vector of `entries`, operations.
fn segment_body(seq: u64, previous: u8, vector: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(seq);
    writer.raw(&[previous; 32]);
    writer.raw(&[0, 0]);
    writer.raw(vector);
    writer.raw(&sample_groups());
    writer.into_bytes()
}

fn segments() -> Vec<Vector> {
    let sealed =
        |name: &str, body: &[u8]| segment(name, Envelope::new("keepfs/1 segment").seal(Role::Segment, body));
    let vector = |name: &str, vector: &[u8]| sealed(name, &segment_body(2, 3, vector));
    let seen = |step: u8, seq: u8| [&[step, seq], &[1; 32][..]].concat();
    let good = segment_body(2, 3, &[0, 0]);
    let mut late = good.clone();
    late.splice(34..35, [0x80, 0x94, 0xeb, 0xdc, 0x03]);
    vec![
        sealed("good_by_hand", &good),
        vector("good_vector_by_hand", &[&[1, 2][..], &seen(2, 1), &seen(1, 9)].concat()),
        sealed("number_inside_differs", &segment_body(3, 3, &[0, 0])),
        sealed("number_zero_inside", &segment_body(0, 3, &[0, 0])),
        sealed("hash_before_inside_differs", &segment_body(2, 4, &[0, 0])),
        sealed("none_before_the_second", &segment_body(2, 0, &[0, 0])),
        sealed("whole_second_of_nanoseconds", &late),
        vector("vector_unknown", &[2, 0]),
        vector("vector_longer_than_bytes", &[0, 100]),
        vector("vector_machine_twice", &[&[0, 2][..], &seen(2, 1), &seen(0, 1)].concat()),
        vector("vector_machine_zero", &[&[0, 1][..], &seen(0, 1)].concat()),
        vector("vector_number_zero", &[&[0, 1][..], &seen(1, 0)].concat()),
        vector("vector_machine_too_high", &{
            let tag = [0x80, 0x80, 0x80, 0x02];
            [&[0, 1][..], &tag, &[1], &[1; 32]].concat()
        }),
        sealed("ends_early", &good[..30]),
        segment("nothing_but_a_signature", {
            let keys = keys();
            let name = keys.segment_name(MACHINE, 2);
            keys.seal_object(Role::Segment, &name, &CountingEnv::new(7), &[0; 64]).unwrap()
        }),
        segment("shorter_than_a_signature", {
            let keys = keys();
            let name = keys.segment_name(MACHINE, 2);
            keys.seal_object(Role::Segment, &name, &CountingEnv::new(7), &[1; 63]).unwrap()
        }),
    ]
}

fn envelopes() -> Vec<Vector> {
    let body = segment_body(2, 3, &[0, 0]);
    let with = |name: &str, change: &dyn Fn(&mut Envelope)| {
        let mut envelope = Envelope::new("keepfs/1 segment");
        change(&mut envelope);
        segment(name, envelope.seal(Role::Segment, &body))
    };
    vec![
        with("version_zero", &|envelope| envelope.version = 0),
        with("version_two", &|envelope| envelope.version = 2),
        with("of_another_vault", &|envelope| envelope.vault[31] ^= 1),
        with("of_another_namespace", &|envelope| envelope.namespace = 2),
        with("by_another_machine", &|envelope| envelope.machine = 6),
        with("by_machine_zero", &|envelope| envelope.machine = 0),
        with("by_a_machine_too_high", &|envelope| envelope.machine = 1 << 22),
        with("where_the_machine_had_no_key", &|envelope| envelope.position = 2),
        with("signed_as_a_head", &|envelope| envelope.context = "keepfs/1 head"),
        with("signed_for_nothing", &|envelope| envelope.context = ""),
    ]
}

fn heads() -> Vec<Vector> {
    let sealed = |name: &str, body: &[u8]| head(name, Envelope::new("keepfs/1 head").seal(Role::Head, body));
    let body = |generation: u8, seq: u8, hash: u8, behind: &[u8]| {
        [&[generation, 0, 0, seq], &[hash; 32][..], behind].concat()
    };
    let with_checkpoint = [&[0, 1], &[6; 32][..]].concat();
    let good = body(1, 1, 4, &[0, 0]);
    vec![
        sealed("good_by_hand", &good),
        sealed("good_with_checkpoint_by_hand", &body(1, 1, 4, &with_checkpoint)),
        sealed("good_without_segments", &body(1, 0, 0, &[0, 0])),
        sealed("generation_zero", &body(0, 1, 4, &[0, 0])),
        sealed("hash_without_segment", &body(1, 0, 4, &[0, 0])),
        sealed("segment_without_hash", &body(1, 1, 0, &[0, 0])),
        sealed("checkpoint_without_hash", &body(1, 1, 4, &[0, 1])),
        sealed("byte_behind", &[&good[..], &[0]].concat()),
        sealed("ends_early", &good[..good.len() - 1]),
    ]
}

fn checkpoints() -> Vec<Vector> {
    let keys = keys();
    let name = keys.checkpoint_name(MACHINE, 4);
    let sealed = sample_checkpoint().seal(&keys, &signer(), &CountingEnv::new(6)).unwrap().0;
    let plain = keys.open_object(Role::Checkpoint, &name, &sealed, 1 << 20).unwrap();
    let envelope_len = 1 + 32 + 4 + 1 + 1 + 32;
    let body = &plain[envelope_len..plain.len() - 64];
    let seal = |name: &str, body: &[u8]| {
        checkpoint(name, Envelope::new("keepfs/1 checkpoint").seal(Role::Checkpoint, body))
    };
    let changed = |name: &str, at: usize, value: u8| {
        let mut body = body.to_vec();
        body[at] = value;
        seal(name, &body)
    };
    // Number, time of 1 + 5 + 4 bytes, then the vector: count, tag step, number, hash.
    let vector_at = body.len() - body[10..].len();
    vec![
        seal("good_by_hand", body),
        changed("number_inside_differs", 0, 5),
        changed("number_zero_inside", 0, 0),
        changed("vector_longer_than_bytes", vector_at, 0x7f),
        changed("counter_ends_early", body.len() - 1, 0x80),
        seal("byte_behind", &[body, &[0]].concat()),
        seal("ends_early", &body[..body.len() - 1]),
        seal("nothing", &[]),
    ]
}
