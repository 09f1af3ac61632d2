//! Every promise of a store, in the saved messages and in a channel.

use std::sync::Arc;

use keepfs_store::conformance::{Options, failures};
use keepfs_store::{ObjectName, PutMode, Store};
use keepfs_telegram::Settings;
use serde_json::json;

use crate::server::{Server, bytes, open};

fn conforms(place: &str, first: &Settings, others: &Settings) -> Vec<String> {
    let mut opened = 0;
    let opened = std::cell::RefCell::new(&mut opened);
    let handle = || -> Arc<dyn Store> {
        let mut opened = opened.borrow_mut();
        **opened += 1;
        // Every handle but the first is another machine.
        Arc::new(open(if **opened == 1 { first } else { others }, place))
    };
    let options = Options { scratch: Some(first.directory.clone()), ..Options::default() };
    failures(&handle, &options)
}

#[test]
fn store_in_a_channel_conforms() {
    let server = Server::start();
    let (first, others) = (server.member("first"), server.member("others"));
    std::fs::create_dir_all(&first.directory).unwrap();
    let failed = conforms("files", &first, &others);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn store_in_the_saved_messages_conforms() {
    let server = Server::start();
    let (first, others) = (server.member("first"), server.member("others"));
    std::fs::create_dir_all(&first.directory).unwrap();
    let failed = conforms("", &first, &others);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn object_larger_than_a_small_file_comes_back() {
    let server = Server::start();
    let store = server.store("a", "files");
    let name = ObjectName::immutable(&"b".repeat(26)).unwrap();
    let content = bytes(5, (11 << 20) + 12_345);
    store.put(&name, &content, PutMode::Create).unwrap();
    assert!(store.get(&name, u64::MAX).unwrap() == content);
    let mut out = vec![0; 3_000_000];
    store.get_range(&name, 1_000_001, &mut out).unwrap();
    assert!(out == content[1_000_001..4_000_001]);
}

#[test]
fn index_is_made_again_from_the_messages() {
    let server = Server::start();
    let store = server.store("a", "files");
    let names: Vec<ObjectName> = (b'a'..=b'z')
        .map(|letter| ObjectName::immutable(&char::from(letter).to_string().repeat(26)).unwrap())
        .collect();
    for (name, seed) in names.iter().zip(1..) {
        store.put(name, &bytes(seed, 100), PutMode::Create).unwrap();
    }
    store.delete(&names[3]).unwrap();
    let count = |store: &dyn Store| {
        let mut count = 0;
        store
            .list("o/", &mut |_| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        count
    };
    // More than a page of messages that are none of ours lies between.
    for _ in 0..120 {
        store.put(&ObjectName::vault(), b"again", PutMode::Replace).unwrap();
    }
    let other = server.store("b", "files");
    assert_eq!(count(&other), 25);
    assert_eq!(other.get(&names[25], 100).unwrap(), bytes(26, 100));
    assert!(server.requests("messages.getHistory") >= 2);
}

#[test]
fn new_machine_begins_at_the_anchor() {
    let server = Server::start();
    let mut settings = server.member("a");
    settings.anchor_distance = 30;
    let store = open(&settings, "files");
    let names: Vec<ObjectName> = (b'a'..=b'z')
        .map(|letter| ObjectName::immutable(&char::from(letter).to_string().repeat(26)).unwrap())
        .collect();
    for name in &names {
        store.put(name, name.as_str().as_bytes(), PutMode::Create).unwrap();
        store.put(&ObjectName::vault(), name.as_str().as_bytes(), PutMode::Replace).unwrap();
    }
    // After the anchor: one more, one less.
    store.delete(&names[0]).unwrap();
    assert!(server.requests("messages.updatePinnedMessage") >= 1);
    let before = server.requests("messages.getHistory");
    let late = server.store("c", "files");
    let mut count = 0;
    late.list("o/", &mut |_| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(count, 25);
    for name in &names[1..] {
        assert_eq!(late.get(name, 64).unwrap(), name.as_str().as_bytes());
    }
    assert_eq!(late.get(&ObjectName::vault(), 64).unwrap(), names[25].as_str().as_bytes());
    assert_eq!(server.requests("messages.getHistory"), before, "every message was looked at");
}

#[test]
fn changes_that_the_server_has_forgotten_make_the_volume_be_seen_anew() {
    let server = Server::start();
    let settings = server.member("a");
    let name = |letter: &str| ObjectName::immutable(&letter.repeat(26)).unwrap();
    let store = open(&settings, "files");
    store.put(&name("a"), b"old", PutMode::Create).unwrap();
    drop(store);
    let other = server.store("b", "files");
    server.command(&json!({"command": "set", "settings": {"updates_window": 3}}));
    other.delete(&name("a")).unwrap();
    for letter in ["b", "c", "d", "e", "f"] {
        other.put(&name(letter), b"new", PutMode::Create).unwrap();
    }
    let store = open(&settings, "files");
    assert!(store.get(&name("a"), 9).is_err());
    assert_eq!(store.get(&name("f"), 9).unwrap(), b"new");
    assert!(store.put(&name("b"), b"other", PutMode::Create).is_err());
}
