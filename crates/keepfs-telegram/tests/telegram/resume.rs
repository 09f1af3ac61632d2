//! Uploads that are stopped go on, and nothing is sent twice.

use keepfs_store::{ObjectName, PutMode, Retry, Store, StoreError};
use serde_json::json;

use crate::server::{Server, bytes, open};

fn name() -> ObjectName {
    ObjectName::immutable(&"c".repeat(26)).unwrap()
}

#[test]
fn upload_goes_on_where_the_process_before_stopped() {
    let server = Server::start();
    let settings = server.member("a");
    let content = bytes(3, 12 << 20);
    let path = server.scratch.path().join("pack");
    std::fs::write(&path, &content).unwrap();
    // After ten parts the service wants a long rest, and the process ends.
    let rest = Server::error(420, "FLOOD_PREMIUM_WAIT_60");
    server.command(&json!({"command": "fault", "fault":
        {"method": "upload.saveBigFilePart", "skip": 10, "times": 1000, "action": rest}}));
    let store = open(&settings, "files");
    let error = store.put_file(&name(), &path, PutMode::Create).unwrap_err();
    assert!(matches!(error.retry(), Retry::After(wait) if wait.as_secs() >= 50), "{error}");
    drop(store);
    server.clear();
    let store = open(&settings, "files");
    store.put_file(&name(), &path, PutMode::Create).unwrap();
    let counters = server.counters();
    assert_eq!(counters["parts"].as_u64().unwrap(), 24, "{counters}");
    assert_eq!(counters["parts_again"].as_u64().unwrap(), 0, "{counters}");
    assert_eq!(server.completed().len(), 1);
    assert!(store.get(&name(), u64::MAX).unwrap() == content);
}

#[test]
fn repeated_message_that_is_answered_with_an_error_is_found() {
    let server = Server::start();
    server.command(&json!({"command": "set", "settings": {"repeats_are_errors": true}}));
    let store = server.store("a", "files");
    let content = bytes(4, 3 << 20);
    server.fault("messages.sendMedia", 1, json!("drop_after"));
    store.put(&name(), &content, PutMode::Create).unwrap();
    assert_eq!(server.completed().len(), 1);
    assert!(store.get(&name(), u64::MAX).unwrap() == content);
}

#[test]
fn lost_answer_to_the_message_makes_no_second_one() {
    let server = Server::start();
    let store = server.store("a", "files");
    let content = bytes(4, 3 << 20);
    server.fault("messages.sendMedia", 2, json!("drop_after"));
    store.put(&name(), &content, PutMode::Create).unwrap();
    assert_eq!(server.completed().len(), 1);
    assert!(store.get(&name(), u64::MAX).unwrap() == content);
}

#[test]
fn message_whose_answer_never_came_is_found_after_a_restart() {
    let server = Server::start();
    let settings = server.member("a");
    let content = bytes(4, 3 << 20);
    let store = open(&settings, "files");
    server.fault("messages.sendMedia", 3, json!("drop_after"));
    assert!(store.put(&name(), &content, PutMode::Create).is_err());
    drop(store);
    let store = open(&settings, "files");
    store.put(&name(), &content, PutMode::Create).unwrap();
    assert_eq!(server.completed().len(), 1);
    assert!(matches!(store.put(&name(), b"other", PutMode::Create), Err(StoreError::Exists { .. })));
}

/// The upload that goes on finds that its message was sent: it is not taken for an older one and deleted.
#[test]
fn replacing_upload_that_was_sent_already_stays() {
    let server = Server::start();
    let settings = server.member("a");
    let content = bytes(4, 3 << 20);
    let store = open(&settings, "files");
    server.fault("messages.sendMedia", 3, json!("drop_after"));
    assert!(store.put(&name(), &content, PutMode::Replace).is_err());
    drop(store);
    let store = open(&settings, "files");
    store.put(&name(), &content, PutMode::Replace).unwrap();
    assert!(store.get(&name(), u64::MAX).unwrap() == content);
    assert_eq!(server.completed().len(), 1);
}

#[test]
fn parts_that_the_server_has_lost_are_sent_again() {
    let server = Server::start();
    let settings = server.member("a");
    let content = bytes(6, 3 << 20);
    server.fault("messages.sendMedia", 1, Server::error(420, "FLOOD_WAIT_30"));
    let store = open(&settings, "files");
    assert!(store.put(&name(), &content, PutMode::Create).is_err());
    drop(store);
    server.command(&json!({"command": "expire_parts"}));
    let store = open(&settings, "files");
    store.put(&name(), &content, PutMode::Create).unwrap();
    assert!(store.get(&name(), u64::MAX).unwrap() == content);
    assert_eq!(server.completed().len(), 1);
}
