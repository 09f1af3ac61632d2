//! Secrets typed at the terminal: the echo is off before the prompt appears, and comes back however it ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use zeroize::{Zeroize, Zeroizing};

/// Whether signals have become events of a daemon.
static HANDED_OVER: AtomicBool = AtomicBool::new(false);

/// From now on, a signal that ends this process first puts the terminal back as it is at this moment.
pub(crate) fn restore_terminal_on_interrupt() {
    let Ok(settings) = tcgetattr(std::io::stdin()) else { return };
    let Ok(signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    let watch = move || watch(signals, &settings);
    // Without the thread signals would be swallowed: that must not pass silently.
    let spawned = std::thread::Builder::new().name("interrupt".to_owned()).spawn(watch);
    spawned.expect("a process that cannot start one thread cannot do anything else either");
}

/// From now on somebody else hears the signals, and ends the process in order.
pub(crate) fn hand_signals_over() {
    HANDED_OVER.store(true, Ordering::Release);
}

fn watch(mut signals: Signals, settings: &Termios) {
    for signal in signals.forever() {
        if HANDED_OVER.load(Ordering::Acquire) {
            return;
        }
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, settings);
        eprintln!();
        // Dying of the signal itself: the shell shows 130 and stops its loops.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}

/// The terminal of this process with its echo off, until dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn open() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // What was typed before the prompt was not meant for it.
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Asks for one line without echo; at most `len_max` bytes of it, with its end.
pub(crate) fn ask_silently(prompt: &str, len_max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut silent = Silent::open()?;
    silent.terminal.write_all(prompt.as_bytes())?;
    // Of full size at once: a vector that grows leaves unwiped copies behind.
    let mut line = Zeroizing::new(vec![0; len_max]);
    let mut filled = 0;
    // A terminal gives a line at a time; one that is longer than its own limit comes in pieces.
    while filled < len_max && !line[..filled].ends_with(b"\n") {
        match silent.terminal.read(&mut line[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    line[filled..].zeroize();
    line.truncate(filled);
    Ok(line)
}
