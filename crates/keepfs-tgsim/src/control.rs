//! The control socket: a test asks for accounts, keys, faults and counts, one JSON object a line each way.
//!
//! It owns the commands. A line that is no command gets an answer with `error`; the connection goes on.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Push;
use crate::api::channels::gone;
use crate::error::{Error, Result};
use crate::faults::Fault;
use crate::rates::Rate;
use crate::server::Server;
use crate::wire::envelope::KeyId;
use crate::wire::fill_random;
use crate::world::account::{Account, KEY_LEN, KeyRecord, KeyState};
use crate::world::record::Record;

/// Bytes of one line.
const LINE_LEN_MAX: u64 = 1 << 20;

/// A command.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    /// Makes an account, or changes the one with this phone.
    Account {
        phone: String,
        code: String,
        #[serde(default)]
        name: String,
        #[serde(default)]
        password: Option<String>,
        #[serde(default)]
        premium: bool,
    },
    /// Gives out an authorization key, as 256 bytes in a file or as text in the answer. It is signed in for the
    /// account with this phone, or not at all.
    IssueKey { phone: Option<String>, path: Option<PathBuf> },
    /// Makes every request with the key fail: 401 unless told otherwise.
    Revoke {
        key: String,
        #[serde(default = "unauthorized")]
        code: i32,
        #[serde(default = "unregistered")]
        message: String,
    },
    /// Forgets the key: the transport answers that it is not known.
    Forget { key: String },
    /// Lists the keys of an account.
    Keys { phone: String },
    /// Adds a fault to the plan.
    Fault { fault: Fault },
    /// Empties the plan.
    ClearFaults,
    /// Sets all rate limits.
    Rates { rates: Vec<Rate> },
    /// Changes the settings that are named.
    Set { settings: Value },
    /// Makes every reference to a file expire that was given out so far.
    ExpireReferences,
    /// Forgets the parts of all uploads that are not complete.
    ExpireParts,
    /// Makes an account a member of a channel who may write.
    Join { channel: i64, phone: String },
    /// Deletes a channel, as its creator might do from another device.
    DeleteChannel { channel: i64 },
    /// Lists the channels.
    Channels,
    /// Ends every connection.
    DropConnections,
    /// Tells what was counted.
    Counters,
    /// Ends the server.
    Stop,
}

fn unauthorized() -> i32 {
    401
}

fn unregistered() -> String {
    "AUTH_KEY_UNREGISTERED".to_owned()
}

/// What a command comes to: its answer, or why it cannot be.
type Outcome = std::result::Result<Value, String>;

/// Listens for commands from threads until the process ends.
pub fn listen(server: &Arc<Server>, address: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let local = listener.local_addr()?;
    let server = server.clone();
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = server.clone();
            // A test that cannot be served sees its connection end.
            let _ =
                std::thread::Builder::new().name("command".to_owned()).spawn(move || serve(&server, &stream));
        }
    })?;
    Ok(local)
}

fn serve(server: &Server, stream: &TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let len = std::io::Read::take(&mut reader, LINE_LEN_MAX).read_until(b'\n', &mut line)?;
        if len == 0 || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let command = serde_json::from_slice::<Command>(&line).map_err(|error| error.to_string());
        let is_stop = matches!(command, Ok(Command::Stop));
        let answer = match command.and_then(|command| execute(server, command)) {
            Ok(answer) => answer,
            Err(error) => json!({ "error": error }),
        };
        let mut writer = stream;
        writer.write_all(format!("{answer}\n").as_bytes())?;
        if is_stop {
            server.stop();
        }
    }
}

