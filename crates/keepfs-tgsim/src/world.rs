//! Everything the server knows: accounts, keys, mailboxes, channels, documents, and the parts of uploads.
//!
//! It owns the state and its directory. Whatever must outlive the server is changed by committing a [`Record`]
//! alone, so that a server that starts again folds the journal into the same state. It never speaks the
//! protocol.

pub(crate) mod account;
pub(crate) mod channel;
pub(crate) mod document;
pub(crate) mod journal;
pub(crate) mod mailbox;
pub(crate) mod record;
pub(crate) mod settings;
pub(crate) mod upload;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use account::{Account, Key, KeyState, Logins};
use channel::Channel;
use document::Document;
use journal::Journal;
use mailbox::{Mailbox, Place};
use record::Record;
use settings::Settings;
use upload::Uploads;

use crate::error::{Error, Result};
use crate::wire::envelope::KeyId;

/// The number of the first account; the next ones follow.
const FIRST_USER: i64 = 4_200_001;
/// The number of the first channel.
const FIRST_CHANNEL: i64 = 1_700_000_001;
/// The number of the first document.
const FIRST_DOCUMENT: i64 = 5_100_000_000_001;

/// The state of one server.
pub(crate) struct World {
    documents_dir: PathBuf,
    journal: Option<Journal>,
    pub(crate) accounts: BTreeMap<i64, Account>,
    pub(crate) keys: HashMap<KeyId, Key>,
    pub(crate) channels: BTreeMap<i64, Channel>,
    mailboxes: HashMap<Place, Mailbox>,
    pub(crate) documents: BTreeMap<i64, Document>,
    /// How many messages hold each document.
    holders: HashMap<i64, usize>,
    /// Channels that were deleted still hold their number.
    channels_made: i64,
    documents_made: i64,
    /// References to files that were given out in an earlier epoch have expired.
    pub(crate) reference_epoch: u32,
    pub(crate) uploads: Uploads,
    pub(crate) logins: Logins,
    pub(crate) settings: Settings,
}

impl World {
    /// Opens the state in a directory, which may be empty. With `is_kept` changes go to a journal there.
    pub(crate) fn open(dir: &Path, is_kept: bool) -> Result<World> {
        let documents_dir = dir.join("documents");
        std::fs::create_dir_all(&documents_dir)
            .map_err(|error| Error::State { path: documents_dir.clone(), error })?;
        let mut world = World {
            documents_dir,
            journal: None,
            accounts: BTreeMap::new(),
            keys: HashMap::new(),
            channels: BTreeMap::new(),
            mailboxes: HashMap::new(),
            documents: BTreeMap::new(),
            holders: HashMap::new(),
            channels_made: 0,
            documents_made: 0,
            reference_epoch: 1,
            uploads: Uploads::open(&dir.join("uploads"))?,
            logins: Logins::default(),
            settings: Settings::default(),
        };
        if is_kept {
            let (journal, records) = Journal::open(&dir.join("journal.jsonl"))?;
            for record in &records {
                world.apply(record);
            }
            world.journal = Some(journal);
        }
        Ok(world)
    }

