//! Whether an object holds given bytes: how one's own put, whose answer was lost, is told from another's.

use crate::error::{Result, StoreError};
use crate::name::ObjectName;
use crate::store::Store;

/// Bytes compared at a time: few requests, and little memory.
const STEP_LEN: usize = 8 << 20;

/// Whether the object has exactly `len` bytes and they are those that `read` fills in at each offset. An
/// object that is not there is not the same.
///
/// Contents of the vault are sealed with fresh randomness, so equal bytes are one and the same put.
pub fn same_contents(
    store: &dyn Store,
    name: &ObjectName,
    len: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<bool> {
    match store.len(name) {
        Ok(found) if found == len => {}
        Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    let step = usize::try_from(len).unwrap_or(STEP_LEN).min(STEP_LEN);
    let (mut ours, mut theirs) = (vec![0; step], vec![0; step]);
    let mut offset = 0;
    while offset < len {
        let part = usize::try_from(len - offset).unwrap_or(step).min(step);
        read(offset, &mut ours[..part])?;
        store.get_range(name, offset, &mut theirs[..part])?;
        if ours[..part] != theirs[..part] {
            return Ok(false);
        }
        offset += part as u64;
    }
    Ok(true)
}
