//! Telegram's methods: each request is judged by the account that makes it and by the state, and answered.
//!
//! A method changes the state by records alone and never touches a connection: updates for others are left in
//! [`Call::pushes`].

pub(crate) mod channels;
pub(crate) mod content;
pub(crate) mod files;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod login;
pub(crate) mod messages;
pub(crate) mod sessions;
pub(crate) mod shapes;
pub(crate) mod updates;
pub(crate) mod wide;

use std::net::SocketAddr;

use grammers_tl_types as tl;
use tl::{Cursor, Deserializable, Identifiable, Serializable, functions as f};

use crate::counters::Counters;
use crate::error::Error;
use crate::wire::envelope::KeyId;
use crate::world::World;
use crate::world::account::{Account, KeyState};

/// An error that a client gets as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }

    /// The answer as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let error = tl::types::RpcError { error_code: self.code, error_message: self.message.clone() };
        tl::enums::RpcError::Error(error).to_bytes()
    }
}

impl From<Error> for Refusal {
    fn from(_: Error) -> Refusal {
        Refusal::new(500, "STORE_FAILED")
    }
}

/// A request that is wrong in itself.
pub(crate) fn bad<T>(message: &str) -> Result<T, Refusal> {
    Err(Refusal::new(400, message))
}

pub(crate) type Answer = Result<Vec<u8>, Refusal>;

/// An update on its way to every session of an account.
pub(crate) struct Push {
    pub(crate) user: i64,
    pub(crate) body: Vec<u8>,
}

/// One request with everything that it may look at.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) counters: &'a mut Counters,
    pub(crate) key: KeyId,
    pub(crate) dc: i32,
    pub(crate) addresses: &'a [(i32, SocketAddr)],
    pub(crate) pushes: Vec<Push>,
}

/// Methods that a key may call before anybody signed in with it.
const OPEN: &[u32] = &[
    f::help::GetConfig::CONSTRUCTOR_ID,
    f::help::GetNearestDc::CONSTRUCTOR_ID,
    f::help::GetAppConfig::CONSTRUCTOR_ID,
    f::auth::SendCode::CONSTRUCTOR_ID,
    f::auth::SignIn::CONSTRUCTOR_ID,
    f::auth::CheckPassword::CONSTRUCTOR_ID,
    f::auth::ImportAuthorization::CONSTRUCTOR_ID,
    f::account::GetPassword::CONSTRUCTOR_ID,
];

macro_rules! dispatch {
    ($call:ident, $id:ident, $body:ident, { $($method:path => $handler:ident),* $(,)? }) => {
        match $id {
            $(<$method>::CONSTRUCTOR_ID => {
                match <$method>::deserialize(&mut Cursor::from_slice($body)) {
                    Ok(request) => $call.$handler(request),
                    Err(_) => bad("INPUT_FETCH_ERROR"),
                }
            })*
            _ => bad("METHOD_INVALID"),
        }
    };
}

impl Call<'_> {
    /// Answers the request whose constructor is `id` and whose fields are `body`.
    pub(crate) fn dispatch(&mut self, id: u32, body: &[u8]) -> Answer {
        if let Some(KeyState::Refused { code, message }) =
            self.world.keys.get(&self.key).map(|key| &key.state)
        {
            return Err(Refusal::new(*code, message.clone()));
        }
        if !OPEN.contains(&id) {
            self.user()?;
        }
        dispatch!(self, id, body, {
            f::help::GetConfig => get_config,
            f::help::GetNearestDc => get_nearest_dc,
            f::help::GetAppConfig => get_app_config,
            f::auth::SendCode => send_code,
            f::auth::SignIn => sign_in,
            f::account::GetPassword => get_password,
            f::auth::CheckPassword => check_password,
            f::auth::ExportAuthorization => export_authorization,
            f::auth::ImportAuthorization => import_authorization,
            f::auth::LogOut => log_out,
            f::auth::ResetAuthorizations => reset_authorizations,
            f::account::GetAuthorizations => get_authorizations,
            f::account::ResetAuthorization => reset_authorization,
            f::account::UpdateNotifySettings => update_notify_settings,
            f::users::GetUsers => get_users,
            f::updates::GetState => get_state,
            f::updates::GetDifference => get_difference,
            f::updates::GetChannelDifference => get_channel_difference,
            f::upload::SaveFilePart => save_file_part,
            f::upload::SaveBigFilePart => save_big_file_part,
            f::upload::GetFile => get_file,
            f::messages::SendMedia => send_media,
            f::messages::SendMessage => send_message,
            f::messages::EditMessage => edit_message,
            f::messages::UpdatePinnedMessage => update_pinned_message,
            f::messages::UnpinAllMessages => unpin_all_messages,
            f::messages::DeleteMessages => delete_messages,
            f::messages::GetHistory => get_history,
            f::messages::Search => search,
            f::messages::GetMessages => get_messages,
            f::messages::GetDialogs => get_dialogs,
            f::folders::EditPeerFolders => edit_peer_folders,
            f::channels::CreateChannel => create_channel,
            f::channels::GetChannels => get_channels,
            f::channels::GetFullChannel => get_full_channel,
            f::channels::DeleteChannel => delete_channel,
            f::channels::EditTitle => edit_title,
            f::messages::EditChatAbout => edit_chat_about,
            f::channels::GetMessages => get_channel_messages,
            f::channels::DeleteMessages => delete_channel_messages,
        })
    }

    /// The account that makes the request.
    pub(crate) fn user(&self) -> Result<i64, Refusal> {
        self.world.user_of(self.key).ok_or_else(|| Refusal::new(401, "AUTH_KEY_UNREGISTERED"))
    }

    pub(crate) fn account(&self) -> Result<&Account, Refusal> {
        let user = self.user()?;
        self.world.accounts.get(&user).ok_or_else(|| Refusal::new(401, "USER_DEACTIVATED"))
    }
}
