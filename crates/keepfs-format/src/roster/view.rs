//! The roster as it stands after all of its entries: the fold, and the rules each entry must keep.
//!
//! It owns who counts as a member. An entry is checked as a whole before any of it takes effect, and one that
//! is refused ends the list: nothing after it can be believed. It never fetches entries and has no clock.

use crate::env::Env;
use crate::error::FormatError;
use crate::header::Header;
use crate::identity::{SigningKey, UserId, VerifyingKey};
use crate::ids::{MACHINE_TAG_MAX, MachineId, MachineTag, NamespaceId, Time, VaultId};
use crate::roster::change::{Change, NAMESPACES_MAX, NamespaceSettings, USERS_MAX, WrappedKey};
use crate::roster::entry::{self, Entry, EntryHash, NOTHING_BEFORE};
use crate::wrap::ReaderPublic;

/// Most entries of a roster.
pub const ROSTER_LEN_MAX: u64 = 1 << 16;

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// What people call them.
    pub name: Box<str>,
    /// Verifies what they sign.
    pub signing: VerifyingKey,
    /// Wraps keys to them.
    pub reader: ReaderPublic,
}

/// A machine of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Which.
    pub id: MachineId,
    /// Its short name inside the vault.
    pub tag: MachineTag,
    /// What people call it.
    pub name: Box<str>,
    /// Whose.
    pub owner: UserId,
    /// Verifies what it signs.
    pub signing: VerifyingKey,
    /// Position of the entry that added it.
    pub position: u64,
    /// When it was added, by its owner's clock.
    pub added: Time,
}

/// The keys of a namespace from some time on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// Counts from 1.
    pub number: u32,
    pub(super) keys: Vec<WrappedKey>,
}

/// An isolated tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// Its number.
    pub id: NamespaceId,
    /// Its name.
    pub name: Box<str>,
    /// What all machines must agree on.
    pub settings: NamespaceSettings,
    epochs: Vec<Epoch>,
}

impl Namespace {
    /// Its epochs, from 1 on without gaps.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }
}

struct HeaderInForce {
    header: Header,
    bytes: Box<[u8]>,
}

/// The members, machines, namespaces and header of a vault.
pub struct Roster {
    vault: VaultId,
    hashes: Vec<EntryHash>,
    users: Vec<User>,
    machines: Vec<Machine>,
    namespaces: Vec<Namespace>,
    header: Option<HeaderInForce>,
}

impl Roster {
    /// Founds a vault: its first user, and the signed bytes of the first entry.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] for a name that is none.
    pub fn found(user: User, key: &SigningKey, time: Time) -> Result<(Self, Vec<u8>), FormatError> {
        let author = user.id;
        let User { id, name, signing, reader } = user;
        let change = Change::AddUser { user: id, name, signing, reader };
        let bytes = Entry { position: 0, previous: NOTHING_BEFORE, author, time, change }.sign(key)?;
        Ok((Self::begin(&bytes)?, bytes))
    }

    /// Begins to check a roster with the first entry of the vault that a slot names.
    ///
    /// # Errors
    /// [`FormatError::Mismatch`] when it is the first entry of another vault, or as [`accept`](Self::accept).
    pub fn open(bytes: &[u8], vault: VaultId) -> Result<Self, FormatError> {
        if entry::hash(bytes).0 != vault.0 {
            return Err(FormatError::Mismatch { what: "first entry of the roster" });
        }
        Self::begin(bytes)
    }

