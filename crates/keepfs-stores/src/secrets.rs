//! What a store must be told and nobody else may see: passwords, keys, tokens.
//!
//! Secrets come from the service's usual environment variables and files, or from whoever opens the store. They
//! never stand in a URL, are never printed, and are wiped when they go out of scope.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Longest secret, in bytes: a service account's JSON has about 2,400.
pub const SECRET_LEN_MAX: usize = 64 << 10;

/// One secret that a kind of store can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecretField {
    /// Its name in the file that keeps it.
    pub name: &'static str,
    /// What to ask a person for.
    pub prompt: &'static str,
    /// Whether the store can do without it.
    pub optional: bool,
    /// Whether it may be shown while it is typed: a user name, the id of a key.
    pub public: bool,
}

/// The secrets given for one store, by the names of its [`SecretField`]s.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Zeroizing<String>>);

impl Secrets {
    /// None: the store looks for its own.
    pub fn none() -> Self {
        Secrets::default()
    }

    /// Adds one.
    pub fn insert(&mut self, name: &str, value: Zeroizing<String>) {
        self.0.insert(name.to_owned(), value);
    }

    /// The secret of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// The secret of that name, else what the first of these environment variables that is set says.
    pub(crate) fn get_or_env(&self, name: &str, variables: &[&str]) -> Option<Zeroizing<String>> {
        if let Some(value) = self.0.get(name) {
            return Some(value.clone());
        }
        let set = |variable: &&str| std::env::var(variable).ok().filter(|value| !value.is_empty());
        variables.iter().find_map(set).map(Zeroizing::new)
    }

    /// Every name and secret, for whoever keeps them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
