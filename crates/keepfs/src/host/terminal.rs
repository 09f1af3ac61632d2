//! A prompt switches the terminal's echo off; whoever interrupts it gets the echo back.

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// From now on, a signal that ends this process first puts the terminal back as it is at this moment.
///
/// Only for commands that end by a signal; the daemon has its own way of ending.
pub(crate) fn restore_terminal_on_interrupt() {
    let Ok(settings) = tcgetattr(std::io::stdin()) else { return };
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    // Without the thread a signal would be swallowed, so its failure must not pass silently; it is as fatal
    // here as running out of threads is anywhere.
    let spawned = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &settings);
            eprintln!();
            // Dying of the signal itself: the shell shows 130 and stops its loops.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
    spawned.expect("a process that cannot start one thread cannot do anything else either");
}
