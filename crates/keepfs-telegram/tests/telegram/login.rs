//! Logging in, and everything that can be wrong with it.

use keepfs_store::{ObjectName, Store, StoreError};
use keepfs_telegram::{Login, Step, TelegramError, account, log_out};
use serde_json::json;

use crate::server::{CODE, PHONE, Server, application, open};

fn begin(server: &Server, name: &str) -> Login {
    Login::begin(server.machine(name), &application(), PHONE).unwrap()
}

#[test]
fn wrong_code_may_be_typed_again() {
    let server = Server::start();
    let settings = server.machine("a");
    let mut login = Login::begin(settings.clone(), &application(), PHONE).unwrap();
    assert_eq!(login.present_code("00000").unwrap_err(), TelegramError::WrongCode);
    assert!(account(settings.clone()).is_err(), "nothing is kept before the login is complete");
    assert!(matches!(login.present_code(CODE).unwrap(), Step::Done(_)));
    assert!(account(settings).unwrap().id != 0);
}

#[test]
fn password_of_two_step_verification_is_proven() {
    let server = Server::start();
    let phone = "+15550002";
    server.command(&json!({"command": "account", "phone": phone, "code": CODE, "password": "correct horse"}));
    let mut login = Login::begin(server.machine("a"), &application(), phone).unwrap();
    assert!(matches!(login.present_code(CODE).unwrap(), Step::Password { .. }));
    assert_eq!(login.present_password(b"wrong horse").unwrap_err(), TelegramError::WrongPassword);
    assert!(matches!(login.present_password(b"correct horse").unwrap(), Step::Done(_)));
}

#[test]
fn flood_at_the_login_is_told_and_not_tried_again() {
    let server = Server::start();
    server.fault("auth.sendCode", 1, Server::error(420, "FLOOD_WAIT_2400"));
    let error = Login::begin(server.machine("a"), &application(), PHONE).err().unwrap();
    assert_eq!(error.to_string(), "Telegram asks to wait 2400 s");
    assert_eq!(server.requests("auth.sendCode"), 1);
}

#[test]
fn unknown_phone_number_is_refused() {
    let server = Server::start();
    server.fault("auth.sendCode", 1, Server::error(400, "PHONE_NUMBER_INVALID"));
    let error = Login::begin(server.machine("a"), &application(), "+1").err().unwrap();
    assert!(matches!(error, TelegramError::PhoneRefused { .. }), "{error}");
    drop(begin(&server, "b"));
}

#[test]
fn logging_out_ends_the_session_at_the_server_and_here() {
    let server = Server::start();
    let settings = server.member("a");
    log_out(&settings).unwrap();
    assert_eq!(account(settings.clone()).unwrap_err(), TelegramError::NotLoggedIn);
    assert_eq!(log_out(&settings).unwrap_err(), TelegramError::NotLoggedIn);
    let keys = server.command(&json!({"command": "keys", "phone": PHONE}));
    assert!(keys["keys"].as_array().unwrap().is_empty(), "{keys}");
}

fn denied(error: StoreError, words: &str) {
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn session_that_was_ended_elsewhere_is_one_sentence_and_no_storm() {
    for (code, message, words) in [
        (401, "AUTH_KEY_UNREGISTERED", "has ended this machine's session"),
        (401, "SESSION_REVOKED", "has ended this machine's session"),
        (406, "AUTH_KEY_DUPLICATED", "from two places at once"),
    ] {
        let server = Server::start();
        let store = open(&server.member("a"), "");
        store.len(&ObjectName::vault()).unwrap_err();
        let keys = server.command(&json!({"command": "keys", "phone": PHONE}));
        let key = keys["keys"][0].as_str().unwrap();
        server.command(&json!({"command": "revoke", "key": key, "code": code, "message": message}));
        let before = server.requests("updates.getDifference");
        denied(store.len(&ObjectName::vault()).unwrap_err(), words);
        assert!(server.requests("updates.getDifference") <= before + 1, "{message} was tried again");
    }
}

#[test]
fn key_that_the_server_denies_is_kept() {
    let server = Server::start();
    let settings = server.member("a");
    let before = settings.machine.load_session().unwrap().unwrap();
    let keys = server.command(&json!({"command": "keys", "phone": PHONE}));
    server.command(&json!({"command": "forget", "key": keys["keys"][0]}));
    let store = open(&settings, "");
    denied(store.len(&ObjectName::vault()).unwrap_err(), "Telegram session lost");
    assert!(settings.machine.load_session().unwrap().unwrap() == before);
}

#[test]
fn channel_that_was_deleted_is_gone_and_a_missing_one_is_not_made() {
    let server = Server::start();
    let settings = server.member("a");
    let store = open(&settings, "files");
    store.put(&ObjectName::vault(), b"here", keepfs_store::PutMode::Create).unwrap();
    let channels = server.command(&json!({"command": "channels"}));
    let channel = channels["channels"][0]["channel"].as_i64().unwrap();
    server.command(&json!({"command": "delete_channel", "channel": channel}));
    denied(store.get(&ObjectName::vault(), 9).unwrap_err(), "the channel is gone");
    drop(store);
    let wish = keepfs_telegram::OpenWish { create: false };
    let reopened = keepfs_telegram::TelegramStore::open("files", wish, settings.clone()).unwrap();
    denied(reopened.get(&ObjectName::vault(), 9).unwrap_err(), "the channel is gone");
    let other = keepfs_telegram::TelegramStore::open("others", wish, settings).unwrap();
    denied(other.get(&ObjectName::vault(), 9).unwrap_err(), "there is no channel others");
}
