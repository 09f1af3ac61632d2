//! The daemon under a service manager, and the units that start it there.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::{Running, World, signal};

#[test]
fn foreground_tells_when_it_is_ready_and_when_it_stops() {
    let world = World::with_vault();
    let path = world.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = world.command(["mount", "--foreground", world.mount_str()]);
    command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = Running(command.spawn().unwrap());
    let hear = || {
        let mut buffer = [0; 512];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert!(hear().starts_with("READY=1\n"));
    fs::write(world.mount.join("file"), "content").unwrap();
    signal(daemon.0.id(), "TERM");
    assert!(hear().starts_with("STOPPING=1\n"));
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    assert!(!world.is_mounted());
    world.run(["mount", world.mount_str()]).ok();
    assert_eq!(fs::read(world.mount.join("file")).unwrap(), b"content");
}

#[test]
fn foreground_failure_has_the_same_code_and_sentence() {
    let world = World::with_vault();
    let missing = world.path("missing");
    world.run(["mount", "-f", missing.to_str().unwrap()]).fails(1, &["does not exist"]);
}

#[test]
fn background_lets_go_of_everything() {
    let world = World::with_vault();
    // `output` waits until nobody holds the pipes: a daemon that kept them would make this wait for ever.
    let lock = world.path("lock");
    let line = format!("exec 9>{}; flock 9; exec \"$0\" mount {}", lock.display(), world.mount_str());
    let keepfs = world.command::<&str>([]);
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(line).arg(keepfs.get_program()).stdin(Stdio::null());
    shell.envs(keepfs.get_envs().filter_map(|(name, value)| Some((name, value?))));
    crate::world::outcome(&mut shell).ok();
    let free = Command::new("flock").arg("--nonblock").arg(&lock).arg("true").status().unwrap();
    assert!(free.success(), "the daemon holds its caller's lock");
    let process = format!("/proc/{}", world.daemon());
    assert_eq!(fs::read_link(format!("{process}/cwd")).unwrap(), Path::new("/"));
    for descriptor in 0..3 {
        assert_eq!(fs::read_link(format!("{process}/fd/{descriptor}")).unwrap(), Path::new("/dev/null"));
    }
    let stat = fs::read_to_string(format!("{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[3], world.daemon().to_string(), "it leads a session of its own");
}

#[test]
fn units_are_sound() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let world = World::new();
    for (unit, flags) in [("keepfs@.service", &[][..]), ("user/keepfs@.service", &["--user"])] {
        let text = fs::read_to_string(packaging.join(unit)).unwrap();
        assert!(text.contains("Type=notify") && text.contains("mount --foreground"), "{unit}");
        // systemd checks that the program exists: here it is the one under test.
        let text = text.replace("/usr/bin/keepfs", env!("CARGO_BIN_EXE_keepfs"));
        let copy = world.path("keepfs@tmp.service");
        fs::write(&copy, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        // The user manager keeps its sockets there; a test has no session of its own.
        verify.env("XDG_RUNTIME_DIR", world.path(""));
        let verified = verify.arg("verify").args(flags).arg(&copy).output();
        // A machine without systemd has no use for the units either.
        let Ok(verified) = verified else { continue };
        let complaints = String::from_utf8_lossy(&verified.stderr);
        let about_us = complaints.lines().filter(|line| line.contains("keepfs@")).collect::<Vec<_>>();
        assert!(about_us.is_empty(), "{unit}: {about_us:?}");
    }
}
