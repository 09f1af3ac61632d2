//! Logging in and out: the code that Telegram sends, and the password of two-step verification.
//!
//! Nothing here is tried again by itself: Telegram counts attempts, and answers too many of them with waits of
//! hours. The session is kept only when the login is complete.

use grammers_crypto::two_factor_auth::{calculate_2fa, check_p_and_g};
use grammers_tl_types as tl;
use tl::enums;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::error::{Result, TelegramError};
use crate::flow::Kind;
use crate::pool::Pool;
use crate::session::{Centre, Session};
use crate::settings::Settings;
use crate::store::runtime;

/// Longest number that the password's arithmetic takes, in bytes.
const NUMBER_LEN_MAX: usize = 256;
/// Data centres that a phone number is sent on to before it is called a circle.
const MOVES_MAX: usize = 3;

/// The user's own application, from my.telegram.org.
pub struct Application {
    /// Its number.
    pub api_id: i32,
    /// Its secret. Used for the login and not kept.
    pub api_hash: Zeroizing<String>,
}

/// An account that is logged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// What its owner is called.
    pub name: String,
    /// Whether it pays; such accounts are slowed down less.
    pub premium: bool,
}

/// What a login wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It is complete and the session is kept.
    Done(Account),
    /// The password of two-step verification.
    Password {
        /// What its owner wrote down as a reminder.
        hint: Option<String>,
    },
}

/// A login that waits for its code or password.
pub struct Login {
    runtime: Runtime,
    pool: Pool,
    phone: String,
    code_hash: String,
    channel: &'static str,
}

impl Login {
    /// Has a code sent to the owner of this phone number.
    pub fn begin(settings: Settings, application: &Application, phone: &str) -> Result<Self> {
        let runtime = runtime()?;
        let pool = Pool::new(settings, Session::fresh(application.api_id));
        let phone: String = phone.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
        let (code_hash, channel) = runtime.block_on(send_code(&pool, application, &phone))?;
        Ok(Login { runtime, pool, phone, code_hash, channel })
    }

