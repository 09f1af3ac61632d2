//! POSIX access control lists in the byte form of `system.posix_acl_*`, and their arithmetic with file modes.
//! Pure: the kernel enforces the lists, `acl_rules` stores them.

/// Attribute that holds the list of an inode.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// Attribute that holds the list which new inodes of a directory get.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// The only version of the byte form.
const VERSION: u32 = 2;
/// Bytes of the version.
const HEADER_LEN: usize = 4;
/// Bytes of an entry: tag, permissions, id.
const ENTRY_LEN: usize = 8;
/// Most entries of a list: what the largest attribute holds.
const ENTRIES_MAX: usize = (65_536 - HEADER_LEN) / ENTRY_LEN;

/// Whom an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// The owner.
    UserObject,
    /// A named user.
    User,
    /// The owning group.
    GroupObject,
    /// A named group.
    Group,
    /// What named users and all groups get at most.
    Mask,
    /// Everybody else.
    Other,
}

impl Tag {
    /// Tags and their numbers.
    const NUMBERS: [(Self, u16); 6] = [
        (Self::UserObject, 0x01),
        (Self::User, 0x02),
        (Self::GroupObject, 0x04),
        (Self::Group, 0x08),
        (Self::Mask, 0x10),
        (Self::Other, 0x20),
    ];

    fn from_number(number: u16) -> Option<Self> {
        Self::NUMBERS.iter().find(|(_, known)| *known == number).map(|(tag, _)| *tag)
    }

    fn number(self) -> u16 {
        Self::NUMBERS.iter().find(|(tag, _)| *tag == self).map_or(0, |(_, number)| *number)
    }
}

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    permissions: u16,
    id: u32,
}

