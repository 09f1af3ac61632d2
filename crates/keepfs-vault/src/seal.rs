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

#[cfg(test)]
mod tests {
    use keepfs_format::ids::{NamespaceId, VaultId};
    use keepfs_format::keys::NamespaceSecrets;
    use keepfs_format::secret::Secret;

    use super::*;

    fn keys() -> NamespaceKeys {
        NamespaceKeys::derive(&NamespaceSecrets {
            vault: VaultId([9; 32]),
            namespace: NamespaceId(1),
            epoch: 1,
            epoch_key: Secret::new([1; 32]),
            id_key: Secret::new([2; 32]),
            cut_key: Secret::new([3; 32]),
            directory_key: Secret::new([4; 32]),
            name_key: Secret::new([5; 32]),
        })
    }

    #[test]
    fn what_a_compressor_damaged_is_noticed_before_the_plaintext_goes() {
        let keys = keys();
        let plain: Vec<u8> = (0..200_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let id = keys.chunk_id(&plain);
        for compression in [Compression::Zstd(1), Compression::Lz4, Compression::None] {
            let mut sealer = Sealer::new(compression);
            sealer.seal(&keys, &id, [7; CHUNK_SALT_LEN], &plain).unwrap();
            for at in [0, 65_535, 65_536, 400_000, plain.len() - 1] {
                // What a compressor that errs in one byte would have handed on to be sealed.
                let mut damaged = plain.clone();
                damaged[at] ^= 0x10;
                sealer.sealer.seal(&keys, &id, [7; CHUNK_SALT_LEN], &damaged, &mut sealer.sealed).unwrap();
                let noticed = sealer.check(&keys, &id, &plain);
                assert!(matches!(noticed, Err(FormatError::Mismatch { .. })), "{compression:?} {at}");
            }
        }
    }

    #[test]
    fn a_flip_in_what_was_sealed_is_noticed_before_the_plaintext_goes() {
        let keys = keys();
        let plain = b"a line of text\n".repeat(20_000);
        let id = keys.chunk_id(&plain);
        let mut sealer = Sealer::new(Compression::Zstd(1));
        let len = sealer.seal(&keys, &id, [7; CHUNK_SALT_LEN], &plain).unwrap().len();
        for at in (0..len).step_by(7) {
            sealer.sealed[at] ^= 1;
            assert!(sealer.check(&keys, &id, &plain).is_err(), "byte {at}");
            sealer.sealed[at] ^= 1;
        }
        sealer.check(&keys, &id, &plain).unwrap();
    }
}
