//! The store's place in the account: its volumes and its index, and what is asked of messages.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use grammers_tl_types as tl;
use keepfs_store::ObjectName;
use parking_lot::{Mutex, RwLock};
use tl::enums;

use crate::error::{Result, TelegramError};
use crate::flow::Kind;
use crate::index::{Entry, Index, Spot};
use crate::index_file;
use crate::place::Place;
use crate::pool::Pool;
use crate::sighting::{Meaning, meaning, messages_of, updates_of};
use crate::volume::{Volume, VolumeKey};

/// The index is kept after so many changes, and when the store is closed.
const CHANGES_KEPT: usize = 256;
/// Messages looked at in one request; the server's limit is 100.
pub(crate) const MESSAGES_MAX: usize = 100;

/// One store in an account.
pub(crate) struct Shelf {
    pub(crate) pool: Arc<Pool>,
    pub(crate) place: Place,
    /// The account.
    pub(crate) user: i64,
    /// Local files of this store.
    pub(crate) directory: PathBuf,
    pub(crate) volumes: RwLock<Vec<Volume>>,
    pub(crate) index: Mutex<Index>,
    /// When the last completed refresh began; held while one runs, so that those who wait share it.
    pub(crate) refreshed: tokio::sync::Mutex<Option<Instant>>,
    /// Make the first volume if there is none.
    pub(crate) create: bool,
    /// Whether this process has looked for the volumes itself.
    pub(crate) found: AtomicBool,
    /// Held while a volume is begun.
    pub(crate) beginning: tokio::sync::Mutex<()>,
}

impl Shelf {
    /// The volume that new objects go to.
    pub(crate) fn current_volume(&self) -> Result<Volume> {
        self.volumes.read().last().copied().ok_or(TelegramError::ChannelGone)
    }

    /// The volume of a message.
    pub(crate) fn volume(&self, key: VolumeKey) -> Result<Volume> {
        let volumes = self.volumes.read();
        volumes.iter().find(|volume| volume.key == key).copied().ok_or(TelegramError::ChannelGone)
    }

    /// The message that counts for a name, as far as the index knows.
    pub(crate) fn newest(&self, name: &ObjectName) -> Option<(Spot, Entry)> {
        self.index.lock().newest(name).map(|(spot, entry)| (spot, entry.clone()))
    }

    /// Takes in a message of a volume.
    pub(crate) fn see(&self, volume: VolumeKey, message: &enums::Message) -> Meaning {
        let meaning = meaning(message, volume, self.user);
        let id = match message {
            enums::Message::Empty(message) => message.id,
            enums::Message::Message(message) => message.id,
            enums::Message::Service(message) => message.id,
        };
        // Messages of other chats count in numbers of their own, or are the user's.
        if volume.is_saved() && meaning == Meaning::Other {
            return meaning;
        }
        self.index.lock().see(Spot { volume, id }, &meaning);
        meaning
    }

    /// Takes in a change.
    pub(crate) fn apply(&self, volume: VolumeKey, update: &enums::Update) {
        match update {
            enums::Update::NewMessage(update) if volume.is_saved() => {
                self.see(volume, &update.message);
            }
            enums::Update::EditMessage(update) if volume.is_saved() => {
                self.see(volume, &update.message);
            }
            enums::Update::NewChannelMessage(update) if is_of(&update.message, volume) => {
                self.see(volume, &update.message);
            }
            enums::Update::EditChannelMessage(update) if is_of(&update.message, volume) => {
                self.see(volume, &update.message);
            }
            enums::Update::DeleteMessages(update) if volume.is_saved() => {
                self.forget(volume, &update.messages);
            }
            enums::Update::DeleteChannelMessages(update) if update.channel_id == volume.channel => {
                self.forget(volume, &update.messages);
            }
            _ => {}
        }
    }

    /// Takes in the answer to a request that changed a volume.
    pub(crate) fn apply_answer(&self, volume: VolumeKey, answer: enums::Updates) {
        for update in updates_of(answer) {
            self.apply(volume, &update);
        }
    }