    /// How the code travels, in words.
    #[must_use]
    pub fn code_channel(&self) -> &'static str {
        self.channel
    }

    /// Presents the code.
    ///
    /// # Errors
    /// `WrongCode` may be followed by another try, `CodeExpired` not.
    pub fn present_code(&mut self, code: &str) -> Result<Step> {
        let request = tl::functions::auth::SignIn {
            phone_number: self.phone.clone(),
            phone_code_hash: self.code_hash.clone(),
            phone_code: Some(code.trim().to_owned()),
            email_verification: None,
        };
        self.runtime.block_on(async {
            match self.pool.ask_once(Kind::Message, request).await {
                Ok(answer) => self.complete(answer).await,
                Err(error) if error.is_refusal("SESSION_PASSWORD_NEEDED") => {
                    let hint = password_question(&self.pool).await?.hint;
                    Ok(Step::Password { hint })
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Presents the password of two-step verification.
    ///
    /// # Errors
    /// `WrongPassword` may be followed by another try.
    pub fn present_password(&mut self, password: &[u8]) -> Result<Step> {
        self.runtime.block_on(async {
            let question = password_question(&self.pool).await?;
            let answer = self.answer(question, password)?;
            let request = tl::functions::auth::CheckPassword { password: answer };
            let answer = self.pool.ask_once(Kind::Message, request).await?;
            self.complete(answer).await
        })
    }

    /// The proof that the password is known (core.telegram.org/api/srp). Our exponent is our own randomness: with
    /// the server's, as the protocol library would take it, the server could try passwords afterwards.
    fn answer(
        &self,
        question: tl::types::account::Password,
        password: &[u8],
    ) -> Result<enums::InputCheckPasswordSrp> {
        use enums::PasswordKdfAlgo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow as Known;
        let odd = || TelegramError::broken("the server asks for the password in a way that is not known");
        let Some(Known(numbers)) = question.current_algo else { return Err(odd()) };
        let (Some(srp_b), Some(srp_id)) = (question.srp_b, question.srp_id) else { return Err(odd()) };
        let fits = (2..=7).contains(&numbers.g)
            && numbers.p.len() == NUMBER_LEN_MAX
            && srp_b.len() <= NUMBER_LEN_MAX
            && srp_b.iter().any(|byte| *byte != 0)
            && check_p_and_g(&numbers.p, &numbers.g);
        if !fits {
            return Err(TelegramError::broken("the server's numbers for the password are not safe"));
        }
        let mut exponent = Zeroizing::new(vec![0; NUMBER_LEN_MAX]);
        self.pool.settings.machine.fill_random(&mut exponent);
        let (m1, a) = calculate_2fa(
            &numbers.salt1,
            &numbers.salt2,
            &numbers.p,
            &numbers.g,
            srp_b,
            exponent.to_vec(),
            password,
        );
        let answer = tl::types::InputCheckPasswordSrp { srp_id, a: a.to_vec(), m1: m1.to_vec() };
        Ok(answer.into())
    }

    /// Keeps the session.
    async fn complete(&self, answer: enums::auth::Authorization) -> Result<Step> {
        let enums::auth::Authorization::Authorization(answer) = answer else {
            let reason = "no account; make one with an official Telegram app".to_owned();
            return Err(TelegramError::PhoneRefused { reason });
        };
        let account = account_of(&answer.user)?;
        self.pool.change_session(|session| session.user = account.id);
        self.pool.settings.save(&self.pool.session())?;
        Ok(Step::Done(account))
    }
}

/// Asks for a code, at the data centre that the account is at.
async fn send_code(pool: &Pool, application: &Application, phone: &str) -> Result<(String, &'static str)> {
    for _ in 0..MOVES_MAX {
        pool.ensure_key(pool.home()).await?;
        let settings = tl::types::CodeSettings {
            allow_flashcall: false,
            current_number: false,
            allow_app_hash: false,
            allow_missed_call: false,
            allow_firebase: false,
            unknown_number: false,
            logout_tokens: None,
            token: None,
            app_sandbox: None,
        };
        let request = tl::functions::auth::SendCode {
            phone_number: phone.to_owned(),
            api_id: application.api_id,
            api_hash: application.api_hash.as_str().to_owned(),
            settings: settings.into(),
        };
        match pool.ask_once(Kind::Message, request).await {
            Ok(enums::auth::SentCode::Code(sent)) => {
                return Ok((sent.phone_code_hash, channel_of(&sent.r#type)));
            }
            Ok(_) => return Err(TelegramError::broken("the server sent no code")),
            Err(error) if error.is_refusal("PHONE_MIGRATE") || error.is_refusal("NETWORK_MIGRATE") => {
                let home = error.refusal_number().ok_or(error)?;
                pool.change_session(|session| {
                    // The key of the first data centre belongs to nobody.
                    session.keys.clear();
                    session.home = Centre(home);
                });
            }
            Err(error) => return Err(error),
        }
    }
    Err(TelegramError::broken("the phone number is sent from one data centre to another and back"))
}

fn channel_of(sent: &enums::auth::SentCodeType) -> &'static str {
    use enums::auth::SentCodeType;
    match sent {
        SentCodeType::App(_) => "as a message in Telegram, on a device that is logged in",
        SentCodeType::EmailCode(_) => "by e-mail",
        SentCodeType::Call(_) | SentCodeType::FlashCall(_) | SentCodeType::MissedCall(_) => "by a phone call",
        _ => "by SMS",
    }
}

async fn password_question(pool: &Pool) -> Result<tl::types::account::Password> {
    let enums::account::Password::Password(question) =
        pool.ask(Kind::Look, tl::functions::account::GetPassword {}).await?;
    Ok(question)
}

fn account_of(user: &enums::User) -> Result<Account> {
    let enums::User::User(user) = user else {
        return Err(TelegramError::broken("the server shows an account without a name"));
    };
    let names = [&user.first_name, &user.last_name];
    let name = names.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
    Ok(Account { id: user.id, name, premium: user.premium })
}

/// The account that this machine is logged in to, as the server knows it.
pub fn account(settings: Settings) -> Result<Account> {
    let session = settings.load()?;
    let runtime = runtime()?;
    let pool = Pool::new(settings, session);
    let request = tl::functions::users::GetUsers { id: vec![enums::InputUser::UserSelf] };
    let users = runtime.block_on(pool.ask(Kind::Look, request))?;
    let user = users.first().ok_or_else(|| TelegramError::broken("the server shows no account"))?;
    account_of(user)
}

/// Ends the session at the server and forgets it here. It is forgotten even if the server cannot be told; then the
/// error says so.
pub fn log_out(settings: &Settings) -> Result<()> {
    let told = settings.load().and_then(|session| {
        let runtime = runtime()?;
        let pool = Pool::new(settings.clone(), session);
        runtime.block_on(pool.ask_once(Kind::Message, tl::functions::auth::LogOut {})).map(drop)
    });
    settings.machine.remove_session().map_err(|detail| TelegramError::Local { detail })?;
    match told {
        // A session that the server has ended already is out.
        Err(TelegramError::SessionEnded { .. } | TelegramError::SessionDuplicated) => Ok(()),
        told => told,
    }
}