    fn begin(bytes: &[u8]) -> Result<Self, FormatError> {
        let first = Entry::decode(bytes)?;
        let Change::AddUser { user, signing, .. } = &first.change else {
            return Err(refuse(0, "the first entry adds a user"));
        };
        if *user != first.author {
            return Err(refuse(0, "the first entry is signed by the user it adds"));
        }
        entry::verify(bytes, *signing)?;
        let mut roster = Self {
            vault: VaultId(entry::hash(bytes).0),
            hashes: Vec::new(),
            users: Vec::new(),
            machines: Vec::new(),
            namespaces: Vec::new(),
            header: None,
        };
        roster.check_place(&first)?;
        roster.apply(first)?;
        roster.hashes.push(entry::hash(bytes));
        Ok(roster)
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`FormatError::Roster`] for an entry out of place, by a stranger or against a rule,
    /// [`FormatError::BadSignature`], or what the codec says. The roster is then as before.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let next = Entry::decode(bytes)?;
        self.check_place(&next)?;
        let author = self.user(next.author).ok_or(refuse(next.position, "its author is no member"))?;
        entry::verify(bytes, author.signing)?;
        self.apply(next)?;
        self.hashes.push(entry::hash(bytes));
        Ok(())
    }

    /// The signed bytes of the next entry. The roster does not change: it may turn out that another machine
    /// took the position.
    ///
    /// # Errors
    /// As [`accept`](Self::accept), for what it would refuse.
    pub fn compose(
        &self,
        author: UserId,
        key: &SigningKey,
        time: Time,
        change: Change,
    ) -> Result<Vec<u8>, FormatError> {
        let next = Entry { position: self.entry_count(), previous: self.tip(), author, time, change };
        self.check(&next)?;
        next.sign(key)
    }

    fn check_place(&self, next: &Entry) -> Result<(), FormatError> {
        if next.position != self.entry_count() || next.position >= ROSTER_LEN_MAX {
            return Err(refuse(next.position, "it is not the next one"));
        }
        if next.previous != self.tip() {
            return Err(refuse(next.position, "it does not follow the entry before it"));
        }
        Ok(())
    }

    fn apply(&mut self, next: Entry) -> Result<(), FormatError> {
        let header = self.check(&next)?;
        let (owner, position, added) = (next.author, next.position, next.time);
        match next.change {
            Change::AddUser { user, name, signing, reader } => {
                self.users.push(User { id: user, name, signing, reader });
            }
            Change::AddMachine { machine, tag, name, signing, .. } => {
                self.machines.push(Machine { id: machine, tag, name, owner, signing, position, added });
            }
            Change::AddNamespace { namespace, name, settings } => {
                self.namespaces.push(Namespace { id: namespace, name, settings, epochs: Vec::new() });
            }
            Change::NewEpoch { namespace, epoch, keys } => {
                let found = self.namespaces.iter_mut().find(|known| known.id == namespace);
                if let Some(found) = found {
                    found.epochs.push(Epoch { number: epoch, keys });
                }
            }
            Change::Header { bytes } => {
                self.header = header.map(|header| HeaderInForce { header, bytes });
            }
            Change::Other { .. } => {}
        }
        Ok(())
    }

    /// Checks an entry against the rules; of a new header, returns it decoded.
    fn check(&self, next: &Entry) -> Result<Option<Header>, FormatError> {
        let rule = match &next.change {
            Change::AddUser { user, .. } if self.user(*user).is_some() => "the user is a member already",
            Change::AddUser { .. } if self.users.len() >= USERS_MAX => "there are too many users",
            Change::AddMachine { machine, tag, signing, .. } => {
                let taken =
                    |known: &Machine| known.id == *machine || known.tag == *tag || known.signing == *signing;
                if !self.machines.iter().any(taken) {
                    return Ok(None);
                }
                "the machine's id, tag or key is taken"
            }
            Change::AddNamespace { .. } if self.namespaces.len() >= NAMESPACES_MAX => {
                "there are too many namespaces"
            }
            Change::AddNamespace { namespace: NamespaceId(0), .. } => "namespace 0 is the roster's own",
            Change::AddNamespace { namespace, name, .. } => {
                let taken = |known: &Namespace| known.id == *namespace || known.name == *name;
                if !self.namespaces.iter().any(taken) {
                    return Ok(None);
                }
                "the namespace's number or name is taken"
            }
            Change::NewEpoch { namespace, epoch, keys } => match self.check_epoch(*namespace, *epoch, keys) {
                None => return Ok(None),
                Some(rule) => rule,
            },
            Change::Header { bytes } => return self.check_header(next.position, bytes).map(Some),
            Change::AddUser { .. } | Change::Other { .. } => return Ok(None),
        };
        Err(refuse(next.position, rule))
    }

    fn check_epoch(&self, namespace: NamespaceId, epoch: u32, keys: &[WrappedKey]) -> Option<&'static str> {
        let Some(known) = self.namespaces.iter().find(|known| known.id == namespace) else {
            return Some("there is no such namespace");
        };
        if epoch as usize != known.epochs.len() + 1 {
            return Some("its epoch is not the next one");
        }
        if keys.is_empty() || keys.iter().any(|key| self.user(key.user).is_none()) {
            return Some("a reader of its epoch is no member");
        }
        None
    }

    fn check_header(&self, position: u64, bytes: &[u8]) -> Result<Header, FormatError> {
        let header = Header::decode(bytes)?;
        if !header.is_intact() || header.vault() != self.vault {
            return Err(refuse(position, "its header is not of this vault"));
        }
        let before = self.header.as_ref().map_or(0, |before| before.header.generation());
        if Some(header.generation()) != before.checked_add(1) {
            return Err(refuse(position, "its header is not of the next generation"));
        }
        Ok(header)
    }

    /// The vault.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Number of entries, at least 1.
    pub fn entry_count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Hash of the newest entry.
    pub fn tip(&self) -> EntryHash {
        self.hashes.last().copied().unwrap_or(NOTHING_BEFORE)
    }

    /// Hash of the entry at a position.
    pub fn hash_at(&self, position: u64) -> Option<EntryHash> {
        self.hashes.get(usize::try_from(position).ok()?).copied()
    }

    /// The members, the founder first.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// One member.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// All machines, the first one first.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machine of a tag.
    pub fn machine(&self, tag: MachineTag) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.tag == tag)
    }

    /// The key of a machine for what it signed when `hash` was the newest entry it knew, at `position`; none if
    /// the roster has another entry there, or the machine came later.
    pub fn verifying_key_at(&self, tag: MachineTag, position: u64, hash: EntryHash) -> Option<VerifyingKey> {
        let machine = self.machine(tag).filter(|machine| machine.position <= position)?;
        (self.hash_at(position)? == hash).then_some(machine.signing)
    }

    /// All namespaces.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// The namespace of a name.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| *namespace.name == *name)
    }

    /// The header in force and its bytes; none only while a vault is being founded.
    pub fn header(&self) -> Option<(&Header, &[u8])> {
        self.header.as_ref().map(|in_force| (&in_force.header, &*in_force.bytes))
    }

    /// A machine tag that nobody has. It is random, so that two machines that join apart seldom draw the same.
    pub fn draw_tag(&self, env: &dyn Env) -> MachineTag {
        loop {
            let mut bytes = [0; 4];
            env.fill(&mut bytes);
            let tag = MachineTag(u32::from_le_bytes(bytes) & MACHINE_TAG_MAX);
            // Ends: there are 2^22 tags and at most 2^16 entries.
            if tag.0 != 0 && self.machine(tag).is_none() {
                return tag;
            }
        }
    }
}

