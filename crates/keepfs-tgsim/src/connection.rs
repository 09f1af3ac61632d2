//! The receiving half of a connection: frames become messages, messages become requests.
//!
//! It owns the protocol between frames and methods: keys, sessions, salts, containers, packed messages,
//! acknowledgements (<https://core.telegram.org/mtproto/service_messages>). It never knows what a method does.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use tl::{Cursor, Deserializable, Identifiable, Serializable};

use crate::error::{Error, Result};
use crate::link::{Link, Outgoing, Owner};
use crate::rates::round_trip;
use crate::request::Request;
use crate::server::{Server, Verdict, send_later};
use crate::wire::envelope::{Envelope, KeyId};
use crate::wire::key_exchange::KeyExchange;
use crate::wire::message_id::{self, Kind};
use crate::wire::salts::Salts;
use crate::wire::transport::{FRAME_LEN_MAX, FrameReader};

const CONTAINER: u32 = 0x73f1_f8dc;
const PACKED: u32 = 0x3072_cfa1;
const RPC_RESULT: u32 = 0xf35c_6d01;
/// Messages in one container (<https://core.telegram.org/mtproto/service_messages#containers>).
const CONTAINER_MAX: u32 = 1_020;
/// Number, sequence and length before each message of a container.
const CONTAINED_HEAD_LEN: usize = 16;
/// Nothing before the first message of an unencrypted frame is longer.
const PLAIN_HEAD_LEN: usize = 20;
/// The error of the transport that says that a key is not known.
const KEY_UNKNOWN: i32 = 404;
/// A container may hold packed messages, and nothing deeper.
const DEPTH_MAX: u8 = 2;

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    End,
}

/// One connection.
pub(crate) struct Connection {
    server: Arc<Server>,
    link: Arc<Link>,
    dc: i32,
    exchange: KeyExchange,
}

impl Connection {
    pub(crate) fn new(server: Arc<Server>, link: Arc<Link>, dc: i32) -> Connection {
        Connection { server, link, dc, exchange: KeyExchange::default() }
    }

    /// Serves the client until one of the two ends the connection.
    pub(crate) fn run(&mut self, mut stream: &TcpStream) -> Result<()> {
        let mut frames = FrameReader::default();
        loop {
            let frame = frames.read(&mut stream)?;
            let is_stalled = self.link.is_stalled.load(Ordering::Relaxed);
            if !is_stalled && self.on_frame(frame)? == Flow::End {
                return Ok(());
            }
        }
    }

    fn on_frame(&mut self, mut frame: Vec<u8>) -> Result<Flow> {
        let Some(key_id) = frame.first_chunk::<8>().copied() else {
            return Err(Error::Protocol("a frame has no key"));
        };
        if key_id == [0; 8] {
            return self.on_plain(&frame);
        }
        let Some(key) = self.server.key(key_id) else { return Ok(self.end_with(KEY_UNKNOWN)) };
        let envelope = Envelope::open(&key, &mut frame)?;
        let salts = Salts { key: key_id, period_s: self.server.salt_period_s() };
        let owner = Owner { key_id, key, session: envelope.session, salts };
        if !salts.is_valid(envelope.salt) {
            self.refuse_salt(&owner, &envelope);
            return Ok(Flow::Go);
        }
        if let Err(code) = message_id::check(envelope.message_id) {
            self.refuse_id(&owner, &envelope, code);
            return Ok(Flow::Go);
        }
        self.meet(&owner, key_id, &envelope)?;
        self.on_message(&owner, envelope.message_id, &envelope.body, 0)
    }

    /// Takes note of who speaks, and greets a new session.
    fn meet(&mut self, owner: &Owner, key_id: KeyId, envelope: &Envelope) -> Result<()> {
        let known = self.link.owner.lock().replace(owner.clone());
        if known.is_some_and(|known| known.key_id == key_id && known.session == owner.session) {
            return Ok(());
        }
        if self.server.greet(&self.link, owner)? {
            let created = tl::types::NewSessionCreated {
                first_msg_id: envelope.message_id,
                unique_id: owner.session,
                server_salt: owner.salts.current(),
            };
            self.notice(owner, true, tl::enums::NewSession::Created(created).to_bytes());
        }
        Ok(())
    }

