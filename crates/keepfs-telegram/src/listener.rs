//! What other machines put is seen when it happens: one connection on which the server pushes changes.
//!
//! A push is a hint: it makes the index be refreshed, and nothing else. One that is lost costs nothing but time,
//! for whoever needs certainty asks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use grammers_session::updates::UpdatesLike;
use grammers_tl_types as tl;
use tl::enums::{self, Update};

use crate::error::Result;
use crate::link::Link;
use crate::shelf::Shelf;
use crate::sighting::updates_of;

/// A connection that was quiet for so long is asked whether it lives.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// First wait before a new connection, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often the store is looked after while nothing happens: it may be gone.
const TICK: Duration = Duration::from_secs(5);

/// Listens until the store is closed.
pub(crate) async fn listen(shelf: Weak<Shelf>) {
    let mut wait = WAIT_FIRST;
    loop {
        let listening = tokio::spawn(session(shelf.clone()));
        // A panic of the protocol library is a broken connection.
        let heard = matches!(listening.await, Ok(Ok(())));
        wait = if heard { WAIT_FIRST } else { (wait * 2).min(WAIT_MAX) };
        let mut left = wait;
        while !left.is_zero() {
            if shelf.strong_count() == 0 {
                return;
            }
            let nap = left.min(TICK);
            tokio::time::sleep(nap).await;
            left -= nap;
        }
    }
}

/// One connection, until it breaks. An error if it never came to hear anything.
async fn session(weak: Weak<Shelf>) -> Result<()> {
    let Some(shelf) = weak.upgrade() else { return Ok(()) };
    let deadline = shelf.pool.settings.deadlines.request;
    let mut link = shelf.pool.open(shelf.pool.home(), false).await?;
    // From this request on the server pushes to this connection.
    link.invoke(&tl::functions::updates::GetState {}, deadline).await?;
    // What came before the connection stood was not pushed.
    shelf.refresh().await?;
    drop(shelf);
    let mut quiet = Duration::ZERO;
    loop {
        let Ok(updates) = hear(&mut link).await else { return Ok(()) };
        let Some(shelf) = weak.upgrade() else { return Ok(()) };
        if updates.is_empty() {
            quiet += TICK;
        }
        if updates.iter().any(|update| concerns(&shelf, update)) && shelf.refresh().await.is_err() {
            // The next push or question refreshes again.
            continue;
        }
        if quiet >= QUIET_MAX {
            quiet = Duration::ZERO;
            if link.invoke(&tl::functions::updates::GetState {}, deadline).await.is_err() {
                return Ok(());
            }
            // Pushes that came beside that answer were not shown.
            let _ = shelf.refresh().await;
        }
    }
}

async fn hear(link: &mut Link) -> Result<Vec<UpdatesLike>> {
    link.hear(TICK).await
}

/// Whether a push may be about the store.
fn concerns(shelf: &Arc<Shelf>, push: &UpdatesLike) -> bool {
    match push {
        UpdatesLike::Updates(updates) => {
            updates_of(updates.clone()).iter().any(|update| is_about(shelf, update))
        }
        UpdatesLike::MalformedUpdates => true,
        _ => false,
    }
}

fn is_about(shelf: &Arc<Shelf>, update: &Update) -> bool {
    let volumes = shelf.volumes.read();
    let has = |channel: i64| volumes.iter().any(|volume| volume.key.channel == channel);
    let of_message = |message: &enums::Message| {
        let enums::Message::Message(message) = message else { return true };
        match &message.peer_id {
            enums::Peer::Channel(peer) => has(peer.channel_id),
            enums::Peer::User(peer) => peer.user_id == shelf.user && has(0),
            enums::Peer::Chat(_) => false,
        }
    };
    match update {
        Update::NewMessage(update) => of_message(&update.message),
        Update::NewChannelMessage(update) => of_message(&update.message),
        Update::EditMessage(update) => of_message(&update.message),
        Update::EditChannelMessage(update) => of_message(&update.message),
        Update::DeleteMessages(_) => has(0),
        Update::DeleteChannelMessages(update) => has(update.channel_id),
        Update::ChannelTooLong(update) => has(update.channel_id),
        _ => false,
    }
}
