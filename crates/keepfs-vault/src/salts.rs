//! Fresh salts for chunks, drawn from the environment many at a time: asking the system for sixteen bytes
//! costs more than sealing a small chunk.

use keepfs_format::Env;
use keepfs_format::chunk::CHUNK_SALT_LEN;
use parking_lot::Mutex;

use crate::limits::SALTS_DRAWN;

/// Salts not given out yet.
#[derive(Default)]
pub(crate) struct Salts(Mutex<Vec<[u8; CHUNK_SALT_LEN]>>);

impl Salts {
    /// One that was never given out before.
    pub(crate) fn next(&self, env: &dyn Env) -> [u8; CHUNK_SALT_LEN] {
        let mut left = self.0.lock();
        loop {
            if let Some(salt) = left.pop() {
                return salt;
            }
            let mut drawn = vec![0; SALTS_DRAWN * CHUNK_SALT_LEN];
            env.fill(&mut drawn);
            left.extend(drawn.as_chunks().0);
        }
    }
}
