//! Every real store keeps every promise of the trait.

use keepfs_store::conformance::{Options, failures};
use keepfs_stores::{OpenOptions, open};

#[test]
fn file_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let url = root.to_str().unwrap();
    open(url, OpenOptions { create: true }).unwrap();
    let options = Options { scratch: Some(directory.path().to_owned()), ..Options::default() };
    let failed = failures(&|| open(url, OpenOptions::default()).unwrap(), &options);
    assert!(failed.is_empty(), "{failed:#?}");
}
