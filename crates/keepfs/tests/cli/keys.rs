//! The ways to unlock a vault, through the command.

use std::fs;

use crate::world::{World, outcome};

#[test]
fn changed_password_opens_and_the_old_one_does_not() {
    let world = World::mounted();
    fs::write(world.mount.join("file"), "content").unwrap();
    world.run(["unmount", world.mount_str()]).ok();
    let fresh = world.path("fresh");
    fs::write(&fresh, "a new one\n").unwrap();
    let fresh = fresh.to_str().unwrap();
    world.run(["key", "passwd", "--new-password-file", fresh, "--kdf-memory", "64MiB"]).ok();
    world.run(["mount", world.mount_str()]).fails(12, &["does not open"]);
    outcome(world.command(["mount", world.mount_str()]).env("KEEPFS_PASSWORD", "a new one")).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"content");
}

#[test]
fn new_phrase_replaces_the_old_one() {
    let world = World::with_vault();
    let (old, fresh) = (world.path("phrase"), world.path("fresh"));
    world.run(["key", "phrase", "--phrase-file", fresh.to_str().unwrap()]).ok();
    world.run(["--vault", "b", "join", &world.url(), "--phrase-file", old.to_str().unwrap()]).fails(12, &[]);
    world.run(["--vault", "b", "join", &world.url(), "--phrase-file", fresh.to_str().unwrap()]).ok();
}

#[test]
fn slots_are_listed() {
    let world = World::with_vault();
    let slots = world.run(["key", "list", "--json"]).ok().json()["slots"].clone();
    let mut kinds: Vec<_> = slots.as_array().unwrap().iter().map(|slot| slot["kind"].clone()).collect();
    kinds.sort_by_key(ToString::to_string);
    assert_eq!(kinds, ["password", "phrase"]);
    assert!(world.run(["key", "list"]).ok().out.contains("64 MiB a guess"));
}

#[test]
fn password_comes_from_files_and_commands_too() {
    let world = World::with_vault();
    let file = world.path("password");
    fs::write(&file, format!("{}\n", crate::world::PASSWORD)).unwrap();
    let file = file.to_str().unwrap();
    let command = format!("cat {file}");
    for (flags, variables) in [
        (&["--password-file", file][..], &[][..]),
        (&["--password-command", &command], &[]),
        (&[], &[("KEEPFS_PASSWORD_FILE", file)]),
        (&[], &[("KEEPFS_PASSWORD_COMMAND", command.as_str())]),
    ] {
        let mut mount = world.command(["mount", world.mount_str()]);
        mount.args(flags).env_remove("KEEPFS_PASSWORD").envs(variables.iter().copied());
        outcome(&mut mount).ok();
        world.run(["unmount", world.mount_str()]).ok();
    }
    world.run(["config", "set", "password_file", file]).ok();
    outcome(world.command(["mount", world.mount_str()]).env_remove("KEEPFS_PASSWORD")).ok();
}

#[test]
fn lost_password_is_replaced_with_the_phrase() {
    let world = World::mounted();
    fs::write(world.mount.join("file"), "content").unwrap();
    world.run(["unmount", world.mount_str(), "--wait"]).ok();
    fs::remove_dir_all(&world.home).unwrap();
    let (phrase, fresh) = (world.path("phrase"), world.path("fresh"));
    let phrase = phrase.to_str().unwrap();
    fs::write(&fresh, "another").unwrap();
    let forgotten = |arguments: &[&str]| {
        outcome(world.command(arguments).env_remove("KEEPFS_PASSWORD").env("KEEPFS_PHRASE_FILE", phrase))
    };
    forgotten(&["join", &world.url()]).ok();
    forgotten(&["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"content");
    forgotten(&["unmount", world.mount_str()]).ok();
    forgotten(&["key", "passwd", "--new-password-file", fresh.to_str().unwrap(), "--kdf-memory", "64MiB"])
        .ok();
    world.run(["mount", world.mount_str()]).fails(12, &["does not open"]);
    outcome(world.command(["mount", world.mount_str()]).env("KEEPFS_PASSWORD", "another")).ok();
}
