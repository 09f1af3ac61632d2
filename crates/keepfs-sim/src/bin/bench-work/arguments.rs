//! The command line of the worker: a row, a folder, and sizes as `name=value`. It does no work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::failure::{Failure, Outcome};

/// What one run of the worker is asked to do.
pub(crate) struct Arguments {
    pub(crate) row: String,
    pub(crate) folder: PathBuf,
    values: BTreeMap<String, String>,
}

impl Arguments {
    /// Takes apart what stands behind the program's name.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut words = words;
        let (Some(row), Some(folder)) = (words.next(), words.next()) else {
            return Err(Failure::Usage("a row and a folder are needed".to_owned()));
        };
        let mut values = BTreeMap::new();
        for word in words {
            let Some((name, value)) = word.split_once('=') else {
                return Err(Failure::Usage(format!("{word} is not name=value")));
            };
            values.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self { row, folder: PathBuf::from(folder), values })
    }

    /// A number, or what it is where none was given.
    pub(crate) fn number(&self, name: &str, default: u64) -> Outcome<u64> {
        match self.values.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Failure::Usage(format!("{name}={text} is no number"))),
        }
    }

    /// A text, or what it is where none was given.
    pub(crate) fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.values.get(name).map_or(default, String::as_str)
    }

    /// A path that the row cannot do without.
    pub(crate) fn path(&self, name: &str) -> Outcome<PathBuf> {
        let text = self.values.get(name);
        text.map(PathBuf::from).ok_or_else(|| Failure::Usage(format!("{name}=PATH is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<Arguments> {
        Arguments::parse(text.split(' ').map(str::to_owned))
    }

    #[test]
    fn sizes_are_given_or_have_a_default() {
        let arguments = parse("write /mnt bytes=42").unwrap();
        assert_eq!(arguments.number("bytes", 1).unwrap(), 42);
        assert_eq!(arguments.number("calls", 7).unwrap(), 7);
        assert!(arguments.path("from").is_err());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(parse("write").is_err());
        assert!(parse("write /mnt bytes").is_err());
        assert!(parse("write /mnt bytes=many").unwrap().number("bytes", 1).is_err());
    }
}
