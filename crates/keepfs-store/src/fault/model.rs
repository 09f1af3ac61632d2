//! What can go wrong with a call, and which call it strikes.
//!
//! The fault model, in words. A call may fail before it has any effect, or after its effect with the answer
//! lost. A write may be torn: a prefix gets through, then it fails. A read may come back short or with a bit
//! flipped. The whole store may be full, read-only or out of reach for a while. And the process that uses it
//! may crash at any call: from then on every call of this wrapper, its staging and all its handles fails and
//! has no effect, so that a crashed incarnation cannot write again. What the crash leaves is in the inner
//! store; a power cut on top of it is [`crate::MemoryStore::cut_power`].

use crate::error::StoreError;
use crate::method::Method;
use crate::name::ObjectName;

/// One thing that goes wrong with one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The call fails and has no effect.
    FailBefore(StoreError),
    /// The call has its effect, and its answer is lost.
    FailAfter(StoreError),
    /// Of a `put` or `staged.write_at` the first half gets through, then it fails. Other calls fail before.
    Torn(StoreError),
    /// A `get` gives only the first half of the object; a ranged read fails as if the object ended early.
    /// Other calls go through.
    ShortRead,
    /// One bit of what a read gives is flipped: this one, modulo the length. Other calls go through.
    FlipBit(u64),
    /// The process dies: this call and every later one fails.
    Crash(Moment),
}

/// When a crash strikes within its call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Before the call has any effect.
    Before,
    /// In the middle of a `put` or `staged.write_at`: the first half gets through. Otherwise like `Before`.
    Torn,
    /// After its effect, before its answer.
    After,
}

impl Moment {
    /// Every moment.
    pub const ALL: [Moment; 3] = [Moment::Before, Moment::Torn, Moment::After];
}

/// Which call a scripted fault strikes. All count from zero and from the making of the [`crate::Faults`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Strike {
    /// The call of this number, of whatever method.
    Call(u64),
    /// The writing call of this number (see [`Method::is_write`]).
    Write(u64),
    /// The call of this number to one method.
    Method(Method, u64),
}

/// How the whole store is for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    /// It works.
    Fair,
    /// Writes fail with `Full`, but `delete` and `discard` go through.
    Full,
    /// Writes fail with `ReadOnly`.
    ReadOnly,
    /// Everything fails with `Unavailable`.
    Offline,
}

/// How often calls fail by chance, each in calls of a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Any call fails before its effect.
    pub fail_before: u32,
    /// Any call fails after its effect.
    pub fail_after: u32,
    /// A read is short.
    pub short_read: u32,
    /// A read has a bit flipped.
    pub flip_bit: u32,
}

/// A call that was made, as hooks and traces see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// Its number among all calls, from zero.
    pub number: u64,
    /// Its method.
    pub method: Method,
    /// The object it is about; `None` for listings and the like.
    pub name: Option<ObjectName>,
    /// The fault that struck it.
    pub fault: Option<Fault>,
}

/// Called at the start of each call that is not refused by an earlier crash, with no lock held.
pub type Hook = Box<dyn Fn(&Traced) + Send + Sync>;
