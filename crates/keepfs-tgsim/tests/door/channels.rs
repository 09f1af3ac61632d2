//! Channels: their own numbers, their members, their limits, what was missed.

use grammers_tl_types::{enums, functions as f, types};
use serde_json::json;

use crate::support::*;

fn difference(channel: &types::Channel, pts: i32) -> f::updates::GetChannelDifference {
    f::updates::GetChannelDifference {
        force: false,
        channel: input_of(channel),
        filter: enums::ChannelMessagesFilter::Empty,
        pts,
        limit: 100,
    }
}

fn texts(messages: &[enums::Message]) -> Vec<&str> {
    let written = messages.iter().filter_map(|message| match message {
        enums::Message::Message(message) => Some(message.message.as_str()),
        _ => None,
    });
    written.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_made_found_and_has_its_own_numbers() {
    let mut door = Door::open();
    let client = door.client();
    client.say(&own(), "elsewhere").await;
    let channel = client.channel("vault").await;
    assert!(channel.creator && channel.broadcast);
    assert_eq!(client.say(&peer_of(&channel), "first").await.id, 2);
    let dialogs = f::messages::GetDialogs {
        exclude_pinned: false,
        folder_id: None,
        offset_date: 0,
        offset_id: 0,
        offset_peer: enums::InputPeer::Empty,
        limit: 100,
        hash: 0,
    };
    let enums::messages::Dialogs::Dialogs(list) = client.invoke(&dialogs).await.unwrap() else { panic!() };
    assert_eq!((list.dialogs.len(), list.chats.len()), (2, 1));
    let full = client.invoke(&f::channels::GetFullChannel { channel: input_of(&channel) }).await.unwrap();
    let enums::messages::ChatFull::Full(full) = full;
    let enums::ChatFull::ChannelFull(full) = full.full_chat else { panic!() };
    assert_eq!((full.about.as_str(), full.pts), ("about", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_closed_to_strangers_and_gone_when_deleted() {
    let mut door = Door::open();
    door.control.account("+15550002", None);
    let (client, mut other) = (door.client(), door.client_of("+15550002"));
    let channel = client.channel("vault").await;
    let peer = peer_of(&channel);
    let foreign = other.invoke(&send_message(&peer, "x", fresh())).await;
    assert_eq!(refusal(foreign), "400 CHANNEL_INVALID");
    door.control.command(json!({"command": "join", "channel": channel.id, "phone": "+15550002"}));
    other.invoke(&f::updates::GetState {}).await.unwrap();
    client.say(&peer, "welcome").await;
    assert_eq!(other.next_update(pushed_text).await.as_deref(), Some("welcome"));
    door.control.command(json!({"command": "delete_channel", "channel": channel.id}));
    let told = other.next_update(|update| match update {
        enums::Update::Channel(update) => Some(update.channel_id),
        _ => None,
    });
    assert_eq!(told.await, Some(channel.id));
    let late = client.invoke(&send_message(&peer, "x", fresh())).await;
    assert_eq!(refusal(late), "400 CHANNEL_PRIVATE");
    assert_eq!(client.channel("next").await.id, channel.id + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pinning_in_a_channel_takes_a_number_of_its_own() {
    let mut door = Door::open();
    let client = door.client();
    let channel = client.channel("vault").await;
    let peer = peer_of(&channel);
    let id = client.say(&peer, "pinned").await.id;
    let pin = |unpin| f::messages::UpdatePinnedMessage {
        silent: true,
        unpin,
        pm_oneside: false,
        peer: peer.clone(),
        id,
    };
    client.invoke(&pin(false)).await.unwrap();
    client.invoke(&pin(false)).await.unwrap();
    client.invoke(&pin(true)).await.unwrap();
    assert_eq!(client.say(&peer, "next").await.id, id + 2);
    let history = client.history(&peer, 0).await;
    assert!(matches!(&history[1], enums::Message::Service(service) if service.id == id + 1), "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_messages_of_a_channel_can_be_reached() {
    let mut door = Door::open();
    door.control.set(json!({"visible_history": 5}));
    let client = door.client();
    let channel = client.channel("vault").await;
    let peer = peer_of(&channel);
    for number in 2..=12 {
        client.say(&peer, &number.to_string()).await;
    }
    assert_eq!(texts(&client.history(&peer, 0).await), ["12", "11", "10", "9", "8"]);
    let id = [7, 8].map(|id| types::InputMessageId { id }.into()).to_vec();
    let request = f::channels::GetMessages { channel: input_of(&channel), id };
    assert_eq!(texts(&messages(client.invoke(&request).await.unwrap())), ["8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_told_in_pieces_or_as_too_long() {
    let mut door = Door::open();
    door.control.set(json!({"difference_limit": 3, "updates_window": 6}));
    let client = door.client();
    let channel = client.channel("vault").await;
    for number in 0..5 {
        client.say(&peer_of(&channel), &number.to_string()).await;
    }
    let (mut pts, mut seen) = (2, Vec::new());
    loop {
        match client.invoke(&difference(&channel, pts)).await.unwrap() {
            enums::updates::ChannelDifference::Difference(piece) => {
                seen.extend(texts(&piece.new_messages).into_iter().map(str::to_owned));
                pts = piece.pts;
                if piece.r#final {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((seen.join(""), pts), ("01234".to_owned(), 7));
    let nothing = client.invoke(&difference(&channel, pts)).await.unwrap();
    assert!(matches!(nothing, enums::updates::ChannelDifference::Empty(empty) if empty.pts == 7));
    client.say(&peer_of(&channel), "5").await;
    client.say(&peer_of(&channel), "6").await;
    let long = client.invoke(&difference(&channel, 2)).await.unwrap();
    assert!(matches!(long, enums::updates::ChannelDifference::TooLong(_)), "{long:?}");
}
