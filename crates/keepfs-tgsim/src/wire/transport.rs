//! The transport "full": length, number, payload and checksum of each frame
//! (<https://core.telegram.org/mtproto/mtproto-transports#full>).
//!
//! It is what grammers and Telethon speak. It never looks into a payload.

use std::io::{Read, Write};

use crate::error::{Error, Result};

/// Bytes that a frame may have: the longest message (1 MiB of content, a container around it) with room.
pub(crate) const FRAME_LEN_MAX: usize = 2 * 1024 * 1024;
/// Length, number and checksum.
const OVERHEAD_LEN: usize = 12;

/// Reads frames and checks that none is missing or changed.
#[derive(Default)]
pub(crate) struct FrameReader {
    number: u32,
}

impl FrameReader {
    /// The payload of the next frame.
    pub(crate) fn read(&mut self, input: &mut impl Read) -> Result<Vec<u8>> {
        let mut length_bytes = [0; 4];
        input.read_exact(&mut length_bytes)?;
        let length = u32::from_le_bytes(length_bytes) as usize;
        if !(OVERHEAD_LEN..=FRAME_LEN_MAX).contains(&length) {
            return Err(Error::Protocol("a frame's length is impossible"));
        }
        let mut rest = vec![0; length - 4];
        input.read_exact(&mut rest)?;
        let (checked, checksum) = rest.split_at(length - 8);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&length_bytes);
        hasher.update(checked);
        if hasher.finalize().to_le_bytes() != checksum {
            return Err(Error::Protocol("a frame's checksum is wrong"));
        }
        if checked[..4] != self.number.to_le_bytes() {
            return Err(Error::Protocol("a frame is missing"));
        }
        self.number = self.number.wrapping_add(1);
        rest.truncate(length - 8);
        rest.drain(..4);
        Ok(rest)
    }
}

/// Writes frames.
#[derive(Default)]
pub(crate) struct FrameWriter {
    number: u32,
}

impl FrameWriter {
    /// Writes a payload of at most [`FRAME_LEN_MAX`] bytes as one frame.
    pub(crate) fn write(&mut self, output: &mut impl Write, payload: &[u8]) -> Result<()> {
        let length = payload.len() + OVERHEAD_LEN;
        let Some(length) = u32::try_from(length).ok().filter(|_| length <= FRAME_LEN_MAX) else {
            return Err(Error::Protocol("an answer is too long for a frame"));
        };
        let mut frame = Vec::with_capacity(length as usize);
        frame.extend(length.to_le_bytes());
        frame.extend(self.number.to_le_bytes());
        frame.extend(payload);
        frame.extend(crc32fast::hash(&frame).to_le_bytes());
        self.number = self.number.wrapping_add(1);
        Ok(output.write_all(&frame)?)
    }

    /// Writes an error of the transport, which has no frame: the negated code alone.
    pub(crate) fn write_error(output: &mut impl Write, code: i32) -> Result<()> {
        Ok(output.write_all(&(-code).to_le_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        let mut writer = FrameWriter::default();
        writer.write(&mut bytes, b"first").unwrap();
        writer.write(&mut bytes, b"").unwrap();
        let (mut reader, mut input) = (FrameReader::default(), &bytes[..]);
        assert_eq!(reader.read(&mut input).unwrap(), b"first");
        assert_eq!(reader.read(&mut input).unwrap(), b"");
    }

    #[test]
    fn flipped_repeated_and_monstrous_frames_are_refused() {
        let mut bytes = Vec::new();
        FrameWriter::default().write(&mut bytes, b"payload!").unwrap();
        for index in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[index] ^= 0x10;
            assert!(FrameReader::default().read(&mut &wrong[..]).is_err(), "byte {index}");
        }
        let mut reader = FrameReader::default();
        reader.read(&mut &bytes[..]).unwrap();
        assert!(reader.read(&mut &bytes[..]).is_err());
        assert!(FrameReader::default().read(&mut &u32::MAX.to_le_bytes()[..]).is_err());
    }
}
