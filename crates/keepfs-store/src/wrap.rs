//! How a wrapper is put around a store, its staging and every staged handle: written once, for all wrappers
//! that do something around each call.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::fault::Fault;
use crate::method::Method;
use crate::name::ObjectName;
use crate::staging::{Staged, Staging};
use crate::store::{Capabilities, ObjectInfo, PutMode, Space, Store};

/// One call on its way to the store.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) name: Option<&'a ObjectName>,
    /// Bytes that went through, once the call succeeded.
    pub(crate) moved_len: Cell<u64>,
    /// What goes wrong within the call, if the wrapper is the one that breaks calls.
    pub(crate) fault: RefCell<Option<Fault>>,
}

/// What a wrapper does around each call.
pub(crate) trait Around: Send + Sync {
    /// Lets the call through by running `run`, at most once.
    fn around<T>(&self, call: &Call<'_>, run: &mut dyn FnMut() -> Result<T>) -> Result<T>;

    /// How many of `len` bytes of a write get through before it fails; `None`: all, and it does not.
    fn torn_len(&self, _call: &Call<'_>, _len: usize) -> Option<(usize, StoreError)> {
        None
    }

    /// Changes the bytes of a whole object that was read.
    fn spoil_object(&self, _call: &Call<'_>, _bytes: &mut Vec<u8>) {}

    /// Changes the bytes of a range that was read, or fails the read.
    fn spoil_range(&self, _call: &Call<'_>, _offset: u64, _bytes: &mut [u8]) -> Result<()> {
        Ok(())
    }
}

/// A store with something around each of its calls.
pub(crate) struct Wrapped<A> {
    inner: Arc<dyn Store>,
    staging: WrappedStaging<A>,
}

impl<A: Around + 'static> Wrapped<A> {
    pub(crate) fn new(inner: Arc<dyn Store>, around: Arc<A>) -> Self {
        Wrapped { staging: WrappedStaging { inner: inner.clone(), around }, inner }
    }

    pub(crate) fn layer(&self) -> &A {
        &self.staging.around
    }

    fn call<T>(
        &self,
        method: Method,
        name: Option<&ObjectName>,
        mut run: impl FnMut(&Call<'_>) -> Result<T>,
    ) -> Result<T> {
        pass(self.layer(), method, name, &mut run)
    }
}

/// Sends one call through the layer.
fn pass<T>(
    around: &impl Around,
    method: Method,
    name: Option<&ObjectName>,
    run: &mut dyn FnMut(&Call<'_>) -> Result<T>,
) -> Result<T> {
    let call = Call { method, name, moved_len: Cell::new(0), fault: RefCell::new(None) };
    around.around(&call, &mut || run(&call))
}

impl<A: Around + 'static> Store for Wrapped<A> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        self.call(Method::Get, Some(name), |call| {
            let mut bytes = self.inner.get(name, limit)?;
            call.moved_len.set(bytes.len() as u64);
            self.layer().spoil_object(call, &mut bytes);
            Ok(bytes)
        })
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        self.call(Method::GetRange, Some(name), |call| {
            self.inner.get_range(name, offset, out)?;
            call.moved_len.set(out.len() as u64);
            self.layer().spoil_range(call, offset, out)
        })
    }

    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.call(Method::GetRange, Some(name), |call| {
            let found = self.inner.read_up_to(name, offset, out)?;
            call.moved_len.set(found as u64);
            self.layer().spoil_range(call, offset, &mut out[..found])?;
            Ok(found)
        })
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.call(Method::Put, Some(name), |call| {
            if let Some((len, error)) = self.layer().torn_len(call, bytes.len()) {
                self.inner.put(name, &bytes[..len], mode)?;
                return Err(error);
            }
            self.inner.put(name, bytes, mode)?;
            call.moved_len.set(bytes.len() as u64);
            Ok(())
        })
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        self.call(Method::PutFile, Some(name), |call| {
            self.inner.put_file(name, path, mode)?;
            // Only counted; a file that vanished right after its upload counts as nothing.
            call.moved_len.set(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
            Ok(())
        })
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        self.call(Method::Len, Some(name), |_| self.inner.len(name))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.call(Method::Delete, Some(name), |_| self.inner.delete(name))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        self.call(Method::List, None, |_| self.inner.list(prefix, each))
    }

    fn space(&self) -> Result<Option<Space>> {
        self.call(Method::Space, None, |_| self.inner.space())
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.inner.staging().map(|_| &self.staging as &dyn Staging)
    }

    fn device(&self) -> Option<u64> {
        self.inner.device()
    }
}

/// The staging of a wrapped store.
struct WrappedStaging<A> {
    inner: Arc<dyn Store>,
    around: Arc<A>,
}

