//! Commands to the lossy disk, one a line, over a socket in the file system: what a test says to it.
//!
//! | command | does |
//! |---|---|
//! | `cut drop` | the power goes, and with it all that was not synced |
//! | `cut tear SEED` | the power goes; of what was not synced some survives |
//! | `on` | the power is back |
//! | `fail BELOW CALL FIRST ERROR TIMES` | TIMES calls (`sync`, `write`, `name`) from the FIRST on fail with `EIO`, `ENOSPC` or `EDQUOT`, below a directory of the root or everywhere (`-`) |
//! | `heal` | no call fails any more |
//! | `counts` | how many calls there were, and how many failed |
//! | `quit` | unmounts and ends |
//!
//! Each is answered with `ok` and perhaps words, or with `error` and a reason.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::disk::{Cut, Disk};
use super::faults::{Call, Fault};

/// Answers commands until one of them is `quit`.
pub(super) fn obey(disk: &Mutex<Disk>, socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        if line.trim() == "quit" {
            writeln!(stream, "ok")?;
            return Ok(());
        }
        match execute(&mut disk.lock(), &line) {
            Ok(words) => writeln!(stream, "ok {words}")?,
            Err(reason) => writeln!(stream, "error {reason}")?,
        }
    }
}

fn execute(disk: &mut Disk, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["cut", "drop"] => disk.cut(Cut::Drop).map_err(|error| error.to_string())?,
        ["cut", "tear", seed] => disk.cut(Cut::Tear(number(seed)?)).map_err(|error| error.to_string())?,
        ["on"] => disk.power_on(),
        ["fail", below, call, first, error, times] => disk.faults.plan(Fault {
            below: (*below != "-").then(|| (*below).into()),
            call: Call::parse(call).ok_or("no such kind of call")?,
            first: number(first)?,
            errno: errno(error)?,
            times: number(times)?,
        }),
        ["heal"] => disk.faults.heal(),
        ["counts"] => return Ok(disk.faults.describe()),
        _ => return Err(format!("no such command: {}", line.trim())),
    }
    Ok(String::new())
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("no number: {word}"))
}

fn errno(word: &str) -> Result<Errno, String> {
    match word {
        "EIO" => Ok(Errno::IO),
        "ENOSPC" => Ok(Errno::NOSPC),
        "EDQUOT" => Ok(Errno::DQUOT),
        _ => Err(format!("no such error: {word}")),
    }
}
