//! The volumes of a store among the channels of the account: found, made, continued.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use grammers_tl_types as tl;
use tl::enums;

use crate::error::{Result, TelegramError};
use crate::flow::Kind;
use crate::place::Place;
use crate::pool::Pool;
use crate::shelf::{MESSAGES_MAX, Shelf};
use crate::sighting::updates_of;
use crate::volume::{About, Volume, VolumeKey, continues, is_title_of, title};

/// Pages of chats that are looked through before the list is called endless: a million chats.
const PAGES_MAX: usize = 10_000;
/// Random bytes of a store's tag.
const TAG_LEN: usize = 16;

/// A channel of the account.
#[derive(Clone, Debug)]
struct Channel {
    id: i64,
    access_hash: i64,
    title: String,
}

/// A channel that belongs to the store, as its description says.
struct Member {
    channel: Channel,
    about: Option<About>,
}

/// A place and its volumes, oldest first; none if there is no such channel.
async fn find(pool: &Pool, place: &Place) -> Result<Vec<Volume>> {
    let channels = match place {
        Place::SavedMessages => return Ok(vec![Volume::SAVED]),
        _ => channels(pool).await?,
    };
    let first = match place {
        Place::Numbered(id) => channels.iter().find(|channel| channel.id == *id).cloned(),
        Place::Named(name) => first_named(pool, &channels, name).await?,
        Place::SavedMessages => None,
    };
    let Some(first) = first else { return Ok(Vec::new()) };
    let about = about(pool, &first).await?;
    let mut volumes = vec![volume(&first, about.as_ref())];
    if let Some(about) = about {
        let others = channels.iter().filter(|other| other.id != first.id);
        for other in others.filter(|other| is_title_of(&other.title, &first.title)) {
            if let Some(found) = self::about(pool, other).await?
                && found.tag == about.tag
            {
                volumes.push(volume(other, Some(&found)));
            }
        }
    }
    volumes.sort_unstable_by_key(|volume| volume.key);
    Ok(volumes)
}

fn volume(channel: &Channel, about: Option<&About>) -> Volume {
    let number = about.map_or(1, |about| about.number);
    Volume { key: VolumeKey { number, channel: channel.id }, access_hash: channel.access_hash }
}

/// The first volume of the store with a name.
async fn first_named(pool: &Pool, channels: &[Channel], name: &str) -> Result<Option<Channel>> {
    let mut members = Vec::new();
    for channel in channels.iter().filter(|channel| channel.title == name) {
        members.push(Member { channel: channel.clone(), about: about(pool, channel).await? });
    }
    // A channel that keepfs made is meant before one that happens to be called the same.
    if members.iter().any(|member| member.about.is_some()) {
        members.retain(|member| member.about.as_ref().is_some_and(|about| about.number == 1));
    }
    match members.len() {
        0 => Ok(None),
        1 => Ok(members.pop().map(|member| member.channel)),
        _ => Err(TelegramError::Ambiguous { place: name.to_owned() }),
    }
}

/// All channels that this account is in.
async fn channels(pool: &Pool) -> Result<Vec<Channel>> {
    let mut found: Vec<Channel> = Vec::new();
    let mut request = tl::functions::messages::GetDialogs {
        exclude_pinned: false,
        folder_id: None,
        offset_date: 0,
        offset_id: 0,
        offset_peer: enums::InputPeer::Empty,
        limit: MESSAGES_MAX as i32,
        hash: 0,
    };
    for _ in 0..PAGES_MAX {
        let (dialogs, messages, chats, is_last) = match pool.ask(Kind::Look, request.clone()).await? {
            enums::messages::Dialogs::Dialogs(page) => (page.dialogs, page.messages, page.chats, true),
            enums::messages::Dialogs::Slice(page) => {
                let is_last = page.dialogs.is_empty();
                (page.dialogs, page.messages, page.chats, is_last)
            }
            enums::messages::Dialogs::NotModified(_) => {
                return Err(TelegramError::broken("chats were asked for and none were sent"));
            }
        };
        let before = found.len();
        for channel in chats.iter().filter_map(channel_of) {
            if !found.iter().any(|known| known.id == channel.id) {
                found.push(channel);
            }
        }
        let stands_still = !step(&mut request, &dialogs, &messages, &found);
        if is_last || (stands_still && before == found.len()) {
            return Ok(found);
        }
    }
    Err(TelegramError::broken("the list of chats has no end"))
}

