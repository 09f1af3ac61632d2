//! Empty values of TL types that have dozens of fields.
//!
//! Each is decoded from the bytes of an object without optional fields, so that a new optional field in the
//! schema changes nothing here.

use grammers_tl_types::{Deserializable, Serializable, enums, types};

/// Bytes of zero read as absent flags, zeros and empty strings; more than any type here reads.
const ZEROS: [u8; 256] = [0; 256];
const IS_COMPLETE: &str = "the bytes are written above field by field as the schema has them";

pub(crate) fn user() -> types::User {
    types::User::from_bytes(&ZEROS).expect(IS_COMPLETE)
}

pub(crate) fn config() -> types::Config {
    let mut bytes = vec![0; 12];
    false.serialize(&mut bytes);
    bytes.extend([0; 4]);
    Vec::<enums::DcOption>::new().serialize(&mut bytes);
    bytes.extend(ZEROS);
    types::Config::from_bytes(&bytes).expect(IS_COMPLETE)
}

pub(crate) fn message(peer: &enums::Peer) -> types::Message {
    let mut bytes = vec![0; 12];
    peer.serialize(&mut bytes);
    bytes.extend(ZEROS);
    types::Message::from_bytes(&bytes).expect(IS_COMPLETE)
}

pub(crate) fn channel() -> types::Channel {
    let mut bytes = vec![0; 20];
    enums::ChatPhoto::Empty.serialize(&mut bytes);
    bytes.extend(ZEROS);
    types::Channel::from_bytes(&bytes).expect(IS_COMPLETE)
}

pub(crate) fn full_channel() -> types::ChannelFull {
    let mut bytes = vec![0; 32];
    enums::Photo::from(types::PhotoEmpty { id: 0 }).serialize(&mut bytes);
    notify_settings(None).serialize(&mut bytes);
    Vec::<enums::BotInfo>::new().serialize(&mut bytes);
    bytes.extend(ZEROS);
    types::ChannelFull::from_bytes(&bytes).expect(IS_COMPLETE)
}

pub(crate) fn notify_settings(mute_until: Option<i32>) -> enums::PeerNotifySettings {
    let mut settings = types::PeerNotifySettings::from_bytes(&ZEROS).expect(IS_COMPLETE);
    settings.mute_until = mute_until;
    settings.into()
}

pub(crate) fn message_media_document() -> types::MessageMediaDocument {
    types::MessageMediaDocument::from_bytes(&ZEROS).expect(IS_COMPLETE)
}

/// A reference to another message of the same chat.
pub(crate) fn reply_to(id: i32) -> enums::MessageReplyHeader {
    let mut header = types::MessageReplyHeader::from_bytes(&ZEROS).expect(IS_COMPLETE);
    header.reply_to_msg_id = Some(id);
    header.into()
}

/// The rights of a channel's creator: everything that is about messages, members and the channel's data.
pub(crate) fn admin_rights() -> types::ChatAdminRights {
    const GIVEN: u32 = 0b1_1010_1011_1111;
    types::ChatAdminRights::from_bytes(&GIVEN.to_le_bytes()).expect(IS_COMPLETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_empty_value_can_be_made() {
        user();
        config();
        message(&types::PeerUser { user_id: 1 }.into());
        channel();
        full_channel();
        message_media_document();
        reply_to(1);
        let rights = admin_rights();
        assert!(
            rights.post_messages && rights.edit_messages && rights.delete_messages && rights.pin_messages
        );
        assert!(!rights.anonymous && !rights.manage_topics);
    }
}
