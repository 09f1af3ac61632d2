//! What a client missed (<https://core.telegram.org/api/updates#recovering-gaps>).

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::shapes::View;
use super::{Answer, Call, wide};
use crate::wire::time_s;
use crate::world::mailbox::{Change, Event, Place, Since};

/// Messages that "too long" brings along.
const NEWEST: usize = 20;

/// A stretch of changes in the two lists of an answer, and where it ends.
struct Stretch {
    messages: Vec<enums::Message>,
    updates: Vec<enums::Update>,
    pts: i32,
    is_last: bool,
}

impl Call<'_> {
    fn state(&self, user: i64) -> types::updates::State {
        let pts = self.world.known_mailbox(Place::Saved(user)).map_or(1, |mailbox| mailbox.pts);
        types::updates::State { pts, qts: 0, date: time_s(), seq: 1, unread_count: 0 }
    }

    pub(crate) fn get_state(&mut self, _: f::updates::GetState) -> Answer {
        let user = self.user()?;
        Ok(enums::updates::State::State(self.state(user)).to_bytes())
    }

    /// The changes of a place after a state; `None` when they are not known any more.
    fn stretch(&self, place: Place, pts: i32, limit: usize) -> Option<Stretch> {
        let user = self.user().ok()?;
        let view = View { world: self.world, user };
        let Some(mailbox) = self.world.known_mailbox(place) else {
            return Some(Stretch { messages: Vec::new(), updates: Vec::new(), pts: 1, is_last: true });
        };
        let Since::Events(events) = mailbox.since(pts) else { return None };
        let taken: Vec<&Event> = events.iter().copied().take(limit.max(1)).collect();
        let mut stretch = Stretch {
            messages: Vec::new(),
            updates: Vec::new(),
            pts: taken.last().map_or(mailbox.pts, |event| event.pts),
            is_last: taken.len() == events.len(),
        };
        for event in taken {
            match &event.change {
                Change::Posted(id) => {
                    let message = mailbox.messages.get(id);
                    stretch.messages.extend(message.map(|message| view.message(place, message)));
                }
                _ => stretch.updates.extend(view.update(place, event)),
            }
        }
        Some(stretch)
    }

    pub(crate) fn get_difference(&mut self, request: f::updates::GetDifference) -> Answer {
        let user = self.user()?;
        let (state, users) = (self.state(user), View { world: self.world, user }.own_account());
        let limit = self.world.settings.difference_limit;
        let difference: enums::updates::Difference =
            match self.stretch(Place::Saved(user), request.pts, limit) {
                None => types::updates::DifferenceTooLong { pts: state.pts }.into(),
                Some(stretch) if stretch.messages.is_empty() && stretch.updates.is_empty() => {
                    types::updates::DifferenceEmpty { date: time_s(), seq: 1 }.into()
                }
                Some(stretch) if stretch.is_last => types::updates::Difference {
                    new_messages: stretch.messages,
                    new_encrypted_messages: Vec::new(),
                    other_updates: stretch.updates,
                    chats: Vec::new(),
                    users,
                    state: state.into(),
                }
                .into(),
                Some(stretch) => types::updates::DifferenceSlice {
                    new_messages: stretch.messages,
                    new_encrypted_messages: Vec::new(),
                    other_updates: stretch.updates,
                    chats: Vec::new(),
                    users,
                    intermediate_state: types::updates::State { pts: stretch.pts, ..state }.into(),
                }
                .into(),
            };
        Ok(difference.to_bytes())
    }

    pub(crate) fn get_channel_difference(&mut self, request: f::updates::GetChannelDifference) -> Answer {
        let user = self.user()?;
        let place = self.channel_place(&request.channel)?;
        let most = self.world.settings.difference_limit;
        let limit = usize::try_from(request.limit).unwrap_or(0).clamp(1, most.max(1));
        let view = View { world: self.world, user };
        let (chats, users) = (view.chats(place), view.own_account());
        let difference: enums::updates::ChannelDifference = match self.stretch(place, request.pts, limit) {
            None => return self.channel_too_long(place),
            Some(stretch) if stretch.messages.is_empty() && stretch.updates.is_empty() && stretch.is_last => {
                let pts = stretch.pts;
                types::updates::ChannelDifferenceEmpty { r#final: true, pts, timeout: Some(30) }.into()
            }
            Some(stretch) => types::updates::ChannelDifference {
                r#final: stretch.is_last,
                pts: stretch.pts,
                timeout: Some(30),
                new_messages: stretch.messages,
                other_updates: stretch.updates,
                chats,
                users,
            }
            .into(),
        };
        Ok(difference.to_bytes())
    }

    fn channel_too_long(&mut self, place: Place) -> Answer {
        let user = self.user()?;
        let view = View { world: self.world, user };
        let newest = self.world.known_mailbox(place).into_iter().flat_map(|mailbox| {
            mailbox.messages.values().rev().take(NEWEST).map(|message| view.message(place, message))
        });
        let too_long = types::updates::ChannelDifferenceTooLong {
            r#final: true,
            timeout: Some(30),
            dialog: view.dialog(place),
            messages: newest.collect(),
            chats: view.chats(place),
            users: view.own_account(),
        };
        Ok(enums::updates::ChannelDifference::TooLong(too_long).to_bytes())
    }
}

impl View<'_> {
    /// A place as it stands in the list of chats.
    pub(crate) fn dialog(&self, place: Place) -> enums::Dialog {
        let mailbox = self.world.known_mailbox(place);
        let channel = match place {
            Place::Channel(channel) => self.world.channels.get(&channel),
            Place::Saved(_) => None,
        };
        let is_archived = channel.is_some_and(|channel| channel.archived.contains(&self.user));
        let muted_until = channel.and_then(|channel| channel.muted_until.get(&self.user).copied());
        types::Dialog {
            pinned: false,
            unread_mark: false,
            view_forum_as_messages: false,
            peer: super::shapes::peer(place),
            top_message: mailbox.and_then(|m| m.messages.last_key_value()).map_or(0, |(id, _)| *id),
            read_inbox_max_id: 0,
            read_outbox_max_id: 0,
            unread_count: 0,
            unread_mentions_count: 0,
            unread_reactions_count: 0,
            unread_poll_votes_count: 0,
            notify_settings: wide::notify_settings(muted_until),
            pts: channel.map(|_| mailbox.map_or(1, |mailbox| mailbox.pts)),
            draft: None,
            folder_id: is_archived.then_some(1),
            ttl_period: None,
        }
        .into()
    }
}
