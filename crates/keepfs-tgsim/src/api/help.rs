//! What a client asks first: addresses, limits, who it is.

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::shapes::View;
use super::{Answer, Call, wide};
use crate::wire::time_s;
use crate::world::channel::access_hash;

/// Characters of a message without and with a file; UTF-16 units.
pub(crate) const TEXT_LEN_MAX: usize = 4_096;
pub(crate) const CAPTION_LEN_MAX: usize = 1_024;
pub(crate) const CAPTION_LEN_MAX_PREMIUM: usize = 4_096;

impl Call<'_> {
    pub(crate) fn get_config(&mut self, _: f::help::GetConfig) -> Answer {
        let mut config = wide::config();
        config.date = time_s();
        config.expires = config.date.saturating_add(3_600);
        config.this_dc = self.dc;
        config.test_mode = true;
        config.edit_time_limit = 172_800;
        config.caption_length_max = CAPTION_LEN_MAX as i32;
        config.message_length_max = TEXT_LEN_MAX as i32;
        config.dc_options = self.addresses.iter().map(|(id, address)| dc_option(*id, *address)).collect();
        Ok(enums::Config::Config(config).to_bytes())
    }

    pub(crate) fn get_nearest_dc(&mut self, _: f::help::GetNearestDc) -> Answer {
        let nearest = types::NearestDc {
            country: "XX".to_owned(),
            this_dc: self.dc,
            nearest_dc: self.world.settings.home_dc,
        };
        Ok(enums::NearestDc::Dc(nearest).to_bytes())
    }

    pub(crate) fn get_app_config(&mut self, _: f::help::GetAppConfig) -> Answer {
        let settings = &self.world.settings;
        let numbers = [
            ("upload_max_fileparts_default", settings.parts_max),
            ("upload_max_fileparts_premium", settings.parts_max_premium),
            ("caption_length_limit_default", CAPTION_LEN_MAX as i32),
            ("caption_length_limit_premium", CAPTION_LEN_MAX_PREMIUM as i32),
        ];
        let value = numbers
            .into_iter()
            .map(|(key, value)| {
                let value = types::JsonNumber { value: f64::from(value) }.into();
                types::JsonObjectValue { key: key.to_owned(), value }.into()
            })
            .collect();
        let config = types::help::AppConfig { hash: 1, config: types::JsonObject { value }.into() };
        Ok(enums::help::AppConfig::Config(config).to_bytes())
    }

    pub(crate) fn get_users(&mut self, request: f::users::GetUsers) -> Answer {
        let user = self.user()?;
        let view = View { world: self.world, user };
        let users: Vec<enums::User> = request
            .id
            .iter()
            .filter_map(|id| match id {
                enums::InputUser::UserSelf => self.world.accounts.get(&user),
                enums::InputUser::User(other) if other.user_id == user => self.world.accounts.get(&user),
                enums::InputUser::User(other) if other.access_hash == access_hash(user, other.user_id) => {
                    self.world.accounts.get(&other.user_id)
                }
                _ => None,
            })
            .map(|account| view.account(account))
            .collect();
        Ok(users.to_bytes())
    }
}

fn dc_option(id: i32, address: std::net::SocketAddr) -> enums::DcOption {
    types::DcOption {
        ipv6: address.is_ipv6(),
        media_only: false,
        tcpo_only: false,
        cdn: false,
        r#static: true,
        this_port_only: true,
        id,
        ip_address: address.ip().to_string(),
        port: i32::from(address.port()),
        secret: None,
    }
    .into()
}
