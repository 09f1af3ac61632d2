//! Where a password comes from: file, command, environment, prompt. Never from an argument.
//!
//! Whatever the source, the bytes live in memory that is wiped, and one line end after them is dropped.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::{Zeroize, Zeroizing};

use crate::args::PasswordFrom;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::host::ask_silently;

/// Longest password; a file beyond this is not a password file.
const PASSWORD_LEN_MAX: usize = 4096;

/// A password or phrase: wiped when dropped.
pub(crate) type Password = Zeroizing<Vec<u8>>;

/// Where to look, in this order: flags, environment, what the configuration says, the terminal.
pub(crate) struct Sources<'a> {
    /// The flags of the command.
    pub(crate) flags: &'a PasswordFrom,
    /// What mount options or config.toml say: a file.
    pub(crate) configured_file: Option<&'a Path>,
    /// What mount options or config.toml say: a command.
    pub(crate) configured_command: Option<&'a str>,
}

/// Reads the password of an existing vault.
///
/// # Errors
/// `Usage` when no source is there and nobody sits at the terminal.
pub(crate) fn existing(sources: &Sources<'_>, prompt: &str) -> Result<Password> {
    match without_terminal(sources, &|name| std::env::var_os(name))? {
        Some(password) => Ok(password),
        None => ask(prompt),
    }
}

/// Reads the password of a new vault: at the terminal twice.
pub(crate) fn new(sources: &Sources<'_>) -> Result<Password> {
    match without_terminal(sources, &|name| std::env::var_os(name))? {
        Some(password) => Ok(password),
        None => ask_twice("New password: "),
    }
}

/// Asks at the terminal twice and wants the same answer.
pub(crate) fn ask_twice(prompt: &str) -> Result<Password> {
    let first = ask(prompt)?;
    let second = ask("The same again: ")?;
    if *first != *second {
        return Err(Failure::usage("the two passwords differ").advise("try again"));
    }
    Ok(first)
}

fn without_terminal(
    sources: &Sources<'_>,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<Password>> {
    if let Some(path) = &sources.flags.password_file {
        return from_file(path).map(Some);
    }
    if let Some(command) = &sources.flags.password_command {
        return from_command(command).map(Some);
    }
    if let Some(value) = variable("KEEPFS_PASSWORD") {
        let bytes = Password::new(value.into_encoded_bytes());
        return checked(bytes, "KEEPFS_PASSWORD").map(Some);
    }
    if let Some(path) = variable("KEEPFS_PASSWORD_FILE") {
        return from_file(Path::new(&path)).map(Some);
    }
    if let Some(command) = variable("KEEPFS_PASSWORD_COMMAND") {
        let command = command
            .into_string()
            .map_err(|_| Failure::usage("KEEPFS_PASSWORD_COMMAND is not valid UTF-8"))?;
        return from_command(&command).map(Some);
    }
    match (sources.configured_file, sources.configured_command) {
        (Some(path), _) => from_file(path).map(Some),
        (None, Some(command)) => from_command(command).map(Some),
        (None, None) => Ok(None),
    }
}

/// Reads a password from a file.
pub(crate) fn from_file(path: &Path) -> Result<Password> {
    let file = File::open(path).map_err(|error| {
        Failure::failed(format!("cannot open the password file: {error}")).at(path.display())
    })?;
    read_limited(file, &path.display().to_string())
}

fn from_command(command: &str) -> Result<Password> {
    let failed = |detail: String| Failure::failed(format!("the password command {detail}")).at(command);
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("did not start: {error}")))?;
    let output = child.stdout.take().ok_or_else(|| failed("has no output".to_owned()))?;
    let password = read_limited(output, command);
    let status = child.wait().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(failed(format!("failed with {status}")));
    }
    password
}

/// Reads a secret from whatever is open, to its end.
pub(crate) fn read_limited(mut from: impl Read, place: &str) -> Result<Password> {
    // Reserved at once: a vector that grows leaves unwiped copies behind.
    let mut bytes = Password::new(vec![0; PASSWORD_LEN_MAX + 2]);
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::failed(format!("cannot read the password: {error}")).at(place)),
        }
    }
    bytes[filled..].zeroize();
    bytes.truncate(filled);
    checked(bytes, place)
}

/// Drops one line end and refuses what cannot be meant.
fn checked(mut bytes: Password, place: &str) -> Result<Password> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(Failure::usage("the password is empty").at(place));
    }
    if bytes.len() > PASSWORD_LEN_MAX {
        return Err(Failure::usage("the password is longer than 4096 bytes").at(place));
    }
    Ok(bytes)
}

/// Asks at the terminal, without echo.
pub(crate) fn ask(prompt: &str) -> Result<Password> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "a password is needed and there is no terminal to ask at")
            .advise(
                "use --password-file, KEEPFS_PASSWORD, KEEPFS_PASSWORD_FILE or KEEPFS_PASSWORD_COMMAND",
            ));
    }
    let typed = ask_silently(prompt, PASSWORD_LEN_MAX + 2)
        .map_err(|error| Failure::failed(format!("cannot read from the terminal: {error}")))?;
    checked(typed, "terminal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn look(
        flags: &PasswordFrom,
        variables: &[(&str, &str)],
        file: Option<&Path>,
    ) -> Result<Option<Password>> {
        let sources = Sources { flags, configured_file: file, configured_command: None };
        without_terminal(&sources, &|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, content).unwrap();
        (directory, path)
    }

    #[test]
    fn flags_win_over_environment_over_configuration() {
        let (_directory, path) = file(b"from file\n");
        let (_other, configured) = file(b"configured\r\n");
        let flags = PasswordFrom { password_file: Some(path), password_command: None };
        let variables = [("KEEPFS_PASSWORD", "from variable")];
        assert_eq!(**look(&flags, &variables, Some(&configured)).unwrap().unwrap(), *b"from file");
        let none = PasswordFrom::default();
        assert_eq!(**look(&none, &variables, Some(&configured)).unwrap().unwrap(), *b"from variable");
        assert_eq!(**look(&none, &[], Some(&configured)).unwrap().unwrap(), *b"configured");
        assert!(look(&none, &[], None).unwrap().is_none());
    }

    #[test]
    fn command_prints_the_password() {
        let none = PasswordFrom::default();
        let variables = [("KEEPFS_PASSWORD_COMMAND", "printf 'a b\\n'")];
        assert_eq!(**look(&none, &variables, None).unwrap().unwrap(), *b"a b");
        assert!(look(&none, &[("KEEPFS_PASSWORD_COMMAND", "echo x; exit 3")], None).is_err());
    }

    #[test]
    fn one_line_end_is_dropped_and_no_more() {
        for (content, password) in
            [(&b"a\n\n"[..], &b"a\n"[..]), (b" a ", b" a "), (b"a\r\n", b"a"), (b"\xff\0", b"\xff\0")]
        {
            let (_directory, path) = file(content);
            assert_eq!(&**from_file(&path).unwrap(), password);
        }
    }

    #[test]
    fn empty_and_endless_passwords_are_refused() {
        for content in [&b""[..], b"\n", b"\r\n", &[b'x'; PASSWORD_LEN_MAX + 1]] {
            let (_directory, path) = file(content);
            assert_eq!(from_file(&path).unwrap_err().exit, Exit::Usage);
        }
        assert!(from_file(Path::new("/dev/zero")).is_err());
    }
}
