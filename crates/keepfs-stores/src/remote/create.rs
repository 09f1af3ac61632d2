//! How a store in the network creates an object only if there is none of the name: by its kind, and as it was found
//! when it was tried out.

use super::RemoteUrl;

/// The option of a URL that says it.
pub(crate) const CREATE_OPTION: &str = "create";

/// What a server does when two create one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Create {
    /// It refuses one of them, whatever they do.
    Atomic,
    /// It refuses one that comes after the other. Two at the same moment may both pass.
    Checked,
    /// It knows no condition: this side looks, then puts.
    Looking,
}

impl Create {
    /// What the URL says, else what is usual. The error is a phrase for people.
    pub(crate) fn of(url: &RemoteUrl, usual: Create) -> Result<Self, String> {
        match url.option(CREATE_OPTION) {
            None => Ok(usual),
            Some("checked") => Ok(if usual == Create::Looking { usual } else { Create::Checked }),
            Some("look") => Ok(Create::Looking),
            Some(other) => Err(format!(
                "{CREATE_OPTION}={other} is unknown ({CREATE_OPTION}=checked and {CREATE_OPTION}=look are)"
            )),
        }
    }
}
