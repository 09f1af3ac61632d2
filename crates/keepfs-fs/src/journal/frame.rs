//! One frame of a journal file: layout, sealing and opening. Owns these bytes; never touches a file.
//!
//! ```text
//! head     29  sealed: kind 1 ‖ payload length 4 ‖ durable 8 ‖ tag of the frame before 16
//! head tag 16
//! body      n  sealed, beside the head's tag: payload, then zeroes up to the end of the last sector
//! body tag 16
//! ```
//! A frame begins on a sector and fills whole sectors; nothing in it is in clear.

use keepfs_format::local::{FramePart, FramePlace, FrameSealer, TAG_LEN};

use crate::disk::SECTOR_LEN;

/// Tag of a frame's body: names the frame and all before it.
pub(super) type Tag = [u8; TAG_LEN];

const HEAD_LEN: usize = 1 + 4 + 8 + TAG_LEN;

/// Length in bytes of the sealed head, with which a frame begins.
pub(super) const SEALED_HEAD_LEN: usize = HEAD_LEN + TAG_LEN;

/// Bytes of a frame that are not payload or fill.
pub(super) const OVERHEAD_LEN: usize = SEALED_HEAD_LEN + TAG_LEN;

/// Longest payload of one frame, in bytes; what is longer is carried by several frames.
pub(super) const PAYLOAD_LEN_MAX: usize = 1 << 20;

/// Length in bytes of a frame that carries nothing.
pub(super) const EMPTY_FRAME_LEN: usize = frame_len(0);

/// Length in bytes of the frame that carries `payload_len` bytes.
pub(super) const fn frame_len(payload_len: usize) -> usize {
    (payload_len + OVERHEAD_LEN).next_multiple_of(SECTOR_LEN)
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FrameKind {
    /// A record, whole.
    Whole,
    /// The first part of a record.
    First,
    /// A further part, not the last.
    Middle,
    /// The last part.
    Last,
    /// The last frame of its file: the journal goes on in the next file.
    End,
    /// Carries nothing but the word that what lies before it is durable.
    Vouch,
}

/// The fixed part of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameHead {
    /// What the frame is.
    pub(super) kind: FrameKind,
    /// Length in bytes of what it carries.
    pub(super) payload_len: usize,
    /// Up to where everything was durable when this frame was sealed.
    pub(super) durable: u64,
    /// Tag of the frame before this one, perhaps in another file.
    pub(super) previous: Tag,
}

impl FrameHead {
    /// Length in bytes of the whole frame.
    pub(super) fn frame_len(&self) -> usize {
        frame_len(self.payload_len)
    }

    fn encode(&self, out: &mut [u8; HEAD_LEN]) {
        let payload_len =
            u32::try_from(self.payload_len).expect("a payload is at most PAYLOAD_LEN_MAX bytes long");
        out[0] = match self.kind {
            FrameKind::Whole => 1,
            FrameKind::First => 2,
            FrameKind::Middle => 3,
            FrameKind::Last => 4,
            FrameKind::End => 5,
            FrameKind::Vouch => 6,
        };
        out[1..5].copy_from_slice(&payload_len.to_le_bytes());
        out[5..13].copy_from_slice(&self.durable.to_le_bytes());
        out[13..].copy_from_slice(&self.previous);
    }

    fn decode(bytes: &[u8; HEAD_LEN]) -> Option<Self> {
        let kind = match bytes[0] {
            1 => FrameKind::Whole,
            2 => FrameKind::First,
            3 => FrameKind::Middle,
            4 => FrameKind::Last,
            5 => FrameKind::End,
            6 => FrameKind::Vouch,
            _ => return None,
        };
        let payload_len = u32::from_le_bytes(bytes[1..5].try_into().ok()?) as usize;
        if payload_len > PAYLOAD_LEN_MAX {
            return None;
        }
        Some(Self {
            kind,
            payload_len,
            durable: u64::from_le_bytes(bytes[5..13].try_into().ok()?),
            previous: bytes[13..].try_into().ok()?,
        })
    }
}

