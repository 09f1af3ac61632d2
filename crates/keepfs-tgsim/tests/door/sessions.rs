//! Signing in, being signed out, and a server that starts again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use grammers_crypto::two_factor_auth::calculate_2fa;
use grammers_tl_types::{enums, functions as f, types};
use serde_json::{Value, json};

use crate::support::*;

async fn send_code(client: &Client) -> String {
    let settings = types::CodeSettings {
        allow_flashcall: false,
        current_number: false,
        allow_app_hash: false,
        allow_missed_call: false,
        allow_firebase: false,
        unknown_number: false,
        logout_tokens: None,
        token: None,
        app_sandbox: None,
    };
    let request = f::auth::SendCode {
        phone_number: PHONE.to_owned(),
        api_id: 1,
        api_hash: String::new(),
        settings: settings.into(),
    };
    let enums::auth::SentCode::Code(sent) = client.invoke(&request).await.unwrap() else { panic!() };
    sent.phone_code_hash
}

fn sign_in(phone_code_hash: &str, code: &str) -> f::auth::SignIn {
    f::auth::SignIn {
        phone_number: PHONE.to_owned(),
        phone_code_hash: phone_code_hash.to_owned(),
        phone_code: Some(code.to_owned()),
        email_verification: None,
    }
}

async fn check_password(client: &Client, password: &str) -> f::auth::CheckPassword {
    let answer = client.invoke(&f::account::GetPassword {}).await.unwrap();
    let enums::account::Password::Password(asked) = answer;
    use enums::PasswordKdfAlgo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow as Algorithm;
    let Some(Algorithm(group)) = asked.current_algo else { panic!() };
    let (g_b, secret) = (asked.srp_b.unwrap(), noise(256));
    let (m1, a) = calculate_2fa(&group.salt1, &group.salt2, &group.p, &group.g, g_b, secret, password);
    let srp_id = asked.srp_id.unwrap();
    let password = types::InputCheckPasswordSrp { srp_id, a: a.to_vec(), m1: m1.to_vec() }.into();
    f::auth::CheckPassword { password }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_and_password_sign_in_and_logging_out_ends_it() {
    let mut door = Door::open();
    door.control.account(PHONE, Some("horse"));
    let (_, key) = door.control.key(None);
    let client = Client::connect(door.server.addresses(), key);
    let whoami = f::users::GetUsers { id: vec![enums::InputUser::UserSelf] };
    assert_eq!(refusal(client.invoke(&whoami).await), "401 AUTH_KEY_UNREGISTERED");
    let hash = send_code(&client).await;
    assert_eq!(refusal(client.invoke(&sign_in(&hash, "00000")).await), "400 PHONE_CODE_INVALID");
    assert_eq!(refusal(client.invoke(&sign_in("x", CODE)).await), "400 PHONE_CODE_EXPIRED");
    assert_eq!(refusal(client.invoke(&sign_in(&hash, CODE)).await), "401 SESSION_PASSWORD_NEEDED");
    let wrong = check_password(&client, "house").await;
    assert_eq!(refusal(client.invoke(&wrong).await), "400 PASSWORD_HASH_INVALID");
    let right = check_password(&client, "horse").await;
    client.invoke(&right).await.unwrap();
    let enums::User::User(user) = &client.invoke(&whoami).await.unwrap()[0] else { panic!() };
    assert!(user.is_self && user.phone.as_deref() == Some(PHONE));
    client.invoke(&f::auth::LogOut {}).await.unwrap();
    assert_eq!(refusal(client.invoke(&whoami).await), "401 AUTH_KEY_UNREGISTERED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_by_another_or_by_the_server() {
    let mut door = Door::open();
    let (client, other) = (door.client(), door.client());
    other.invoke(&f::updates::GetState {}).await.unwrap();
    let list = client.invoke(&f::account::GetAuthorizations {}).await.unwrap();
    let enums::account::Authorizations::Authorizations(list) = list;
    let elsewhere = list
        .authorizations
        .iter()
        .find_map(|enums::Authorization::Authorization(session)| (!session.current).then_some(session.hash));
    let hash = elsewhere.unwrap();
    assert!(client.invoke(&f::account::ResetAuthorization { hash }).await.unwrap());
    assert_eq!(refusal(other.invoke(&f::updates::GetState {}).await), "401 AUTH_KEY_UNREGISTERED");
    let (number, key) = door.control.key(Some(PHONE));
    let third = Client::connect(door.server.addresses(), key);
    third.invoke(&f::updates::GetState {}).await.unwrap();
    let revoke = json!({"command": "revoke", "key": number, "code": 406, "message": "AUTH_KEY_DUPLICATED"});
    door.control.command(revoke);
    assert_eq!(refusal(third.invoke(&f::updates::GetState {}).await), "406 AUTH_KEY_DUPLICATED");
    client.invoke(&f::updates::GetState {}).await.unwrap();
}

struct Process {
    child: Child,
    address: SocketAddr,
    control: Control,
}

impl Process {
    fn start(state: &std::path::Path) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keepfs-tgsim"))
            .args(["--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let greeting: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| greeting[name].as_str().unwrap().parse().unwrap();
        Process { child, address: address("address"), control: Control::connect(address("control")) }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_knows_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Process::start(dir.path());
    server.control.account(PHONE, Some("horse"));
    let (_, key) = server.control.key(Some(PHONE));
    let client = Client::connect(&[(2, server.address)], key);
    let channel = client.channel("vault").await;
    let message = client.upload(&peer_of(&channel), "pack", &noise(PART + 5)).await;
    client.invoke(&send_message(&own(), "kept", 99)).await.unwrap();
    server.kill();
    let mut server = Process::start(dir.path());
    let client = Client::connect(&[(2, server.address)], key);
    let bytes = content(client.invoke(&get_file(&document_of(&message), PART as i64, 4_096)).await.unwrap());
    assert!(bytes == noise(PART + 5)[PART..]);
    let (again, count) = sent(&client.invoke(&send_message(&own(), "kept", 99)).await.unwrap());
    assert_eq!((again.id, count), (1, 0));
    assert_eq!(client.history(&peer_of(&channel), 0).await.len(), 2);
    server.control.command(json!({"command": "stop"}));
    assert!(server.child.wait().unwrap().success());
}
