//! Several machines, several volumes, other people's messages.

use std::time::{Duration, Instant};

use keepfs_store::{ObjectName, PutMode, Store};
use keepfs_telegram::{Login, Step};
use serde_json::json;

use crate::server::{CODE, PHONE, Server, application, open};

fn name(letter: char) -> ObjectName {
    ObjectName::immutable(&letter.to_string().repeat(26)).unwrap()
}

fn listed(store: &dyn Store) -> Vec<String> {
    let mut names = Vec::new();
    store
        .list("", &mut |info| {
            names.push(info.name.as_str().to_owned());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    names.sort();
    names
}

/// The other machine's index takes the object in because it was pushed: no call of its owner asks for changes.
#[test]
fn object_of_another_machine_is_pushed() {
    let server = Server::start();
    let (one, other) = (server.store("a", "files"), server.store("b", "files"));
    assert_eq!(listed(&one).len() + listed(&other).len(), 0);
    one.put(&name('a'), b"first", PutMode::Create).unwrap();
    other.get(&name('a'), 9).unwrap();
    // Both listen by now: what is put next is pushed.
    std::thread::sleep(Duration::from_millis(1500));
    one.put(&name('b'), b"pushed", PutMode::Create).unwrap();
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    let asked = server.requests("updates.getChannelDifference");
    assert_eq!(other.get(&name('b'), 9).unwrap(), b"pushed");
    assert_eq!(
        server.requests("updates.getChannelDifference"),
        asked,
        "it was asked for after {:?}",
        began.elapsed()
    );
}

#[test]
fn lost_push_costs_nothing_but_time() {
    let server = Server::start();
    let (one, other) = (server.store("a", "files"), server.store("b", "files"));
    server.fault("push", 1_000_000, json!("lose"));
    one.put(&name('a'), b"one", PutMode::Create).unwrap();
    assert_eq!(other.get(&name('a'), 9).unwrap(), b"one");
    one.put(&ObjectName::vault(), b"1", PutMode::Replace).unwrap();
    assert_eq!(other.get(&ObjectName::vault(), 9).unwrap(), b"1");
    one.put(&ObjectName::vault(), b"2", PutMode::Replace).unwrap();
    assert_eq!(other.get(&ObjectName::vault(), 9).unwrap(), b"2");
}

#[test]
fn store_goes_on_in_new_channels_and_everybody_follows() {
    let server = Server::start();
    let mut small = server.member("a");
    small.volume_len_max = 8;
    let mut other = server.member("b");
    other.volume_len_max = 8;
    let (one, two) = (open(&small, "files"), open(&other, "files"));
    for letter in 'a'..='p' {
        one.put(&name(letter), &[letter as u8; 10], PutMode::Create).unwrap();
        one.put(&ObjectName::vault(), &[letter as u8], PutMode::Replace).unwrap();
        assert_eq!(two.get(&ObjectName::vault(), 9).unwrap(), [letter as u8]);
        assert_eq!(two.get(&name(letter), 10).unwrap(), [letter as u8; 10]);
    }
    let channels = server.command(&json!({"command": "channels"}));
    let count = channels["channels"].as_array().unwrap().len();
    assert!(count >= 4, "{count} channels");
    // A machine that comes later finds them all.
    let late = server.store("c", "files");
    assert_eq!(listed(&late).len(), 17);
    assert_eq!(late.get(&name('a'), 10).unwrap(), [b'a'; 10]);
    two.delete(&name('a')).unwrap();
    assert_eq!(listed(&late).len(), 16);
}

#[test]
fn two_machines_that_begin_a_volume_at_once_lose_nothing() {
    let server = Server::start();
    let (mut a, mut b) = (server.member("a"), server.member("b"));
    (a.volume_len_max, b.volume_len_max) = (6, 6);
    let stores = [open(&a, "files"), open(&b, "files")];
    stores[0].put(&name('z'), b"z", PutMode::Create).unwrap();
    listed(&stores[1]);
    std::thread::scope(|scope| {
        for (store, letters) in stores.iter().zip(["abcdefgh", "ijklmnop"]) {
            scope.spawn(move || {
                for letter in letters.chars() {
                    store.put(&name(letter), &[letter as u8], PutMode::Create).unwrap();
                }
            });
        }
    });
    for store in &stores {
        assert_eq!(listed(store).len(), 17);
    }
    assert_eq!(listed(&server.store("c", "files")).len(), 17);
}

#[test]
fn account_and_documents_may_be_at_other_data_centres() {
    let server = Server::start();
    server.command(&json!({"command": "set", "settings": {"home_dc": 4}}));
    let settings = server.traveller("a");
    let mut login = Login::begin(settings.clone(), &application(), PHONE).unwrap();
    assert!(matches!(login.present_code(CODE).unwrap(), Step::Done(_)));
    drop(login);
    let store = open(&settings, "files");
    store.put(&name('a'), b"at home", PutMode::Create).unwrap();
    server.command(&json!({"command": "set", "settings": {"document_dc": 4}}));
    store.put(&name('b'), b"there", PutMode::Create).unwrap();
    assert_eq!(store.get(&name('a'), 9).unwrap(), b"at home");
    assert_eq!(store.get(&name('b'), 9).unwrap(), b"there");
    drop(store);
    let store = open(&settings, "files");
    assert_eq!(store.get(&name('a'), 9).unwrap(), b"at home", "the other login was kept");
    assert_eq!(server.requests("auth.importAuthorization"), 1);
}

#[test]
fn two_stores_of_one_account_do_not_meet() {
    let server = Server::start();
    let settings = server.member("a");
    let (saved, channel) = (open(&settings, ""), open(&settings, "files"));
    saved.put(&name('a'), b"saved", PutMode::Create).unwrap();
    channel.put(&name('a'), b"channel", PutMode::Create).unwrap();
    assert_eq!(saved.get(&name('a'), 9).unwrap(), b"saved");
    assert_eq!(channel.get(&name('a'), 9).unwrap(), b"channel");
    saved.delete(&name('a')).unwrap();
    assert_eq!((listed(&saved).len(), listed(&channel).len()), (0, 1));
}
