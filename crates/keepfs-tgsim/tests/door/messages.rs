//! Messages: sent once, paged, found, changed.

use std::time::Duration;

use grammers_mtproto::transport;
use grammers_mtsender::{ServerAddr, connect_with_auth};
use grammers_tl_types::{enums, functions as f, types};
use tokio::time::timeout;

use crate::support::*;

fn ids(messages: &[enums::Message]) -> Vec<i32> {
    messages
        .iter()
        .map(|message| match message {
            enums::Message::Message(message) => message.id,
            enums::Message::Service(message) => message.id,
            enums::Message::Empty(message) => -message.id,
        })
        .collect()
}

async fn by_id(client: &Client, wanted: &[i32]) -> Vec<enums::Message> {
    let id = wanted.iter().map(|id| types::InputMessageId { id: *id }.into()).collect();
    messages(client.invoke(&f::messages::GetMessages { id }).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_by_a_hundred_and_complete() {
    let mut door = Door::open();
    let client = door.client();
    for number in 0..230 {
        client.say(&own(), &format!("note {number}")).await;
    }
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let page = ids(&client.history(&own(), offset).await);
        assert!(page.len() <= 100);
        let Some(last) = page.last() else { break };
        offset = *last;
        seen.extend(page);
    }
    assert_eq!(seen, (1..=230).rev().collect::<Vec<i32>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_again_is_the_first_one() {
    let mut door = Door::open();
    let client = door.client();
    let request = send_message(&own(), "once", 4_711);
    let (first, count) = sent(&client.invoke(&request).await.unwrap());
    let (again, repeated) = sent(&client.invoke(&request).await.unwrap());
    assert_eq!((first.id, count, repeated), (again.id, 1, 0));
    assert_eq!(client.history(&own(), 0).await.len(), 1);
    assert_eq!(door.control.counter("/repeats"), 1);
    door.control.set(serde_json::json!({"repeats_are_errors": true}));
    assert_eq!(refusal(client.invoke(&request).await), "500 RANDOM_ID_DUPLICATE");
    door.control.set(serde_json::json!({"remembers_random_ids": false}));
    client.invoke(&request).await.unwrap();
    assert_eq!(client.history(&own(), 0).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_edited_pinned_found_and_deleted() {
    let mut door = Door::open();
    let client = door.client();
    for text in ["alpha beta", "gamma", "delta"] {
        client.say(&own(), text).await;
    }
    let edit = |message: &str| f::messages::EditMessage {
        no_webpage: false,
        invert_media: false,
        peer: own(),
        id: 2,
        message: Some(message.to_owned()),
        media: None,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        quick_reply_shortcut_id: None,
        rich_message: None,
    };
    client.invoke(&edit("gamma ray")).await.unwrap();
    assert_eq!(refusal(client.invoke(&edit("gamma ray")).await), "400 MESSAGE_NOT_MODIFIED");
    assert_eq!(refusal(client.invoke(&edit(&"x".repeat(4_097))).await), "400 MESSAGE_TOO_LONG");
    let pin = f::messages::UpdatePinnedMessage {
        silent: true,
        unpin: false,
        pm_oneside: false,
        peer: own(),
        id: 2,
    };
    client.invoke(&pin).await.unwrap();
    let search = |q: &str, filter| f::messages::Search {
        peer: own(),
        q: q.to_owned(),
        from_id: None,
        saved_peer_id: None,
        saved_reaction: None,
        top_msg_id: None,
        filter,
        min_date: 0,
        max_date: 0,
        offset_id: 0,
        add_offset: 0,
        limit: 10,
        max_id: 0,
        min_id: 0,
        hash: 0,
    };
    use enums::MessagesFilter::{InputMessagesFilterEmpty as All, InputMessagesFilterPinned as Pinned};
    for (query, filter, found) in [("ray", All, vec![2]), ("bet", All, vec![1]), ("", Pinned, vec![2])] {
        assert_eq!(ids(&messages(client.invoke(&search(query, filter)).await.unwrap())), found, "{query}");
    }
    door.control.set(serde_json::json!({"search_lag": 2}));
    assert!(messages(client.invoke(&search("ray", All)).await.unwrap()).is_empty());
    let enums::messages::AffectedMessages::Messages(affected) =
        client.invoke(&f::messages::DeleteMessages { revoke: true, id: vec![2, 2, 99] }).await.unwrap();
    assert_eq!(affected.pts_count, 1);
    assert_eq!(ids(&by_id(&client, &[1, 2, 3]).await), [1, -2, 3]);
    let many = f::messages::DeleteMessages { revoke: true, id: (1..=101).collect() };
    assert_eq!(refusal(client.invoke(&many).await), "400 LIMIT_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_is_told_and_the_sender_is_not() {
    let mut door = Door::open();
    let (mut sender, mut listener) = (door.client(), door.client());
    listener.invoke(&f::updates::GetState {}).await.unwrap();
    sender.invoke(&f::updates::GetState {}).await.unwrap();
    sender.say(&own(), "news").await;
    assert_eq!(listener.next_update(pushed_text).await.as_deref(), Some("news"));
    // The client hands out the answer to its own request among the updates; it came once.
    assert_eq!(sender.next_update(pushed_text).await.as_deref(), Some("news"));
    assert_eq!(sender.next_update(pushed_text).await, None);
    // A connection that asks for answers alone gets nothing else.
    let (_, key) = door.control.key(Some(PHONE));
    let address = ServerAddr::Tcp { address: door.server.addresses()[0].1 };
    let mut silent = connect_with_auth(transport::Full::new(), address, key).await.unwrap();
    silent.invoke(&f::InvokeWithoutUpdates { query: f::updates::GetState {} }).await.unwrap();
    sender.say(&own(), "more").await;
    assert_eq!(listener.next_update(pushed_text).await.as_deref(), Some("more"));
    while let Ok(step) = timeout(Duration::from_millis(300), silent.step()).await {
        assert_eq!(step.unwrap().len(), 0);
    }
}
