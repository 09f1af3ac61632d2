//! The index is brought up to date: by the changes since it was current, or by a look at every message.
//!
//! Changes are counted by the server without gaps, so they can be asked for from any count on. Where it no longer
//! knows them, the volume is seen anew from its newest message to its first. Only then is it complete, and only
//! what is complete says that an object is not there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use grammers_tl_types as tl;
use tl::enums;

use crate::error::{Result, TelegramError};
use crate::flow::Kind;
use crate::index::Mark;
use crate::shelf::{MESSAGES_MAX, Shelf};
use crate::sighting::messages_of;
use crate::volume::{Volume, VolumeKey};

/// Rounds of changes in one refresh before it is called endless.
const ROUNDS_MAX: usize = 100_000;
/// The server has given up counting from there.
const LOST_COUNT: &str = "PERSISTENT_TIMESTAMP";

/// What the server says about the changes since a count.
enum Changes {
    /// All of them were taken in.
    Done,
    /// There are more.
    More,
    /// It no longer knows.
    Lost,
}

impl Shelf {
    /// Makes the index say what the store holds now. A refresh that began after the call is good enough, so those
    /// who ask together share one.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<()> {
        let called = Instant::now();
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|began| began >= called) {
            return Ok(());
        }
        let began = Instant::now();
        if !self.found.load(Ordering::Acquire) {
            self.find_volumes().await?;
        }
        self.refresh_all().await?;
        // A message leads to a channel before any object is put there: what is in it is never overlooked.
        while self.leads_elsewhere() {
            self.find_volumes().await?;
            if self.leads_elsewhere() {
                return Err(TelegramError::ChannelGone);
            }
            self.refresh_all().await?;
        }
        *refreshed = Some(began);
        drop(refreshed);
        self.keep_index(false)
    }

    /// Whether a message leads to a channel that is not known here.
    fn leads_elsewhere(&self) -> bool {
        let volumes = self.volumes.read();
        let is_known = |channel: i64| volumes.iter().any(|volume| volume.key.channel == channel);
        self.index.lock().told().iter().any(|channel| !is_known(*channel))
    }

    async fn refresh_all(self: &Arc<Self>) -> Result<()> {
        let volumes = self.volumes.read().clone();
        for volume in volumes {
            self.refresh_volume(&volume).await?;
        }
        Ok(())
    }

    async fn refresh_volume(self: &Arc<Self>, volume: &Volume) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            if !self.index.lock().mark(volume.key).complete {
                self.scan(volume).await?;
            }
            let changes = match volume.channel() {
                Some(channel) => self.channel_changes(volume.key, channel).await,
                None => self.account_changes().await,
            };
            match changes {
                Ok(Changes::Done) => return Ok(()),
                Ok(Changes::More) => {}
                Ok(Changes::Lost) => self.index.lock().forget(volume.key),
                Err(error) if error.is_refusal(LOST_COUNT) => self.index.lock().forget(volume.key),
                Err(error) => return Err(error),
            }
        }
        Err(TelegramError::broken("the list of changes has no end"))
    }

    async fn channel_changes(&self, key: VolumeKey, channel: enums::InputChannel) -> Result<Changes> {
        let mut mark = self.index.lock().mark(key);
        let request = tl::functions::updates::GetChannelDifference {
            force: false,
            channel,
            filter: enums::ChannelMessagesFilter::Empty,
            pts: mark.pts,
            limit: MESSAGES_MAX as i32,
        };
        let is_final = match self.pool.ask(Kind::Look, request).await? {
            enums::updates::ChannelDifference::Empty(answer) => {
                mark.pts = answer.pts.max(mark.pts);
                answer.r#final
            }
            enums::updates::ChannelDifference::TooLong(_) => return Ok(Changes::Lost),
            enums::updates::ChannelDifference::Difference(answer) => {
                self.take_in(key, &answer.new_messages, &answer.other_updates);
                mark.pts = answer.pts;
                answer.r#final
            }
        };
        self.advance(key, mark);
        Ok(if is_final { Changes::Done } else { Changes::More })
    }

    async fn account_changes(&self) -> Result<Changes> {
        let key = VolumeKey::SAVED;
        let mut mark = self.index.lock().mark(key);
        let request = tl::functions::updates::GetDifference {
            pts: mark.pts,
            pts_limit: None,
            pts_total_limit: None,
            date: mark.date,
            qts: mark.qts,
            qts_limit: None,
        };
        let (state, changes) = match self.pool.ask(Kind::Look, request).await? {
            enums::updates::Difference::Empty(_) => return Ok(Changes::Done),
            enums::updates::Difference::TooLong(_) => return Ok(Changes::Lost),
            enums::updates::Difference::Difference(answer) => {
                self.take_in(key, &answer.new_messages, &answer.other_updates);
                (answer.state, Changes::Done)
            }
            enums::updates::Difference::Slice(answer) => {
                self.take_in(key, &answer.new_messages, &answer.other_updates);
                (answer.intermediate_state, Changes::More)
            }
        };
        let enums::updates::State::State(state) = state;
        (mark.pts, mark.qts, mark.date) = (state.pts, state.qts, state.date);
        self.advance(key, mark);
        Ok(changes)
    }

    fn take_in(&self, key: VolumeKey, messages: &[enums::Message], updates: &[enums::Update]) {
        for message in messages {
            self.see(key, message);
        }
        for update in updates {
            self.apply(key, update);
        }
    }

    /// Notes the count; `top` may have grown meanwhile.
    fn advance(&self, key: VolumeKey, mut mark: Mark) {
        let mut index = self.index.lock();
        let known = index.mark(key);
        mark.top = mark.top.max(known.top);
        if mark != known {
            index.set_mark(key, mark);
        }
    }

    /// Looks at every message, newest first. What was seen stays seen: a look that breaks off goes on where it was.
    async fn scan(self: &Arc<Self>, volume: &Volume) -> Result<()> {
        let mut mark = self.index.lock().mark(volume.key);
        if mark.scanned_to == 0 {
            // The count is taken before the look, so that what changes meanwhile is among the changes since.
            mark = self.count(volume).await?;
            if self.load_anchor(volume, mark).await? {
                return Ok(());
            }
        }
        loop {
            let request = tl::functions::messages::GetHistory {
                peer: volume.peer(),
                offset_id: mark.scanned_to,
                offset_date: 0,
                add_offset: 0,
                limit: MESSAGES_MAX as i32,
                max_id: 0,
                min_id: 0,
                hash: 0,
            };
            let messages = messages_of(self.pool.ask(Kind::Look, request).await?)?;
            // Only an empty page is the end: the server may leave messages out of a page.
            let Some(lowest) = messages.iter().map(id_of).min() else {
                mark.complete = true;
                self.advance(volume.key, mark);
                return Ok(());
            };
            if mark.scanned_to != 0 && lowest >= mark.scanned_to {
                return Err(TelegramError::broken("the history repeats itself"));
            }
            for message in &messages {
                self.see(volume.key, message);
            }
            mark.scanned_to = lowest;
            self.advance(volume.key, mark);
        }
    }

    /// The server's count of changes as it is now.
    async fn count(&self, volume: &Volume) -> Result<Mark> {
        let mark = match volume.channel() {
            Some(channel) => Mark { pts: self.full_channel(channel).await?.pts, ..Mark::default() },
            None => {
                let enums::updates::State::State(state) =
                    self.pool.ask(Kind::Look, tl::functions::updates::GetState {}).await?;
                Mark { pts: state.pts, qts: state.qts, date: state.date, ..Mark::default() }
            }
        };
        Ok(mark)
    }
}

fn id_of(message: &enums::Message) -> i32 {
    match message {
        enums::Message::Empty(message) => message.id,
        enums::Message::Message(message) => message.id,
        enums::Message::Service(message) => message.id,
    }
}
