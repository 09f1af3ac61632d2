//! An object becomes a message: parts first, several at once, then the message that names them.

use std::sync::Arc;

use grammers_tl_types as tl;
use keepfs_store::ObjectName;
use tl::enums;
use tokio::task::JoinSet;

use crate::attempt::Attempt;
use crate::error::{Result, TelegramError};
use crate::flow::Kind;
use crate::index::Spot;
use crate::label::Label;
use crate::pool::Pool;
use crate::shelf::Shelf;
use crate::sighting::updates_of;
use crate::source::{PART_LEN, Source};
use crate::volume::Volume;

/// Longest file that the server takes as a small one, with a checksum, in bytes (core.telegram.org/api/files).
const SMALL_LEN_MAX: u64 = 10 << 20;
/// How often the message is sent when the server has lost parts meanwhile.
const SENDS_MAX: usize = 8;
/// The server has no part of this number; the number stands behind.
const PART_MISSING: &str = "FILE_PART_";
/// The server has seen this message already.
const SENT_ALREADY: &str = "RANDOM_ID_DUPLICATE";
/// The kind of file that every object is to Telegram.
const MIME_TYPE: &str = "application/octet-stream";

/// What the parts add up to.
struct Sums {
    crc: u32,
    /// Of a small file.
    md5: Option<String>,
}

/// Gives the server every part that it lacks.
async fn send_parts(pool: &Arc<Pool>, source: &Source<'_>, attempt: &mut Attempt) -> Result<Sums> {
    let (parts, is_small) = (source.parts(), source.len() <= SMALL_LEN_MAX);
    let mut crc = crc32fast::Hasher::new();
    let mut md5 = is_small.then(md5::Context::new);
    let mut flying: JoinSet<Result<(u32, u32)>> = JoinSet::new();
    let mut failure = None;
    for part in 0..parts {
        let bytes = source.part(part)?;
        let mut part_crc = crc32fast::Hasher::new();
        part_crc.update(&bytes);
        crc.combine(&part_crc);
        if let Some(md5) = &mut md5 {
            md5.consume(&bytes);
        }
        let part_crc = part_crc.finalize();
        if attempt.has(part, part_crc) {
            continue;
        }
        while flying.len() >= pool.flow.parts(Kind::Upload) && failure.is_none() {
            failure = land(&mut flying, attempt).await.err();
        }
        if failure.is_some() {
            break;
        }
        let (pool, file_id) = (pool.clone(), attempt.file_id);
        flying.spawn(async move {
            let total = (!is_small).then_some(parts);
            send_part(&pool, (file_id, part, total), bytes).await.map(|()| (part, part_crc))
        });
    }
    // Parts that are under way arrive whatever became of another, and need not be sent again.
    while !flying.is_empty() {
        let landed = land(&mut flying, attempt).await.err();
        failure = failure.or(landed);
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Sums { crc: crc.finalize(), md5: md5.map(|md5| format!("{:x}", md5.finalize())) }),
    }
}

async fn land(flying: &mut JoinSet<Result<(u32, u32)>>, attempt: &mut Attempt) -> Result<()> {
    match flying.join_next().await {
        None => Ok(()),
        Some(Ok(landed)) => {
            let (part, crc) = landed?;
            attempt.note_part(part, crc)
        }
        Some(Err(panic)) => Err(TelegramError::broken(format!("a part was not sent ({panic})"))),
    }
}

/// One part: its file, its number, and of a large file how many there are.
async fn send_part(
    pool: &Pool,
    (file_id, part, total): (i64, u32, Option<u32>),
    bytes: Vec<u8>,
) -> Result<()> {
    let file_part = part as i32;
    let taken = match total {
        None => {
            pool.ask(Kind::Upload, tl::functions::upload::SaveFilePart { file_id, file_part, bytes }).await?
        }
        Some(total) => {
            let file_total_parts = total as i32;
            let request =
                tl::functions::upload::SaveBigFilePart { file_id, file_part, file_total_parts, bytes };
            pool.ask(Kind::Upload, request).await?
        }
    };
    if taken { Ok(()) } else { Err(TelegramError::broken("the server did not take a part")) }
}

