//! The hidden end of a large object: `body ‖ padding ‖ sealed table ‖ masked length of it`.
//!
//! Packs and index runs end so. It owns the search for the table from nothing but the object's name, length
//! and last bytes. It never knows what table or body mean.

use crate::env::Env;
use crate::error::FormatError;
use crate::keys::{NamespaceKeys, Role};
use crate::sealed::{OBJECT_LEN_MIN, padded_len};

/// Bytes of the masked length.
pub const LENGTH_LEN: usize = 4;
/// Bytes before the length that its mask is made of. They are the end of a sealed object, so they are
/// random and differ for every sealing.
const MASK_INPUT_LEN: usize = 32;
/// Fewest bytes of an object's end that tell how long its table is.
pub const TAIL_LEN_MIN: usize = MASK_INPUT_LEN + LENGTH_LEN;

/// The end of one object.
pub(crate) struct Trailer<'a> {
    pub(crate) keys: &'a NamespaceKeys,
    pub(crate) role: Role,
    /// Name of the object.
    pub(crate) name: String,
}

impl Trailer<'_> {
    /// Makes all that follows `body_len` bytes of body.
    pub(crate) fn seal(&self, body_len: u64, table: &[u8], env: &dyn Env) -> Result<Vec<u8>, FormatError> {
        let sealed = self.keys.seal_object(self.role, &self.name, env, table)?;
        let used_len = body_len + (sealed.len() + LENGTH_LEN) as u64;
        let padding_len = (padded_len(used_len) - used_len) as usize;
        let mut trailer = vec![0; padding_len];
        env.fill(&mut trailer);
        trailer.extend_from_slice(&sealed);
        let mask = self.keys.length_mask(&self.name, &sealed[sealed.len() - MASK_INPUT_LEN..]);
        let masked = (sealed.len() as u32).to_le_bytes();
        trailer.extend(masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        Ok(trailer)
    }

    /// How many bytes from the object's end hold the table and its length; `tail` is at least
    /// [`TAIL_LEN_MIN`] bytes of it.
    pub(crate) fn len(&self, object_len: u64, tail: &[u8]) -> Result<usize, FormatError> {
        let what = self.role.what();
        let (rest, masked) = tail.split_last_chunk::<LENGTH_LEN>().ok_or(FormatError::Truncated { what })?;
        let before = rest.last_chunk::<MASK_INPUT_LEN>().ok_or(FormatError::Truncated { what })?;
        let mask = self.keys.length_mask(&self.name, before);
        let mut unmasked = *masked;
        unmasked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        let sealed_len = u32::from_le_bytes(unmasked) as usize;
        let plausible = sealed_len >= OBJECT_LEN_MIN
            && (sealed_len + LENGTH_LEN) as u64 <= object_len
            && padded_len(object_len) == object_len;
        // A wrong length here means that the object is not the one asked for, or that its end is damaged.
        if plausible { Ok(sealed_len + LENGTH_LEN) } else { Err(FormatError::NotAuthentic { what }) }
    }

    /// The table, from at least [`len`](Self::len) bytes of the object's end. Its reader then owes
    /// [`check_body`](Self::check_body).
    pub(crate) fn open(
        &self,
        object_len: u64,
        tail: &[u8],
        table_len_max: usize,
    ) -> Result<Vec<u8>, FormatError> {
        let len = self.len(object_len, tail)?;
        let what = self.role.what();
        let start = tail.len().checked_sub(len).ok_or(FormatError::Truncated { what })?;
        self.keys.open_object(self.role, &self.name, &tail[start..tail.len() - LENGTH_LEN], table_len_max)
    }

    /// Whether a body of this length, the end that `tail` holds and the padding make up exactly the object.
    pub(crate) fn check_body(&self, body_len: u64, object_len: u64, tail: &[u8]) -> Result<(), FormatError> {
        let used_len = body_len + self.len(object_len, tail)? as u64;
        if padded_len(used_len) == object_len {
            return Ok(());
        }
        let is_pack = self.role == Role::PackTable;
        Err(FormatError::Mismatch { what: if is_pack { "length of the pack" } else { "length of the run" } })
    }
}