/// A list that has each of the three entries which every mode has, and a mask if it names anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// Reads a list; `None` when it is not one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        if u32::from_le_bytes(*version) != VERSION
            || rest.len() % ENTRY_LEN != 0
            || rest.len() / ENTRY_LEN > ENTRIES_MAX
        {
            return None;
        }
        let mut entries = Vec::with_capacity(rest.len() / ENTRY_LEN);
        for piece in rest.chunks_exact(ENTRY_LEN) {
            let tag = Tag::from_number(u16::from_le_bytes([piece[0], piece[1]]))?;
            let permissions = u16::from_le_bytes([piece[2], piece[3]]);
            let id = u32::from_le_bytes([piece[4], piece[5], piece[6], piece[7]]);
            if permissions > 0o7 {
                return None;
            }
            entries.push(Entry { tag, permissions, id });
        }
        let list = Self { entries };
        list.is_whole().then_some(list)
    }

    /// The byte form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.entries.len() * ENTRY_LEN);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.tag.number().to_le_bytes());
            bytes.extend_from_slice(&entry.permissions.to_le_bytes());
            bytes.extend_from_slice(&entry.id.to_le_bytes());
        }
        bytes
    }

    /// Whether the list says no more than nine permission bits can say.
    pub(crate) fn is_minimal(&self) -> bool {
        self.entries.iter().all(|each| matches!(each.tag, Tag::UserObject | Tag::GroupObject | Tag::Other))
    }

    /// The nine permission bits that stand for the list: its mask, where it has one, shows as the group's.
    pub(crate) fn mode(&self) -> u16 {
        let group = self.find(Tag::Mask).or_else(|| self.find(Tag::GroupObject)).unwrap_or(0);
        self.find(Tag::UserObject).unwrap_or(0) << 6 | group << 3 | self.find(Tag::Other).unwrap_or(0)
    }

    /// The nine permission bits that grant nobody more than the list does, even where the list is not yet
    /// stored beside them: the group gets its own share of the mask.
    pub(crate) fn narrow_mode(&self) -> u16 {
        let own = self.find(Tag::GroupObject).unwrap_or(0);
        let mask = self.find(Tag::Mask).unwrap_or(0o7);
        (self.mode() & !0o070) | (own & mask) << 3
    }

    /// What `chmod` does to a list: owner, mask (or else the group) and the others get the mode's bits.
    pub(crate) fn set_mode(&mut self, mode: u16) {
        self.update(|_, bits| bits, mode);
    }

    /// What creating with a mode does to an inherited list: nobody gets more than the mode allows.
    pub(crate) fn limit_to(&mut self, mode: u16) {
        self.update(|present, bits| present & bits, mode);
    }

    /// Changes the three entries that nine permission bits are about.
    fn update(&mut self, change: impl Fn(u16, u16) -> u16, mode: u16) {
        let group = if self.find(Tag::Mask).is_some() { Tag::Mask } else { Tag::GroupObject };
        for entry in &mut self.entries {
            let shift = match entry.tag {
                Tag::UserObject => 6,
                Tag::Other => 0,
                tag if tag == group => 3,
                _ => continue,
            };
            entry.permissions = change(entry.permissions, mode >> shift & 0o7);
        }
    }

    /// Permissions of the one entry with this tag.
    fn find(&self, tag: Tag) -> Option<u16> {
        self.entries.iter().find(|each| each.tag == tag).map(|each| each.permissions)
    }

    /// Whether the list has exactly the entries it must have.
    fn is_whole(&self) -> bool {
        let count = |tag| self.entries.iter().filter(|each| each.tag == tag).count();
        let named = count(Tag::User) + count(Tag::Group);
        [Tag::UserObject, Tag::GroupObject, Tag::Other].iter().all(|tag| count(*tag) == 1)
            && (count(Tag::Mask) == 1 || (count(Tag::Mask) == 0 && named == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in lines {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&permissions.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    const NOBODY: u32 = u32::MAX;

    fn with_named_user() -> Vec<u8> {
        list(&[(1, 7, NOBODY), (2, 6, 1000), (4, 5, NOBODY), (0x10, 7, NOBODY), (0x20, 0, NOBODY)])
    }

    #[test]
    fn a_list_comes_back_byte_for_byte() {
        let bytes = with_named_user();
        assert_eq!(Acl::parse(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn the_mask_shows_as_the_group_of_the_mode() {
        let acl = Acl::parse(&with_named_user()).unwrap();
        assert_eq!(acl.mode(), 0o770);
        assert_eq!(acl.narrow_mode(), 0o750);
        assert!(!acl.is_minimal());
    }

    #[test]
    fn chmod_changes_the_mask_and_not_the_group() {
        let mut acl = Acl::parse(&with_named_user()).unwrap();
        acl.set_mode(0o641);
        assert_eq!(acl.mode(), 0o641);
        assert_eq!(acl.find(Tag::GroupObject), Some(5));
        assert_eq!(acl.find(Tag::User), Some(6));
    }

    #[test]
    fn creation_never_grants_more_than_the_mode() {
        let mut acl = Acl::parse(&with_named_user()).unwrap();
        acl.limit_to(0o666);
        assert_eq!(acl.mode(), 0o660);
    }

    #[test]
    fn three_entries_are_a_mode_and_nothing_else() {
        let acl = Acl::parse(&list(&[(1, 6, NOBODY), (4, 4, NOBODY), (0x20, 4, NOBODY)])).unwrap();
        assert!(acl.is_minimal());
        assert_eq!(acl.mode(), 0o644);
        assert_eq!(acl.narrow_mode(), 0o644);
    }

    #[test]
    fn whatever_is_not_a_list_is_refused() {
        let good = with_named_user();
        for length in 0..good.len() {
            assert!(Acl::parse(&good[..length]).is_none(), "cut to {length}");
        }
        let mut version = good.clone();
        version[0] = 3;
        let cases = [
            ("wrong version", version),
            ("unknown tag", list(&[(1, 7, 0), (4, 5, 0), (0x20, 0, 0), (0x40, 0, 0)])),
            ("more than three permissions", list(&[(1, 8, 0), (4, 5, 0), (0x20, 0, 0)])),
            ("a named user without a mask", list(&[(1, 7, 0), (2, 7, 5), (4, 5, 0), (0x20, 0, 0)])),
            ("two masks", list(&[(1, 7, 0), (4, 5, 0), (0x10, 7, 0), (0x10, 7, 0), (0x20, 0, 0)])),
            ("no owner", list(&[(4, 5, 0), (0x20, 0, 0)])),
        ];
        for (flaw, bytes) in cases {
            assert!(Acl::parse(&bytes).is_none(), "{flaw}");
        }
    }
}
