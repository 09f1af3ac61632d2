//! A request out of its wrappers (<https://core.telegram.org/api/invoking>).

use grammers_tl_types as tl;
use tl::{Cursor, Deserializable, Identifiable, functions as f};

use crate::error::{Error, Result};
use crate::world::account::Device;

/// Wrappers around one request; honest clients use three.
const WRAPPERS_MAX: usize = 8;

/// One request.
pub(crate) struct Request<'a> {
    /// The constructor of the method.
    pub(crate) id: u32,
    /// Its fields.
    pub(crate) fields: &'a [u8],
    /// The connection shall get no updates on account of this request.
    pub(crate) is_without_updates: bool,
    /// What the client says of itself, if it does.
    pub(crate) device: Option<Device>,
}

/// Stands where a wrapper holds its request, so that the wrapper is decoded alone.
struct Inner;

impl Deserializable for Inner {
    fn deserialize(_: &mut Cursor) -> tl::deserialize::Result<Self> {
        Ok(Inner)
    }
}

impl<'a> Request<'a> {
    /// Takes the wrappers off.
    pub(crate) fn unwrap_from(mut body: &'a [u8]) -> Result<Request<'a>> {
        let (mut is_without_updates, mut device) = (false, None);
        for _ in 0..WRAPPERS_MAX {
            let cursor = &mut Cursor::from_slice(body);
            let id = u32::deserialize(cursor).map_err(malformed)?;
            match id {
                f::InvokeWithLayer::<()>::CONSTRUCTOR_ID => {
                    i32::deserialize(cursor).map_err(malformed)?;
                }
                f::InvokeAfterMsg::<()>::CONSTRUCTOR_ID => {
                    i64::deserialize(cursor).map_err(malformed)?;
                }
                f::InvokeWithoutUpdates::<()>::CONSTRUCTOR_ID => is_without_updates = true,
                f::InitConnection::<()>::CONSTRUCTOR_ID => {
                    let init = f::InitConnection::<Inner>::deserialize(cursor).map_err(malformed)?;
                    device = Some(Device {
                        api_id: init.api_id,
                        model: init.device_model,
                        system_version: init.system_version,
                        app_version: init.app_version,
                    });
                }
                _ => {
                    let fields = body.get(cursor.pos()..).unwrap_or_default();
                    return Ok(Request { id, fields, is_without_updates, device });
                }
            }
            body = body.get(cursor.pos()..).unwrap_or_default();
        }
        Err(Error::Protocol("a request has too many wrappers"))
    }

    /// The method as the schema writes it.
    pub(crate) fn method(&self) -> &'static str {
        tl::name_for_id(self.id)
    }

    /// What the request costs a rate limit that counts bytes.
    pub(crate) fn content_len(&self) -> u64 {
        match self.id {
            f::upload::SaveFilePart::CONSTRUCTOR_ID | f::upload::SaveBigFilePart::CONSTRUCTOR_ID => {
                self.fields.len() as u64
            }
            f::upload::GetFile::CONSTRUCTOR_ID => {
                let limit = self.fields.last_chunk::<4>().map_or(0, |bytes| i32::from_le_bytes(*bytes));
                u64::try_from(limit).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

fn malformed(_: tl::deserialize::Error) -> Error {
    Error::Protocol("a request is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tl::Serializable;

    #[test]
    fn wrappers_come_off_and_their_number_is_limited() {
        let query = f::InitConnection {
            api_id: 7,
            device_model: "model".to_owned(),
            system_version: String::new(),
            app_version: String::new(),
            system_lang_code: String::new(),
            lang_pack: String::new(),
            lang_code: String::new(),
            proxy: None,
            params: None,
            query: f::help::GetConfig {},
        };
        let body = f::InvokeWithoutUpdates { query: f::InvokeWithLayer { layer: 230, query } }.to_bytes();
        let request = Request::unwrap_from(&body).unwrap();
        assert_eq!(request.id, f::help::GetConfig::CONSTRUCTOR_ID);
        assert_eq!(request.method(), "help.getConfig");
        assert!(request.is_without_updates && request.fields.is_empty());
        assert_eq!(request.device.unwrap().api_id, 7);
        for cut in 0..body.len() - 4 {
            assert!(Request::unwrap_from(&body[..cut]).is_err());
        }
        let endless = f::InvokeWithoutUpdates::<f::Ping>::CONSTRUCTOR_ID.to_le_bytes().repeat(100);
        assert!(Request::unwrap_from(&endless).is_err());
    }
}
