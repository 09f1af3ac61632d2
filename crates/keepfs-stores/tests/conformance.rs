//! Every real store, with and without wrappers, keeps every promise of the trait.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use keepfs_store::conformance::{Options, Verdict, failures, run};
use keepfs_store::{
    Capabilities, FaultStore, Faults, LimitStore, MemoryStore, MeterStore, ObjectInfo, ObjectName, PutMode,
    Result, RetryPolicy, RetryStore, Space, Staging, Store,
};
use keepfs_stores::{LocalStaging, OpenOptions, SystemTiming, open};

fn assert_conforms(scratch: &Path, open: &dyn Fn() -> Arc<dyn Store>) {
    let options = Options { scratch: Some(scratch.to_owned()), ..Options::default() };
    let failed = failures(open, &options);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A directory, and a URL of a new store in it.
fn new_store(query: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a%20store{query}", directory.path().display());
    open(&url, OpenOptions { create: true }).unwrap();
    (directory, url)
}

#[test]
fn file_store_conforms_and_skips_nothing() {
    let (directory, url) = new_store("");
    let options = Options { scratch: Some(directory.path().to_owned()), ..Options::default() };
    for outcome in run(&|| open(&url, OpenOptions::default()).unwrap(), &options) {
        assert_eq!(outcome.verdict, Verdict::Holds, "{}", outcome.claim);
    }
}

#[test]
fn file_store_as_a_remote_one_conforms() {
    let (directory, url) = new_store("?staging=local");
    let store = open(&url, OpenOptions::default()).unwrap();
    assert!(store.staging().is_none() && !store.capabilities().local && store.device().is_none());
    assert_conforms(directory.path(), &|| open(&url, OpenOptions::default()).unwrap());
}

#[test]
fn wrapped_file_stores_conform() {
    let (directory, url) = new_store("");
    let inner = || open(&url, OpenOptions::default()).unwrap();
    assert_conforms(directory.path(), &|| Arc::new(LimitStore::new(inner(), 2)));
    assert_conforms(directory.path(), &|| Arc::new(MeterStore::new(inner())));
    assert_conforms(directory.path(), &|| Arc::new(FaultStore::new(inner(), Faults::none())));
    let timing = Arc::new(SystemTiming::new());
    assert_conforms(directory.path(), &|| {
        Arc::new(RetryStore::new(inner(), RetryPolicy::default(), timing.clone()))
    });
}

/// A store whose staging is a local directory, so that the suite sees the two together.
struct Paired {
    store: Arc<dyn Store>,
    staging: LocalStaging,
}

impl Store for Paired {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        self.store.get(name, limit)
    }
    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        self.store.get_range(name, offset, out)
    }
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.store.put(name, bytes, mode)
    }
    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        self.store.put_file(name, path, mode)
    }
    fn len(&self, name: &ObjectName) -> Result<u64> {
        self.store.len(name)
    }
    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.store.delete(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        self.store.list(prefix, each)
    }
    fn space(&self) -> Result<Option<Space>> {
        self.store.space()
    }
    fn staging(&self) -> Option<&dyn Staging> {
        Some(&self.staging)
    }
}

#[test]
fn local_staging_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let stage = directory.path().join("deep/stage");
    let remote: Arc<dyn Store> = Arc::new(MemoryStore::remote());
    assert_conforms(directory.path(), &|| {
        let staging = LocalStaging::new(&stage, remote.clone()).unwrap();
        Arc::new(Paired { store: remote.clone(), staging })
    });
    assert_eq!(std::fs::read_dir(&stage).unwrap().count(), 0, "nothing stays in the staging directory");
}
