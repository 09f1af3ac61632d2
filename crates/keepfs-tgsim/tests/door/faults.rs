//! Faults on demand: each does what its name says, as often as was asked.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use grammers_mtsender::InvocationError;
use grammers_tl_types::{enums, functions as f};
use serde_json::json;
use tokio::time::timeout;

use crate::support::*;

/// A client that was cut off tries until a connection carries the answer.
async fn insist(client: &Client, request: &f::messages::SendMessage) -> enums::Updates {
    for _ in 0..20 {
        match client.invoke(request).await {
            Ok(updates) => return updates,
            Err(InvocationError::Rpc(error)) => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("no answer after twenty tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_as_planned_and_nothing_happened() {
    let mut door = Door::open();
    let client = door.client();
    let flood = json!({"error": {"code": 420, "message": "FLOOD_WAIT_7"}});
    door.control.fault(json!({"method": "messages.sendMessage", "skip": 1, "times": 2, "action": flood}));
    client.say(&own(), "one").await;
    for _ in 0..2 {
        let refused = client.invoke(&send_message(&own(), "two", 5)).await;
        assert_eq!(refusal(refused), "420 FLOOD_WAIT_7");
    }
    client.invoke(&send_message(&own(), "two", 5)).await.unwrap();
    assert_eq!(client.history(&own(), 0).await.len(), 2);
    assert_eq!(door.control.counter("/errors/FLOOD_WAIT"), 2);
    assert_eq!(door.control.counter("/requests/messages.sendMessage"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_effect_before_the_answer_was_lost_is_there_once() {
    let mut door = Door::open();
    let client = door.client();
    door.control.fault(json!({"method": "messages.sendMessage", "times": 1, "action": "drop_after"}));
    insist(&client, &send_message(&own(), "lost answer", 1)).await;
    let failure = json!({"error_after": {"code": 500, "message": "INTERNAL"}});
    door.control.fault(json!({"method": "messages.sendMessage", "times": 1, "action": failure}));
    let request = send_message(&own(), "failed answer", 2);
    assert_eq!(refusal(client.invoke(&request).await), "500 INTERNAL");
    assert_eq!(sent(&client.invoke(&request).await.unwrap()).1, 0);
    door.control.fault(json!({"method": "messages.sendMessage", "times": 1, "action": "drop_before"}));
    insist(&client, &send_message(&own(), "lost request", 3)).await;
    assert_eq!(client.history(&own(), 0).await.len(), 3);
    assert_eq!(door.control.counter("/repeats"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_changed_shortened_and_held_back() {
    let mut door = Door::open();
    let client = door.client();
    let document = document_of(&client.upload(&own(), "d", &noise(8_192)).await);
    let request = get_file(&document, 0, 8_192);
    for action in ["corrupt", "short"] {
        door.control.fault(json!({"method": "upload.getFile", "times": 1, "action": action}));
    }
    let corrupt = content(client.invoke(&request).await.unwrap());
    assert_eq!(corrupt.iter().zip(noise(8_192)).filter(|(a, b)| *a != b).count(), 1);
    assert!(content(client.invoke(&request).await.unwrap()) == noise(8_192)[..8_191]);
    door.control.fault(json!({"method": "upload.getFile", "times": 1, "action": {"delay": {"ms": 300}}}));
    let started = Instant::now();
    let (slow, quick) = tokio::join!(client.invoke(&request), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.invoke(&request).await.map(|_| started.elapsed())
    });
    assert!(started.elapsed() >= Duration::from_millis(300) && slow.is_ok());
    assert!(quick.unwrap() < Duration::from_millis(250));
    door.control.fault(json!({"method": "*", "times": 1, "action": "stall"}));
    let silence = timeout(Duration::from_millis(300), client.invoke(&request)).await;
    assert!(silence.is_err());
    let again = timeout(Duration::from_millis(300), client.invoke(&request)).await;
    assert!(again.is_err(), "a stalled connection stays silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_lost_and_overtaken() {
    let mut door = Door::open();
    let (client, mut listener) = (door.client(), door.client());
    listener.invoke(&f::updates::GetState {}).await.unwrap();
    door.control.fault(json!({"method": "push", "times": 1, "action": "lose"}));
    door.control.fault(json!({"method": "push", "times": 1, "action": {"delay": {"ms": 150}}}));
    for text in ["lost", "late", "timely"] {
        client.say(&own(), text).await;
    }
    assert_eq!(listener.next_update(pushed_text).await.as_deref(), Some("timely"));
    assert_eq!(listener.next_update(pushed_text).await.as_deref(), Some("late"));
    assert_eq!(listener.next_update(pushed_text).await, None);
    let missed = f::updates::GetDifference {
        pts: 1,
        pts_limit: None,
        pts_total_limit: None,
        date: 1,
        qts: 0,
        qts_limit: None,
    };
    let enums::updates::Difference::Difference(missed) = listener.invoke(&missed).await.unwrap() else {
        panic!()
    };
    assert_eq!(missed.new_messages.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_tell_a_wait_that_is_enough() {
    let mut door = Door::open();
    let client = door.client();
    let rate = json!({"method": "messages.sendMessage", "per_second": 1.5, "burst": 2});
    door.control.command(json!({"command": "rates", "rates": [rate]}));
    client.say(&own(), "1").await;
    client.say(&own(), "2").await;
    let request = send_message(&own(), "3", fresh());
    assert_eq!(refusal(client.invoke(&request).await), "420 FLOOD_WAIT_1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.invoke(&request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn salts_may_change_while_a_client_talks() {
    let mut door = Door::open();
    door.control.set(json!({"salt_period_s": 1}));
    let client = door.client();
    for number in 0..12 {
        client.say(&own(), &number.to_string()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(client.history(&own(), 0).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_ends_a_connection_and_nothing_else() {
    let mut door = Door::open();
    let client = door.client();
    let address = door.server.addresses()[0].1;
    let noise = noise(4_096);
    for len in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut payload = noise[len..2 * len].to_vec();
        if len % 2 == 0 {
            // Without a key's number it counts as unencrypted.
            payload.iter_mut().take(8).for_each(|byte| *byte = 0);
        }
        let mut frame = ((payload.len() + 12) as u32).to_le_bytes().to_vec();
        frame.extend([0; 4]);
        frame.extend(payload);
        frame.extend(crc32fast::hash(&frame).to_le_bytes());
        stream.write_all(&frame).unwrap();
        // The server may have ended the connection already.
        let _ = stream.write_all(&noise[..len]);
    }
    client.say(&own(), "still there").await;
}

#[test]
fn commands_that_are_none_are_answered() {
    let mut door = Door::open();
    for command in [
        json!({"command": "fly"}),
        json!({"command": "issue_key", "phone": "+999"}),
        json!({"command": "revoke", "key": "zz"}),
        json!({"command": "set", "settings": {"no_such": 1}}),
        json!({"command": "fault", "fault": {"method": "x", "action": "explode"}}),
        json!(7),
    ] {
        assert!(door.control.try_command(command.clone()).get("error").is_some(), "{command}");
    }
    door.control.command(json!({"command": "counters"}));
}
