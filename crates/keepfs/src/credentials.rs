//! `credentials.toml`: what stores must be told, beside config.toml, which holds no secret. 0600, in the clear.
//!
//! It is needed before any vault is unlocked, so no key of a vault can seal it; THREATS.md says what that means.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use keepfs_stores::Secrets;
use toml_edit::{DocumentMut, Item, Table, value};
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};
use crate::private_file::{lock_directory_of, read_limited, replace_private_file};

/// The secrets kept for the store at a URL; none if there are none.
///
/// # Errors
/// `Failed` if others may read the file, or if it is not understood.
pub(crate) fn load(file: &Path, url: &str) -> Result<Secrets> {
    let mut secrets = Secrets::none();
    let document = read(file)?;
    let kept =
        document.get("stores").and_then(|stores| stores.get(place_of(url))).and_then(Item::as_table_like);
    for (name, item) in kept.into_iter().flat_map(|table| table.iter()) {
        if let Some(secret) = item.as_str() {
            secrets.insert(name, Zeroizing::new(secret.to_owned()));
        }
    }
    Ok(secrets)
}

/// Keeps secrets for the store at a URL, in place of those that were kept; none removes them.
pub(crate) fn save(file: &Path, url: &str, secrets: &Secrets) -> Result<()> {
    let _lock = lock_directory_of(file)?;
    let mut document = read(file)?;
    let stores = document.entry("stores").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let mut table = Table::new();
    for (name, secret) in secrets.iter() {
        table.insert(name, value(secret));
    }
    if let Some(stores) = stores.as_table_like_mut() {
        match secrets.is_empty() {
            true => drop(stores.remove(place_of(url))),
            false => drop(stores.insert(place_of(url), Item::Table(table))),
        }
    }
    replace_private_file(file, Zeroizing::new(document.to_string()).as_bytes())
}

/// A store is the same with any options.
fn place_of(url: &str) -> &str {
    url.split_once('?').map_or(url, |(place, _)| place).trim_end_matches('/')
}

fn read(file: &Path) -> Result<DocumentMut> {
    match std::fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(DocumentMut::new()),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            return Err(Failure::failed("the credentials can be read by others").at(file.display()).advise(
                format!("run 'chmod 600 {}', and change them where they come from", file.display()),
            ));
        }
        _ => {}
    }
    let text = Zeroizing::new(read_limited(file)?);
    text.parse().map_err(|_| Failure::failed("credentials.toml is not understood").at(file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_by_place_and_only_for_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials.toml");
        let mut secrets = Secrets::none();
        secrets.insert("password", Zeroizing::new("a \"b\" \\ c".to_owned()));
        save(&file, "webdav://host/a?create=look", &secrets).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for url in ["webdav://host/a", "webdav://host/a/", "webdav://host/a?x=y"] {
            assert_eq!(load(&file, url).unwrap().get("password"), Some("a \"b\" \\ c"), "{url}");
        }
        assert!(load(&file, "webdav://host/b").unwrap().is_empty());
        save(&file, "webdav://host/a", &Secrets::none()).unwrap();
        assert!(load(&file, "webdav://host/a").unwrap().is_empty());
    }

    #[test]
    fn credentials_that_others_can_read_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials.toml");
        save(&file, "s3://b", &Secrets::none()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let failure = load(&file, "s3://b").map(drop).unwrap_err();
        assert!(failure.to_string().contains("chmod 600"), "{failure}");
    }
}
