//! Operations of this machine that the journal has not seen: one batch, in the log's own encoding.

use keepfs_format::codec::Writer;
use keepfs_format::op::OpGroup;
use keepfs_format::op_codec::{DeltaState, encode_group};

use crate::error::Result;

/// The batch that the next commit takes.
#[derive(Default)]
pub(crate) struct OpLog {
    batch: Writer,
    state: DeltaState,
}

impl OpLog {
    /// Appends a group. One that breaks a rule of the format is refused and leaves the batch as it was.
    pub(crate) fn record(&mut self, group: &OpGroup) -> Result<()> {
        Ok(encode_group(&mut self.batch, group, &mut self.state)?)
    }

    /// Bytes in the batch.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    /// Takes the batch out. The next one starts afresh and can be read without this one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).batch.into_bytes()
    }
}
