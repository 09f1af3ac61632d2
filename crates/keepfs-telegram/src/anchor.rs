//! An anchor: the index of a volume as a pinned document in it, so that a new machine need not look at every
//! message. It says which messages hold what, as of a count of changes; what changed since is asked for.
//!
//! A hint like everything that comes from the store: if it is missing, damaged, or older than what the server
//! remembers, the volume is looked at message by message. It may name messages that are gone, which reading finds
//! out; it cannot make bytes pass that do not open.

use std::sync::Arc;

use grammers_tl_types as tl;
use tl::enums;

use crate::attempt::{Attempt, Numbers};
use crate::download;
use crate::error::Result;
use crate::flow::Kind;
use crate::index::{Mark, Spot};
use crate::index_file;
use crate::shelf::Shelf;
use crate::sighting::{document, messages_of};
use crate::source::Source;
use crate::upload;
use crate::volume::Volume;

/// File name of an anchor.
pub(crate) const FILE_NAME: &str = "anchor";

/// An anchor as it was found.
struct Found {
    id: i32,
    file: download::File,
}

impl Shelf {
    /// Takes the index of a volume from its anchor; false if that is not possible. `now` is the server's count.
    pub(crate) async fn load_anchor(self: &Arc<Self>, volume: &Volume, now: Mark) -> Result<bool> {
        let Some(found) = self.find_anchor(volume).await? else { return Ok(false) };
        let Ok(len) = usize::try_from(found.file.size) else { return Ok(false) };
        let mut bytes = vec![0; len];
        if download::read(self, &found.file, 0, &mut bytes).await.is_err() {
            return Ok(false);
        }
        let read = std::str::from_utf8(&bytes).ok().and_then(index_file::from_text);
        let Some(anchored) = read else { return Ok(false) };
        let mark = anchored.mark(volume.key);
        if !mark.complete || mark.pts <= 0 || mark.pts > now.pts {
            return Ok(false);
        }
        let mut index = self.index.lock();
        for (spot, entry) in anchored.entries().filter(|(spot, _)| spot.volume == volume.key) {
            index.insert_entry(spot, entry.clone());
        }
        index.set_mark(volume.key, Mark { anchor: found.id, ..mark });
        Ok(true)
    }

    async fn find_anchor(&self, volume: &Volume) -> Result<Option<Found>> {
        let Some(channel) = volume.channel() else { return Ok(None) };
        let Some(id) = self.full_channel(channel.clone()).await?.pinned_msg_id else { return Ok(None) };
        let ids = vec![tl::types::InputMessageId { id }.into()];
        let request = tl::functions::channels::GetMessages { channel, id: ids };
        for message in messages_of(self.pool.ask(Kind::Look, request).await?)? {
            let enums::Message::Message(message) = message else { continue };
            let Some(media) = &message.media else { continue };
            if let Some((FILE_NAME, size, document)) = document(media)
                && size <= index_file::TEXT_LEN_MAX
            {
                let spot = Spot { volume: volume.key, id };
                return Ok(Some(Found { id, file: download::File { spot, document, size } }));
            }
        }
        Ok(None)
    }

    /// Puts a new anchor if one is due, and deletes the one before. An error is no harm: the next put tries again.
    pub(crate) async fn renew_anchor(&self, volume: &Volume) -> Result<()> {
        let Some(channel) = volume.channel() else { return Ok(()) };
        let mark = self.index.lock().mark(volume.key);
        let distance = self.pool.settings.anchor_distance;
        if !mark.complete || mark.top.saturating_sub(mark.anchor) < distance {
            return Ok(());
        }
        // Whoever was first has done it: then the next one is due later.
        let before = self.find_anchor(volume).await?;
        let text = match &before {
            Some(found) if mark.top.saturating_sub(found.id) < distance => None,
            _ => Some(index_file::to_text(&self.index.lock(), |key| key == volume.key)),
        };
        let mut anchor = before.as_ref().map_or(0, |found| found.id);
        if let Some(text) = text {
            anchor = self.send_anchor(volume, text.as_bytes()).await?;
            let pin = tl::functions::messages::UpdatePinnedMessage {
                silent: true,
                unpin: false,
                pm_oneside: false,
                peer: volume.peer(),
                id: anchor,
            };
            self.pool.ask(Kind::Message, pin).await?;
            if let Some(found) = before {
                let request = tl::functions::channels::DeleteMessages { channel, id: vec![found.id] };
                self.pool.ask(Kind::Message, request).await?;
            }
        }
        let mut index = self.index.lock();
        let mark = index.mark(volume.key);
        index.set_mark(volume.key, Mark { anchor, ..mark });
        Ok(())
    }

    async fn send_anchor(&self, volume: &Volume, bytes: &[u8]) -> Result<i32> {
        let settings = &self.pool.settings;
        let numbers = Numbers { file_id: settings.random_id(), random_id: settings.random_id() };
        let mut attempt = Attempt::fleeting(numbers, bytes.len() as u64);
        upload::send_plain(&self.pool, volume, (FILE_NAME, &Source::Bytes(bytes)), &mut attempt).await
    }
}
