//! Founding a vault.
//!
//! It owns the order that makes a crash harmless: the roster goes first, under names that nobody else can
//! compute; the machine's keys are on the disk, but not yet under their name; then the header, whose `Create`
//! is the moment from which on there is a vault; then the keys get their name. Nothing is ever overwritten.

use keepfs_format::compress::Compression;
use keepfs_format::env;
use keepfs_format::header::{HEADER_LEN_MAX, Header, ListedSlot};
use keepfs_format::identity::{SigningKey, UserId, label_from};
use keepfs_format::ids::NamespaceId;
use keepfs_format::kdf::KdfParams;
use keepfs_format::keys::NamespaceSecrets;
use keepfs_format::phrase::RecoveryPhrase;
use keepfs_format::roster::{Change, NamespaceSettings, Roster, RosterKeys, User};
use keepfs_format::slot::{Slot, SlotId, SlotPayload, UnlockSecret};
use keepfs_format::wrap::ReaderKey;
use keepfs_store::{ObjectName, PutMode, Store, StoreError};

use super::chain::Chain;
use super::join::{add_machine, keep};
use super::site::Site;
use super::state::{MachineState, StateDir};
use super::unlocked::{Notice, Unlocked};
use crate::error::{FsError, Result};

/// Name of the namespace that every vault has.
pub const MAIN_NAMESPACE: &str = "main";
const MAIN: NamespaceId = NamespaceId(1);
/// Entries that a founded roster has: user, machine, namespace, epoch, header.
const FOUNDING_ENTRIES: u64 = 5;

/// What a new vault shall be like.
pub struct NewVault<'a> {
    /// Opens it.
    pub password: &'a [u8],
    /// How the password is hashed.
    pub kdf: KdfParams,
    /// What people call the founder; shortened to what a name may be.
    pub user_name: &'a str,
    /// What people call this machine; shortened likewise.
    pub machine_name: &'a str,
    /// How blocks are compressed.
    pub compression: Compression,
}

/// Founds a vault on an empty store, and unlocks it. The phrase is nowhere else: show it now.
///
/// # Errors
/// [`FsError::VaultExists`], [`FsError::StateExists`], [`FsError::EmptyPassword`]; or what disk and store say,
/// and then there is no vault, or one that the password opens with `join`.
pub fn init(site: &Site<'_>, new: &NewVault<'_>) -> Result<(RecoveryPhrase, Unlocked)> {
    let store = site.store()?;
    if new.password.is_empty() {
        return Err(FsError::EmptyPassword);
    }
    check_vacant(store)?;
    let state_dir = StateDir::of(site);
    state_dir.prepare()?;

    let phrase = RecoveryPhrase::draw(site.env);
    let founding = found(site, new, &phrase)?;
    let state_key = founding.user.state_key();
    state_dir.stage_machine(&founding.machine, &state_key, site.env)?;
    if let Err(error) = settle(store, site, &founding) {
        state_dir.discard_staged_machine();
        return Err(error);
    }
    let mut notices = Vec::new();
    if let Err(error) = store.put(&ObjectName::vault_backup(), &founding.header, PutMode::Replace) {
        let flaw = "has no spare copy on the store";
        notices.push(Notice::HeaderNotRepaired { flaw, detail: error.to_string() });
    }
    state_dir.place_machine()?;
    let Founding { machine, chain, user, slot, header } = founding;
    keep(site, &chain, &header, &state_key)?;
    let unlocked = Unlocked::new(machine, chain, user, slot)?;
    Ok((phrase, Unlocked { notices, ..unlocked }))
}

/// Everything of a new vault, before anybody knows of it.
struct Founding {
    machine: MachineState,
    chain: Chain,
    user: SlotPayload,
    slot: SlotId,
    header: Vec<u8>,
}

fn check_vacant(store: &dyn Store) -> Result<()> {
    for name in [ObjectName::vault(), ObjectName::vault_backup()] {
        match store.len(&name) {
            Ok(_) => return Err(FsError::VaultExists),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn found(site: &Site<'_>, new: &NewVault<'_>, phrase: &RecoveryPhrase) -> Result<Founding> {
    let env = site.env;
    let (signing, reader) = (SigningKey::draw(env), ReaderKey::draw(env));
    let mut id = [0; 16];
    env.fill(&mut id);
    let founder = User {
        id: UserId(id),
        name: label_from(new.user_name).into(),
        signing: signing.verifying_key(),
        reader: reader.public(),
    };
    let (roster, first) = Roster::found(founder, &signing, env.now())?;
    let user = SlotPayload {
        user: UserId(id),
        signing,
        reader,
        vault: roster.vault(),
        roster_len_min: FOUNDING_ENTRIES,
        roster_key: env::draw(env),
    };
    let keys = RosterKeys::derive(&user.roster_key, user.vault);
    let mut chain = Chain::begin(roster, first, keys);

    let mut machine = MachineState::draw(chain.roster.draw_tag(env), chain.seen(), env);
    chain.say(&user, env, add_machine(&machine, new.machine_name))?;
    let settings = NamespaceSettings { compression: new.compression };
    chain.say(&user, env, Change::AddNamespace { namespace: MAIN, name: MAIN_NAMESPACE.into(), settings })?;
    let secrets = NamespaceSecrets {
        vault: user.vault,
        namespace: MAIN,
        epoch: 1,
        epoch_key: env::draw(env),
        id_key: env::draw(env),
        cut_key: env::draw(env),
        directory_key: env::draw(env),
        name_key: env::draw(env),
    };
    let epoch = chain.roster.wrap_epoch(&secrets, env)?;
    chain.say(&user, env, epoch)?;

    let by_password = Slot::seal(&user, UnlockSecret::Password(new.password), new.kdf, env)?;
    let by_phrase = Slot::seal(&user, UnlockSecret::Phrase(phrase), new.kdf, env)?;
    let slot = by_password.id();
    let slots = vec![ListedSlot::Known(by_password.into()), ListedSlot::Known(by_phrase.into())];
    let header = Header::new(1, user.vault, slots)?.encode();
    chain.say(&user, env, Change::Header { bytes: header.as_slice().into() })?;
    machine.seen = chain.seen();
    Ok(Founding { machine, chain, user, slot, header })
}

/// Puts the vault on the store; afterwards there is one.
fn settle(store: &dyn Store, site: &Site<'_>, founding: &Founding) -> Result<()> {
    if let Err(error) = founding.chain.put_all(site) {
        founding.chain.delete_all(store);
        return Err(error);
    }
    let Err(error) = store.put(&ObjectName::vault(), &founding.header, PutMode::Create) else {
        return Ok(());
    };
    // The answer may have been lost on the way: what lies there now decides.
    match store.get(&ObjectName::vault(), HEADER_LEN_MAX as u64) {
        Ok(found) if found == founding.header => Ok(()),
        Ok(_) => {
            founding.chain.delete_all(store);
            Err(FsError::VaultExists)
        }
        // The header may be there all the same, and then it needs its roster: nothing is deleted.
        Err(_) => Err(error.into()),
    }
}
