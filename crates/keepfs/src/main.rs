//! The `keepfs` command: arguments, configuration, wiring, exit codes. How files behave is keepfs-fs's business.
//!
//! Called as `mount.keepfs` it is the helper of mount(8).
#![forbid(unsafe_code)]

mod args;
mod commands;
mod config;
mod control;
mod credentials;
mod daemon;
mod environment;
mod exit;
mod failure;
mod home;
mod host;
mod leftover;
mod mount_helper;
mod password;
mod phrase;
mod private_file;
mod progress;
mod size;
mod wiring;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;
use crate::failure::Failure;

fn main() -> ExitCode {
    daemon::log_panics();
    let words: Vec<OsString> = std::env::args_os().collect();
    // The hook has told what happened; here it only becomes the exit code of a failure.
    let exit = std::panic::catch_unwind(|| run(&words)).unwrap_or(Exit::Failed);
    ExitCode::from(exit.code())
}

fn run(words: &[OsString]) -> Exit {
    let called_as = words.first().and_then(|word| Path::new(word).file_name()).unwrap_or_default();
    if called_as == "mount.keepfs" {
        return conclude(mount_helper::run(&words[1..]), false);
    }
    if let [_, word] = words
        && word == daemon::WORD
    {
        return daemon::background();
    }
    match args::Arguments::try_parse_from(words) {
        Ok(arguments) => {
            let json = arguments.command.wants_json();
            conclude(commands::run(arguments), json)
        }
        Err(error) => {
            // Help and version are answers, not errors; clap knows which is which.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            exit
        }
    }
}

/// Tells the failure: one line for people; for programs the last line of standard output as well.
fn conclude(result: Result<(), Failure>, json: bool) -> Exit {
    let Err(failure) = result else { return Exit::Ok };
    if json {
        progress::print_json(&control::Reply::Failed(failure.clone()));
    }
    let _ = std::io::stderr().write_all(format!("keepfs: {failure}\n").as_bytes());
    failure.exit
}
