//! A volume: one channel, or the saved messages, that holds a part of the store's objects.
//!
//! A channel forgets its oldest messages in the end, so a store goes on in a new channel long before. All volumes
//! of a store carry one tag in their description, and a number.

use grammers_tl_types as tl;

/// Behind this in a channel's description stands the tag of the store.
const TAG: &str = "tag:";
/// Behind this stands the number of the volume.
const VOLUME: &str = "volume:";
/// What people read in the description.
const SENTENCE: &str = "Sealed files of keepfs. Please do not post or delete here.";
/// First words of the message that says that the store goes on in another channel.
const CONTINUES: &str = "keepfs: continued in channel ";
/// Longest tag, in bytes.
const TAG_LEN_MAX: usize = 64;

/// Names a volume, in the order in which they were begun.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct VolumeKey {
    /// 1, 2, 3, …; two machines may begin the same one at once.
    pub(crate) number: u32,
    /// Number of the channel; zero stands for the saved messages.
    pub(crate) channel: i64,
}

impl VolumeKey {
    /// The saved messages.
    pub(crate) const SAVED: VolumeKey = VolumeKey { number: 1, channel: 0 };

    /// Whether these are the saved messages.
    pub(crate) fn is_saved(self) -> bool {
        self.channel == 0
    }
}

/// A volume and the right to speak to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Volume {
    pub(crate) key: VolumeKey,
    /// The server's ticket for the channel, good for this account only.
    pub(crate) access_hash: i64,
}

impl Volume {
    /// The saved messages.
    pub(crate) const SAVED: Volume = Volume { key: VolumeKey::SAVED, access_hash: 0 };

    /// As the place that messages are in.
    pub(crate) fn peer(&self) -> tl::enums::InputPeer {
        if self.key.is_saved() {
            return tl::enums::InputPeer::PeerSelf;
        }
        let channel =
            tl::types::InputPeerChannel { channel_id: self.key.channel, access_hash: self.access_hash };
        channel.into()
    }

    /// As a channel; nothing for the saved messages.
    pub(crate) fn channel(&self) -> Option<tl::enums::InputChannel> {
        let channel = tl::types::InputChannel { channel_id: self.key.channel, access_hash: self.access_hash };
        (!self.key.is_saved()).then(|| channel.into())
    }
}

/// What the description of a channel says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct About {
    /// Shared by all volumes of a store.
    pub(crate) tag: String,
    /// Which volume this is.
    pub(crate) number: u32,
}

impl About {
    /// As the description of a channel.
    pub(crate) fn text(&self) -> String {
        format!("{SENTENCE} {TAG}{} {VOLUME}{}", self.tag, self.number)
    }

    /// Reads a description; nothing if it is not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = |start| text.split_whitespace().find_map(|word| word.strip_prefix(start));
        let tag = word(TAG)?;
        let number = word(VOLUME)?.parse().ok()?;
        let fits = !tag.is_empty() && tag.len() <= TAG_LEN_MAX && number >= 1;
        fits.then(|| About { tag: tag.to_owned(), number })
    }
}

/// The title of a volume of the store with this name.
pub(crate) fn title(name: &str, number: u32) -> String {
    if number == 1 { name.to_owned() } else { format!("{name} {number}") }
}

/// Whether a channel with this title may belong to the store.
pub(crate) fn is_title_of(title: &str, name: &str) -> bool {
    title == name
        || title
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
            .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The message that leads from one volume to the next.
pub(crate) fn continues(channel: i64) -> String {
    format!("{CONTINUES}{channel}")
}

/// The channel that the store goes on in, if a message says so.
pub(crate) fn continued_in(text: &str) -> Option<i64> {
    text.strip_prefix(CONTINUES)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_come_back_and_others_are_not_ours() {
        let about = About { tag: "abc".into(), number: 3 };
        assert_eq!(About::parse(&about.text()), Some(about));
        for text in ["", "tag:x", "volume:1", "tag: volume:1", "tag:x volume:0", "tag:x volume:y"] {
            assert_eq!(About::parse(text), None, "{text}");
        }
    }

    #[test]
    fn titles_of_one_store_are_told_from_others() {
        assert!(is_title_of("files", "files") && is_title_of(&title("files", 2), "files"));
        assert!(!is_title_of("files of mine", "files") && !is_title_of("files2", "files"));
    }

    #[test]
    fn only_the_exact_message_ends_a_volume() {
        assert_eq!(continued_in(&continues(2)), Some(2));
        assert_eq!([continued_in("keepfs: continued in channel two"), continued_in("")], [None, None]);
    }
}
