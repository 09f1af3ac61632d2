//! A server, its control socket, and clients.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use grammers_mtsender::{ConnectionParams, InvocationError, NoRetries, SenderPool, SenderPoolFatHandle};
use grammers_session::SessionData;
use grammers_session::storages::MemorySession;
use grammers_session::types::DcOption;
use grammers_session::updates::UpdatesLike;
use grammers_tl_types::{RemoteCall, enums, functions as f, types};
use keepfs_tgsim::{Options, Server, listen_for_commands};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

pub(crate) const PHONE: &str = "+15550001";
pub(crate) const CODE: &str = "24680";
pub(crate) const PART: usize = 524_288;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The control socket.
pub(crate) struct Control(BufReader<TcpStream>);

impl Control {
    pub(crate) fn connect(address: SocketAddr) -> Control {
        Control(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    pub(crate) fn try_command(&mut self, command: Value) -> Value {
        self.0.get_mut().write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn command(&mut self, command: Value) -> Value {
        let answer = self.try_command(command.clone());
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    pub(crate) fn fault(&mut self, fault: Value) {
        self.command(json!({"command": "fault", "fault": fault}));
    }

    pub(crate) fn set(&mut self, settings: Value) {
        self.command(json!({"command": "set", "settings": settings}));
    }

    pub(crate) fn account(&mut self, phone: &str, password: Option<&str>) {
        let account = json!({"command": "account", "phone": phone, "code": CODE, "password": password});
        self.command(account);
    }

    pub(crate) fn counter(&mut self, pointer: &str) -> u64 {
        let counters = self.command(json!({"command": "counters"}));
        counters.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A key that is signed in for a phone, or for nobody, with its number.
    pub(crate) fn key(&mut self, phone: Option<&str>) -> (String, [u8; 256]) {
        let answer = self.command(json!({"command": "issue_key", "phone": phone}));
        let hex = answer["bytes"].as_str().unwrap();
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        (answer["key"].as_str().unwrap().to_owned(), bytes.try_into().unwrap())
    }
}

/// A server within the test, with one account.
pub(crate) struct Door {
    pub(crate) server: Arc<Server>,
    pub(crate) control: Control,
}

impl Door {
    pub(crate) fn open() -> Door {
        Door::open_with(&[2])
    }

    pub(crate) fn open_with(data_centres: &[i32]) -> Door {
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let options = Options { listen, state: None, data_centres: data_centres.to_vec() };
        let server = Server::start(&options).unwrap();
        let mut control = Control::connect(listen_for_commands(&server, listen).unwrap());
        control.account(PHONE, None);
        Door { server, control }
    }

    /// A client of the account.
    pub(crate) fn client(&mut self) -> Client {
        self.client_of(PHONE)
    }

    pub(crate) fn client_of(&mut self, phone: &str) -> Client {
        let (_, key) = self.control.key(Some(phone));
        Client::connect(self.server.addresses(), key)
    }
}

/// A stock client that never tries again by itself.
pub(crate) struct Client {
    handle: SenderPoolFatHandle,
    pub(crate) updates: Receiver<UpdatesLike>,
    home: i32,
}

impl Client {
    pub(crate) fn connect(addresses: &[(i32, SocketAddr)], key: [u8; 256]) -> Client {
        let mut data = SessionData { home_dc: addresses[0].0, ..SessionData::default() };
        data.dc_options.clear();
        for (id, address) in addresses {
            let SocketAddr::V4(ipv4) = *address else { panic!("loopback is IPv4 here") };
            let ipv6 = SocketAddrV6::new(SocketAddrV4::ip(&ipv4).to_ipv6_mapped(), ipv4.port(), 0, 0);
            data.dc_options.insert(*id, DcOption { id: *id, ipv4, ipv6, auth_key: Some(key) });
        }
        let session = Arc::new(MemorySession::from(data));
        let params = ConnectionParams { retry_policy: Box::new(NoRetries), ..ConnectionParams::default() };
        let SenderPool { runner, handle, updates } = SenderPool::with_configuration(session, 1, params);
        tokio::spawn(runner.run());
        Client { handle, updates, home: addresses[0].0 }
    }

    pub(crate) async fn invoke<R: RemoteCall>(&self, request: &R) -> Result<R::Return, InvocationError> {
        self.invoke_in(self.home, request).await
    }

    pub(crate) async fn invoke_in<R: RemoteCall>(
        &self,
        dc: i32,
        request: &R,
    ) -> Result<R::Return, InvocationError> {
        timeout(PATIENCE, self.handle.invoke_in_dc(dc, request)).await.expect("no answer in time")
    }

    /// Sends a document in parts and gives back its message.
    pub(crate) async fn upload(&self, peer: &enums::InputPeer, name: &str, content: &[u8]) -> types::Message {
        let (file_id, parts) = (fresh(), content.len().div_ceil(PART) as i32);
        for (index, bytes) in content.chunks(PART).enumerate() {
            let part = f::upload::SaveBigFilePart {
                file_id,
                file_part: index as i32,
                file_total_parts: parts,
                bytes: bytes.to_vec(),
            };
            assert!(self.invoke(&part).await.unwrap());
        }
        let file = types::InputFileBig { id: file_id, parts, name: name.to_owned() };
        let request = send_media(peer, file.into(), name, fresh());
        sent(&self.invoke(&request).await.unwrap()).0
    }

    pub(crate) async fn say(&self, peer: &enums::InputPeer, text: &str) -> types::Message {
        sent(&self.invoke(&send_message(peer, text, fresh())).await.unwrap()).0
    }

    pub(crate) async fn history(&self, peer: &enums::InputPeer, offset_id: i32) -> Vec<enums::Message> {
        let request = f::messages::GetHistory {
            peer: peer.clone(),
            offset_id,
            offset_date: 0,
            add_offset: 0,
            limit: 100,
            max_id: 0,
            min_id: 0,
            hash: 0,
        };
        messages(self.invoke(&request).await.unwrap())
    }

    /// Makes a broadcast channel.
    pub(crate) async fn channel(&self, title: &str) -> types::Channel {
        let request = f::channels::CreateChannel {
            broadcast: true,
            megagroup: false,
            for_import: false,
            forum: false,
            title: title.to_owned(),
            about: "about".to_owned(),
            geo_point: None,
            address: None,
            ttl_period: None,
        };
        let enums::Updates::Updates(updates) = self.invoke(&request).await.unwrap() else { panic!() };
        let enums::Chat::Channel(channel) = &updates.chats[0] else { panic!() };
        channel.clone()
    }

    /// The next update of a kind that the closure picks.
    pub(crate) async fn next_update<T>(&mut self, pick: impl Fn(&enums::Update) -> Option<T>) -> Option<T> {
        loop {
            let next = timeout(Duration::from_millis(500), self.updates.recv()).await.ok()??;
            if let UpdatesLike::Updates(updates) = next
                && let enums::Updates::Updates(updates) = updates
                && let Some(picked) = updates.updates.iter().find_map(&pick)
            {
                return Some(picked);
            }
        }
    }
}

/// The text of a message that was pushed.
pub(crate) fn pushed_text(update: &enums::Update) -> Option<String> {
    let message = match update {
        enums::Update::NewMessage(update) => &update.message,
        enums::Update::NewChannelMessage(update) => &update.message,
        _ => return None,
    };
    match message {
        enums::Message::Message(message) => Some(message.message.clone()),
        _ => None,
    }
}

/// A number that was not used before.
pub(crate) fn fresh() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(1_000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn own() -> enums::InputPeer {
    enums::InputPeer::PeerSelf
}

pub(crate) fn peer_of(channel: &types::Channel) -> enums::InputPeer {
    let (channel_id, access_hash) = (channel.id, channel.access_hash.unwrap());
    types::InputPeerChannel { channel_id, access_hash }.into()
}

pub(crate) fn input_of(channel: &types::Channel) -> enums::InputChannel {
    let (channel_id, access_hash) = (channel.id, channel.access_hash.unwrap());
    types::InputChannel { channel_id, access_hash }.into()
}

/// Bytes without a pattern, always the same.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

pub(crate) fn send_message(
    peer: &enums::InputPeer,
    message: &str,
    random_id: i64,
) -> f::messages::SendMessage {
    f::messages::SendMessage {
        no_webpage: false,
        silent: false,
        background: false,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer: peer.clone(),
        reply_to: None,
        message: message.to_owned(),
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
        rich_message: None,
    }
}

pub(crate) fn send_media(
    peer: &enums::InputPeer,
    file: enums::InputFile,
    name: &str,
    random_id: i64,
) -> f::messages::SendMedia {
    let media = types::InputMediaUploadedDocument {
        nosound_video: false,
        force_file: true,
        spoiler: false,
        file,
        thumb: None,
        mime_type: "application/octet-stream".to_owned(),
        attributes: vec![types::DocumentAttributeFilename { file_name: name.to_owned() }.into()],
        stickers: None,
        video_cover: None,
        video_timestamp: None,
        ttl_seconds: None,
    };
    f::messages::SendMedia {
        silent: false,
        background: false,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer: peer.clone(),
        reply_to: None,
        media: media.into(),
        message: format!("caption of {name}"),
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
    }
}

/// The message that a send answered, with how many changes it was.
pub(crate) fn sent(updates: &enums::Updates) -> (types::Message, i32) {
    let enums::Updates::Updates(updates) = updates else { panic!("{updates:?}") };
    let found = updates.updates.iter().find_map(|update| match update {
        enums::Update::NewMessage(update) => Some((&update.message, update.pts_count)),
        enums::Update::NewChannelMessage(update) => Some((&update.message, update.pts_count)),
        _ => None,
    });
    let Some((enums::Message::Message(message), pts_count)) = found else { panic!("{updates:?}") };
    (message.clone(), pts_count)
}

pub(crate) fn messages(answer: enums::messages::Messages) -> Vec<enums::Message> {
    match answer {
        enums::messages::Messages::Messages(list) => list.messages,
        enums::messages::Messages::Slice(list) => list.messages,
        enums::messages::Messages::ChannelMessages(list) => list.messages,
        enums::messages::Messages::NotModified(_) => panic!("nobody asked by hash"),
    }
}

pub(crate) fn document_of(message: &types::Message) -> types::Document {
    let Some(enums::MessageMedia::Document(media)) = &message.media else { panic!("{message:?}") };
    let Some(enums::Document::Document(document)) = &media.document else { panic!("{media:?}") };
    document.clone()
}

pub(crate) fn get_file(document: &types::Document, offset: i64, limit: i32) -> f::upload::GetFile {
    let location = types::InputDocumentFileLocation {
        id: document.id,
        access_hash: document.access_hash,
        file_reference: document.file_reference.clone(),
        thumb_size: String::new(),
    };
    f::upload::GetFile { precise: true, cdn_supported: false, location: location.into(), offset, limit }
}

pub(crate) fn content(file: enums::upload::File) -> Vec<u8> {
    let enums::upload::File::File(file) = file else { panic!("{file:?}") };
    file.bytes
}

/// The name of the error that a request was answered with.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, InvocationError>) -> String {
    match answer {
        Err(InvocationError::Rpc(error)) => match error.value {
            Some(value) => format!("{} {}_{value}", error.code, error.name),
            None => format!("{} {}", error.code, error.name),
        },
        other => panic!("not refused: {other:?}"),
    }
}