/// Seals a frame for `sector` into `out`, which is cleared first, and returns its tag.
pub(super) fn seal(
    sealer: &FrameSealer,
    sector: u64,
    head: &FrameHead,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Tag {
    let mut head_bytes = [0; HEAD_LEN];
    head.encode(&mut head_bytes);
    let head_tag = sealer.seal(FramePlace { sector, part: FramePart::Head }, &[], &mut head_bytes);
    out.clear();
    out.reserve(head.frame_len());
    out.extend_from_slice(&head_bytes);
    out.extend_from_slice(&head_tag);
    out.extend_from_slice(payload);
    out.resize(head.frame_len() - TAG_LEN, 0);
    let body = &mut out[SEALED_HEAD_LEN..];
    let tag = sealer.seal(FramePlace { sector, part: FramePart::Body }, &head_tag, body);
    out.extend_from_slice(&tag);
    tag
}

/// Opens the head of the frame at `sector`, if one begins there.
pub(super) fn open_head(
    sealer: &FrameSealer,
    sector: u64,
    sealed: &[u8; SEALED_HEAD_LEN],
) -> Option<FrameHead> {
    let mut bytes = *sealed;
    let head = sealer.open(FramePlace { sector, part: FramePart::Head }, &[], &mut bytes)?;
    FrameHead::decode((&*head).try_into().ok()?)
}

/// Opens the body of a whole frame in place and returns payload and tag.
pub(super) fn open_body<'a>(
    sealer: &FrameSealer,
    sector: u64,
    head: &FrameHead,
    frame: &'a mut [u8],
) -> Option<(&'a [u8], Tag)> {
    let (sealed_head, body) = frame.split_at_mut_checked(SEALED_HEAD_LEN)?;
    let tag = Tag::try_from(&body[body.len().checked_sub(TAG_LEN)?..]).ok()?;
    let beside = &sealed_head[HEAD_LEN..];
    let plain = sealer.open(FramePlace { sector, part: FramePart::Body }, beside, body)?;
    Some((plain.get(..head.payload_len)?, tag))
}

#[cfg(test)]
mod tests {
    use keepfs_format::local::{LocalKeys, SALT_LEN};
    use keepfs_format::secret::Secret;

    use super::*;

    fn sealer() -> FrameSealer {
        LocalKeys::derive(&Secret::new([1; 32])).frames(&[2; SALT_LEN])
    }

    #[test]
    fn frame_comes_back_and_fills_whole_sectors() {
        for payload_len in [0, 1, 450, 451, 452, 4096, PAYLOAD_LEN_MAX] {
            let head = FrameHead { kind: FrameKind::Last, payload_len, durable: 2, previous: [9; TAG_LEN] };
            let payload = vec![0xa5; payload_len];
            let mut frame = Vec::new();
            let tag = seal(&sealer(), 8, &head, &payload, &mut frame);
            assert_eq!(frame.len() % SECTOR_LEN, 0);
            assert_eq!(frame.len(), head.frame_len());
            let sealed_head = frame[..SEALED_HEAD_LEN].try_into().unwrap();
            assert_eq!(open_head(&sealer(), 8, &sealed_head), Some(head));
            assert_eq!(open_body(&sealer(), 8, &head, &mut frame), Some((&payload[..], tag)));
        }
    }

    #[test]
    fn body_of_another_frame_at_the_same_place_is_refused() {
        let head =
            |durable| FrameHead { kind: FrameKind::Whole, payload_len: 5, durable, previous: [0; TAG_LEN] };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        seal(&sealer(), 8, &head(1), b"first", &mut first);
        seal(&sealer(), 8, &head(2), b"other", &mut second);
        first[SEALED_HEAD_LEN..].copy_from_slice(&second[SEALED_HEAD_LEN..]);
        assert_eq!(open_body(&sealer(), 8, &head(1), &mut first), None);
    }
}
