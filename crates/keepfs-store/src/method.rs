//! The methods of a store and its staging as data, for whoever counts, limits or breaks them.

/// A method of [`crate::Store`], [`crate::Staging`] or [`crate::Staged`] that reaches the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Method {
    /// `Store::get`
    Get,
    /// `Store::get_range`
    GetRange,
    /// `Store::put`
    Put,
    /// `Store::put_file`
    PutFile,
    /// `Store::len`
    Len,
    /// `Store::delete`
    Delete,
    /// `Store::list`
    List,
    /// `Store::space`
    Space,
    /// `Staging::create`
    StagingCreate,
    /// `Staging::reopen`
    StagingReopen,
    /// `Staging::list`
    StagingList,
    /// `Staging::discard`
    StagingDiscard,
    /// `Staged::write_at`
    StagedWrite,
    /// `Staged::read_at`
    StagedRead,
    /// `Staged::len`
    StagedLen,
    /// `Staged::truncate`
    StagedTruncate,
    /// `Staged::sync`
    StagedSync,
    /// `Staged::publish`
    StagedPublish,
}

impl Method {
    /// Every method, in the order of their declaration.
    pub const ALL: [Method; 18] = [
        Method::Get,
        Method::GetRange,
        Method::Put,
        Method::PutFile,
        Method::Len,
        Method::Delete,
        Method::List,
        Method::Space,
        Method::StagingCreate,
        Method::StagingReopen,
        Method::StagingList,
        Method::StagingDiscard,
        Method::StagedWrite,
        Method::StagedRead,
        Method::StagedLen,
        Method::StagedTruncate,
        Method::StagedSync,
        Method::StagedPublish,
    ];

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::GetRange => "get_range",
            Method::Put => "put",
            Method::PutFile => "put_file",
            Method::Len => "len",
            Method::Delete => "delete",
            Method::List => "list",
            Method::Space => "space",
            Method::StagingCreate => "staging.create",
            Method::StagingReopen => "staging.reopen",
            Method::StagingList => "staging.list",
            Method::StagingDiscard => "staging.discard",
            Method::StagedWrite => "staged.write_at",
            Method::StagedRead => "staged.read_at",
            Method::StagedLen => "staged.len",
            Method::StagedTruncate => "staged.truncate",
            Method::StagedSync => "staged.sync",
            Method::StagedPublish => "staged.publish",
        }
    }

    /// Whether the method can change what is on the store, or what survives a crash.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Method::Put
                | Method::PutFile
                | Method::Delete
                | Method::StagingCreate
                | Method::StagingDiscard
                | Method::StagedWrite
                | Method::StagedTruncate
                | Method::StagedSync
                | Method::StagedPublish
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_methods_are_listed_in_order() {
        assert!(Method::ALL.iter().enumerate().all(|(index, method)| *method as usize == index));
    }
}
