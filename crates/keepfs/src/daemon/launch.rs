//! Starting the daemon: this binary again, told what to do over a pipe, heard until the mount answers.
//!
//! The password travels over the pipe only: arguments and environment are visible to others.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Launch, Ready, WORD};
use crate::failure::{Doing, Failure, Result};
use crate::wiring::Secret;

/// Longest message either way.
const MESSAGE_LEN_MAX: usize = 1 << 20;

/// What the daemon says to the process that started it, once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Ready(Ready),
    Failed(Failure),
}

/// Starts a daemon and returns when its mount answers.
pub(crate) fn start(launch: &Launch, secret: &Secret) -> Result<Ready> {
    let program = std::env::current_exe().doing("find this program again")?;
    // An old kernel cannot do this; then the daemon keeps open what its caller left open, as it always was.
    let _ = keepfs_fuse::close_descriptors_on_exec();
    let mut child = Command::new(program)
        .arg(WORD)
        // A daemon lives long; whoever looks at its environment shall not find the password there.
        .env_remove("KEEPFS_PASSWORD")
        // The allocator of glibc keeps what each of many threads once used; two pools are enough here and
        // keep a hundred MiB less.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .doing("start the daemon")?;
    let word = tell(&mut child, launch, secret).and_then(|()| hear(&mut child));
    match word {
        Ok(Word::Ready(ready)) => Ok(ready),
        Ok(Word::Failed(failure)) => {
            // It has nothing left to do but to end; waiting makes its locks free when we return.
            let _ = child.wait();
            Err(failure)
        }
        Err(failure) => {
            let status = child.wait().doing("wait for the daemon")?;
            Err(Failure::failed(format!("the daemon ended without a word, with {status}: {failure}"))
                .advise("its log says why: see 'keepfs paths'"))
        }
    }
}

fn tell(child: &mut Child, launch: &Launch, secret: &Secret) -> Result<()> {
    let mut pipe = child.stdin.take().ok_or_else(|| Failure::failed("the daemon has no input"))?;
    let launch = serde_json::to_vec(launch).doing("describe the mount")?;
    let secret = secret.to_bytes();
    for part in [launch.as_slice(), secret.as_slice()] {
        pipe.write_all(&(part.len() as u32).to_le_bytes()).doing("talk to the daemon")?;
        pipe.write_all(part).doing("talk to the daemon")?;
    }
    Ok(())
}

fn hear(child: &mut Child) -> Result<Word> {
    let pipe = child.stdout.take().ok_or_else(|| Failure::failed("the daemon has no output"))?;
    let mut line = String::new();
    BufReader::new(pipe).take(MESSAGE_LEN_MAX as u64).read_line(&mut line).doing("hear the daemon")?;
    serde_json::from_str(&line).doing("understand the daemon")
}

/// The daemon's side: reads what it shall do.
pub(super) fn receive(mut pipe: impl Read) -> Result<(Launch, Secret)> {
    let launch = receive_part(&mut pipe)?;
    let launch = serde_json::from_slice(&launch).doing("understand what to mount")?;
    let secret = Secret::from_bytes(&receive_part(&mut pipe)?)?;
    Ok((launch, secret))
}

fn receive_part(pipe: &mut impl Read) -> Result<Zeroizing<Vec<u8>>> {
    let mut len = [0; 4];
    pipe.read_exact(&mut len).doing("read what to mount")?;
    let len = u32::from_le_bytes(len) as usize;
    if len > MESSAGE_LEN_MAX {
        return Err(Failure::failed("what to mount is told in too many bytes"));
    }
    let mut bytes = Zeroizing::new(vec![0; len]);
    pipe.read_exact(&mut bytes).doing("read what to mount")?;
    Ok(bytes)
}

/// The daemon's side: says its one word. False if nobody hears it.
pub(super) fn say(mut pipe: impl Write, word: std::result::Result<Ready, Failure>) -> bool {
    let word = match word {
        Ok(ready) => Word::Ready(ready),
        Err(failure) => Word::Failed(failure),
    };
    let Ok(mut line) = serde_json::to_vec(&word) else { return false };
    line.push(b'\n');
    pipe.write_all(&line).and_then(|()| pipe.flush()).is_ok()
}
