//! The keys of one epoch of one namespace, as they are wrapped to a reader.
//!
//! It owns what is inside a wrap, and the context that binds it to vault, namespace, epoch and reader.

use zeroize::Zeroizing;

use crate::codec::{Reader, Writer};
use crate::env::Env;
use crate::error::FormatError;
use crate::identity::UserId;
use crate::ids::{NamespaceId, VaultId};
use crate::keys::{DOMAIN, NamespaceSecrets};
use crate::roster::change::WrappedKey;
use crate::roster::view::User;
use crate::secret::Secret;
use crate::wrap::ReaderKey;

const PLAIN_LEN: usize = 5 * 32;

fn context(vault: VaultId, namespace: NamespaceId, epoch: u32, user: UserId) -> Vec<u8> {
    let mut context = DOMAIN.to_vec();
    context.extend_from_slice(b" namespace key");
    context.extend_from_slice(&vault.0);
    context.extend_from_slice(&namespace.0.to_le_bytes());
    context.extend_from_slice(&epoch.to_le_bytes());
    context.extend_from_slice(&user.0);
    context
}

pub(super) fn wrap(
    secrets: &NamespaceSecrets,
    user: &User,
    env: &dyn Env,
) -> Result<WrappedKey, FormatError> {
    // Reserved in full, so that growing leaves no unwiped copy behind.
    let mut plain = Writer::with_capacity(PLAIN_LEN);
    for key in
        [&secrets.epoch_key, &secrets.id_key, &secrets.cut_key, &secrets.directory_key, &secrets.name_key]
    {
        plain.raw(key.expose());
    }
    let plain = Zeroizing::new(plain.into_bytes());
    let context = context(secrets.vault, secrets.namespace, secrets.epoch, user.id);
    let bytes = user.reader.wrap(&context, &plain, env)?.into_boxed_slice();
    Ok(WrappedKey { user: user.id, bytes })
}

pub(super) fn unwrap(
    wrapped: &WrappedKey,
    reader: &ReaderKey,
    vault: VaultId,
    (namespace, epoch): (NamespaceId, u32),
) -> Result<NamespaceSecrets, FormatError> {
    let plain = reader.unwrap(&context(vault, namespace, epoch, wrapped.user), &wrapped.bytes)?;
    let mut reader = Reader::new(&plain, "namespace key");
    let mut key = || reader.array::<32>().map(Secret::new);
    let secrets = NamespaceSecrets {
        vault,
        namespace,
        epoch,
        epoch_key: key()?,
        id_key: key()?,
        cut_key: key()?,
        directory_key: key()?,
        name_key: key()?,
    };
    reader.finish()?;
    Ok(secrets)
}
