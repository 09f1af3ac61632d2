//! Unlocking the vault on a machine that belongs to it, with its store or without.
//!
//! It owns the order of belief: a slot that opens leads to the roster; the roster is checked against what the
//! slot and this machine remember; then the roster says which header is in force, and the secret must open that
//! one. So an old password stays refused, whatever headers a store brings up again.

use keepfs_format::header::{Header, OpenedSlot};
use keepfs_format::secret::Secret;
use keepfs_format::slot::{SlotPayload, UnlockSecret};
use keepfs_store::Store;

use super::chain::{Chain, Seen, keys_of};
use super::header::{Search, confirm, in_force};
use super::join::keep;
use super::site::Site;
use super::state::{MachineState, StateDir};
use super::unlocked::{Notice, Unlocked};
use crate::error::{FsError, Result};

/// Unlocks the vault whose state this machine has. Without a store, or when it is not reached, local state is
/// enough; `notices` tells.
///
/// # Errors
/// [`FsError::WrongSecret`], [`FsError::NoState`], [`FsError::Rollback`], [`FsError::NewerVersion`],
/// [`FsError::Damaged`]; what disk and store say.
pub fn unlock(site: &Site<'_>, secret: UnlockSecret<'_>) -> Result<Unlocked> {
    let state_dir = StateDir::of(site);
    let machine_file = state_dir.read_machine_file()?;
    let local_header = state_dir.read_header()?;
    if local_header.is_none() {
        site.store()?;
    }
    let (search, opened) = Search::open(site.store, local_header.clone(), secret)?;
    check_vault(&search, &opened, local_header.as_deref())?;
    let mut notices = Vec::new();
    let store = match (site.store, search.unreachable()) {
        (Some(_), Some(error)) => {
            notices.push(Notice::Offline { detail: error.to_string() });
            None
        }
        (None, _) => {
            notices.push(Notice::Offline { detail: "it could not be opened".into() });
            None
        }
        (store, None) => store,
    };

    let state_key = opened.payload.state_key();
    let machine = state_dir.open_machine(&machine_file, &state_key)?;
    let believed = Believed {
        user: &opened.payload,
        state_key: &state_key,
        seen: machine.seen,
        store_is_empty: search.is_absent(),
    };
    let (chain, stored_entry_count) = load(site, store, &believed, &mut notices)?;
    if let Some(store) = store {
        notices.extend(search.repair(store, in_force(&chain.roster)?.1));
    }
    let header = in_force(&chain.roster)?.1.to_vec();
    if local_header.as_ref() != Some(&header) || chain.roster.entry_count() != stored_entry_count {
        keep(site, &chain, &header, &state_key)?;
    }
    let opened = confirm(&chain.roster, opened, secret)?;
    chain.check(opened.payload.roster_len_min, None)?;
    let machine = remember(site, machine, &chain, &state_key)?;
    let unlocked = Unlocked::new(machine, chain, opened.payload, opened.id)?;
    Ok(Unlocked { notices, ..unlocked })
}

/// What the roster is checked against.
struct Believed<'a> {
    user: &'a SlotPayload,
    state_key: &'a Secret<32>,
    seen: Seen,
    store_is_empty: bool,
}

/// Makes sure that store, slot and local state are of one vault: with the same password for several, a wrong
/// address would else look like damage.
fn check_vault(search: &Search, opened: &OpenedSlot, local_header: Option<&[u8]>) -> Result<()> {
    let vault = opened.payload.vault;
    let local = local_header.and_then(|bytes| Header::decode(bytes).ok());
    let is_other = local.is_some_and(|local| local.is_intact() && local.vault() != vault);
    if is_other || search.is_other_vault(vault) { Err(FsError::OtherVault) } else { Ok(()) }
}

/// The roster, from local entries and the store, and how many entries were kept locally.
fn load(
    site: &Site<'_>,
    store: Option<&dyn Store>,
    believed: &Believed<'_>,
    notices: &mut Vec<Notice>,
) -> Result<(Chain, u64)> {
    let user = believed.user;
    let kept = StateDir::of(site).read_roster(believed.state_key)?;
    let kept = kept.and_then(|entries| Chain::from_entries(entries, keys_of(user), user.vault).ok());
    let kept_count = kept.as_ref().map_or(0, |chain| chain.roster.entry_count());
    let chain = match (kept, store) {
        (Some(mut chain), Some(store)) => {
            match chain.catch_up(store) {
                // Nothing at all is there: more likely the wrong place than a rollback.
                Err(FsError::Rollback { .. }) if believed.store_is_empty => return Err(FsError::NoVault),
                result => result?,
            }
            chain
        }
        (Some(chain), None) => chain,
        (None, Some(store)) => {
            notices.push(Notice::RosterRefetched);
            Chain::fetch(store, keys_of(user), user.vault)?
        }
        (None, None) => {
            return Err(FsError::Damaged {
                what: format!("{}, the local copy of the roster,", site.state_dir.join("roster").display()),
                advice: "connect to the store and try again; it is fetched anew".into(),
            });
        }
    };
    chain.check(user.roster_len_min, Some(believed.seen))?;
    Ok((chain, kept_count))
}

/// Writes down how much of the roster this machine has now seen.
fn remember(
    site: &Site<'_>,
    mut machine: MachineState,
    chain: &Chain,
    state_key: &Secret<32>,
) -> Result<MachineState> {
    if machine.seen != chain.seen() {
        machine.seen = chain.seen();
        StateDir::of(site).write_machine(&machine, state_key, site.env)?;
    }
    Ok(machine)
}
