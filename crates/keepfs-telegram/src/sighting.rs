//! A message as the server shows it, read for what it means to a store. Nothing here believes more than it sees.

use grammers_tl_types as tl;
use tl::enums;

use crate::error::{Result, TelegramError};
use crate::label::Label;
use crate::session::Centre;
use crate::volume::{VolumeKey, continued_in};

/// Longest ticket for a file that is kept, in bytes.
const REFERENCE_LEN_MAX: usize = 1024;

/// Where the bytes of an object are. The ticket gets old and is renewed by looking at the message again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Document {
    pub(crate) centre: Centre,
    pub(crate) id: i64,
    pub(crate) access_hash: i64,
    pub(crate) reference: Vec<u8>,
}

impl Document {
    /// As the file to be read.
    pub(crate) fn location(&self) -> enums::InputFileLocation {
        let location = tl::types::InputDocumentFileLocation {
            id: self.id,
            access_hash: self.access_hash,
            file_reference: self.reference.clone(),
            thumb_size: String::new(),
        };
        location.into()
    }
}

/// An object of ours in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sighting {
    /// Number of the message.
    pub(crate) id: i32,
    pub(crate) label: Label,
    /// When it was sent, in Unix seconds by the server's clock.
    pub(crate) date_secs: i64,
    pub(crate) document: Document,
}

/// What a message is to a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// An object.
    Object(Box<Sighting>),
    /// The store goes on in this channel.
    Continues(i64),
    /// There is no message of that number, or none any more.
    Nothing,
    /// Something else: somebody's note, a joining, a message of another chat.
    Other,
}

/// Reads a message of this volume. `user` is the account.
pub(crate) fn meaning(message: &enums::Message, volume: VolumeKey, user: i64) -> Meaning {
    let message = match message {
        enums::Message::Empty(_) => return Meaning::Nothing,
        enums::Message::Service(_) => return Meaning::Other,
        enums::Message::Message(message) => message,
    };
    if !is_in(&message.peer_id, volume, user) || message.fwd_from.is_some() {
        return Meaning::Other;
    }
    match &message.media {
        Some(media) => match object(message, media) {
            Some(sighting) => Meaning::Object(Box::new(sighting)),
            None => Meaning::Other,
        },
        None => continued_in(&message.message).map_or(Meaning::Other, Meaning::Continues),
    }
}

fn is_in(peer: &enums::Peer, volume: VolumeKey, user: i64) -> bool {
    match peer {
        enums::Peer::User(peer) => volume.is_saved() && peer.user_id == user,
        enums::Peer::Channel(peer) => !volume.is_saved() && peer.channel_id == volume.channel,
        enums::Peer::Chat(_) => false,
    }
}

fn object(message: &tl::types::Message, media: &enums::MessageMedia) -> Option<Sighting> {
    let (file_name, size, document) = document(media)?;
    let label = Label::parse(file_name, &message.message, size)?;
    Some(Sighting { id: message.id, label, date_secs: i64::from(message.date), document })
}

/// File name, size and place of the document in a message.
pub(crate) fn document(media: &enums::MessageMedia) -> Option<(&str, u64, Document)> {
    let enums::MessageMedia::Document(media) = media else { return None };
    let Some(enums::Document::Document(document)) = &media.document else { return None };
    let file_name = document.attributes.iter().find_map(|attribute| match attribute {
        enums::DocumentAttribute::Filename(attribute) => Some(attribute.file_name.as_str()),
        _ => None,
    })?;
    if document.file_reference.len() > REFERENCE_LEN_MAX {
        return None;
    }
    let place = Document {
        centre: Centre(document.dc_id),
        id: document.id,
        access_hash: document.access_hash,
        reference: document.file_reference.clone(),
    };
    Some((file_name, u64::try_from(document.size).ok()?, place))
}

/// The messages of an answer.
pub(crate) fn messages_of(answer: enums::messages::Messages) -> Result<Vec<enums::Message>> {
    match answer {
        enums::messages::Messages::Messages(answer) => Ok(answer.messages),
        enums::messages::Messages::Slice(answer) => Ok(answer.messages),
        enums::messages::Messages::ChannelMessages(answer) => Ok(answer.messages),
        enums::messages::Messages::NotModified(_) => {
            Err(TelegramError::broken("messages were asked for and none were sent"))
        }
    }
}

/// The changes in an answer or a push.
pub(crate) fn updates_of(answer: enums::Updates) -> Vec<enums::Update> {
    match answer {
        enums::Updates::Updates(answer) => answer.updates,
        enums::Updates::Combined(answer) => answer.updates,
        enums::Updates::UpdateShort(answer) => vec![answer.update],
        // The short forms carry no document.
        _ => Vec::new(),
    }
}
