//! Floods, stalls, lost answers, broken connections, lies: never a wrong result, never a hang.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepfs_store::{ObjectName, PutMode, Retry, Store, StoreError};
use serde_json::json;

use crate::server::{Server, bytes};

fn name(letter: char) -> ObjectName {
    ObjectName::immutable(&letter.to_string().repeat(26)).unwrap()
}

#[test]
fn every_wait_is_told_and_kept() {
    let server = Server::start();
    let store = server.store("a", "files");
    store.put(&name('a'), b"one", PutMode::Create).unwrap();
    server.fault("messages.sendMedia", 1, Server::error(420, "FLOOD_WAIT_3600"));
    let error = store.put(&name('b'), b"two", PutMode::Create).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(matches!(error.retry(), Retry::After(wait) if wait >= Duration::from_secs(3590)), "{error}");
    let asked = server.requests("messages.sendMedia");
    let error = store.put(&name('c'), b"three", PutMode::Create).unwrap_err();
    assert!(matches!(error.retry(), Retry::After(_)), "{error}");
    assert_eq!(server.requests("messages.sendMedia"), asked, "the wait was not kept");
    assert_eq!(store.get(&name('a'), 9).unwrap(), b"one", "reading goes on");
}

#[test]
fn short_waits_are_slept_through() {
    let server = Server::start();
    let store = server.store("a", "files");
    server.fault("upload.saveFilePart", 1, Server::error(420, "FLOOD_PREMIUM_WAIT_1"));
    let error = store.put(&name('a'), b"one", PutMode::Create).unwrap_err();
    assert!(matches!(error.retry(), Retry::After(wait) if wait < Duration::from_secs(2)), "{error}");
    let began = Instant::now();
    store.put(&name('a'), b"one", PutMode::Create).unwrap();
    assert!(began.elapsed() > Duration::from_millis(500));
}

#[test]
fn stalled_connection_ends_at_the_deadline() {
    let server = Server::start();
    let store = server.store("a", "files");
    store.put(&name('a'), &bytes(1, 100_000), PutMode::Create).unwrap();
    server.fault("upload.getFile", 1000, json!("stall"));
    let began = Instant::now();
    let error = store.get(&name('a'), u64::MAX).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "a deadline of four seconds took {:?}",
        began.elapsed()
    );
    server.clear();
    assert!(store.get(&name('a'), u64::MAX).unwrap() == bytes(1, 100_000), "a new connection is made");
}

#[test]
fn short_and_corrupt_answers_are_never_taken_for_the_object() {
    let server = Server::start();
    let store = server.store("a", "files");
    let content = bytes(1, 700_000);
    store.put(&name('a'), &content, PutMode::Create).unwrap();
    server.fault("upload.getFile", 1, json!("short"));
    assert!(store.get(&name('a'), u64::MAX).unwrap() == content);
    server.fault("upload.getFile", 1, json!("corrupt"));
    assert!(store.get(&name('a'), u64::MAX).unwrap() == content);
    server.fault("upload.getFile", 1000, json!("short"));
    assert!(store.get_range(&name('a'), 0, &mut [0; 1000]).is_err());
    server.clear();
    server.fault("upload.getFile", 1000, json!("corrupt"));
    assert!(matches!(store.get(&name('a'), u64::MAX), Err(StoreError::Io { retry: Retry::Soon, .. })));
}

#[test]
fn old_tickets_are_renewed() {
    let server = Server::start();
    let store = server.store("a", "files");
    let content = bytes(1, 700_000);
    store.put(&name('a'), &content, PutMode::Create).unwrap();
    assert!(store.get(&name('a'), u64::MAX).unwrap() == content);
    server.command(&json!({"command": "expire_references"}));
    assert!(store.get(&name('a'), u64::MAX).unwrap() == content);
}

#[test]
fn failures_of_the_server_may_be_tried_again() {
    let server = Server::start();
    let store = server.store("a", "files");
    server.fault("messages.sendMedia", 1, Server::error(500, "INTERDC_2_CALL_ERROR"));
    let error = store.put(&name('a'), b"one", PutMode::Create).unwrap_err();
    assert_eq!(error.retry(), Retry::Soon);
    store.put(&name('a'), b"one", PutMode::Create).unwrap();
    assert_eq!(server.completed().len(), 1);
}

/// Puts, reads, replaces and deletes while one request in five is lost before or after it took effect.
#[test]
fn storm_of_broken_connections_gives_no_wrong_result() {
    let seed = std::env::var("KEEPFS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("KEEPFS_SEED={seed}");
    let server = Server::start();
    let store = Arc::new(server.store("a", "files"));
    store.put(&ObjectName::vault(), b"0", PutMode::Create).unwrap();
    server.weather(10, seed, json!("drop_before"));
    server.weather(10, seed + 1, json!("drop_after"));
    let until_done = |act: &mut dyn FnMut() -> Result<(), StoreError>| {
        for _ in 0..100 {
            match act() {
                Err(error) if error.retry() == Retry::Soon => {}
                outcome => return outcome,
            }
        }
        panic!("never done");
    };
    for round in 0..12_u8 {
        let content = bytes(u64::from(round) + 1, 900_000);
        let name = name(char::from(b'a' + round));
        let put = until_done(&mut || store.put(&name, &content, PutMode::Create));
        // An answer that was lost may come back as "is already there".
        assert!(matches!(put, Ok(()) | Err(StoreError::Exists { .. })), "{put:?}");
        until_done(&mut || store.put(&ObjectName::vault(), &[round; 40], PutMode::Replace)).unwrap();
        until_done(&mut || {
            let found = store.get(&name, u64::MAX)?;
            assert!(found == content, "round {round}");
            assert_eq!(store.get(&ObjectName::vault(), 64)?, [round; 40]);
            Ok(())
        })
        .unwrap();
        if round % 3 == 0 {
            until_done(&mut || store.delete(&name)).unwrap();
            let missing = until_done(&mut || store.len(&name).map(drop));
            assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
        }
    }
    server.clear();
    let names = server.completed();
    let packs = names.iter().filter(|name| name.starts_with("o-")).count();
    assert_eq!(packs, 12, "an object was sent twice: {names:?}");
}
