//! The recovery phrase between the vault and a person: shown once, confirmed, typed in. Never kept.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keepfs_format::env::Env;
use keepfs_format::phrase::{PHRASE_WORDS, RecoveryPhrase};

use crate::environment::OperatingSystem;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::password;

/// How many words a person types back.
const WORDS_CONFIRMED: usize = 2;

/// How many slips of the pen are forgiven.
const ATTEMPTS_MAX: usize = 5;

/// Words on one line when a phrase is printed.
const WORDS_PER_LINE: usize = 6;

/// Where a new phrase will go, made sure before the vault has it: a phrase that cannot be shown is lost.
pub(crate) struct Outlet {
    file: Option<(File, PathBuf)>,
    confirm: bool,
}

impl Outlet {
    /// A new file if one is named, otherwise standard output.
    pub(crate) fn open(file: Option<&Path>, yes: bool) -> Result<Self> {
        let Some(path) = file else {
            return Ok(Self { file: None, confirm: !yes });
        };
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
                Failure::failed(format!("cannot make the file for the recovery phrase: {error}"))
                    .at(path.display())
                    .advise("nothing is overwritten; name a file that does not exist")
            })?;
        Ok(Self { file: Some((file, path.to_owned())), confirm: false })
    }

    /// Takes the empty file away again, when there will be no phrase.
    pub(crate) fn discard(self) {
        if let Some((_, path)) = self.file {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Shows the phrase once, and at a terminal asks for some of its words.
    pub(crate) fn show(self, phrase: &RecoveryPhrase) -> Result<()> {
        let words = phrase.words();
        if let Some((mut file, path)) = self.file {
            let written = file.write_all(words.as_bytes()).and_then(|()| file.write_all(b"\n"));
            written.and_then(|()| file.sync_all()).map_err(|error| {
                Failure::failed(format!("cannot write the recovery phrase: {error}"))
                    .at(path.display())
                    .advise("the vault is there; make a new phrase with 'keepfs key phrase'")
            })?;
            println!("The recovery phrase is in {}; move it to a safe place.", path.display());
            return Ok(());
        }
        println!(
            "Recovery phrase (whoever has it can read everything; without it and the password nobody can):\n"
        );
        let list: Vec<&str> = words.split_whitespace().collect();
        for line in list.chunks(WORDS_PER_LINE) {
            println!("    {}", line.join(" "));
        }
        println!("\nWrite it down now: it is not shown again.");
        if self.confirm && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            return confirm(&list);
        }
        Ok(())
    }
}

fn confirm(words: &[&str]) -> Result<()> {
    let positions = draw_positions();
    for _ in 0..ATTEMPTS_MAX {
        if positions.iter().all(|position| is_typed(words, *position)) {
            println!("Good.");
            return Ok(());
        }
        println!("That is not what stands above; look again.");
    }
    Err(Failure::new(Exit::Partial, "the recovery phrase was not confirmed")
        .advise("the vault is there and works; make a new phrase with 'keepfs key phrase'"))
}

fn is_typed(words: &[&str], position: usize) -> bool {
    print!("Word {}: ", position + 1);
    let _ = std::io::stdout().flush();
    let mut typed = String::new();
    let read = std::io::stdin().read_line(&mut typed);
    read.is_ok() && words.get(position).is_some_and(|word| typed.trim().eq_ignore_ascii_case(word))
}

/// Different positions, in order, not known beforehand.
fn draw_positions() -> [usize; WORDS_CONFIRMED] {
    let mut random = [0; WORDS_CONFIRMED];
    OperatingSystem.fill(&mut random);
    let first = usize::from(random[0]) % (PHRASE_WORDS - 1);
    let second = first + 1 + usize::from(random[1]) % (PHRASE_WORDS - 1 - first);
    [first, second]
}

/// Reads the phrase of an existing vault from a file or the terminal.
pub(crate) fn existing(file: Option<&Path>) -> Result<RecoveryPhrase> {
    let bytes = match file {
        Some(path) => password::from_file(path)?,
        None => password::ask("Recovery phrase (24 words): ")?,
    };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::new(Exit::WrongPassword, "the recovery phrase is not text"))?;
    RecoveryPhrase::parse(text).map_err(|error| {
        Failure::new(Exit::WrongPassword, format!("this is not a recovery phrase: {error}"))
            .advise("24 words, separated by blanks")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_two_different_words_of_the_phrase() {
        for _ in 0..1000 {
            let [first, second] = draw_positions();
            assert!(first < second && second < PHRASE_WORDS);
        }
    }

    #[test]
    fn phrase_file_is_new_and_private_and_reads_back() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("phrase");
        let phrase = RecoveryPhrase::draw(&OperatingSystem);
        Outlet::open(Some(&path), false).unwrap().show(&phrase).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(*existing(Some(&path)).unwrap().words(), *phrase.words());
        assert!(Outlet::open(Some(&path), false).is_err());
    }

    #[test]
    fn what_is_no_phrase_is_refused_with_the_code_of_a_wrong_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("phrase");
        for text in ["one two three", "\u{fffd}", "zoo ".repeat(24).trim()] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(existing(Some(&path)).map(|_| ()).unwrap_err().exit, Exit::WrongPassword, "{text}");
        }
    }
}
