//! Changing who may enter: passwords and the recovery phrase of an unlocked vault.
//!
//! It owns the order: the roster says first what the slots are from now on, and holds the whole header, so
//! whatever happens afterwards, the next machine that unlocks can put the header on the store right. No data is
//! sealed anew. Who kept an old slot and its secret can still open what that slot led to; only new epochs shut
//! them out.

use keepfs_format::header::{Header, ListedSlot};
use keepfs_format::ids::Time;
use keepfs_format::kdf::KdfParams;
use keepfs_format::phrase::RecoveryPhrase;
use keepfs_format::roster::Change;
use keepfs_format::slot::{Slot, SlotId, SlotKind, UnlockSecret};

use super::header::{in_force, publish};
use super::join::keep;
use super::site::Site;
use super::unlocked::{Notice, Unlocked};
use crate::error::{FsError, Result};

/// One way into the vault, for listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotInfo {
    /// Its name.
    pub id: SlotId,
    /// What opens it.
    pub kind: SlotKind,
    /// When it was made, by the maker's clock.
    pub created: Time,
    /// Whether the vault was unlocked with it just now.
    pub in_use: bool,
}

/// The ways into the vault, as its roster has them.
pub fn list_slots(unlocked: &Unlocked) -> Result<Vec<SlotInfo>> {
    let (header, _) = in_force(unlocked.roster())?;
    let known = |listed: &ListedSlot| match listed {
        ListedSlot::Known(slot) => {
            let in_use = slot.id() == unlocked.slot;
            Some(SlotInfo { id: slot.id(), kind: slot.kind(), created: slot.created(), in_use })
        }
        ListedSlot::Refused { .. } => None,
    };
    Ok(header.slots().iter().filter_map(known).collect())
}

/// Replaces the password that the vault was unlocked with; if that was a phrase, every password. Returns what a
/// person should hear of, which is also added to `unlocked.notices`.
///
/// # Errors
/// [`FsError::EmptyPassword`]; what the store says, and then the password may be the old one or the new.
pub fn change_password(
    site: &Site<'_>,
    unlocked: &mut Unlocked,
    password: &[u8],
    kdf: KdfParams,
) -> Result<Vec<Notice>> {
    let slot = password_slot(site, unlocked, password, kdf)?;
    let used = unlocked.slot;
    let (id, fresh) = (slot.id(), ListedSlot::Known(slot.into()));
    let notices = edit(site, unlocked, &mut |slots| {
        let by_password = slots.iter().any(|slot| is_password(slot) && has_id(slot, used));
        slots.retain(|slot| !(is_password(slot) && (!by_password || has_id(slot, used))));
        slots.push(fresh.clone());
        Ok(())
    })?;
    unlocked.slot = id;
    Ok(notices)
}

/// Adds a further password.
///
/// # Errors
/// As [`change_password`], and the format's when there are too many slots.
pub fn add_password(
    site: &Site<'_>,
    unlocked: &mut Unlocked,
    password: &[u8],
    kdf: KdfParams,
) -> Result<Vec<Notice>> {
    let fresh = ListedSlot::Known(password_slot(site, unlocked, password, kdf)?.into());
    edit(site, unlocked, &mut |slots| {
        slots.push(fresh.clone());
        Ok(())
    })
}

/// Replaces the recovery phrase; the old one opens nothing any more. The new one is nowhere else: show it now.
///
/// # Errors
/// What the store says, and then the phrase may be the old one or one that nobody knows: make another.
pub fn new_phrase(site: &Site<'_>, unlocked: &mut Unlocked) -> Result<(RecoveryPhrase, Vec<Notice>)> {
    let phrase = RecoveryPhrase::draw(site.env);
    let slot = fresh_slot(site, unlocked, UnlockSecret::Phrase(&phrase), KdfParams::DEFAULT)?;
    let (id, fresh) = (slot.id(), ListedSlot::Known(slot.into()));
    let used = unlocked.slot;
    let mut replaced_used = false;
    let notices = edit(site, unlocked, &mut |slots| {
        replaced_used = slots.iter().any(|slot| is_phrase(slot) && has_id(slot, used));
        slots.retain(|slot| !is_phrase(slot));
        slots.push(fresh.clone());
        Ok(())
    })?;
    if replaced_used {
        unlocked.slot = id;
    }
    Ok((phrase, notices))
}

