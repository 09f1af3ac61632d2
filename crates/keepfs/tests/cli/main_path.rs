//! From nothing to mounted files, and from a lost machine back to them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::world::{World, contents, fill, is_alive};

#[test]
fn files_come_back_from_store_and_password_alone() {
    let world = World::with_vault();
    let said = world.run(["mount", world.mount_str()]).ok();
    assert!(said.out.contains("is mounted on"), "{said:?}");
    fill(&world.mount, 42);
    let before = contents(&world.mount);
    let status = world.status();
    assert_eq!(status["mounted"], true);
    assert_eq!(status["mount_point"], world.mount_str());
    assert_eq!(status["health"]["healthy"], true, "{status}");
    let daemon = world.daemon();
    let said = world.run(["unmount", world.mount_str(), "--wait"]).ok();
    assert!(said.out.contains("everything is on the store"), "{said:?}");
    assert!(!is_alive(daemon) && !world.is_mounted());
    assert_eq!(world.status()["mounted"], false);

    fs::remove_dir_all(&world.home).unwrap();
    world.run(["status"]).ok();
    world.run(["mount", world.mount_str()]).fails(10, &["no vault 'default'", "keepfs join"]);
    world.run(["join", &world.url()]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(contents(&world.mount), before);
    fs::write(world.mount.join("new"), "still writable").unwrap();
    world.run(["unmount", world.mount_str()]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("new")).unwrap(), b"still writable");
}

#[test]
fn recovery_phrase_replaces_the_password() {
    let world = World::mounted();
    fs::write(world.mount.join("file"), "content").unwrap();
    world.run(["unmount", world.mount_str(), "--wait"]).ok();
    fs::remove_dir_all(&world.home).unwrap();
    let phrase = world.path("phrase");
    assert_eq!(fs::metadata(&phrase).unwrap().mode() & 0o777, 0o600);
    world.run(["join", &world.url(), "--phrase-file", phrase.to_str().unwrap()]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"content");
}

#[test]
fn nothing_readable_stays_on_either_side() {
    let world = World::mounted();
    let secret = "a name that nobody else has";
    fs::create_dir(world.mount.join(secret)).unwrap();
    fs::write(world.mount.join(secret).join("inside"), secret.repeat(5000)).unwrap();
    world.run(["sync"]).ok();
    let scan = || {
        for root in [&world.home, &world.store] {
            for (path, content) in contents(root) {
                assert!(!path.to_string_lossy().contains(secret));
                let hit = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!hit, "{} holds a name or content of the vault", path.display());
            }
        }
    };
    // A socket cannot be read; it goes with the daemon.
    world.run(["unmount", world.mount_str(), "--wait"]).ok();
    scan();
}

#[test]
fn everything_on_this_machine_is_private() {
    let world = World::mounted();
    let mut pending = vec![world.home.clone()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o077, 0, "{} is open to others", path.display());
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn sync_returns_when_everything_is_on_the_store() {
    let world = World::mounted();
    fill(&world.mount, 7);
    let said = world.run(["sync", "--json"]).ok();
    assert_eq!(said.json()["event"], "done", "{said:?}");
    assert_eq!(world.status()["pending"]["bytes"], 0);
    // Proof: another machine that joins now sees everything, though the first daemon never ended.
    let before = contents(&world.mount);
    world.kill_daemon();
    world.run(["unmount", world.mount_str()]).ok();
    fs::rename(&world.home, world.path("old-home")).unwrap();
    world.run(["join", &world.url()]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(contents(&world.mount), before);
}

#[test]
fn several_vaults_live_side_by_side() {
    let world = World::mounted();
    let other = world.path("other-store");
    let url = format!("file://{}", other.display());
    world.run(["--vault", "other", "init", &url, "--kdf-memory", "64MiB", "--yes"]).ok();
    let point = world.path("other-mount");
    fs::create_dir(&point).unwrap();
    let point = point.canonicalize().unwrap();
    world.run(["mount", "--vault", "other", point.to_str().unwrap()]).ok();
    fs::write(point.join("here"), "1").unwrap();
    assert!(!world.mount.join("here").exists());
    let status = world.run(["status", "--json"]).ok().json();
    let mounted: Vec<_> =
        status["vaults"].as_array().unwrap().iter().map(|vault| vault["mounted"].clone()).collect();
    assert_eq!(mounted, [true, true]);
    world.run(["unmount", point.to_str().unwrap()]).ok();
    assert_eq!(
        world.run(["--vault", "other", "status", "--json"]).ok().json()["vaults"][0]["mounted"],
        false
    );
}

#[test]
fn read_only_mount_refuses_changes() {
    let world = World::mounted();
    fs::write(world.mount.join("file"), "content").unwrap();
    world.run(["unmount", world.mount_str()]).ok();
    world.run(["mount", "--read-only", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"content");
    let refused = fs::write(world.mount.join("other"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(world.status()["read_only"], true);
}

#[test]
fn durability_and_compression_reach_the_daemon() {
    let world = World::with_vault();
    world.run(["mount", "--durability", "remote", "-o", "compression=lz4", world.mount_str()]).ok();
    let status = world.status();
    assert_eq!((&status["durability"], &status["compression"]), (&"remote".into(), &"lz4".into()));
    let file = fs::File::create(world.mount.join("file")).unwrap();
    std::io::Write::write_all(&mut &file, b"on the store when fsync returns").unwrap();
    file.sync_all().unwrap();
    world.kill_daemon();
    fs::remove_dir_all(&world.home).unwrap();
    world.run(["join", &world.url()]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"on the store when fsync returns");
}

#[test]
fn store_that_counts_as_remote_is_cached_and_the_cache_can_go() {
    let world = World::new();
    let url = format!("{}?staging=local", world.url());
    world.run(["init", &url, "--kdf-memory", "64MiB", "--yes"]).ok();
    world.run(["mount", world.mount_str(), "--cache-limit", "100MiB"]).ok();
    fill(&world.mount, 5);
    let before = contents(&world.mount);
    world.run(["sync"]).ok();
    let cache = world.status()["cache"].clone();
    assert_eq!(cache["limit"], 100 << 20);
    let cleared = world.run(["cache", "--clear", "--json"]).ok().json();
    assert_eq!(cleared["bytes"], 0);
    world.run(["unmount", world.mount_str()]).ok();
    world.run(["cache", "--clear", "--limit", "50MiB"]).ok();
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(contents(&world.mount), before);
    assert_eq!(world.status()["cache"]["limit"], 50 << 20);
}