    fn on_plain(&mut self, frame: &[u8]) -> Result<Flow> {
        let step = self.exchange.handle(frame.get(PLAIN_HEAD_LEN..).unwrap_or_default())?;
        if let Some(key) = &step.key {
            self.server.add_key(key)?;
        }
        self.link.send(Outgoing::Plain(step.answer));
        Ok(Flow::Go)
    }

    /// Sends an error of the transport. The writer ends the connection behind it.
    fn end_with(&self, code: i32) -> Flow {
        self.link.send(Outgoing::TransportError(code));
        Flow::Go
    }

    fn refuse_salt(&self, owner: &Owner, envelope: &Envelope) {
        let bad = tl::types::BadServerSalt {
            bad_msg_id: envelope.message_id,
            bad_msg_seqno: envelope.sequence,
            error_code: 48,
            new_server_salt: owner.salts.current(),
        };
        self.notice(owner, false, tl::enums::BadMsgNotification::BadServerSalt(bad).to_bytes());
    }

    fn refuse_id(&self, owner: &Owner, envelope: &Envelope, error_code: i32) {
        let bad = tl::types::BadMsgNotification {
            bad_msg_id: envelope.message_id,
            bad_msg_seqno: envelope.sequence,
            error_code,
        };
        self.notice(owner, false, tl::enums::BadMsgNotification::Notification(bad).to_bytes());
    }

    fn notice(&self, owner: &Owner, is_content: bool, body: Vec<u8>) {
        let owner = owner.clone();
        self.link.send(Outgoing::Message { owner, kind: Kind::Notice, is_content, body, due: None });
    }

    fn answer(&self, owner: &Owner, is_content: bool, body: Vec<u8>) {
        let wait = if is_content { round_trip(self.server.round_trip_ms()) } else { None };
        let (owner, due) = (owner.clone(), wait.map(|wait| Instant::now() + wait));
        self.link.send(Outgoing::Message { owner, kind: Kind::Answer, is_content, body, due });
    }

    fn on_message(&mut self, owner: &Owner, message_id: i64, body: &[u8], depth: u8) -> Result<Flow> {
        let cursor = &mut Cursor::from_slice(body);
        match u32::deserialize(cursor).map_err(|_| Error::Protocol("a message is empty"))? {
            CONTAINER if depth == 0 => self.on_container(owner, &body[4..]),
            PACKED if depth <= DEPTH_MAX => {
                let unpacked = unpack(&body[4..])?;
                self.on_message(owner, message_id, &unpacked, depth + 1)
            }
            CONTAINER | PACKED => Err(Error::Protocol("messages are nested too deeply")),
            tl::functions::Ping::CONSTRUCTOR_ID | tl::functions::PingDelayDisconnect::CONSTRUCTOR_ID => {
                let ping_id = i64::deserialize(cursor).map_err(|_| Error::Protocol("a ping is cut off"))?;
                // Only the ping that asks for a disconnection has seconds behind its number.
                if let Some(delay_s) = i32::deserialize(cursor).ok().and_then(|s| u64::try_from(s).ok()) {
                    self.link.end_when_silent_for(Duration::from_secs(delay_s.max(1)))?;
                }
                let pong = tl::types::Pong { msg_id: message_id, ping_id };
                self.answer(owner, false, tl::enums::Pong::Pong(pong).to_bytes());
                Ok(Flow::Go)
            }
            tl::functions::GetFutureSalts::CONSTRUCTOR_ID => {
                let wanted = i32::deserialize(cursor).unwrap_or(0);
                let salts = tl::types::FutureSalts {
                    req_msg_id: message_id,
                    now: crate::wire::time_s(),
                    salts: tl::RawVec(owner.salts.announced(wanted)),
                };
                self.answer(owner, false, tl::enums::FutureSalts::Salts(salts).to_bytes());
                Ok(Flow::Go)
            }
            // What concerns the delivery of messages: all of the server's are delivered or lost with TCP.
            tl::types::MsgsAck::CONSTRUCTOR_ID
            | tl::types::MsgsStateReq::CONSTRUCTOR_ID
            | tl::types::MsgResendReq::CONSTRUCTOR_ID
            | tl::types::MsgsStateInfo::CONSTRUCTOR_ID
            | tl::types::MsgsAllInfo::CONSTRUCTOR_ID
            | tl::functions::RpcDropAnswer::CONSTRUCTOR_ID
            | tl::functions::DestroySession::CONSTRUCTOR_ID => Ok(Flow::Go),
            _ => self.on_request(owner, message_id, body),
        }
    }

