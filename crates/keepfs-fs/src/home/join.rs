//! Attaching a machine to a vault: from a store and a secret alone.
//!
//! It owns what a new machine says of itself. Every joining makes a new machine, with keys of its own: one that
//! lost its state never goes on under its old name, since it no longer knows what it had said under it.

use keepfs_format::identity::label_from;
use keepfs_format::roster::Change;
use keepfs_format::secret::Secret;
use keepfs_format::slot::UnlockSecret;

use super::chain::{Chain, keys_of};
use super::header::{Search, confirm, in_force};
use super::site::Site;
use super::state::{MachineState, StateDir};
use super::unlocked::Unlocked;
use crate::error::Result;

/// Attaches this machine to the vault on the store, and unlocks it.
///
/// # Errors
/// [`FsError::NoVault`](crate::error::FsError::NoVault), [`WrongSecret`](crate::error::FsError::WrongSecret),
/// [`StateExists`](crate::error::FsError::StateExists), and all that
/// [`unlock`](super::unlock()) has.
pub fn join(site: &Site<'_>, secret: UnlockSecret<'_>, machine_name: &str) -> Result<Unlocked> {
    let store = site.store()?;
    let state_dir = StateDir::of(site);
    state_dir.prepare()?;
    let (search, opened) = Search::open(Some(store), None, secret)?;
    let mut chain = Chain::fetch(store, keys_of(&opened.payload), opened.payload.vault)?;
    chain.check(opened.payload.roster_len_min, None)?;
    let repaired = search.repair(store, in_force(&chain.roster)?.1);
    let opened = confirm(&chain.roster, opened, secret)?;
    let user = opened.payload;
    chain.check(user.roster_len_min, None)?;

    // A directory that cannot be written is noticed here, before the roster gets a machine that never was.
    let header = in_force(&chain.roster)?.1.to_vec();
    state_dir.write_header(&header)?;
    let mut machine = MachineState::draw(chain.roster.draw_tag(site.env), chain.seen(), site.env);
    chain.append(site, &mut |roster| {
        // Another machine may have been quicker, and with the same tag.
        if roster.machine(machine.tag).is_some() {
            machine.tag = roster.draw_tag(site.env);
        }
        let change = add_machine(&machine, machine_name);
        Ok(roster.compose(user.user, &user.signing, site.env.now(), change)?)
    })?;
    machine.seen = chain.seen();
    let state_key = user.state_key();
    keep(site, &chain, &header, &state_key)?;
    state_dir.write_machine(&machine, &state_key, site.env)?;
    let unlocked = Unlocked::new(machine, chain, user, opened.id)?;
    Ok(Unlocked { notices: repaired.into_iter().collect(), ..unlocked })
}

/// What the roster shall say of a machine.
pub(super) fn add_machine(machine: &MachineState, name: &str) -> Change {
    Change::AddMachine {
        machine: machine.id,
        tag: machine.tag,
        name: label_from(name).into(),
        signing: machine.signing.verifying_key(),
        reader: None,
    }
}

/// Keeps header and roster locally, so that the vault can be unlocked without its store.
pub(super) fn keep(site: &Site<'_>, chain: &Chain, header: &[u8], state_key: &Secret<32>) -> Result<()> {
    let state_dir = StateDir::of(site);
    state_dir.write_header(header)?;
    state_dir.write_roster(chain.entries(), state_key, site.env)
}