/// Takes a slot away.
///
/// # Errors
/// [`FsError::NoSlot`], [`FsError::LastSlot`]; what the store says.
pub fn remove_slot(site: &Site<'_>, unlocked: &mut Unlocked, id: SlotId) -> Result<Vec<Notice>> {
    edit(site, unlocked, &mut |slots| {
        let before = slots.len();
        slots.retain(|slot| !has_id(slot, id));
        if slots.len() == before {
            return Err(FsError::NoSlot);
        }
        // A slot that this program cannot read is no way in that it could vouch for.
        if !slots.iter().any(|slot| matches!(slot, ListedSlot::Known(_))) {
            return Err(FsError::LastSlot);
        }
        Ok(())
    })
}

fn password_slot(site: &Site<'_>, unlocked: &mut Unlocked, password: &[u8], kdf: KdfParams) -> Result<Slot> {
    if password.is_empty() {
        return Err(FsError::EmptyPassword);
    }
    fresh_slot(site, unlocked, UnlockSecret::Password(password), kdf)
}

fn fresh_slot(
    site: &Site<'_>,
    unlocked: &mut Unlocked,
    secret: UnlockSecret<'_>,
    kdf: KdfParams,
) -> Result<Slot> {
    unlocked.chain.catch_up(site.store()?)?;
    // The entry that will carry the slot is the least that a later reader must be shown.
    unlocked.user.roster_len_min = unlocked.roster().entry_count() + 1;
    Ok(Slot::seal(&unlocked.user, secret, kdf, site.env)?)
}

/// Puts other slots in force.
fn edit(
    site: &Site<'_>,
    unlocked: &mut Unlocked,
    change: &mut dyn FnMut(&mut Vec<ListedSlot>) -> Result<()>,
) -> Result<Vec<Notice>> {
    let Unlocked { chain, user, .. } = unlocked;
    chain.catch_up(site.store()?)?;
    chain.append(site, &mut |roster| {
        let (header, _) = in_force(roster)?;
        let mut slots = header.slots().to_vec();
        change(&mut slots)?;
        let header = Header::new(header.generation() + 1, roster.vault(), slots)?;
        let change = Change::Header { bytes: header.encode().into() };
        Ok(roster.compose(user.user, &user.signing, site.env.now(), change)?)
    })?;
    // From here on the change holds, whatever else fails.
    let header = in_force(&chain.roster)?.1.to_vec();
    let mut notices = Vec::new();
    let flaw = "was changed";
    if let Err(error) = keep(site, chain, &header, &user.state_key()) {
        notices.push(Notice::HeaderNotRepaired { flaw, detail: error.to_string() });
    }
    if let Err(error) = publish(site.store()?, &header) {
        notices.push(Notice::HeaderNotRepaired { flaw, detail: error.to_string() });
    }
    unlocked.notices.extend(notices.iter().cloned());
    Ok(notices)
}

fn has_id(listed: &ListedSlot, id: SlotId) -> bool {
    matches!(listed, ListedSlot::Known(slot) if slot.id() == id)
}

fn is_password(listed: &ListedSlot) -> bool {
    matches!(listed, ListedSlot::Known(slot) if matches!(slot.kind(), SlotKind::Password(_)))
}

fn is_phrase(listed: &ListedSlot) -> bool {
    matches!(listed, ListedSlot::Known(slot) if matches!(slot.kind(), SlotKind::Phrase))
}