fn refuse(position: u64, reason: &'static str) -> FormatError {
    FormatError::Roster { position, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Compression;
    use crate::env::draw;
    use crate::header::ListedSlot;
    use crate::identity::SIGNATURE_LEN;
    use crate::ids::NamespaceId;
    use crate::kdf::KdfParams;
    use crate::keys::NamespaceSecrets;
    use crate::phrase::RecoveryPhrase;
    use crate::roster::RosterKeys;
    use crate::slot::{Slot, SlotPayload, UnlockSecret};
    use crate::testing::CountingEnv;
    use crate::wrap::ReaderKey;

    const NOW: Time = Time { secs: 1_800_000_000, nanos: 5 };
    const MAIN: NamespaceId = NamespaceId(1);

    struct Founder {
        env: CountingEnv,
        key: SigningKey,
        reader: ReaderKey,
        roster: Roster,
        entries: Vec<Vec<u8>>,
    }

    const ANN: UserId = UserId([1; 16]);

    impl Founder {
        fn new(seed: u64) -> Self {
            let env = CountingEnv::new(seed);
            let (key, reader) = (SigningKey::draw(&env), ReaderKey::draw(&env));
            let ann = user(ANN, &key, &reader);
            let (roster, first) = Roster::found(ann, &key, NOW).unwrap();
            Self { env, key, reader, roster, entries: vec![first] }
        }

        fn say(&mut self, change: Change) -> Result<(), FormatError> {
            let bytes = self.roster.compose(ANN, &self.key, NOW, change)?;
            self.roster.accept(&bytes)?;
            self.entries.push(bytes);
            Ok(())
        }

        fn machine(&self) -> Change {
            let mut id = [0; 16];
            self.env.fill(&mut id);
            Change::AddMachine {
                machine: MachineId(id),
                tag: self.roster.draw_tag(&self.env),
                name: "laptop".into(),
                signing: SigningKey::draw(&self.env).verifying_key(),
                reader: None,
            }
        }

        fn header(&self, generation: u64) -> Change {
            let payload = SlotPayload {
                user: ANN,
                signing: SigningKey::from_seed(self.key.seed().duplicate()),
                reader: ReaderKey::from_seed(self.reader.seed().duplicate()),
                vault: self.roster.vault(),
                roster_len_min: 1,
                roster_key: draw(&self.env),
            };
            let phrase = RecoveryPhrase::draw(&self.env);
            let secret = UnlockSecret::Phrase(&phrase);
            let slot = Slot::seal(&payload, secret, KdfParams::FLOOR, &self.env).unwrap();
            let header =
                Header::new(generation, self.roster.vault(), vec![ListedSlot::Known(slot.into())]).unwrap();
            Change::Header { bytes: header.encode().into() }
        }

        fn secrets(&self, epoch: u32) -> NamespaceSecrets {
            NamespaceSecrets {
                vault: self.roster.vault(),
                namespace: MAIN,
                epoch,
                epoch_key: draw(&self.env),
                id_key: draw(&self.env),
                cut_key: draw(&self.env),
                directory_key: draw(&self.env),
                name_key: draw(&self.env),
            }
        }

        /// A roster with one entry of every kind.
        fn whole(seed: u64) -> Self {
            let mut founder = Self::new(seed);
            founder.say(founder.machine()).unwrap();
            let settings = NamespaceSettings { compression: Compression::Zstd(-3) };
            founder.say(Change::AddNamespace { namespace: MAIN, name: "main".into(), settings }).unwrap();
            let epoch = founder.roster.wrap_epoch(&founder.secrets(1), &founder.env).unwrap();
            founder.say(epoch).unwrap();
            founder.say(founder.header(1)).unwrap();
            founder.say(Change::Other { kind: 200, body: Box::new([1, 2, 3]) }).unwrap();
            founder
        }

        fn read(&self) -> Result<Roster, FormatError> {
            let mut roster = Roster::open(&self.entries[0], self.roster.vault())?;
            for entry in &self.entries[1..] {
                roster.accept(entry)?;
            }
            Ok(roster)
        }
    }

    fn user(id: UserId, key: &SigningKey, reader: &ReaderKey) -> User {
        User { id, name: "ann".into(), signing: key.verifying_key(), reader: reader.public() }
    }

    fn reason(result: Result<(), FormatError>) -> &'static str {
        match result {
            Err(FormatError::Roster { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_who_knows_the_vault_id_gets_the_same_roster() {
        let founder = Founder::whole(1);
        let read = founder.read().unwrap();
        assert_eq!(read.tip(), founder.roster.tip());
        assert_eq!(read.entry_count(), 6);
        assert_eq!(read.machines(), founder.roster.machines());
        assert_eq!(read.users()[0].id, ANN);
        let main = read.namespace("main").unwrap();
        assert_eq!(main.settings.compression, Compression::Zstd(-3));
        let secrets = read.secrets(main, ANN, &founder.reader).unwrap();
        assert_eq!((secrets.len(), secrets[0].epoch, secrets[0].namespace), (1, 1, MAIN));
        let (header, bytes) = read.header().unwrap();
        assert_eq!((header.generation(), header.encode() == bytes), (1, true));
    }

    #[test]
    fn a_machine_has_its_key_from_its_entry_on_and_in_this_history_only() {
        let mut founder = Founder::whole(11);
        founder.say(founder.machine()).unwrap();
        let roster = founder.read().unwrap();
        let key = |machine: &Machine, position| {
            roster.verifying_key_at(machine.tag, position, roster.hash_at(position).unwrap())
        };
        let [first, second] = roster.machines() else { panic!("two machines were added") };
        assert_eq!(
            [key(first, 0), key(first, 1), key(first, 6)],
            [None, Some(first.signing), Some(first.signing)]
        );
        assert_eq!([key(second, 5), key(second, 6)], [None, Some(second.signing)]);
        assert_eq!(roster.verifying_key_at(first.tag, 6, EntryHash([1; 32])), None);
        assert_eq!(roster.verifying_key_at(first.tag, 7, roster.tip()), None);
    }

    #[test]
    fn secrets_come_back_newest_first_and_for_their_reader_only() {
        let mut founder = Founder::whole(2);
        let second = founder.secrets(2);
        founder.say(founder.roster.wrap_epoch(&second, &founder.env).unwrap()).unwrap();
        let roster = founder.read().unwrap();
        let main = roster.namespace("main").unwrap();
        let all = roster.secrets(main, ANN, &founder.reader).unwrap();
        assert_eq!(all.iter().map(|it| it.epoch).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(all[0].name_key.expose(), second.name_key.expose());
        let stranger = ReaderKey::draw(&founder.env);
        assert!(matches!(roster.secrets(main, ANN, &stranger), Err(FormatError::NotAuthentic { .. })));
        assert!(matches!(roster.secrets(main, UserId([2; 16]), &stranger), Err(FormatError::Invalid { .. })));
    }

    #[test]
    fn every_flipped_byte_of_every_entry_is_refused() {
        let founder = Founder::whole(3);
        for index in 0..founder.entries.len() {
            let entry = &founder.entries[index];
            // Every byte of the frame and of the signature; of long keys in between, some.
            for at in
                (0..entry.len()).filter(|at| *at < 90 || at % 41 == 0 || entry.len() - at <= SIGNATURE_LEN)
            {
                let mut entries = founder.entries.clone();
                entries[index][at] ^= 4;
                let forged = Founder { entries, ..Founder::whole(3) };
                assert!(forged.read().is_err(), "entry {index} byte {at}");
            }
        }
    }

    #[test]
    fn dropped_swapped_and_foreign_entries_are_refused() {
        let founder = Founder::whole(4);
        let other = Founder::whole(5);
        let read = |entries: Vec<Vec<u8>>| {
            let mut roster = Roster::open(&entries[0], founder.roster.vault())?;
            entries[1..].iter().try_for_each(|entry| roster.accept(entry))
        };
        let mut entries = founder.entries.clone();
        entries.remove(2);
        assert_eq!(reason(read(entries)), "it is not the next one");
        let mut entries = founder.entries.clone();
        entries.swap(1, 2);
        assert_eq!(reason(read(entries)), "it is not the next one");
        let mut entries = founder.entries.clone();
        entries[3] = other.entries[3].clone();
        assert_eq!(reason(read(entries)), "it does not follow the entry before it");
        assert_eq!(
            read(other.entries.clone()).unwrap_err(),
            FormatError::Mismatch { what: "first entry of the roster" }
        );
    }

    #[test]
    fn a_stranger_cannot_say_anything() {
        let founder = Founder::whole(6);
        let mallory = SigningKey::draw(&founder.env);
        let add = founder.machine();
        let mut roster = founder.read().unwrap();
        let bytes = founder.roster.compose(UserId([9; 16]), &mallory, NOW, add.clone()).unwrap();
        assert_eq!(reason(roster.accept(&bytes)), "its author is no member");
        let bytes = founder.roster.compose(ANN, &mallory, NOW, add.clone()).unwrap();
        assert_eq!(roster.accept(&bytes), Err(FormatError::BadSignature { what: "roster entry" }));
        let bytes = founder.roster.compose(ANN, &founder.key, NOW, add).unwrap();
        roster.accept(&bytes).unwrap();
    }

    #[test]
    fn what_breaks_a_rule_is_refused_even_from_a_member() {
        let mut founder = Founder::whole(7);
        let Machine { id, tag, signing, .. } = founder.roster.machines()[0].clone();
        let Change::AddMachine { machine: new_id, tag: new_tag, name, signing: new_key, .. } =
            founder.machine()
        else {
            unreachable!()
        };
        for (machine, tag, signing) in
            [(id, new_tag, new_key), (new_id, tag, new_key), (new_id, new_tag, signing)]
        {
            let twin = Change::AddMachine { machine, tag, name: name.clone(), signing, reader: None };
            assert_eq!(reason(founder.say(twin)), "the machine's id, tag or key is taken");
        }
        let settings = NamespaceSettings { compression: Compression::Lz4 };
        let namespace =
            |namespace, name: &str| Change::AddNamespace { namespace, name: name.into(), settings };
        let taken = "the namespace's number or name is taken";
        assert_eq!(reason(founder.say(namespace(MAIN, "other"))), taken);
        assert_eq!(reason(founder.say(namespace(NamespaceId(2), "main"))), taken);
        assert_eq!(reason(founder.say(namespace(NamespaceId(0), "x"))), "namespace 0 is the roster's own");
        let epoch = founder.roster.wrap_epoch(&founder.secrets(3), &founder.env).unwrap();
        assert_eq!(reason(founder.say(epoch)), "its epoch is not the next one");
        for generation in [0, 1, 3, u64::MAX] {
            let result = founder.say(founder.header(generation));
            assert_eq!(reason(result), "its header is not of the next generation");
        }
        let foreign = Founder::whole(8).header(2);
        assert_eq!(reason(founder.say(foreign)), "its header is not of this vault");
        founder.say(founder.header(2)).unwrap();
    }

    #[test]
    fn unknown_kinds_stop_a_reader_unless_they_may_be_skipped() {
        let mut founder = Founder::new(9);
        founder.say(Change::Other { kind: 128, body: Box::new([]) }).unwrap();
        let bytes = founder
            .roster
            .compose(ANN, &founder.key, NOW, Change::Other { kind: 127, body: Box::new([]) })
            .unwrap();
        let unknown = FormatError::BadTag { what: "kind of a roster entry", found: 127 };
        assert_eq!(founder.roster.accept(&bytes), Err(unknown));
    }

    #[test]
    fn objects_of_entries_open_only_in_their_place() {
        let founder = Founder::whole(10);
        let keys = RosterKeys::derive(&draw(&founder.env), founder.roster.vault());
        let sealed = keys.seal(3, &founder.entries[3], &founder.env).unwrap();
        assert_eq!(keys.open(3, &sealed).unwrap(), founder.entries[3]);
        assert!(keys.open(2, &sealed).is_err());
        assert_ne!(keys.name(2), keys.name(3));
        assert_eq!(keys.name(3).len(), 31);
    }
}
