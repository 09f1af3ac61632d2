//! `bench-ceiling FOLDER BYTES`: the ceiling of FUSE, a file system that does nothing but keep its tree in memory, mounted on
//! FOLDER until it is unmounted. The first files that outgrow 1 MiB find BYTES of memory touched before.
//!
//! Switches, knobs and spinning are keepfs-fuse's own files, so that a benchmark beside it shows what stands behind
//! them, and nothing else. It is measuring equipment: it checks no rights and forgets everything at its end. Root only.

#[path = "../../../../keepfs-fuse/src/bdi.rs"]
mod bdi;
#[path = "../../../../keepfs-fuse/src/capabilities.rs"]
mod capabilities;
#[path = "../../../../keepfs-fuse/src/crowd.rs"]
mod crowd;
mod frontend;
mod memory;
#[path = "../../../../keepfs-fuse/src/power.rs"]
mod power;
#[allow(dead_code)] // Nobody asks here how long it has spun.
#[path = "../../../../keepfs-fuse/src/spin.rs"]
mod spin;
#[path = "../../../../keepfs-fuse/src/trial.rs"]
mod trial;

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use fuser::{Config, Session, SessionACL};
use rustix::mount::MountFlags;

use crate::frontend::Ceiling;
use crate::memory::Pool;
use crate::spin::{Governor, Pulse};

/// Large files that a run of the benchmark writes.
const LARGE_FILES: usize = 2;

/// Mounts `device` as keepfs does for root.
fn attach(path: &Path, device: &OwnedFd) -> io::Result<()> {
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,subtype=bench-ceiling,allow_other",
        device.as_raw_fd()
    );
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("bench-ceiling", path, "fuse", flags, CString::new(data)?.as_c_str())?;
    Ok(())
}

/// The device number of the mount on `path`, which the kernel tells by `stat`.
fn device_of(path: &Path) -> io::Result<String> {
    let device = rustix::fs::stat(path)?.st_dev;
    Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

fn serve(path: &Path, bytes: usize) -> io::Result<()> {
    let pool = Pool::new(LARGE_FILES, bytes);
    let device: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/fuse")?.into();
    let duplicate = device.try_clone()?;
    attach(path, &device)?;
    let threads = available_parallelism().map_or(1, usize::from).clamp(2, 4);
    let pulse = Pulse::new(format!("fuser-{}", threads - 1));
    let mut config = Config::default();
    config.n_threads = Some(threads);
    config.clone_fd = true;
    let session = Session::from_fd(Ceiling::new(pool, Arc::clone(&pulse)), device, SessionACL::All, config)?;
    let session = session.spawn()?;
    let governor = Governor::start(duplicate, &pulse);
    fs::metadata(path)?;
    bdi::turn_knobs(&device_of(path)?);
    let ended = session.join();
    drop(governor);
    ended
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, bytes] = arguments.as_slice() else {
        eprintln!("usage: bench-ceiling FOLDER BYTES");
        return ExitCode::from(2);
    };
    let Ok(bytes) = bytes.parse() else {
        eprintln!("bench-ceiling: {bytes} is no number");
        return ExitCode::from(2);
    };
    match serve(Path::new(path), bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-ceiling: {path}: {error}");
            ExitCode::from(1)
        }
    }
}
