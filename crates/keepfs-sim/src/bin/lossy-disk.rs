//! `lossy-disk SCRATCH MOUNT-POINT SOCKET`: a disk that loses power when told to on SOCKET. Its files lie in
//! SCRATCH as long as it runs. The commands are in `keepfs_sim`'s module of the same name.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scratch, mount_point, socket] = arguments.as_slice() else {
        eprintln!("usage: lossy-disk SCRATCH MOUNT-POINT SOCKET");
        return ExitCode::from(2);
    };
    match keepfs_sim::serve_lossy_disk(Path::new(scratch), Path::new(mount_point), Path::new(socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lossy-disk: {error}");
            ExitCode::from(1)
        }
    }
}
