//! `key`: the ways to unlock the vault.

use std::path::PathBuf;

use serde::Serialize;

use super::{Chosen, chosen};
use crate::args::{Global, KeyAction, PasswordFrom, UnlockWith};
use crate::environment::now_secs;
use crate::failure::Result;
use crate::host::Holder;
use crate::password;
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
        KeyAction::Passwd { unlock, new_password_file, kdf_memory } => {
            change_password(&chosen, &unlock, new_password_file, kdf_memory)
        }
        KeyAction::Phrase { password, phrase_file, yes } => {
            new_phrase(&chosen, &password, Outlet::open(phrase_file.as_deref(), yes)?)
        }
    }
}

fn guard(chosen: &Chosen) -> Result<Guard> {
    Guard::take(&chosen.places, &Holder::command("key"))?.with_store(&chosen.config.store, Default::default())
}

fn present(chosen: &Chosen, from: &UnlockWith) -> Result<Secret> {
    let configured = (chosen.config.password_file.as_deref(), chosen.config.password_command.as_deref());
    super::secret(from, configured, &format!("Password of vault '{}': ", chosen.name))
}

fn list(chosen: &Chosen, json: bool) -> Result<()> {
    let guard = guard(chosen)?;
    let unlocked = wiring::unlock(&guard, &present(chosen, &UnlockWith::default())?)?;
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
    from: &UnlockWith,
    new_password_file: Option<PathBuf>,
    kdf_memory: Option<Size>,
) -> Result<()> {
    let kdf = wiring::kdf_of(kdf_memory)?;
    let guard = guard(chosen)?;
    let mut unlocked = wiring::unlock(&guard, &present(chosen, from)?)?;
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
        let from = UnlockWith { password: flags.clone(), ..UnlockWith::default() };
        let mut unlocked = wiring::unlock(&guard, &present(chosen, &from)?)?;
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