impl Shelf {
    /// Uploads an object and sends its message; the message that it became.
    pub(crate) async fn upload(
        self: &Arc<Self>,
        name: &ObjectName,
        source: &Source<'_>,
        attempt: &mut Attempt,
    ) -> Result<Spot> {
        for _ in 0..SENDS_MAX {
            let sums = send_parts(&self.pool, source, attempt).await?;
            let label = Label { name: name.clone(), len: source.len(), crc: sums.crc };
            let volume = self.volume_for_new().await?;
            attempt.note_sending()?;
            match self
                .send(&volume, &label, file(&label.file_name(), source, attempt, sums.md5), attempt)
                .await
            {
                Err(error) if error.is_refusal(PART_MISSING) => match error.refusal_number() {
                    Some(part) if part >= 0 => attempt.lose_part(part as u32),
                    _ => return Err(error),
                },
                outcome => return outcome,
            }
        }
        Err(TelegramError::broken("the server loses parts faster than it is given them"))
    }

    async fn send(
        self: &Arc<Self>,
        volume: &Volume,
        label: &Label,
        file: enums::InputFile,
        attempt: &Attempt,
    ) -> Result<Spot> {
        let request = message(volume, (&label.file_name(), label.caption()), file, attempt.random_id);
        match self.pool.ask(Kind::Message, request).await {
            Ok(answer) => {
                let sent = sent_id(&answer, attempt.random_id);
                self.apply_answer(volume.key, answer);
                if let Some(id) = sent
                    && self.holds(Spot { volume: volume.key, id }, label)
                {
                    return Ok(Spot { volume: volume.key, id });
                }
            }
            Err(error) if error.is_refusal(SENT_ALREADY) => {}
            Err(error) => return Err(error),
        }
        // The answer does not show the message; the changes must.
        self.refresh().await?;
        match self.newest(&label.name) {
            Some((spot, entry)) if entry.label == *label => Ok(spot),
            _ => Err(TelegramError::broken("the message was sent and does not show")),
        }
    }

    fn holds(&self, spot: Spot, label: &Label) -> bool {
        self.newest(&label.name).is_some_and(|(newest, entry)| newest == spot && entry.label == *label)
    }
}

/// The number of the message that was sent, if the answer tells it.
fn sent_id(answer: &enums::Updates, random_id: i64) -> Option<i32> {
    updates_of(answer.clone()).iter().find_map(|update| match update {
        enums::Update::MessageId(update) if update.random_id == random_id => Some(update.id),
        _ => None,
    })
}

fn file(name: &str, source: &Source<'_>, attempt: &Attempt, md5: Option<String>) -> enums::InputFile {
    let (id, parts, name) = (attempt.file_id, source.parts() as i32, name.to_owned());
    match md5 {
        Some(md5_checksum) => tl::types::InputFile { id, parts, name, md5_checksum }.into(),
        None => tl::types::InputFileBig { id, parts, name }.into(),
    }
}

/// Sends a document that is no object; the number of its message.
pub(crate) async fn send_plain(
    pool: &Arc<Pool>,
    volume: &Volume,
    (name, source): (&str, &Source<'_>),
    attempt: &mut Attempt,
) -> Result<i32> {
    let sums = send_parts(pool, source, attempt).await?;
    let file = file(name, source, attempt, sums.md5);
    let request = message(volume, (name, String::new()), file, attempt.random_id);
    let answer = pool.ask(Kind::Message, request).await?;
    sent_id(&answer, attempt.random_id)
        .ok_or_else(|| TelegramError::broken("the message was sent and its number not told"))
}

fn message(
    volume: &Volume,
    (file_name, caption): (&str, String),
    file: enums::InputFile,
    random_id: i64,
) -> tl::functions::messages::SendMedia {
    let name = tl::types::DocumentAttributeFilename { file_name: file_name.to_owned() };
    let media = tl::types::InputMediaUploadedDocument {
        nosound_video: false,
        // Without it the server may turn bytes that look like a film into one.
        force_file: true,
        spoiler: false,
        file,
        thumb: None,
        mime_type: MIME_TYPE.to_owned(),
        attributes: vec![name.into()],
        stickers: None,
        video_cover: None,
        video_timestamp: None,
        ttl_seconds: None,
    };
    tl::functions::messages::SendMedia {
        silent: true,
        background: true,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer: volume.peer(),
        reply_to: None,
        media: media.into(),
        message: caption,
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
    }
}

/// Longest object, in bytes: 4000 parts, what the server takes from everybody.
pub(crate) const OBJECT_LEN_MAX: u64 = 4000 * PART_LEN as u64;
