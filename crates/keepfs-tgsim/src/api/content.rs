//! What a message holds: its text within limits, and a document that is new or was sent before.

use grammers_tl_types::{enums, types};

use super::files::check_reference;
use super::help::{CAPTION_LEN_MAX, CAPTION_LEN_MAX_PREMIUM, TEXT_LEN_MAX};
use super::shapes::View;
use super::{Call, Refusal, bad};
use crate::counters::Completed;
use crate::wire::time_s;
use crate::world::channel::access_hash;
use crate::world::document::Document;
use crate::world::record::Record;
use crate::world::upload::Completion;

/// Bytes of a file name or a type; longer ones are cut as Telegram does.
const NAME_LEN_MAX: usize = 255;

impl Call<'_> {
    /// The text as it is kept: without spaces at its ends, and not too long.
    pub(crate) fn text(&self, text: &str, has_media: bool) -> Result<String, Refusal> {
        let is_premium = self.account()?.is_premium;
        let (limit, error) = match (has_media, is_premium) {
            (false, _) => (TEXT_LEN_MAX, "MESSAGE_TOO_LONG"),
            (true, false) => (CAPTION_LEN_MAX, "MEDIA_CAPTION_TOO_LONG"),
            (true, true) => (CAPTION_LEN_MAX_PREMIUM, "MEDIA_CAPTION_TOO_LONG"),
        };
        let text = text.trim();
        if text.encode_utf16().count() > limit {
            return bad(error);
        }
        Ok(text.to_owned())
    }

    /// The document that a message shall have, completed from its parts if it is new.
    pub(crate) fn media(&mut self, media: enums::InputMedia) -> Result<i64, Refusal> {
        match media {
            enums::InputMedia::UploadedDocument(media) => self.complete_document(media),
            enums::InputMedia::Document(media) => self.known_document(&media),
            _ => bad("MEDIA_INVALID"),
        }
    }

    fn known_document(&self, media: &types::InputMediaDocument) -> Result<i64, Refusal> {
        let user = self.user()?;
        let enums::InputDocument::Document(document) = &media.id else { return bad("MEDIA_EMPTY") };
        let is_right = document.access_hash == access_hash(user, document.id);
        if !is_right || !self.world.documents.contains_key(&document.id) {
            return bad("MEDIA_INVALID");
        }
        check_reference(&View { world: self.world, user }, document.id, &document.file_reference)?;
        Ok(document.id)
    }

    fn complete_document(&mut self, media: types::InputMediaUploadedDocument) -> Result<i64, Refusal> {
        let owner = self.user()?;
        let (file_id, file_name, completion) = match media.file {
            enums::InputFile::File(file) => {
                let completion = Completion { parts: file.parts, is_big: false, md5: file.md5_checksum };
                (file.id, file.name, completion)
            }
            enums::InputFile::Big(file) => {
                let completion = Completion { parts: file.parts, is_big: true, md5: String::new() };
                (file.id, file.name, completion)
            }
            _ => return bad("FILE_PARTS_INVALID"),
        };
        let named = media.attributes.into_iter().find_map(|attribute| match attribute {
            enums::DocumentAttribute::Filename(name) => Some(name.file_name),
            _ => None,
        });
        let id = self.world.next_document();
        let path = self.world.document_path(id);
        let pieces = match self.world.uploads.complete((owner, file_id), &completion, &path)? {
            Ok(pieces) => pieces,
            Err(name) => return bad(&name),
        };
        let document = Document {
            id,
            owner,
            name: cut(named.unwrap_or(file_name)),
            mime_type: cut(media.mime_type),
            size: pieces.iter().map(|piece| piece.len).sum(),
            date_s: time_s(),
            dc: self.world.settings.document_dc,
            pieces,
        };
        self.counters.complete(Completed { document: id, name: document.name.clone(), size: document.size });
        self.world.commit(&Record::Document(document))?;
        Ok(id)
    }
}

fn cut(mut text: String) -> String {
    let end = (0..=NAME_LEN_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("a.bin".to_owned()), "a.bin");
        assert_eq!(cut("ä".repeat(200)).len(), 254);
    }
}
