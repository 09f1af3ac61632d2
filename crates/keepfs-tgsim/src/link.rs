//! The sending half of a connection: what leaves it, in order, from its own thread.
//!
//! It owns the order and the numbers of what is sent. It never waits for a client that does not read: answers
//! wait in the connection's own reader, updates are lost, as Telegram's are.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use grammers_crypto::AuthKey;
use parking_lot::Mutex;

use crate::error::Result;
use crate::wire::envelope::{Envelope, KeyId};
use crate::wire::message_id::{Kind, MessageIds};
use crate::wire::salts::Salts;
use crate::wire::transport::FrameWriter;

/// Answers that wait for a slow client. Each has at most a frame's length.
const WAITING_MAX: usize = 32;

/// Whose connection it is, known from the first encrypted message on.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) key_id: KeyId,
    pub(crate) key: Arc<AuthKey>,
    pub(crate) session: i64,
    pub(crate) salts: Salts,
}

/// What leaves a connection.
pub(crate) enum Outgoing {
    /// An unencrypted message of the key exchange.
    Plain(Vec<u8>),
    /// An error of the transport, after which the connection ends.
    TransportError(i32),
    /// An encrypted message.
    Message {
        /// Whose key and session it is for.
        owner: Owner,
        kind: Kind,
        /// The client has to acknowledge it.
        is_content: bool,
        body: Vec<u8>,
        /// Not before this time.
        due: Option<Instant>,
    },
}

/// The sending half of one connection.
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) peer: IpAddr,
    stream: TcpStream,
    outgoing: SyncSender<Outgoing>,
    pub(crate) owner: Mutex<Option<Owner>>,
    /// The client wants updates on this connection.
    pub(crate) is_subscribed: AtomicBool,
    /// Nothing is sent any more.
    pub(crate) is_stalled: Arc<AtomicBool>,
}

impl Link {
    /// Takes the sending half of a stream and starts its thread.
    pub(crate) fn start(id: u64, stream: &TcpStream) -> Result<Link> {
        let (outgoing, incoming) = sync_channel(WAITING_MAX);
        let is_stalled = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            stream: stream.try_clone()?,
            frames: FrameWriter::default(),
            ids: MessageIds::default(),
            contents: 0,
            is_stalled: is_stalled.clone(),
        };
        std::thread::Builder::new().name(format!("send-{id}")).spawn(move || writer.run(&incoming))?;
        Ok(Link {
            id,
            peer: stream.peer_addr()?.ip(),
            stream: stream.try_clone()?,
            outgoing,
            owner: Mutex::new(None),
            is_subscribed: AtomicBool::new(false),
            is_stalled,
        })
    }

    /// Sends when there is room; waits for it otherwise.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        // The writer has ended when this fails, and the reader will find out by itself.
        let _ = self.outgoing.send(outgoing);
    }

    /// Sends if there is room now.
    pub(crate) fn try_send(&self, outgoing: Outgoing) {
        let _ = self.outgoing.try_send(outgoing);
    }

    /// Ends the connection when the client is silent for longer.
    pub(crate) fn end_when_silent_for(&self, silence: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(silence))?)
    }

    /// Ends the connection at once; what waits is lost.
    pub(crate) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

struct Writer {
    stream: TcpStream,
    frames: FrameWriter,
    ids: MessageIds,
    contents: i32,
    is_stalled: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, incoming: &Receiver<Outgoing>) {
        while let Ok(outgoing) = incoming.recv() {
            let is_silent = self.is_stalled.load(Ordering::Relaxed);
            if !is_silent && !self.write(outgoing).unwrap_or(false) {
                break;
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Writes one message. Tells whether more may follow.
    fn write(&mut self, outgoing: Outgoing) -> Result<bool> {
        match outgoing {
            Outgoing::TransportError(code) => {
                FrameWriter::write_error(&mut self.stream, code)?;
                Ok(false)
            }
            Outgoing::Plain(body) => {
                let mut packet = vec![0; 8];
                packet.extend(self.ids.next(Kind::Answer).to_le_bytes());
                packet.extend((body.len() as u32).to_le_bytes());
                packet.extend(body);
                self.frames.write(&mut self.stream, &packet)?;
                Ok(true)
            }
            Outgoing::Message { owner, kind, is_content, body, due } => {
                if let Some(due) = due {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                let envelope = Envelope {
                    salt: owner.salts.current(),
                    session: owner.session,
                    message_id: self.ids.next(kind),
                    sequence: self.contents.wrapping_mul(2) | i32::from(is_content),
                    body,
                };
                self.contents = self.contents.wrapping_add(i32::from(is_content));
                self.frames.write(&mut self.stream, &envelope.seal(&owner.key)?)?;
                Ok(true)
            }
        }
    }
}
