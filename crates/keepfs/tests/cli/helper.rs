//! `mount.keepfs`, as mount(8) and fstab call it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::world::{Outcome, PASSWORD, World, outcome};

/// The helper's name for our binary.
fn helper(world: &World) -> PathBuf {
    let helper = world.path("mount.keepfs");
    if !helper.exists() {
        symlink(env!("CARGO_BIN_EXE_keepfs"), &helper).unwrap();
    }
    helper
}

/// As mount(8) calls it when systemd starts it: hardly any environment, no HOME.
fn call(world: &World, source: &str, options: &str) -> Outcome {
    let mut command = Command::new(helper(world));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    outcome(command.arg(source).arg(&world.mount).args(["-o", options]))
}

fn options(world: &World) -> String {
    let password = world.path("password");
    fs::write(&password, PASSWORD).unwrap();
    format!(
        "rw,_netdev,nofail,x-systemd.automount,home={},password_file={}",
        world.home.display(),
        password.display()
    )
}

#[test]
fn source_is_a_vault_or_the_url_of_its_store() {
    let world = World::with_vault();
    let options = options(&world);
    for source in ["default", &world.url()] {
        call(&world, source, &options).ok();
        assert!(world.is_mounted());
        fs::write(world.mount.join("file"), source).unwrap();
        world.run(["unmount", world.mount_str()]).ok();
    }
    call(&world, "default", &format!("{options},ro,noexec")).ok();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(world.mount_str())).unwrap();
    assert!(line.contains("noexec") && line.contains(" - fuse.keepfs default ro"), "{line}");
    assert!(fs::write(world.mount.join("file"), "").is_err());
}

#[test]
fn refusals_are_those_of_the_command() {
    let world = World::with_vault();
    let options = options(&world);
    call(&world, "nobody", &options).fails(10, &["nobody"]);
    call(&world, "file:///nowhere", &options).fails(10, &["keepfs join file:///nowhere"]);
    call(&world, "default", &format!("{options},colour=red")).fails(2, &["colour"]);
    call(&world, "default", &format!("home={}", world.home.display())).fails(2, &["--password-file"]);
    assert!(!world.is_mounted());
}

#[test]
fn mount_all_finds_us_through_fstab() {
    let world = World::with_vault();
    if !crate::world::is_root() {
        // Only root may call mount(8) with a table of its own and find helpers where we put one.
        return;
    }
    let installed = PathBuf::from("/sbin/mount.keepfs");
    let ours = !installed.exists();
    if ours {
        symlink(env!("CARGO_BIN_EXE_keepfs"), &installed).unwrap();
    }
    let table = world.path("fstab");
    let line = format!("default {} keepfs {} 0 0\n", world.mount_str(), options(&world));
    fs::write(&table, line).unwrap();
    let mounted = Command::new("mount").arg("-T").arg(&table).arg("-a").env_remove("HOME").output().unwrap();
    if ours {
        fs::remove_file(&installed).unwrap();
    }
    assert!(mounted.status.success(), "{mounted:?}");
    assert!(world.is_mounted());
    fs::write(world.mount.join("file"), "through fstab").unwrap();
}
