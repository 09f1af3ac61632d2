//! `unmount` in all its situations, and the commands that need no mount.

use std::fs::{self, File};
use std::process::Command;

use crate::world::{World, contents, fill, is_alive, noise, outcome, wait_until};

#[test]
fn mount_in_use_stays_and_the_user_is_named() {
    let world = World::mounted();
    let file = File::create(world.mount.join("open")).unwrap();
    let own = format!("pid {}", std::process::id());
    world.run(["unmount", world.mount_str()]).fails(1, &["in use by", &own, world.mount_str()]);
    assert!(world.is_mounted());
    std::io::Write::write_all(&mut &file, b"still works").unwrap();
    drop(file);
    world.run(["unmount", world.mount_str()]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("open")).unwrap(), b"still works");
}

#[test]
fn unmount_waits_for_the_store_and_says_so_in_json() {
    let world = World::mounted();
    fill(&world.mount, 3);
    let said = world.run(["unmount", "--wait", "--json", world.mount_str()]).ok();
    let last = said.json();
    assert_eq!(last["event"], "done");
    assert_eq!(last["status"]["pending"]["bytes"], 0);
    let status = world.status();
    assert_eq!(status["pending"]["bytes"], 0, "known without a daemon: {status}");
}

#[test]
fn foreign_tools_can_unmount_too() {
    let world = World::mounted();
    fs::write(world.mount.join("file"), "content").unwrap();
    let daemon = world.daemon();
    let unmounted = Command::new("umount").arg(&world.mount).status().unwrap();
    assert!(unmounted.success());
    assert!(wait_until(|| !is_alive(daemon)));
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"content");
}

#[test]
fn paths_that_are_no_mounts_are_refused() {
    let world = World::with_vault();
    world.run(["unmount", world.mount_str()]).fails(1, &["no vault is mounted"]);
    world.run(["unmount", "/does/not/exist"]).fails(1, &["no such path"]);
}

#[test]
fn relative_paths_and_links_lead_to_the_mount() {
    let world = World::with_vault();
    let link = world.path("link");
    std::os::unix::fs::symlink(&world.mount, &link).unwrap();
    world.run(["mount", link.to_str().unwrap()]).ok();
    assert!(world.is_mounted());
    let parent = world.mount.parent().unwrap();
    outcome(world.command(["unmount", "mount"]).current_dir(parent)).ok();
    assert!(!world.is_mounted());
}

#[test]
fn settings_are_kept_and_used() {
    let world = World::with_vault();
    world.run(["config", "set", "read_only", "true"]).ok();
    assert_eq!(world.run(["config", "get", "read_only"]).ok().out, "true\n");
    assert!(world.run(["config", "list"]).ok().out.contains("default.read_only = true\n"));
    assert_eq!(world.run(["config", "list", "--json"]).ok().json()["vaults"]["default"]["read_only"], true);
    world.run(["mount", world.mount_str()]).ok();
    assert!(fs::write(world.mount.join("x"), "").is_err());
    world.run(["unmount", world.mount_str()]).ok();
    world.run(["config", "unset", "read_only"]).ok();
    world.run(["mount", world.mount_str()]).ok();
    fs::write(world.mount.join("x"), "").unwrap();
}

#[test]
fn paths_are_told() {
    let world = World::with_vault();
    let paths = world.run(["paths", "--json"]).ok().json();
    assert_eq!(paths["config"], world.home.join("config.toml").to_str().unwrap());
    assert_eq!(paths["vaults"][0]["name"], "default");
    assert!(world.run(["paths"]).ok().out.contains("keepfs.log"));
}

#[test]
fn completions_are_scripts_that_their_shells_accept() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(["completions", shell]).ok().out;
        assert!(script.contains("unmount") && !script.contains("daemon-of-mount"), "{shell}");
        let path = world.path("script");
        fs::write(&path, script).unwrap();
        // Shells that are not installed cannot be asked.
        if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
            assert!(output.status.success(), "{shell}: {output:?}");
        }
    }
}

#[test]
fn inspect_shows_noise_and_says_what_it_means() {
    let world = World::mounted();
    // As compressible as files get: what is stored must look like noise all the same.
    fs::write(world.mount.join("text"), "all work and no play ".repeat(300_000)).unwrap();
    fill(&world.mount, 9);
    world.run(["unmount", world.mount_str(), "--wait"]).ok();
    let survey =
        outcome(world.command(["inspect", &world.url(), "--json"]).env_remove("KEEPFS_PASSWORD")).ok().json();
    assert_eq!(survey["kinds"]["header"]["count"], 2);
    assert_eq!(survey["kinds"]["opaque"]["randomness"]["verdict"], "random", "{survey}");
    let files = contents(&world.store).into_iter().filter(|(path, _)| path.starts_with("o"));
    assert_eq!(survey["kinds"]["opaque"]["count"], files.count());
    let told = world.run(["inspect", &world.url()]).ok().out;
    assert!(told.contains("cannot be told from random bytes") && told.contains("does not learn"), "{told}");
}

#[test]
fn help_and_version_are_answers() {
    let world = World::new();
    for arguments in [&["--help"][..], &["--version"], &["mount", "--help"], &["help", "init"]] {
        let said = world.run(arguments).ok();
        assert!(!said.out.is_empty() && said.err.is_empty(), "{said:?}");
    }
    assert!(!world.run(["--help"]).ok().out.contains("daemon-of-mount"));
}

#[test]
fn full_store_is_told_and_nothing_is_lost() {
    if !crate::world::is_root() {
        // A store that fills up on purpose is a small file system of its own, which only root can mount.
        return;
    }
    let world = World::new();
    let full = Full::mount(&world);
    let url = format!("{}?staging=local", world.url());
    world.run(["init", &url, "--kdf-memory", "64MiB", "--yes"]).ok();
    world.run(["mount", world.mount_str()]).ok();
    let content = noise(50_000_000, 11);
    fs::write(world.mount.join("large"), &content).unwrap();
    let error = |status: serde_json::Value| status["pending"]["store_error"].as_str().map(str::to_owned);
    assert!(wait_until(|| error(world.status()).is_some_and(|error| error.contains("full"))));
    let said = world.run(["unmount", world.mount_str()]).ok();
    assert!(said.out.contains("not yet on the store"), "{said:?}");
    let status = world.status();
    assert!(status["pending"]["bytes"].as_u64().unwrap() > 0 && error(status.clone()).is_some(), "{status}");

    world.run(["mount", world.mount_str()]).ok();
    full.grow();
    world.run(["sync"]).ok();
    assert_eq!(world.status()["pending"]["bytes"], 0);
    world.run(["unmount", world.mount_str()]).ok();
    fs::remove_dir_all(&world.home).unwrap();
    world.run(["join", &url]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert!(fs::read(world.mount.join("large")).unwrap() == content);
    world.run(["unmount", world.mount_str()]).ok();
}

/// A small file system for the store.
struct Full(std::path::PathBuf);

impl Full {
    fn mount(world: &World) -> Self {
        fs::create_dir(&world.store).unwrap();
        let full = Self(world.store.clone());
        full.call("mount", &["-t", "tmpfs", "-o", "size=20m", "none"]);
        full
    }

    fn grow(&self) {
        self.call("mount", &["-o", "remount,size=200m"]);
    }

    fn call(&self, program: &str, arguments: &[&str]) {
        assert!(Command::new(program).args(arguments).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