impl<A: Around + 'static> WrappedStaging<A> {
    fn inner(&self) -> Result<&dyn Staging> {
        self.inner.staging().ok_or_else(|| StoreError::invalid("the store has no staging"))
    }

    fn handle(
        &self,
        method: Method,
        name: &ObjectName,
        open: &dyn Fn() -> Result<Box<dyn Staged>>,
    ) -> Result<Box<dyn Staged>> {
        let inner = pass(&*self.around, method, Some(name), &mut |_| open())?;
        Ok(Box::new(WrappedStaged { inner, around: self.around.clone(), name: name.clone() }))
    }
}

impl<A: Around + 'static> Staging for WrappedStaging<A> {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        self.handle(Method::StagingCreate, name, &|| self.inner()?.create(name))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        self.handle(Method::StagingReopen, name, &|| self.inner()?.reopen(name))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        pass(&*self.around, Method::StagingList, None, &mut |_| self.inner()?.list())
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        pass(&*self.around, Method::StagingDiscard, Some(name), &mut |_| self.inner()?.discard(name))
    }
}

/// A staged object of a wrapped store.
struct WrappedStaged<A> {
    inner: Box<dyn Staged>,
    around: Arc<A>,
    name: ObjectName,
}

impl<A: Around> WrappedStaged<A> {
    fn call<T>(&self, method: Method, mut run: impl FnMut(&Call<'_>) -> Result<T>) -> Result<T> {
        pass(&*self.around, method, Some(&self.name), &mut run)
    }
}

impl<A: Around> Staged for WrappedStaged<A> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.call(Method::StagedWrite, |call| {
            if let Some((len, error)) = self.around.torn_len(call, bytes.len()) {
                self.inner.write_at(offset, &bytes[..len])?;
                return Err(error);
            }
            self.inner.write_at(offset, bytes)?;
            call.moved_len.set(bytes.len() as u64);
            Ok(())
        })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.call(Method::StagedRead, |call| {
            self.inner.read_at(offset, out)?;
            call.moved_len.set(out.len() as u64);
            self.around.spoil_range(call, offset, out)
        })
    }

    fn len(&self) -> Result<u64> {
        self.call(Method::StagedLen, |_| self.inner.len())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.call(Method::StagedTruncate, |_| self.inner.truncate(len))
    }

    fn sync(&self) -> Result<()> {
        self.call(Method::StagedSync, |_| self.inner.sync())
    }

    fn publish(&self) -> Result<()> {
        self.call(Method::StagedPublish, |_| self.inner.publish())
    }
}

/// Makes a wrapper a store, by passing every method to its field `0`.
macro_rules! is_wrapped_store {
    ($wrapper:ty) => {
        impl crate::store::Store for $wrapper {
            fn capabilities(&self) -> crate::store::Capabilities {
                self.0.capabilities()
            }
            fn get(&self, name: &crate::ObjectName, limit: u64) -> crate::Result<Vec<u8>> {
                self.0.get(name, limit)
            }
            fn get_range(&self, name: &crate::ObjectName, offset: u64, out: &mut [u8]) -> crate::Result<()> {
                self.0.get_range(name, offset, out)
            }
            fn read_up_to(
                &self,
                name: &crate::ObjectName,
                offset: u64,
                out: &mut [u8],
            ) -> crate::Result<usize> {
                self.0.read_up_to(name, offset, out)
            }
            fn put(
                &self,
                name: &crate::ObjectName,
                bytes: &[u8],
                mode: crate::store::PutMode,
            ) -> crate::Result<()> {
                self.0.put(name, bytes, mode)
            }
            fn put_file(
                &self,
                name: &crate::ObjectName,
                path: &std::path::Path,
                mode: crate::store::PutMode,
            ) -> crate::Result<()> {
                self.0.put_file(name, path, mode)
            }
            fn len(&self, name: &crate::ObjectName) -> crate::Result<u64> {
                self.0.len(name)
            }
            fn delete(&self, name: &crate::ObjectName) -> crate::Result<()> {
                self.0.delete(name)
            }
            fn list(
                &self,
                prefix: &str,
                each: &mut dyn FnMut(crate::store::ObjectInfo) -> std::ops::ControlFlow<()>,
            ) -> crate::Result<()> {
                self.0.list(prefix, each)
            }
            fn space(&self) -> crate::Result<Option<crate::store::Space>> {
                self.0.space()
            }
            fn staging(&self) -> Option<&dyn crate::staging::Staging> {
                self.0.staging()
            }
            fn device(&self) -> Option<u64> {
                self.0.device()
            }
        }
    };
}
pub(crate) use is_wrapped_store;