    fn forget(&self, volume: VolumeKey, ids: &[i32]) {
        let mut index = self.index.lock();
        for id in ids {
            index.remove(Spot { volume, id: *id });
        }
    }

    /// Looks at messages again, at most [`MESSAGES_MAX`] of one volume: what they are now.
    pub(crate) async fn look(&self, volume: VolumeKey, ids: &[i32]) -> Result<Vec<(i32, Meaning)>> {
        let place = self.volume(volume)?;
        let id: Vec<enums::InputMessage> =
            ids.iter().map(|id| tl::types::InputMessageId { id: *id }.into()).collect();
        let answer = match place.channel() {
            Some(channel) => {
                self.pool.ask(Kind::Look, tl::functions::channels::GetMessages { channel, id }).await?
            }
            None => self.pool.ask(Kind::Look, tl::functions::messages::GetMessages { id }).await?,
        };
        let mut seen: Vec<(i32, Meaning)> = ids.iter().map(|id| (*id, Meaning::Nothing)).collect();
        for message in messages_of(answer)? {
            let meaning = meaning(&message, volume, self.user);
            let enums::Message::Message(message) = message else { continue };
            if let Some(slot) = seen.iter_mut().find(|(id, _)| *id == message.id) {
                slot.1 = meaning;
            }
        }
        let mut index = self.index.lock();
        for (id, meaning) in &seen {
            index.see(Spot { volume, id: *id }, meaning);
        }
        Ok(seen)
    }

    /// Deletes those of these messages that hold this object and nothing else.
    ///
    /// In the saved messages a number that is wrong would delete a message of any private chat. So each message is
    /// looked at right before, and only one with the object's own name, size and checksum goes.
    pub(crate) async fn delete(&self, name: &ObjectName, spots: &[Spot]) -> Result<()> {
        let mut volumes: Vec<VolumeKey> = spots.iter().map(|spot| spot.volume).collect();
        volumes.sort_unstable();
        volumes.dedup();
        for volume in volumes {
            let ids: Vec<i32> =
                spots.iter().filter(|spot| spot.volume == volume).map(|spot| spot.id).collect();
            for ids in ids.chunks(MESSAGES_MAX) {
                self.delete_in(volume, name, ids).await?;
            }
        }
        Ok(())
    }

    async fn delete_in(&self, volume: VolumeKey, name: &ObjectName, ids: &[i32]) -> Result<()> {
        let seen = self.look(volume, ids).await?;
        let is_ours = |meaning: &Meaning| match meaning {
            Meaning::Object(sighting) => sighting.label.name == *name,
            _ => false,
        };
        let id: Vec<i32> = seen.iter().filter(|(_, meaning)| is_ours(meaning)).map(|(id, _)| *id).collect();
        if id.is_empty() {
            return Ok(());
        }
        match self.volume(volume)?.channel() {
            Some(channel) => {
                let request = tl::functions::channels::DeleteMessages { channel, id: id.clone() };
                self.pool.ask(Kind::Message, request).await?;
            }
            None => {
                let request = tl::functions::messages::DeleteMessages { revoke: true, id: id.clone() };
                self.pool.ask(Kind::Message, request).await?;
            }
        }
        self.forget(volume, &id);
        Ok(())
    }

    /// Keeps the index if enough of it is new, or always.
    pub(crate) fn keep_index(&self, always: bool) -> Result<()> {
        let mut index = self.index.lock();
        if index.changes == 0 || (!always && index.changes < CHANGES_KEPT) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory)
            .map_err(|error| TelegramError::local("making the directory of the index", &error))?;
        index_file::save(&self.directory.join("index"), &index)?;
        index.changes = 0;
        Ok(())
    }
}

fn is_of(message: &enums::Message, volume: VolumeKey) -> bool {
    let peer = match message {
        enums::Message::Empty(message) => message.peer_id.as_ref(),
        enums::Message::Message(message) => Some(&message.peer_id),
        enums::Message::Service(message) => Some(&message.peer_id),
    };
    matches!(peer, Some(enums::Peer::Channel(peer)) if peer.channel_id == volume.channel)
}
