//! `store login` and `store logout`: what a store must be told, asked for once and kept for its owner only.

use std::io::{BufRead, IsTerminal};

use keepfs_stores::{SECRET_LEN_MAX, SecretField, Secrets};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::credentials;
use crate::failure::{Doing, Failure, Result};
use crate::home::Home;
use crate::host::ask_silently;
use crate::wiring::{normalize_url, schemes};

/// Asks for the secrets of a store, at the terminal one by one, else `name=value` lines on standard input.
pub(crate) fn login(global: &Global, url: &str) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let schemes = schemes();
    let url = schemes.normalize(url).map_err(|error| Failure::usage(error.to_string()))?;
    let fields = schemes.scheme(&url).map_err(|error| Failure::usage(error.to_string()))?.secrets;
    if fields.is_empty() {
        return Err(Failure::usage("this kind of store is not told any secret")
            .at(url)
            .advise("for sftp, ssh's own keys and agent are used"));
    }
    let secrets = match std::io::stdin().is_terminal() {
        true => ask(fields)?,
        false => read(fields, std::io::stdin().lock())?,
    };
    if let Some(missing) = fields.iter().find(|field| !field.optional && secrets.get(field.name).is_none()) {
        return Err(Failure::usage(format!("{} is missing", missing.name)).at(url));
    }
    if secrets.is_empty() {
        return Err(Failure::usage("nothing was given").at(url));
    }
    credentials::save(&home.credentials_file(), &url, &secrets)?;
    println!("Kept for this user only, in {}.", home.credentials_file().display());
    println!("Try it with: keepfs store check {url}");
    Ok(())
}

/// Forgets them.
pub(crate) fn logout(global: &Global, url: &str) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let url = normalize_url(url).map_err(|error| Failure::usage(error.to_string()))?;
    credentials::save(&home.credentials_file(), &url, &Secrets::none())
}

fn ask(fields: &[SecretField]) -> Result<Secrets> {
    let mut secrets = Secrets::none();
    for field in fields {
        let optional = if field.optional { " (empty: none)" } else { "" };
        let prompt = format!("{}{optional}: ", field.prompt);
        let answer = match field.public {
            true => {
                eprint!("{prompt}");
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).doing("read the answer")?;
                Zeroizing::new(line.into_bytes())
            }
            false => ask_silently(&prompt, SECRET_LEN_MAX).doing("ask at the terminal")?,
        };
        let answer = std::str::from_utf8(&answer).doing("understand the answer")?.trim();
        if !answer.is_empty() {
            secrets.insert(field.name, Zeroizing::new(answer.to_owned()));
        }
    }
    Ok(secrets)
}

fn read(fields: &[SecretField], input: impl BufRead) -> Result<Secrets> {
    let names = || fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
    let mut secrets = Secrets::none();
    for line in std::io::Read::take(input, SECRET_LEN_MAX as u64 * 4).lines() {
        let line = Zeroizing::new(line.doing("read the secrets")?);
        if line.trim().is_empty() {
            continue;
        }
        let (name, secret) = line.split_once('=').ok_or_else(|| {
            Failure::usage("a line on standard input is not name=value")
                .advise(format!("the names are {}", names()))
        })?;
        if !fields.iter().any(|field| field.name == name.trim()) || secret.len() > SECRET_LEN_MAX {
            return Err(Failure::usage(format!("'{}' is no secret of this store", name.trim()))
                .advise(format!("the names are {}", names())));
        }
        secrets.insert(name.trim(), Zeroizing::new(secret.trim().to_owned()));
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[SecretField] =
        &[SecretField { name: "token", prompt: "Token", optional: false, public: false }];

    #[test]
    fn lines_are_read_and_unknown_names_refused() {
        let secrets = read(FIELDS, &b"\ntoken = a=b \n"[..]).unwrap();
        assert_eq!(secrets.get("token"), Some("a=b"));
        assert!(read(FIELDS, &b"tokn=x"[..]).is_err());
        assert!(read(FIELDS, &b"just a secret"[..]).is_err());
    }
}
