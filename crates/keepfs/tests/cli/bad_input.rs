//! Everything that can be done wrong: the exit code, one sentence, and nothing harmed.

use std::fs;

use crate::world::{PASSWORD, World, contents, outcome};

#[test]
fn wrong_password_is_code_12_everywhere() {
    let world = World::with_vault();
    let wrong = |arguments: &[&str]| outcome(world.command(arguments).env("KEEPFS_PASSWORD", "guess"));
    wrong(&["mount", world.mount_str()]).fails(12, &["does not open"]);
    wrong(&["mount", "--foreground", world.mount_str()]).fails(12, &["does not open"]);
    wrong(&["key", "list"]).fails(12, &["does not open"]);
    wrong(&["--vault", "second", "join", &world.url()]).fails(12, &["does not open"]);
    assert!(!world.is_mounted());
    world.run(["--vault", "second", "mount", world.mount_str()]).fails(10, &["second"]);
    world.run(["mount", world.mount_str()]).ok();
}

#[test]
fn wrong_phrase_is_code_12() {
    let world = World::with_vault();
    fs::write(world.path("wrong"), "one two three").unwrap();
    let wrong = world.path("wrong");
    let arguments = ["--vault", "b", "join", &world.url(), "--phrase-file", wrong.to_str().unwrap()];
    world.run(arguments).fails(12, &["24 words"]);
}

#[test]
fn missing_password_says_how_to_give_one() {
    let world = World::with_vault();
    let mut command = world.command(["mount", world.mount_str()]);
    command.env_remove("KEEPFS_PASSWORD");
    outcome(&mut command).fails(2, &["--password-file", "KEEPFS_PASSWORD_COMMAND"]);
}

#[test]
fn init_overwrites_nothing() {
    let world = World::with_vault();
    let store = contents(&world.store);
    let home = contents(&world.home);
    let again = ["init", &world.url(), "--yes", "--kdf-memory", "64MiB"];
    world.run(again).fails(1, &["already has a vault 'default'"]);
    let other_name = [&["--vault", "b"], &again[..]].concat();
    world.run(other_name).fails(1, &["holds a vault already", "keepfs join"]);
    assert_eq!(contents(&world.store), store);
    assert_eq!(contents(&world.home), home);

    let foreign = world.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "dear").unwrap();
    let url = format!("file://{}", foreign.display());
    world.run(["--vault", "c", "init", &url, "--yes"]).fails(1, &["not empty"]);
    assert_eq!(contents(&foreign).len(), 1);

    let phrase = world.path("phrase");
    let url = format!("file://{}", world.path("fresh").display());
    world
        .run([
            "--vault",
            "d",
            "init",
            &url,
            "--kdf-memory",
            "64MiB",
            "--phrase-file",
            phrase.to_str().unwrap(),
        ])
        .fails(1, &["does not exist"]);
}

#[test]
fn no_vault_is_code_10() {
    let world = World::new();
    world.run(["mount", world.mount_str()]).fails(10, &["keepfs init"]);
    world.run(["sync"]).fails(10, &["default"]);
    world.run(["join", &world.url()]).fails(10, &["no store"]);
    fs::create_dir_all(world.store.join("o")).unwrap();
    world.run(["join", &world.url()]).fails(10, &["no vault"]);
    world.run(["inspect", &format!("file://{}/nothing", world.store.display())]).fails(10, &["no store"]);
}

#[test]
fn store_that_went_away_is_named() {
    let world = World::with_vault();
    fs::rename(&world.store, world.path("elsewhere")).unwrap();
    world.run(["mount", world.mount_str()]).fails(10, &[world.store.to_str().unwrap()]);
}

#[test]
fn damaged_header_is_told_and_its_copy_used() {
    let world = World::with_vault();
    let header = world.store.join("vault");
    let intact = fs::read(&header).unwrap();
    let mut flipped = intact.clone();
    flipped[intact.len() / 2] ^= 1;
    fs::write(&header, &flipped).unwrap();
    let said = world.run(["--vault", "b", "join", &world.url()]).ok();
    assert!(said.err.contains("header"), "{said:?}");

    for name in ["vault", "vault.bak"] {
        fs::write(world.store.join(name), &flipped).unwrap();
    }
    let said = world.run(["--vault", "c", "join", &world.url()]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.starts_with("keepfs: ") && !said.err.contains("panicked"), "{said:?}");
}

#[test]
fn newer_version_asks_for_a_newer_program() {
    let world = World::with_vault();
    for name in ["vault", "vault.bak"] {
        let path = world.store.join(name);
        let mut header = fs::read(&path).unwrap();
        // After the seven bytes that every header begins with stands the version.
        header[7] = 200;
        fs::write(&path, header).unwrap();
    }
    world.run(["--vault", "b", "join", &world.url()]).fails(1, &["newer keepfs"]);
}

#[test]
fn mount_points_that_are_none_are_refused() {
    let world = World::with_vault();
    let missing = world.path("missing");
    world.run(["mount", missing.to_str().unwrap()]).fails(1, &["does not exist", "mkdir"]);
    let file = world.path("file");
    fs::write(&file, "").unwrap();
    world.run(["mount", file.to_str().unwrap()]).fails(1, &["not a directory"]);
    let root = world.mount.parent().unwrap();
    world.run(["mount", root.to_str().unwrap()]).fails(2, &["below the mount point"]);
}

#[test]
fn second_mount_is_refused_and_names_the_first() {
    let world = World::mounted();
    let daemon = world.daemon().to_string();
    let other = world.path("other");
    fs::create_dir(&other).unwrap();
    world.run(["mount", other.to_str().unwrap()]).fails(11, &[&daemon, world.mount_str()]);
    world.run(["mount", world.mount_str()]).fails(11, &[&daemon]);
    world.run(["key", "list"]).fails(11, &[&daemon]);
    // Another vault on the same mount point.
    let url = format!("file://{}", world.path("second").display());
    world.run(["--vault", "b", "init", &url, "--kdf-memory", "64MiB", "--yes"]).ok();
    world.run(["--vault", "b", "mount", world.mount_str()]).fails(11, &["mounted there already"]);
    assert!(world.is_mounted());
}

#[test]
fn wrong_calls_are_code_2() {
    let world = World::with_vault();
    for arguments in [
        &["dance"][..],
        &["mount"],
        &["mount", "--durability", "maybe", "/m"],
        &["init", "gopher://x"],
        &["--vault", "../x", "init", "file:///x"],
        &["config", "set", "colour", "red"],
        &["config", "set", "durability", "maybe"],
        &["--vault", "b", "init", "file:///nowhere/at/all", "--kdf-memory", "1MiB"],
        &["mount", "-o", "allow_othr", world.mount_str()],
    ] {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}: {outcome:?}");
    }
}

#[test]
fn failures_are_json_where_json_was_asked_for() {
    let world = World::with_vault();
    let said = world.run(["sync", "--json"]);
    assert_eq!(said.code, 1);
    let line = said.json();
    assert_eq!((&line["event"], &line["exit"]), (&"failed".into(), &"failed".into()));
    assert!(line["what"].as_str().unwrap().contains("not mounted"));
}

#[test]
fn password_is_found_in_nothing_that_others_can_see() {
    let world = World::mounted();
    let process = format!("/proc/{}", world.daemon());
    for file in ["cmdline", "environ"] {
        let seen = fs::read(format!("{process}/{file}")).unwrap();
        let seen = String::from_utf8_lossy(&seen);
        assert!(!seen.contains(PASSWORD), "{file} shows the password");
    }
}
