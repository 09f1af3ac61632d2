//! Time and randomness as arguments: the core has no clock and no generator of its own.

use crate::ids::Time;
use crate::secret::Secret;

/// What the core asks of the world around it.
pub trait Env: Send + Sync {
    /// Wall-clock time.
    fn now(&self) -> Time;
    /// Fills `out` with bytes fit for keys.
    fn fill(&self, out: &mut [u8]);
}

/// Draws a fresh secret.
pub fn draw<const N: usize>(env: &dyn Env) -> Secret<N> {
    let mut bytes = [0; N];
    env.fill(&mut bytes);
    let secret = Secret::new(bytes);
    zeroize::Zeroize::zeroize(&mut bytes);
    secret
}
