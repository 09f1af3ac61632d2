//! Signing in and out: the code, the second factor, another data centre.

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::shapes::View;
use super::{Answer, Call, Refusal, bad};
use crate::wire::number::{GENERATOR, prime};
use crate::wire::{fill_random, random_number};
use crate::world::account::{Exported, KeyState, Login};
use crate::world::record::Record;

/// Characters of the secret that ties a code to the request for it.
const CODE_HASH_BYTES: usize = 9;

impl Call<'_> {
    pub(crate) fn send_code(&mut self, request: f::auth::SendCode) -> Answer {
        let home = self.world.settings.home_dc;
        if self.dc != home {
            return Err(Refusal::new(303, format!("PHONE_MIGRATE_{home}")));
        }
        let Some(account) = self.world.account_of_phone(&request.phone_number) else {
            return bad("PHONE_NUMBER_INVALID");
        };
        let mut secret = [0; CODE_HASH_BYTES];
        fill_random(&mut secret);
        let code_hash = data_encoding::HEXLOWER.encode(&secret);
        let (phone, length) = (account.phone.clone(), account.code.chars().count());
        let login = Login { phone, code_hash: code_hash.clone(), ..Login::default() };
        self.world.logins.by_key.insert(self.key, login);
        let sent = types::auth::SentCode {
            r#type: types::auth::SentCodeTypeApp { length: i32::try_from(length).unwrap_or(0) }.into(),
            phone_code_hash: code_hash,
            next_type: None,
            timeout: None,
        };
        Ok(enums::auth::SentCode::Code(sent).to_bytes())
    }

    pub(crate) fn sign_in(&mut self, request: f::auth::SignIn) -> Answer {
        let Some(login) = self.world.logins.by_key.get(&self.key) else { return bad("PHONE_CODE_EXPIRED") };
        let Some(account) = self.world.account_of_phone(&login.phone) else {
            return bad("PHONE_NUMBER_UNOCCUPIED");
        };
        if request.phone_code_hash != login.code_hash {
            return bad("PHONE_CODE_EXPIRED");
        }
        match request.phone_code.as_deref() {
            None | Some("") => return bad("PHONE_CODE_EMPTY"),
            Some(code) if code != account.code => return bad("PHONE_CODE_INVALID"),
            Some(_) => {}
        }
        let (user, has_password) = (account.user, account.password.is_some());
        if has_password {
            if let Some(login) = self.world.logins.by_key.get_mut(&self.key) {
                login.user = Some(user);
            }
            return Err(Refusal::new(401, "SESSION_PASSWORD_NEEDED"));
        }
        self.authorize(user, KeyState::SignedIn(user))
    }

    fn authorize(&mut self, user: i64, state: KeyState) -> Answer {
        self.world.logins.by_key.remove(&self.key);
        self.world.commit(&Record::KeyState { key: self.key, state })?;
        let Some(account) = self.world.accounts.get(&user) else { return bad("USER_DEACTIVATED") };
        let authorization = types::auth::Authorization {
            setup_password_required: false,
            otherwise_relogin_days: None,
            tmp_sessions: None,
            future_auth_token: None,
            user: View { world: self.world, user }.account(account),
        };
        Ok(enums::auth::Authorization::Authorization(authorization).to_bytes())
    }

    /// The account that signs in with this key, or has signed in.
    fn login_account(&self) -> Option<i64> {
        let login = self.world.logins.by_key.get(&self.key);
        login.and_then(|login| login.user).or_else(|| self.user().ok())
    }

    pub(crate) fn get_password(&mut self, _: f::account::GetPassword) -> Answer {
        let Some(user) = self.login_account() else {
            return Err(Refusal::new(401, "AUTH_KEY_UNREGISTERED"));
        };
        let verifier = self.world.accounts.get(&user).and_then(|account| account.verifier.clone());
        let challenge = verifier.as_ref().map(|verifier| (random_number(), verifier.challenge()));
        if let Some(challenge) = &challenge {
            let login = self.world.logins.by_key.entry(self.key).or_default();
            login.challenge = Some(challenge.clone());
        }
        let mut secure_random = vec![0; 256];
        fill_random(&mut secure_random);
        let password = types::account::Password {
            has_recovery: false,
            has_secure_values: false,
            has_password: verifier.is_some(),
            current_algo: verifier.map(|verifier| {
                types::PasswordKdfAlgoSha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow {
                    salt1: verifier.salt1.clone(),
                    salt2: verifier.salt2.clone(),
                    g: i32::from(GENERATOR),
                    p: prime().to_bytes_be(),
                }
                .into()
            }),
            srp_b: challenge.as_ref().map(|(_, challenge)| challenge.public.to_vec()),
            srp_id: challenge.as_ref().map(|(id, _)| *id),
            hint: None,
            email_unconfirmed_pattern: None,
            new_algo: enums::PasswordKdfAlgo::Unknown,
            new_secure_algo: enums::SecurePasswordKdfAlgo::Unknown,
            secure_random,
            pending_reset_date: None,
            login_email_pattern: None,
        };
        Ok(enums::account::Password::Password(password).to_bytes())
    }

    pub(crate) fn check_password(&mut self, request: f::auth::CheckPassword) -> Answer {
        let enums::InputCheckPasswordSrp::Srp(proof) = request.password else {
            return bad("PASSWORD_HASH_INVALID");
        };
        let Some(login) = self.world.logins.by_key.get_mut(&self.key) else { return bad("SRP_ID_INVALID") };
        let (Some(user), Some((id, challenge))) = (login.user, login.challenge.take()) else {
            return bad("SRP_ID_INVALID");
        };
        if id != proof.srp_id {
            return bad("SRP_ID_INVALID");
        }
        let verifier = self.world.accounts.get(&user).and_then(|account| account.verifier.clone());
        if !verifier.is_some_and(|verifier| verifier.accepts(&challenge, &proof.a, &proof.m1)) {
            return bad("PASSWORD_HASH_INVALID");
        }
        self.authorize(user, KeyState::SignedIn(user))
    }

    pub(crate) fn export_authorization(&mut self, request: f::auth::ExportAuthorization) -> Answer {
        let user = self.user()?;
        if !self.addresses.iter().any(|(dc, _)| *dc == request.dc_id) {
            return bad("DC_ID_INVALID");
        }
        let (id, mut bytes) = (random_number(), vec![0; 32]);
        fill_random(&mut bytes);
        let exported = Exported { bytes: bytes.clone(), user, home: self.key };
        self.world.logins.exported.insert(id, exported);
        let exported = types::auth::ExportedAuthorization { id, bytes };
        Ok(enums::auth::ExportedAuthorization::Authorization(exported).to_bytes())
    }

    pub(crate) fn import_authorization(&mut self, request: f::auth::ImportAuthorization) -> Answer {
        match self.world.logins.exported.remove(&request.id) {
            Some(exported) if exported.bytes == request.bytes => {
                let state = KeyState::Guest { user: exported.user, home: exported.home };
                self.authorize(exported.user, state)
            }
            _ => bad("AUTH_BYTES_INVALID"),
        }
    }

    pub(crate) fn log_out(&mut self, _: f::auth::LogOut) -> Answer {
        self.world.commit(&Record::KeyState { key: self.key, state: KeyState::Anonymous })?;
        let out = types::auth::LoggedOut { future_auth_token: None };
        Ok(enums::auth::LoggedOut::Out(out).to_bytes())
    }
}