    fn on_container(&mut self, owner: &Owner, mut rest: &[u8]) -> Result<Flow> {
        const CUT_OFF: Error = Error::Protocol("a container is cut off");
        let Some((count, messages)) = rest.split_first_chunk::<4>() else { return Err(CUT_OFF) };
        let count = u32::from_le_bytes(*count);
        if count > CONTAINER_MAX {
            return Err(Error::Protocol("a container holds too many messages"));
        }
        rest = messages;
        for _ in 0..count {
            let Some((head, behind)) = rest.split_first_chunk::<CONTAINED_HEAD_LEN>() else {
                return Err(CUT_OFF);
            };
            let [id @ .., _, _, _, _, a, b, c, d] = *head;
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            let (body, next) = behind.split_at_checked(len).ok_or(CUT_OFF)?;
            if self.on_message(owner, i64::from_le_bytes(id), body, 1)? == Flow::End {
                return Ok(Flow::End);
            }
            rest = next;
        }
        Ok(Flow::Go)
    }

    fn on_request(&mut self, owner: &Owner, message_id: i64, body: &[u8]) -> Result<Flow> {
        let request = Request::unwrap_from(body)?;
        match self.server.handle(&self.link, owner, self.dc, &request) {
            Verdict::Answer(result) => self.answer(owner, true, rpc_result(message_id, &result)),
            Verdict::AnswerLater(result, wait) => {
                self.answer_later(owner, rpc_result(message_id, &result), wait)
            }
            Verdict::TransportError(code) => return Ok(self.end_with(code)),
            Verdict::Close => {
                self.link.close();
                return Ok(Flow::End);
            }
            Verdict::Stall => self.link.is_stalled.store(true, Ordering::Relaxed),
        }
        Ok(Flow::Go)
    }

    fn answer_later(&self, owner: &Owner, body: Vec<u8>, wait: Duration) {
        let owner = owner.clone();
        let answer = Outgoing::Message { owner, kind: Kind::Answer, is_content: true, body, due: None };
        send_later(self.link.clone(), answer, wait);
    }
}

fn rpc_result(message_id: i64, result: &[u8]) -> Vec<u8> {
    [&RPC_RESULT.to_le_bytes()[..], &message_id.to_le_bytes(), result].concat()
}

/// What a packed message holds; never more than a frame would.
fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    const BROKEN: Error = Error::Protocol("a packed message is broken");
    let packed = Vec::<u8>::from_bytes(packed).map_err(|_| BROKEN)?;
    let mut unpacked = Vec::new();
    let reader = flate2::read::GzDecoder::new(&packed[..]);
    reader.take(FRAME_LEN_MAX as u64 + 1).read_to_end(&mut unpacked).map_err(|_| BROKEN)?;
    if unpacked.len() > FRAME_LEN_MAX {
        return Err(Error::Protocol("a packed message is too long"));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(len: usize) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![7; len]).unwrap();
        encoder.finish().unwrap().to_bytes()
    }

    #[test]
    fn packed_messages_are_unpacked_within_limits() {
        assert_eq!(unpack(&packed(1_000)).unwrap(), vec![7; 1_000]);
        assert!(unpack(&packed(FRAME_LEN_MAX + 1)).is_err());
        assert!(unpack(&packed(1_000)[..30]).is_err());
    }
}
