//! Exit codes: the one table. `docs/cli.md` promises these numbers; they never change their meaning.

use serde::{Deserialize, Serialize};

/// How the process ends. The numbers are those of restic, which scripts already know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Exit {
    /// Everything that was asked for was done.
    Ok,
    /// It failed; the sentence says why.
    Failed,
    /// The command was called in a way it does not understand, or lacks something it needs to be told.
    Usage,
    /// Done in part: something is left, and the sentence says what.
    Partial,
    /// There is no vault where one was expected.
    NoVault,
    /// Somebody else holds it: another daemon, or a mount point in use.
    Locked,
    /// The password or recovery phrase does not open this vault.
    WrongPassword,
    /// Stopped by a signal before it was done.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::NoVault => 10,
            Self::Locked => 11,
            Self::WrongPassword => 12,
            Self::Interrupted => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_the_document_promises() {
        let document = include_str!("../../../docs/cli.md");
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Partial,
            Exit::NoVault,
            Exit::Locked,
            Exit::WrongPassword,
            Exit::Interrupted,
        ] {
            let name = serde_json::to_string(&exit).unwrap();
            let row = format!("| {} | `{}` |", exit.code(), name.trim_matches('"'));
            assert!(document.contains(&row), "docs/cli.md lacks the row {row}");
        }
    }
}
