//! Secret bytes: wiped on drop, never printed, never copied by accident.

use zeroize::Zeroize;

/// `N` secret bytes. No `Debug`, no `Clone`; wiped when dropped.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes over bytes; the caller wipes its own copy if it kept one.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(Box::new(bytes))
    }

    /// The bytes, for a primitive that needs them.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// A deliberate second copy, where two owners must each wipe their own.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
