//! The store that fails as it is told.

use std::sync::Arc;

use super::faults::Faults;
use super::model::{Fault, Moment};
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::wrap::{Around, Call, Wrapped, is_wrapped_store};

/// A store that fails as its [`Faults`] say.
pub struct FaultStore(Wrapped<Faults>);

impl FaultStore {
    /// Puts `faults` around `inner`. The caller keeps a clone of `faults` to watch and to steer.
    pub fn new(inner: Arc<dyn Store>, faults: Arc<Faults>) -> Self {
        FaultStore(Wrapped::new(inner, faults))
    }
}

is_wrapped_store!(FaultStore);

fn crashed() -> StoreError {
    StoreError::io_never("the process has crashed, by order of a test")
}

impl Faults {
    fn die(&self) -> StoreError {
        self.crash();
        crashed()
    }
}

impl Around for Faults {
    fn around<T>(&self, call: &Call<'_>, run: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let fault = self.start(call.method, call.name);
        match &fault {
            Some(Fault::FailBefore(error)) => return Err(error.clone()),
            Some(Fault::Torn(error)) if !self.is_tearable(call.method) => return Err(error.clone()),
            Some(Fault::Crash(Moment::Before)) => return Err(self.die()),
            Some(Fault::Crash(Moment::Torn)) if !self.is_tearable(call.method) => return Err(self.die()),
            _ => {}
        }
        let Some(_entered) = self.enter() else { return Err(crashed()) };
        call.fault.replace(fault.clone());
        let result = run();
        match fault {
            // The effect is there, the answer is lost.
            Some(Fault::FailAfter(error)) => result.and(Err(error)),
            Some(Fault::Crash(_)) => Err(self.die()),
            _ => result,
        }
    }

    fn torn_len(&self, call: &Call<'_>, len: usize) -> Option<(usize, StoreError)> {
        match &*call.fault.borrow() {
            Some(Fault::Torn(error)) => Some((len / 2, error.clone())),
            Some(Fault::Crash(Moment::Torn)) => Some((len / 2, crashed())),
            _ => None,
        }
    }

    fn spoil_object(&self, call: &Call<'_>, bytes: &mut Vec<u8>) {
        match &*call.fault.borrow() {
            Some(Fault::ShortRead) => bytes.truncate(bytes.len() / 2),
            Some(Fault::FlipBit(bit)) => flip(bytes, *bit),
            _ => {}
        }
    }

    fn spoil_range(&self, call: &Call<'_>, offset: u64, bytes: &mut [u8]) -> Result<()> {
        match (&*call.fault.borrow(), call.name) {
            (Some(Fault::ShortRead), Some(name)) => Err(StoreError::short(name, offset, bytes.len() as u64)),
            (Some(Fault::FlipBit(bit)), _) => {
                flip(bytes, *bit);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn flip(bytes: &mut [u8], bit: u64) {
    if !bytes.is_empty() {
        let bit = bit % (bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}
