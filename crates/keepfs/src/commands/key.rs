//! `key`: the ways to unlock the vault.

use std::path::PathBuf;

use serde::Serialize;

use super::{Chosen, chosen};
use crate::args::{Global, KeyAction, PasswordFrom};
use crate::environment::now_secs;
use crate::failure::Result;
use crate::host::Holder;
use crate::password::{self, Password, Sources};
use crate::phrase::Outlet;
use crate::progress::print_json;
use crate::size::{Size, span};
use crate::wiring::{self, Guard, Secret, Slot};

#[derive(Serialize)]
struct Slots {
    slots: Vec<Slot>,
}

/// Does one action.
pub(crate) fn key(global: &Global, action: KeyAction) -> Result<()> {
    let chosen = chosen(global)?;
    match action {
        KeyAction::List(output) => list(&chosen, output.json),
        KeyAction::Passwd { password, new_password_file, kdf_memory } => {
            change_password(&chosen, &password, new_password_file, kdf_memory)
        }
        KeyAction::Phrase { password, phrase_file, yes } => {
            new_phrase(&chosen, &password, Outlet::open(phrase_file.as_deref(), yes)?)
        }
    }
}

fn guard(chosen: &Chosen) -> Result<Guard> {
    Guard::take(&chosen.places, &Holder::command("key"))?.with_store(&chosen.config.store, Default::default())
}

fn present_password(chosen: &Chosen, flags: &PasswordFrom) -> Result<Password> {
    let sources = Sources {
        flags,
        configured_file: chosen.config.password_file.as_deref(),
        configured_command: chosen.config.password_command.as_deref(),
    };
    password::existing(&sources, &format!("Password of vault '{}': ", chosen.name))
}

fn list(chosen: &Chosen, json: bool) -> Result<()> {
    let guard = guard(chosen)?;
    let password = present_password(chosen, &PasswordFrom::default())?;
    let unlocked = wiring::unlock(&guard, &Secret::Password(password))?;
    let slots = wiring::slots(&unlocked)?;
    if json {
        print_json(&Slots { slots });
        return Ok(());
    }
    for slot in slots {
        let age = span(now_secs().saturating_sub(slot.created.max(0) as u64));
        let used = if slot.in_use { "  (used now)" } else { "" };
        let cost = slot.kdf_memory.map(|bytes| format!("  {} a guess", Size(bytes))).unwrap_or_default();
        println!("{}  {:8}  made {age} ago{cost}{used}", slot.id, slot.kind);
    }
    Ok(())
}

fn change_password(
    chosen: &Chosen,
    flags: &PasswordFrom,
    new_password_file: Option<PathBuf>,
    kdf_memory: Option<Size>,
) -> Result<()> {
    let kdf = wiring::kdf_of(kdf_memory)?;
    let guard = guard(chosen)?;
    let present = present_password(chosen, flags)?;
    let mut unlocked = wiring::unlock(&guard, &Secret::Password(present))?;
    let fresh = match new_password_file {
        Some(path) => password::from_file(&path)?,
        None => password::ask_twice("New password: ")?,
    };
    super::tell(&wiring::change_password(&guard, &mut unlocked, &fresh, kdf)?);
    println!("The password is changed. Old copies of the store still open with the old one.");
    Ok(())
}

fn new_phrase(chosen: &Chosen, flags: &PasswordFrom, outlet: Outlet) -> Result<()> {
    let changed = guard(chosen).and_then(|guard| {
        let present = present_password(chosen, flags)?;
        let mut unlocked = wiring::unlock(&guard, &Secret::Password(present))?;
        wiring::new_phrase(&guard, &mut unlocked)
    });
    match changed {
        Ok((phrase, notices)) => {
            super::tell(&notices);
            println!("The old recovery phrase opens this vault no more.");
            outlet.show(&phrase)
        }
        Err(failure) => {
            outlet.discard();
            Err(failure)
        }
    }
}