fn execute(server: &Server, command: Command) -> Outcome {
    match command {
        Command::Account { phone, code, name, password, premium } => {
            let mut world = server.world.lock();
            let known = world.account_of_phone(&phone).map(|account| account.user);
            let user = known.unwrap_or_else(|| world.next_user());
            let name = if name.is_empty() { format!("Account {user}") } else { name };
            let (is_premium, verifier) = (premium, None);
            let account = Account { user, phone, code, name, password, is_premium, verifier };
            world.commit(&Record::Account(account)).map_err(text)?;
            Ok(json!({ "user": user }))
        }
        Command::IssueKey { phone, path } => issue_key(server, phone.as_deref(), path),
        Command::Revoke { key, code, message } => {
            let (key, state) = (key_id(&key)?, KeyState::Refused { code, message });
            server.world.lock().commit(&Record::KeyState { key, state }).map_err(text)?;
            Ok(json!({}))
        }
        Command::Forget { key } => {
            let key = key_id(&key)?;
            server.world.lock().commit(&Record::KeyGone { key }).map_err(text)?;
            Ok(json!({}))
        }
        Command::Keys { phone } => keys(server, &phone),
        Command::Fault { fault } => {
            server.faults.lock().add(fault);
            Ok(json!({}))
        }
        Command::ClearFaults => {
            server.faults.lock().clear();
            Ok(json!({}))
        }
        Command::Rates { rates } => {
            server.rates.lock().set(rates);
            Ok(json!({}))
        }
        Command::Set { settings } => set(server, &settings),
        Command::ExpireReferences => {
            server.world.lock().commit(&Record::ReferencesExpired).map_err(text)?;
            Ok(json!({}))
        }
        Command::ExpireParts => {
            server.world.lock().uploads.expire().map_err(text)?;
            Ok(json!({}))
        }
        Command::Join { channel, phone } => join(server, channel, &phone),
        Command::DeleteChannel { channel } => delete_channel(server, channel),
        Command::Channels => Ok(channels(server)),
        Command::DropConnections => {
            server.drop_connections();
            Ok(json!({}))
        }
        Command::Counters => {
            serde_json::to_value(&*server.counters.lock()).map_err(|error| error.to_string())
        }
        Command::Stop => Ok(json!({})),
    }
}

fn text(error: Error) -> String {
    error.to_string()
}

fn key_id(hex: &str) -> std::result::Result<KeyId, String> {
    let bytes = HEXLOWER.decode(hex.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("{hex} is no number of a key"))
}

fn user_of(server: &Server, phone: &str) -> std::result::Result<i64, String> {
    let world = server.world.lock();
    let account = world.account_of_phone(phone);
    account.map(|account| account.user).ok_or_else(|| format!("nobody has the phone {phone}"))
}

fn issue_key(server: &Server, phone: Option<&str>, path: Option<PathBuf>) -> Outcome {
    let user = phone.map(|phone| user_of(server, phone)).transpose()?;
    let mut bytes = [0; KEY_LEN];
    fill_random(&mut bytes);
    let record = KeyRecord::new(bytes, user.map_or(KeyState::Anonymous, KeyState::SignedIn));
    let id = HEXLOWER.encode(&record.id());
    server.world.lock().commit(&Record::Key(record)).map_err(text)?;
    let Some(path) = path else {
        return Ok(json!({ "key": id, "user": user, "bytes": HEXLOWER.encode(&bytes) }));
    };
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(json!({ "key": id, "user": user }))
}

fn keys(server: &Server, phone: &str) -> Outcome {
    let user = user_of(server, phone)?;
    let world = server.world.lock();
    let keys = world.keys.iter().filter(|(_, key)| key.state == KeyState::SignedIn(user));
    let keys: Vec<String> = keys.map(|(id, _)| HEXLOWER.encode(id)).collect();
    Ok(json!({ "keys": keys }))
}

fn set(server: &Server, changes: &Value) -> Outcome {
    let mut world = server.world.lock();
    let mut all = serde_json::to_value(&world.settings).map_err(|error| error.to_string())?;
    let (Some(all_fields), Some(changes)) = (all.as_object_mut(), changes.as_object()) else {
        return Err("settings are an object".to_owned());
    };
    all_fields.extend(changes.clone());
    world.settings = serde_json::from_value(all.clone()).map_err(|error| error.to_string())?;
    Ok(json!({ "settings": all }))
}

fn join(server: &Server, channel: i64, phone: &str) -> Outcome {
    let user = user_of(server, phone)?;
    let mut world = server.world.lock();
    let Some(mut joined) = world.channels.get(&channel).cloned() else {
        return Err(format!("there is no channel {channel}"));
    };
    joined.members.insert(user);
    joined.admins.insert(user);
    world.commit(&Record::Channel(joined)).map_err(text)?;
    Ok(json!({}))
}

fn delete_channel(server: &Server, id: i64) -> Outcome {
    let channel = server.world.lock().channels.get(&id).cloned();
    let channel = channel.ok_or_else(|| format!("there is no channel {id}"))?;
    server.world.lock().commit(&Record::ChannelGone { channel: id }).map_err(text)?;
    for user in &channel.members {
        server.push(&Push { user: *user, body: gone(&channel, *user) }, None);
    }
    Ok(json!({}))
}

fn channels(server: &Server) -> Value {
    let world = server.world.lock();
    let place = |id| crate::world::mailbox::Place::Channel(id);
    let channels: Vec<Value> = world
        .channels
        .values()
        .map(|channel| {
            let messages = world.known_mailbox(place(channel.id)).map_or(0, |mailbox| mailbox.messages.len());
            json!({
                "channel": channel.id,
                "title": channel.title,
                "about": channel.about,
                "creator": channel.creator,
                "messages": messages,
            })
        })
        .collect();
    json!({ "channels": channels })
}
