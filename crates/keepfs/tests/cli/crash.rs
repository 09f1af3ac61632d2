//! The daemon dies: what was synced is there, the mount point heals, and the next mount says what it found.

use std::fs::{self, File};
use std::io::Write;

use crate::world::{World, is_alive, noise, signal, wait_until};

fn write_synced(world: &World, name: &str, content: &[u8]) {
    let mut file = File::create(world.mount.join(name)).unwrap();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
    File::open(&world.mount).unwrap().sync_all().unwrap();
}

#[test]
fn mount_heals_after_kill_and_keeps_what_was_synced() {
    let world = World::mounted();
    write_synced(&world, "small", b"synced");
    let large = noise(3_000_000, 1);
    write_synced(&world, "large", &large);
    world.kill_daemon();
    let dead = fs::read(world.mount.join("large")).unwrap_err();
    assert!(matches!(dead.raw_os_error(), Some(103 | 107)), "{dead}");
    assert_eq!(world.status()["mounted"], false);

    let said = world.run(["mount", world.mount_str()]).ok();
    assert!(said.out.contains("recovered"), "{said:?}");
    assert_eq!(fs::read(world.mount.join("small")).unwrap(), b"synced");
    assert_eq!(fs::read(world.mount.join("large")).unwrap(), large);
    let recovered = world.status()["recovered"].clone();
    assert!(recovered["operations"].as_u64().unwrap() > 0, "{recovered}");

    world.run(["unmount", world.mount_str()]).ok();
    let said = world.run(["mount", world.mount_str()]).ok();
    assert!(!said.out.contains("recovered"), "{said:?}");
    assert!(world.status()["recovered"].is_null());
}

#[test]
fn dead_mount_can_be_unmounted() {
    let world = World::mounted();
    world.kill_daemon();
    let said = world.run(["unmount", world.mount_str()]).ok();
    assert!(said.out.contains("had died"), "{said:?}");
    assert!(!world.is_mounted());
    world.run(["mount", world.mount_str()]).ok();
}

#[test]
fn signal_unmounts_in_order() {
    let world = World::mounted();
    fs::write(world.mount.join("file"), "not synced").unwrap();
    let daemon = world.daemon();
    signal(daemon, "TERM");
    assert!(wait_until(|| !is_alive(daemon)));
    assert!(!world.is_mounted());
    let said = world.run(["mount", world.mount_str()]).ok();
    assert!(!said.out.contains("recovered"), "{said:?}");
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"not synced");
}

#[test]
fn signal_ends_a_mount_in_use_and_keeps_its_bytes() {
    let world = World::mounted();
    let mut open = File::create(world.mount.join("open")).unwrap();
    open.write_all(b"written before").unwrap();
    let daemon = world.daemon();
    signal(daemon, "TERM");
    assert!(wait_until(|| !is_alive(daemon)));
    assert!(!world.is_mounted());
    drop(open);
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("open")).unwrap(), b"written before");
}

#[test]
fn kill_under_load_never_leaves_a_vault_that_does_not_open() {
    let world = World::mounted();
    for round in 0..3 {
        for number in 0..20 {
            write_synced(&world, &format!("{round}-{number}"), &[round; 10_000]);
        }
        fs::write(world.mount.join(format!("unsynced {round}")), vec![1; 1_000_000]).unwrap();
        world.kill_daemon();
        world.run(["mount", world.mount_str()]).ok();
        for number in 0..20 {
            assert_eq!(fs::read(world.mount.join(format!("{round}-{number}"))).unwrap(), [round; 10_000]);
        }
    }
}

#[test]
fn damaged_file_is_named_by_status_and_by_number_in_the_log() {
    let world = World::mounted();
    let content = noise(2_000_000, 2);
    fs::create_dir(world.mount.join("folder")).unwrap();
    fs::write(world.mount.join("folder/hurt file"), content).unwrap();
    world.run(["unmount", world.mount_str(), "--wait"]).ok();
    let objects = crate::world::contents(&world.store.join("o"));
    let (pack, bytes) = objects.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut hurt = bytes.clone();
    let end = hurt.len() - 200_000;
    hurt[1000..end].iter_mut().for_each(|byte| *byte ^= 0x55);
    let pack = world.store.join("o").join(pack);
    let _ = std::process::Command::new("chmod").arg("u+w").arg(&pack).status();
    fs::write(&pack, hurt).unwrap();

    world.run(["mount", world.mount_str()]).ok();
    let refused = fs::read(world.mount.join("folder/hurt file")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(5), "{refused}");
    let health = world.status()["health"].clone();
    assert_eq!(health["healthy"], false);
    assert_eq!(health["damaged"][0]["path"], "/folder/hurt file");
    let told = world.run(["status"]).ok().out;
    assert!(told.contains("NOT GOOD") && told.contains("/folder/hurt file"), "{told}");
    let log = fs::read_to_string(world.home.join("state/default/log/keepfs.log")).unwrap();
    assert!(log.contains(&health["damaged"][0]["inode"].to_string()), "{log}");
    assert!(!log.contains("hurt file"), "{log}");
}
