//! `auth`: this machine logs in to Telegram, once, with the user's own application.
//!
//! Nothing secret is an argument: the application's hash, the code and the password come from a file, the
//! environment or the terminal, and are wiped.

use std::fs::File;
use std::path::Path;

use keepfs_telegram::{Account, Application, Login, Step, TelegramError};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{Auth, Global};
use crate::exit::Exit;
use crate::failure::{Doing, Failure, Result};
use crate::home::Home;
use crate::password::{self, Password};
use crate::progress::print_json;
use crate::wiring;

/// How often a code or password may be typed before the command gives up: Telegram counts as well.
const TRIES_MAX: usize = 3;

#[derive(Serialize)]
struct Status {
    logged_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<ShownAccount>,
}

#[derive(Serialize)]
struct ShownAccount {
    id: i64,
    name: String,
    premium: bool,
}

/// Logs in or out, or tells who is logged in.
pub(crate) fn auth(global: &Global, wish: &Auth) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let settings = wiring::telegram_settings(&home.state_dir)?;
    if wish.logout {
        return log_out(&settings);
    }
    if wish.status {
        return status(&settings, wish.json);
    }
    refuse_second_login(&settings)?;
    let application = application(wish)?;
    let phone = wish.phone.as_deref().unwrap_or_default();
    let mut login = Login::begin(settings, &application, phone).map_err(|error| failure(&error))?;
    eprintln!("keepfs: Telegram sends a code {}", login.code_channel());
    let source = Source { file: wish.code_file.as_deref(), variable: "KEEPFS_TELEGRAM_CODE" };
    let mut step = present(&source, "Code: ", &TelegramError::WrongCode, &mut |code| {
        let code = std::str::from_utf8(code).map_err(|_| TelegramError::WrongCode)?;
        login.present_code(code)
    })?;
    if let Step::Password { hint } = &step {
        let hint = hint.as_deref().filter(|hint| !hint.is_empty());
        let hint = hint.map_or(String::new(), |hint| format!(" (hint: {})", printable(hint)));
        let source = Source { file: wish.two_step_file.as_deref(), variable: "KEEPFS_TELEGRAM_PASSWORD" };
        let prompt = format!("Password of two-step verification{hint}: ");
        step = present(&source, &prompt, &TelegramError::WrongPassword, &mut |password| {
            login.present_password(password)
        })?;
    }
    match step {
        Step::Done(account) => {
            tell(Some(account), wish.json);
            Ok(())
        }
        Step::Password { .. } => Err(Failure::failed("Telegram asks for the password again")),
    }
}

/// One login a machine: a second one would leave the first behind, open.
fn refuse_second_login(settings: &keepfs_telegram::Settings) -> Result<()> {
    match settings.machine.load_session() {
        Ok(Some(_)) => match keepfs_telegram::account(settings.clone()) {
            Ok(account) => {
                let name = printable(&account.name);
                Err(Failure::failed(format!("this machine is logged in to Telegram as {name}"))
                    .advise("run 'keepfs auth --logout' first"))
            }
            Err(error) if error.is_about_session() => Ok(()),
            Err(error) => Err(failure(&error)),
        },
        // One that cannot be opened is of no use to anybody.
        Ok(None) | Err(_) => Ok(()),
    }
}

fn application(wish: &Auth) -> Result<Application> {
    let advice = "make an application of your own at https://my.telegram.org ('API development tools'); \
                  it shows api_id and api_hash";
    let api_id = wish.api_id.ok_or_else(|| Failure::usage("--api-id is missing").advise(advice))?;
    let source = Source { file: wish.api_hash_file.as_deref(), variable: "KEEPFS_TELEGRAM_API_HASH" };
    let hash = source.read("api_hash of your application: ")?;
    let text = String::from_utf8(hash.to_vec()).map(Zeroizing::new);
    let api_hash = text.map_err(|_| Failure::usage("the api_hash is no text").advise(advice))?;
    Ok(Application { api_id, api_hash: Zeroizing::new(api_hash.trim().to_owned()) })
}

/// Where a secret comes from before the terminal is asked.
struct Source<'a> {
    file: Option<&'a Path>,
    variable: &'static str,
}

impl Source<'_> {
    /// The secret, if it is not for the terminal to give.
    fn told(&self) -> Result<Option<Password>> {
        if let Some(path) = self.file {
            let file =
                File::open(path).doing("open the file").map_err(|failure| failure.at(path.display()))?;
            return password::read_limited(file, &path.display().to_string()).map(Some);
        }
        match std::env::var_os(self.variable) {
            Some(value) => {
                let value = Zeroizing::new(value.into_encoded_bytes());
                password::read_limited(&**value, self.variable).map(Some)
            }
            None => Ok(None),
        }
    }

    fn read(&self, prompt: &str) -> Result<Password> {
        match self.told()? {
            Some(secret) => Ok(secret),
            None => password::ask(prompt),
        }
    }
}

/// Presents a secret; one that was typed may be typed again when it is `wrong`.
fn present(
    source: &Source<'_>,
    prompt: &str,
    wrong: &TelegramError,
    present: &mut dyn FnMut(&[u8]) -> Result<Step, TelegramError>,
) -> Result<Step> {
    if let Some(secret) = source.told()? {
        return present(&secret).map_err(|error| failure(&error));
    }
    for _ in 1..TRIES_MAX {
        match present(&password::ask(prompt)?) {
            Err(error) if error == *wrong => eprintln!("keepfs: {error}"),
            outcome => return outcome.map_err(|error| failure(&error)),
        }
    }
    present(&password::ask(prompt)?).map_err(|error| failure(&error))
}

fn log_out(settings: &keepfs_telegram::Settings) -> Result<()> {
    match keepfs_telegram::log_out(settings) {
        Ok(()) => {
            println!("This machine is logged out of Telegram.");
            Ok(())
        }
        Err(TelegramError::NotLoggedIn) => Err(failure(&TelegramError::NotLoggedIn)),
        Err(error) => {
            let what = format!("the session is forgotten here, but Telegram could not be told: {error}");
            let advice = "end it in a Telegram app, under Settings > Devices";
            Err(Failure::new(Exit::Partial, what).advise(advice))
        }
    }
}

fn status(settings: &keepfs_telegram::Settings, json: bool) -> Result<()> {
    match keepfs_telegram::account(settings.clone()) {
        Ok(account) => {
            tell(Some(account), json);
            Ok(())
        }
        Err(TelegramError::NotLoggedIn) => {
            tell(None, json);
            Ok(())
        }
        Err(error) => Err(failure(&error)),
    }
}

fn tell(account: Option<Account>, json: bool) {
    if json {
        let account = account.map(|Account { id, name, premium, .. }| ShownAccount { id, name, premium });
        print_json(&Status { logged_in: account.is_some(), account });
        return;
    }
    match account {
        Some(account) => {
            println!(
                "This machine is logged in to Telegram as {} ({}).",
                printable(&account.name),
                account.id
            );
            println!(
                "keepfs is an unofficial client of the Telegram API. Its owner can end accounts at any time:"
            );
            println!("keep a second copy of what you cannot lose.");
        }
        None => println!("This machine is not logged in to Telegram."),
    }
}

/// Names come from the server: nothing of them may steer the terminal.
fn printable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).collect()
}

fn failure(error: &TelegramError) -> Failure {
    wiring::telegram_failure(error)
}