    /// Makes a change, and writes it down first if the state is kept.
    pub(crate) fn commit(&mut self, record: &Record) -> Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(record)?;
        }
        self.apply(record);
        Ok(())
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Account(account) => {
                self.accounts.insert(account.user, account.clone().with_verifier());
            }
            Record::Key(key) => {
                self.keys.insert(key.id(), key.to_key());
            }
            Record::KeyState { key, state } => self.set_key_state(*key, state),
            Record::KeyGone { key } => {
                self.keys.remove(key);
            }
            Record::Channel(channel) => {
                self.channels_made = self.channels_made.max(channel.id - FIRST_CHANNEL + 1);
                self.channels.insert(channel.id, channel.clone());
            }
            Record::ChannelGone { channel } => {
                self.channels.remove(channel);
                let mailbox = self.mailboxes.remove(&Place::Channel(*channel)).unwrap_or_default();
                mailbox.messages.into_values().for_each(|message| self.let_go(message.document));
            }
            Record::Document(document) => {
                self.documents_made = self.documents_made.max(document.id - FIRST_DOCUMENT + 1);
                self.documents.insert(document.id, document.clone());
            }
            Record::Posted { place, message } => {
                self.hold(message.document);
                self.mailbox_mut(*place).post(message.clone());
            }
            Record::Edited { place, id, edit } => {
                let before = self.document_at(*place, *id);
                self.hold(edit.document);
                self.mailbox_mut(*place).edit(*id, edit);
                self.let_go(before);
            }
            Record::Deleted { place, ids } => {
                let before: Vec<_> = ids.iter().map(|id| self.document_at(*place, *id)).collect();
                self.mailbox_mut(*place).delete(ids);
                before.into_iter().for_each(|document| self.let_go(document));
            }
            Record::Pinned { place, id, is_pinned } => self.mailbox_mut(*place).pin(*id, *is_pinned),
            Record::ReferencesExpired => self.reference_epoch = self.reference_epoch.wrapping_add(1),
        }
    }

    fn document_at(&self, place: Place, id: i32) -> Option<i64> {
        self.known_mailbox(place)?.messages.get(&id)?.document
    }

    fn hold(&mut self, document: Option<i64>) {
        if let Some(document) = document {
            *self.holders.entry(document).or_default() += 1;
        }
    }

    /// A document that no message holds any more is gone, with its file.
    fn let_go(&mut self, document: Option<i64>) {
        let Some(document) = document else { return };
        let left = self.holders.get(&document).map_or(0, |count| count.saturating_sub(1));
        if left > 0 {
            self.holders.insert(document, left);
            return;
        }
        self.holders.remove(&document);
        self.documents.remove(&document);
        // A file that cannot be removed is only space; nobody can ask for it.
        let _ = std::fs::remove_file(self.document_path(document));
    }

    fn set_key_state(&mut self, key: KeyId, state: &KeyState) {
        if let Some(key) = self.keys.get_mut(&key) {
            key.state = state.clone();
        }
    }

    fn mailbox_mut(&mut self, place: Place) -> &mut Mailbox {
        let window = self.settings.updates_window;
        let mailbox = self.mailboxes.entry(place).or_default();
        mailbox.events_max = window;
        mailbox
    }

    /// The messages of a place; an account that never wrote has an empty mailbox.
    pub(crate) fn mailbox(&mut self, place: Place) -> &Mailbox {
        self.mailbox_mut(place)
    }

    /// The mailbox of a place if anything was ever written there.
    pub(crate) fn known_mailbox(&self, place: Place) -> Option<&Mailbox> {
        self.mailboxes.get(&place)
    }

    /// The account that a key speaks for at this time.
    pub(crate) fn user_of(&self, key: KeyId) -> Option<i64> {
        match self.keys.get(&key)?.state {
            KeyState::SignedIn(user) => Some(user),
            KeyState::Guest { user, home } => {
                (self.keys.get(&home)?.state == KeyState::SignedIn(user)).then_some(user)
            }
            KeyState::Anonymous | KeyState::Refused { .. } => None,
        }
    }

    pub(crate) fn account_of_phone(&self, phone: &str) -> Option<&Account> {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        self.accounts.values().find(|account| digits(&account.phone) == digits(phone))
    }

    pub(crate) fn next_user(&self) -> i64 {
        self.accounts.last_key_value().map_or(FIRST_USER, |(user, _)| user + 1)
    }

    pub(crate) fn next_channel(&self) -> i64 {
        FIRST_CHANNEL + self.channels_made
    }

    pub(crate) fn next_document(&self) -> i64 {
        FIRST_DOCUMENT + self.documents_made
    }

    /// Where the bytes of a document lie.
    pub(crate) fn document_path(&self, document: i64) -> PathBuf {
        self.documents_dir.join(document.to_string())
    }

    /// Everybody who sees what happens in a place.
    pub(crate) fn watchers(&self, place: Place) -> Vec<i64> {
        match place {
            Place::Saved(user) => vec![user],
            Place::Channel(channel) => {
                self.channels.get(&channel).map(|c| c.members.iter().copied().collect()).unwrap_or_default()
            }
        }
    }
}
