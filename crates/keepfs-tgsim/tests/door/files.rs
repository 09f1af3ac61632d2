//! Parts, documents, ranges.

use grammers_tl_types::{enums, functions as f, types};
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn documents_come_back_by_range_whatever_their_size() {
    let mut door = Door::open();
    let client = door.client();
    for len in [1, 4_096, PART, PART + 1, 3 * PART + 77] {
        let bytes = noise(len);
        let name = format!("{len}.bin");
        let message = client.upload(&own(), &name, &bytes).await;
        assert_eq!(message.message, format!("caption of {name}"));
        let document = document_of(&message);
        assert_eq!(document.size as usize, len);
        let mut back = Vec::new();
        while back.len() < len {
            let request = get_file(&document, back.len() as i64, PART as i32);
            let piece = content(client.invoke(&request).await.unwrap());
            assert!(!piece.is_empty());
            back.extend(piece);
        }
        assert!(back == bytes, "{len} bytes came back changed");
    }
    let document = document_of(&client.upload(&own(), "odd", &noise(2_000_000)).await);
    let range = content(client.invoke(&get_file(&document, 700 * 1_024, 65_536)).await.unwrap());
    assert!(range == noise(2_000_000)[700 * 1_024..][..65_536]);
    let across = client.invoke(&get_file(&document, (1 << 20) - 1_024, 2_048)).await;
    assert_eq!(refusal(across), "400 LIMIT_INVALID");
    assert!(content(client.invoke(&get_file(&document, 1 << 30, 1_024)).await.unwrap()).is_empty());
    assert_eq!(door.control.counter("/uploads/odd"), 1);
    assert_eq!(door.control.counter("/parts_again"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_part_is_named_and_the_upload_goes_on() {
    let mut door = Door::open();
    let client = door.client();
    let bytes = noise(2 * PART + 9);
    let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
    let save = |index: usize| f::upload::SaveBigFilePart {
        file_id: 77,
        file_part: index as i32,
        file_total_parts: 3,
        bytes: parts[index].to_vec(),
    };
    client.invoke(&save(2)).await.unwrap();
    client.invoke(&save(0)).await.unwrap();
    let file: enums::InputFile = types::InputFileBig { id: 77, parts: 3, name: "n".to_owned() }.into();
    let request = send_media(&own(), file, "n", fresh());
    assert_eq!(refusal(client.invoke(&request).await), "400 FILE_PART_MISSING_1");
    client.invoke(&save(1)).await.unwrap();
    client.invoke(&save(1)).await.unwrap();
    let (message, _) = sent(&client.invoke(&request).await.unwrap());
    let range = content(client.invoke(&get_file(&document_of(&message), PART as i64, 4_096)).await.unwrap());
    assert!(range == parts[1][..4_096]);
    assert_eq!(door.control.counter("/parts_again"), 1);
    door.control.command(json!({"command": "expire_parts"}));
    client.invoke(&save(0)).await.unwrap();
    door.control.command(json!({"command": "expire_parts"}));
    let again = send_media(
        &own(),
        types::InputFileBig { id: 77, parts: 3, name: String::new() }.into(),
        "n",
        fresh(),
    );
    assert_eq!(refusal(client.invoke(&again).await), "400 FILE_PARTS_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_lives_as_long_as_a_message_holds_it() {
    let mut door = Door::open();
    let client = door.client();
    let channel = client.channel("vault").await;
    let first = client.upload(&own(), "d", &noise(5_000)).await;
    let document = document_of(&first);
    let id = types::InputDocument {
        id: document.id,
        access_hash: document.access_hash,
        file_reference: document.file_reference.clone(),
    };
    let media = types::InputMediaDocument {
        spoiler: false,
        id: id.into(),
        video_cover: None,
        video_timestamp: None,
        ttl_seconds: None,
        query: None,
    };
    let nothing = types::InputFileBig { id: 0, parts: 0, name: String::new() };
    let mut request = send_media(&peer_of(&channel), nothing.into(), "d", fresh());
    request.media = media.into();
    let (second, _) = sent(&client.invoke(&request).await.unwrap());
    client.invoke(&f::messages::DeleteMessages { revoke: true, id: vec![first.id] }).await.unwrap();
    let range = get_file(&document, 0, 4_096);
    assert!(content(client.invoke(&range).await.unwrap()) == noise(5_000)[..4_096]);
    let delete = f::channels::DeleteMessages { channel: input_of(&channel), id: vec![second.id] };
    client.invoke(&delete).await.unwrap();
    assert_eq!(refusal(client.invoke(&range).await), "400 LOCATION_INVALID");
    assert_eq!(door.control.counter("/uploads/d"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_reference_is_renewed_by_reading_the_message() {
    let mut door = Door::open();
    let client = door.client();
    let message = client.upload(&own(), "r", &noise(5_000)).await;
    door.control.command(json!({"command": "expire_references"}));
    let request = get_file(&document_of(&message), 0, 4_096);
    assert_eq!(refusal(client.invoke(&request).await), "400 FILE_REFERENCE_EXPIRED");
    let ids = vec![types::InputMessageId { id: message.id }.into()];
    let found = messages(client.invoke(&f::messages::GetMessages { id: ids }).await.unwrap());
    let enums::Message::Message(message) = &found[0] else { panic!() };
    let request = get_file(&document_of(message), 0, 4_096);
    assert!(content(client.invoke(&request).await.unwrap()) == noise(5_000)[..4_096]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_read_in_the_data_centre_that_keeps_it() {
    let mut door = Door::open_with(&[2, 4]);
    door.control.set(json!({"document_dc": 4}));
    let client = door.client();
    let document = document_of(&client.upload(&own(), "far", &noise(9_000)).await);
    assert_eq!(document.dc_id, 4);
    let request = get_file(&document, 0, 8_192);
    assert_eq!(refusal(client.invoke(&request).await), "303 FILE_MIGRATE_4");
    // A key of the other data centre, which has to be introduced first.
    let (_, key) = door.control.key(None);
    let far = Client::connect(&door.server.addresses()[1..], key);
    assert_eq!(refusal(far.invoke(&request).await), "401 AUTH_KEY_UNREGISTERED");
    let exported = client.invoke(&f::auth::ExportAuthorization { dc_id: 4 }).await.unwrap();
    let enums::auth::ExportedAuthorization::Authorization(exported) = exported;
    let import = f::auth::ImportAuthorization { id: exported.id, bytes: exported.bytes };
    far.invoke(&import).await.unwrap();
    assert_eq!(refusal(far.invoke(&import).await), "400 AUTH_BYTES_INVALID");
    assert!(content(far.invoke(&request).await.unwrap()) == noise(9_000)[..8_192]);
    let listed = client.invoke(&f::account::GetAuthorizations {}).await.unwrap();
    let enums::account::Authorizations::Authorizations(listed) = listed;
    assert_eq!(listed.authorizations.len(), 1, "the key elsewhere is no session of its own");
    client.invoke(&f::auth::LogOut {}).await.unwrap();
    assert_eq!(refusal(far.invoke(&request).await), "401 AUTH_KEY_UNREGISTERED");
}
