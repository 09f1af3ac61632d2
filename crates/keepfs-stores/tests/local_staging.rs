//! What only uploading from a local directory can get wrong: lost answers, other bytes under the name.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::sync::Arc;

use keepfs_store::{
    Fault, FaultStore, Faults, MemoryStore, Method, ObjectName, PutMode, Staging, Store, StoreError, Strike,
};
use keepfs_stores::LocalStaging;

fn name() -> ObjectName {
    ObjectName::immutable("abcdefghijklmnopqrstuvwxyz").unwrap()
}

fn lost() -> StoreError {
    StoreError::io_soon("answer lost")
}

#[test]
fn upload_whose_answer_was_lost_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::remote();
    let faults = Faults::scripted([(Strike::Method(Method::PutFile, 0), Fault::FailAfter(lost()))]);
    let store = Arc::new(FaultStore::new(Arc::new(memory.clone()), faults));
    let staging = LocalStaging::new(directory.path(), store).unwrap();
    let staged = staging.create(&name()).unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|index| (index % 251) as u8).collect();
    staged.write_at(0, &bytes).unwrap();
    assert_eq!(staged.publish(), Err(lost()));
    assert_eq!(staging.list().unwrap(), [name()], "it stays staged until the answer is known");
    drop(staged);
    staging.reopen(&name()).unwrap().publish().unwrap();
    assert_eq!(memory.get(&name(), u64::MAX).unwrap(), bytes);
    assert!(staging.list().unwrap().is_empty());
}

#[test]
fn other_bytes_under_the_name_are_a_conflict() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::remote();
    let staging = LocalStaging::new(directory.path(), Arc::new(memory.clone())).unwrap();
    let staged = staging.create(&name()).unwrap();
    staged.write_at(0, b"mine").unwrap();
    for other in [&b"them"[..], b"longer", b""] {
        memory.put(&name(), other, PutMode::Replace).unwrap();
        assert!(matches!(staged.publish(), Err(StoreError::Exists { .. })));
    }
    assert_eq!(staging.list().unwrap(), [name()]);
}

#[test]
fn failed_upload_can_be_repeated_and_still_written_before() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::remote();
    let faults = Faults::scripted([(Strike::Method(Method::PutFile, 0), Fault::FailBefore(lost()))]);
    let store = Arc::new(FaultStore::new(Arc::new(memory.clone()), faults));
    let staging = LocalStaging::new(directory.path(), store).unwrap();
    let staged = staging.create(&name()).unwrap();
    staged.write_at(0, b"first").unwrap();
    assert_eq!(staged.publish(), Err(lost()));
    staged.write_at(5, b" and second").unwrap();
    staged.publish().unwrap();
    assert_eq!(memory.get(&name(), 99).unwrap(), b"first and second");
}
