//! The sessions of an account: who is signed in, and ending the others.

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::{Answer, Call, bad};
use crate::wire::envelope::KeyId;
use crate::world::account::{Key, KeyState};
use crate::world::record::Record;

impl Call<'_> {
    fn sessions(&self, user: i64) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.world.keys.iter().filter(move |(_, key)| key.state == KeyState::SignedIn(user))
    }

    pub(crate) fn get_authorizations(&mut self, _: f::account::GetAuthorizations) -> Answer {
        let user = self.user()?;
        let authorizations = self
            .sessions(user)
            .map(|(id, key)| {
                let current = *id == self.key;
                types::Authorization {
                    current,
                    official_app: false,
                    password_pending: false,
                    encrypted_requests_disabled: false,
                    call_requests_disabled: false,
                    unconfirmed: false,
                    // The session that asks is always number zero.
                    hash: if current { 0 } else { key.hash },
                    device_model: key.device.model.clone(),
                    platform: String::new(),
                    system_version: key.device.system_version.clone(),
                    api_id: key.device.api_id,
                    app_name: String::new(),
                    app_version: key.device.app_version.clone(),
                    date_created: key.made_s,
                    date_active: key.active_s,
                    ip: "127.0.0.1".to_owned(),
                    country: String::new(),
                    region: String::new(),
                }
                .into()
            })
            .collect();
        let list = types::account::Authorizations { authorization_ttl_days: 180, authorizations };
        Ok(enums::account::Authorizations::Authorizations(list).to_bytes())
    }

    pub(crate) fn reset_authorization(&mut self, request: f::account::ResetAuthorization) -> Answer {
        let user = self.user()?;
        let found = self.sessions(user).find(|(id, key)| key.hash == request.hash && **id != self.key);
        let Some(key) = found.map(|(id, _)| *id) else { return bad("HASH_INVALID") };
        self.end_session(key, "AUTH_KEY_UNREGISTERED")?;
        Ok(true.to_bytes())
    }

    pub(crate) fn reset_authorizations(&mut self, _: f::auth::ResetAuthorizations) -> Answer {
        let user = self.user()?;
        let others: Vec<KeyId> =
            self.sessions(user).map(|(id, _)| *id).filter(|id| *id != self.key).collect();
        for key in others {
            self.end_session(key, "SESSION_REVOKED")?;
        }
        Ok(true.to_bytes())
    }

    fn end_session(&mut self, key: KeyId, message: &str) -> Result<(), super::Refusal> {
        let state = KeyState::Refused { code: 401, message: message.to_owned() };
        Ok(self.world.commit(&Record::KeyState { key, state })?)
    }
}