/// Sets the request to the page after this one; false if it is there already.
fn step(
    request: &mut tl::functions::messages::GetDialogs,
    dialogs: &[enums::Dialog],
    messages: &[enums::Message],
    channels: &[Channel],
) -> bool {
    let Some(enums::Dialog::Dialog(last)) = dialogs.last() else { return false };
    let before = (request.offset_id, request.offset_date);
    request.offset_id = last.top_message;
    request.offset_date = messages
        .iter()
        .filter_map(|message| match message {
            enums::Message::Message(message) if message.id == last.top_message => Some(message.date),
            enums::Message::Service(message) if message.id == last.top_message => Some(message.date),
            _ => None,
        })
        .next_back()
        .unwrap_or(request.offset_date);
    request.offset_peer = match &last.peer {
        enums::Peer::Channel(peer) => channels
            .iter()
            .find(|channel| channel.id == peer.channel_id)
            .map(|channel| {
                Volume { key: VolumeKey { number: 1, channel: channel.id }, access_hash: channel.access_hash }
                    .peer()
            })
            .unwrap_or(enums::InputPeer::Empty),
        // Tickets of people are not collected; date and number of the message are enough to go on from.
        _ => enums::InputPeer::Empty,
    };
    before != (request.offset_id, request.offset_date)
}

fn channel_of(chat: &enums::Chat) -> Option<Channel> {
    let enums::Chat::Channel(channel) = chat else { return None };
    let access_hash = channel.access_hash?;
    (!channel.left && !channel.min).then(|| Channel {
        id: channel.id,
        access_hash,
        title: channel.title.clone(),
    })
}

async fn about(pool: &Pool, channel: &Channel) -> Result<Option<About>> {
    let input = tl::types::InputChannel { channel_id: channel.id, access_hash: channel.access_hash };
    let full = full_channel(pool, input.into()).await?;
    Ok(About::parse(&full.about))
}

async fn full_channel(pool: &Pool, channel: enums::InputChannel) -> Result<tl::types::ChannelFull> {
    let enums::messages::ChatFull::Full(answer) =
        pool.ask(Kind::Look, tl::functions::channels::GetFullChannel { channel }).await?;
    match answer.full_chat {
        enums::ChatFull::ChannelFull(full) => Ok(full),
        _ => Err(TelegramError::broken("a channel was asked for, something else was sent")),
    }
}

/// Makes the first volume of a store.
async fn found(pool: &Pool, name: &str) -> Result<Volume> {
    let mut bytes = [0; TAG_LEN];
    pool.settings.machine.fill_random(&mut bytes);
    let tag: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    make(pool, name, &About { tag, number: 1 }).await
}

async fn make(pool: &Pool, name: &str, about: &About) -> Result<Volume> {
    let request = tl::functions::channels::CreateChannel {
        broadcast: true,
        megagroup: false,
        for_import: false,
        forum: false,
        title: title(name, about.number),
        about: about.text(),
        geo_point: None,
        address: None,
        ttl_period: None,
    };
    let chats = match pool.ask_once(Kind::Message, request).await? {
        enums::Updates::Updates(answer) => answer.chats,
        enums::Updates::Combined(answer) => answer.chats,
        other => {
            let changes = updates_of(other).len();
            return Err(TelegramError::broken(format!("a channel was made and not shown ({changes})")));
        }
    };
    let made = chats.iter().filter_map(channel_of).next();
    let made = made.ok_or_else(|| TelegramError::broken("a channel was made and not shown"))?;
    Ok(volume(&made, Some(about)))
}

impl Shelf {
    /// What the server tells of a channel.
    pub(crate) async fn full_channel(&self, channel: enums::InputChannel) -> Result<tl::types::ChannelFull> {
        full_channel(&self.pool, channel).await
    }

