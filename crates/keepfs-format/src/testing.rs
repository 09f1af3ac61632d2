//! What the unit tests of this crate share: keys and randomness that are the same on every run.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::Env;
use crate::ids::{NamespaceId, Time, VaultId};
use crate::keys::{NamespaceKeys, NamespaceSecrets};
use crate::secret::Secret;

/// Randomness from a seed and a counter.
pub(crate) struct CountingEnv {
    seed: u64,
    drawn: AtomicU64,
}

impl CountingEnv {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Env for CountingEnv {
    fn now(&self) -> Time {
        Time { secs: 1_800_000_000, nanos: 7 }
    }

    fn fill(&self, out: &mut [u8]) {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&drawn.to_le_bytes());
        hasher.finalize_xof().fill(out);
    }
}

/// Bytes that do not compress.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    CountingEnv::new(seed).fill(&mut bytes);
    bytes
}

fn secrets(epoch: u32) -> NamespaceSecrets {
    NamespaceSecrets {
        vault: VaultId([9; 32]),
        namespace: NamespaceId(1),
        epoch,
        epoch_key: Secret::new([epoch as u8; 32]),
        id_key: Secret::new([21; 32]),
        cut_key: Secret::new([22; 32]),
        directory_key: Secret::new([23; 32]),
        name_key: Secret::new([24; 32]),
    }
}

/// Keys of epoch 1, whose secret is all ones.
pub(crate) fn keys() -> NamespaceKeys {
    NamespaceKeys::derive(&secrets(1))
}

/// Keys of epoch 2 of the same namespace.
pub(crate) fn other_epoch_keys() -> NamespaceKeys {
    NamespaceKeys::derive(&secrets(2))
}
