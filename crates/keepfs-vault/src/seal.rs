//! Seals chunks, and opens each again before its plaintext is let go: what a faulty memory, processor or
//! library damaged must not become the only copy.

use keepfs_format::FormatError;
use keepfs_format::chunk::{BLOCK_LEN, CHUNK_SALT_LEN, ChunkLayout, ChunkOpener, ChunkSealer};
use keepfs_format::compress::Compression;
use keepfs_format::ids::ChunkId;
use keepfs_format::keys::NamespaceKeys;

use crate::error::{Result, VaultError};

/// What one thread needs to seal a chunk.
pub(crate) struct Sealer {
    sealer: ChunkSealer,
    opener: ChunkOpener,
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl Sealer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            sealer: ChunkSealer::new(compression),
            opener: ChunkOpener::new(),
            sealed: Vec::new(),
            opened: vec![0; BLOCK_LEN],
        }
    }

    /// The sealed chunk. It has been opened again and compared.
    pub(crate) fn seal(
        &mut self,
        keys: &NamespaceKeys,
        id: &ChunkId,
        salt: [u8; CHUNK_SALT_LEN],
        plain: &[u8],
    ) -> Result<&[u8]> {
        let faulty = |error: FormatError| VaultError::Faulty { what: error.to_string() };
        self.sealed.clear();
        self.sealer.seal(keys, id, salt, plain, &mut self.sealed).map_err(faulty)?;
        self.check(keys, id, plain).map_err(faulty)?;
        Ok(&self.sealed)
    }

    fn check(&mut self, keys: &NamespaceKeys, id: &ChunkId, plain: &[u8]) -> Result<(), FormatError> {
        let length =
            |len: usize| u32::try_from(len).map_err(|_| FormatError::Invalid { what: "chunk length" });
        let layout =
            ChunkLayout::read(keys, id, length(plain.len())?, length(self.sealed.len())?, &self.sealed)?;
        for (index, block) in plain.chunks(BLOCK_LEN).enumerate() {
            let range = layout.block_range(index);
            let sealed = &self.sealed[range.start as usize..range.end as usize];
            let opened = &mut self.opened[..block.len()];
            self.opener.open_block(&layout, index, sealed, opened)?;
            if opened != block {
                return Err(FormatError::Mismatch { what: "a block opened again" });
            }
        }
        Ok(())
    }
}
