//! Parts of files, and ranges of documents (<https://core.telegram.org/api/files>).

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::shapes::View;
use super::{Answer, Call, Refusal, bad};
use crate::world::channel::access_hash;
use crate::world::upload::Part;

/// Offsets and limits are multiples of this.
const UNIT: i64 = 4_096;
/// The same for a request that is marked as precise.
const UNIT_PRECISE: i64 = 1_024;
/// No request asks for more, or crosses a multiple of it.
const RANGE_MAX: i64 = 1 << 20;

impl Call<'_> {
    pub(crate) fn save_file_part(&mut self, request: f::upload::SaveFilePart) -> Answer {
        let part = Part { number: request.file_part, total: None, bytes: &request.bytes };
        self.save_part(request.file_id, &part)
    }

    pub(crate) fn save_big_file_part(&mut self, request: f::upload::SaveBigFilePart) -> Answer {
        let total = Some(request.file_total_parts);
        let part = Part { number: request.file_part, total, bytes: &request.bytes };
        self.save_part(request.file_id, &part)
    }

    fn save_part(&mut self, file_id: i64, part: &Part) -> Answer {
        let (user, is_premium) = (self.user()?, self.account()?.is_premium);
        let settings = &self.world.settings;
        let parts_max = if is_premium { settings.parts_max_premium } else { settings.parts_max };
        match self.world.uploads.put((user, file_id), part, parts_max)? {
            Err(name) => bad(&name),
            Ok(is_again) => {
                self.counters.parts += 1;
                self.counters.parts_again += u64::from(is_again);
                self.counters.part_bytes += part.bytes.len() as u64;
                Ok(true.to_bytes())
            }
        }
    }

    pub(crate) fn get_file(&mut self, request: f::upload::GetFile) -> Answer {
        let user = self.user()?;
        let enums::InputFileLocation::InputDocumentFileLocation(location) = request.location else {
            return bad("LOCATION_INVALID");
        };
        let document = self.world.documents.get(&location.id);
        let is_right = location.access_hash == access_hash(user, location.id);
        let Some(document) = document.filter(|_| is_right) else { return bad("LOCATION_INVALID") };
        if document.dc != self.dc {
            return Err(Refusal::new(303, format!("FILE_MIGRATE_{}", document.dc)));
        }
        check_reference(&View { world: self.world, user }, document.id, &location.file_reference)?;
        let (offset, limit) = check_range(request.offset, i64::from(request.limit), request.precise)?;
        let bytes = document.read(&self.world.document_path(document.id), offset, limit)?;
        self.counters.file_bytes += bytes.len() as u64;
        let file = types::upload::File { r#type: enums::storage::FileType::FileUnknown, mtime: 0, bytes };
        Ok(enums::upload::File::File(file).to_bytes())
    }
}

/// References expire; the message has the new one.
pub(crate) fn check_reference(view: &View, document: i64, reference: &[u8]) -> Result<(), Refusal> {
    if reference.is_empty() {
        return bad("FILE_REFERENCE_EMPTY");
    }
    if reference != view.file_reference(document) {
        return bad("FILE_REFERENCE_EXPIRED");
    }
    Ok(())
}

fn check_range(offset: i64, limit: i64, is_precise: bool) -> Result<(u64, usize), Refusal> {
    let unit = if is_precise { UNIT_PRECISE } else { UNIT };
    let Some(start) = u64::try_from(offset).ok().filter(|_| offset % unit == 0) else {
        return bad("OFFSET_INVALID");
    };
    let is_possible = (1..=RANGE_MAX).contains(&limit) && limit % unit == 0;
    if !is_possible || !is_precise && RANGE_MAX % limit != 0 {
        return bad("LIMIT_INVALID");
    }
    if offset / RANGE_MAX != offset.saturating_add(limit - 1) / RANGE_MAX {
        return bad("LIMIT_INVALID");
    }
    Ok((start, limit as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_obey_the_rules() {
        for (offset, limit, is_precise, is_allowed) in [
            (0, 1 << 20, false, true),
            (4_096, 4_096, false, true),
            (4_096, 12_288, false, false),
            (4_096, 12_288, true, true),
            (1_024, 4_096, false, false),
            (1_024, 1_024, true, true),
            (1_024, 1_000, true, false),
            ((1 << 20) - 4_096, 8_192, true, false),
            (-4_096, 4_096, false, false),
            (0, 0, false, false),
            (0, 2 << 20, true, false),
            (i64::MAX - 1_023, 1_024, true, true),
        ] {
            let range = check_range(offset, limit, is_precise);
            assert_eq!(range.is_ok(), is_allowed, "{offset} {limit} {is_precise}");
        }
    }
}