    /// Looks for the store's volumes anew.
    pub(crate) async fn find_volumes(&self) -> Result<()> {
        let mut found = find(&self.pool, &self.place).await?;
        if found.is_empty() {
            if !self.volumes.read().is_empty() && !self.create {
                return Err(TelegramError::ChannelGone);
            }
            found = vec![self.found_first().await?];
        }
        let keys: Vec<VolumeKey> = found.iter().map(|volume| volume.key).collect();
        self.index.lock().keep_only(&keys);
        *self.volumes.write() = found;
        self.found.store(true, Ordering::Release);
        self.keep_volumes()
    }

    async fn found_first(&self) -> Result<Volume> {
        let (Place::Named(name), true) = (&self.place, self.create) else {
            return Err(TelegramError::NoChannel { place: self.place.to_string() });
        };
        match found(&self.pool, name).await {
            // The answer was lost: a channel that was made is found, and a second one is not made.
            Err(error) if error.is_broken() => {
                let found = find(&self.pool, &self.place).await?;
                found.first().copied().ok_or(error)
            }
            founded => founded,
        }
    }

    /// The volume that a new object goes to: the current one, or a new one when that is long enough.
    ///
    /// A channel is made, then a message in the volume before leads to it, then it is used. A crash in between leaves
    /// a channel that holds nothing, and the next who needs one leads to it and uses it. Two machines that begin a
    /// volume at once make two, and both count.
    pub(crate) async fn volume_for_new(self: &Arc<Self>) -> Result<Volume> {
        let current = self.current_volume()?;
        if self.is_told(&current) && !self.is_full(&current) {
            return Ok(current);
        }
        let _alone = self.beginning.lock().await;
        // Whoever was first has begun it already.
        self.find_volumes().await?;
        self.refresh().await?;
        let current = self.current_volume()?;
        self.lead_to(&current).await?;
        if !self.is_full(&current) {
            return Ok(current);
        }
        let channel = current.channel().ok_or(TelegramError::ChannelGone)?;
        let full = self.full_channel(channel).await?;
        // A channel that the user made himself has no tag, and a second one could not be told to belong to it.
        let Some(mut about) = About::parse(&full.about) else { return Ok(current) };
        about.number = current.key.number.saturating_add(1);
        let name = match &self.place {
            Place::Named(name) => name.clone(),
            _ => self.first_title().await?,
        };
        let made = make(&self.pool, &name, &about).await?;
        self.volumes.write().push(made);
        self.keep_volumes()?;
        self.lead_to(&made).await?;
        self.refresh().await?;
        Ok(made)
    }

    /// Sends the message that leads to a volume, if there is none yet, in one that everybody knows.
    async fn lead_to(&self, volume: &Volume) -> Result<()> {
        if self.is_told(volume) {
            return Ok(());
        }
        let known = self
            .volumes
            .read()
            .iter()
            .rev()
            .find(|other| other.key != volume.key && self.is_told(other))
            .copied();
        let from = known.ok_or(TelegramError::ChannelGone)?;
        self.say(&from, &continues(volume.key.channel)).await?;
        self.index.lock().tell(volume.key.channel);
        Ok(())
    }

    /// Whether every machine finds this volume.
    fn is_told(&self, volume: &Volume) -> bool {
        volume.key.number == 1 || self.index.lock().told().contains(&volume.key.channel)
    }

    fn is_full(&self, volume: &Volume) -> bool {
        let top = self.index.lock().mark(volume.key).top;
        !volume.key.is_saved() && top >= self.pool.settings.volume_len_max
    }

    async fn first_title(&self) -> Result<String> {
        let id = self.volumes.read().first().map_or(0, |volume| volume.key.channel);
        let channels = channels(&self.pool).await?;
        let first = channels.into_iter().find(|channel| channel.id == id);
        first.map(|channel| channel.title).ok_or(TelegramError::ChannelGone)
    }

    async fn say(&self, volume: &Volume, text: &str) -> Result<()> {
        let request = tl::functions::messages::SendMessage {
            no_webpage: true,
            silent: true,
            background: false,
            clear_draft: false,
            noforwards: false,
            update_stickersets_order: false,
            invert_media: false,
            allow_paid_floodskip: false,
            peer: volume.peer(),
            reply_to: None,
            message: text.to_owned(),
            random_id: self.pool.settings.random_id(),
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
        };
        self.pool.ask(Kind::Message, request).await.map(drop)
    }
}
