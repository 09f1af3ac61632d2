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
use crate::roster::change::{Change, WrappedKey};
use crate::roster::view::{Namespace, Roster, User};
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

fn wrap_to(secrets: &NamespaceSecrets, user: &User, env: &dyn Env) -> Result<WrappedKey, FormatError> {
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

fn unwrap_for(
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

impl Roster {
    /// A change that gives a namespace new keys, wrapped to all members.
    ///
    /// # Errors
    /// As wrapping has them.
    pub fn wrap_epoch(&self, secrets: &NamespaceSecrets, env: &dyn Env) -> Result<Change, FormatError> {
        let mut keys = Vec::with_capacity(self.users().len());
        for user in self.users() {
            keys.push(wrap_to(secrets, user, env)?);
        }
        keys.sort_by_key(|key| key.user);
        Ok(Change::NewEpoch { namespace: secrets.namespace, epoch: secrets.epoch, keys })
    }

    /// The secrets of every epoch of a namespace that a user was given, the newest first.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when a wrapped key does not open; [`FormatError::Invalid`] when the user
    /// was not given the newest epoch.
    pub fn secrets(
        &self,
        namespace: &Namespace,
        user: UserId,
        reader: &ReaderKey,
    ) -> Result<Vec<NamespaceSecrets>, FormatError> {
        let mut all = Vec::with_capacity(namespace.epochs().len());
        for epoch in namespace.epochs().iter().rev() {
            match epoch.keys.binary_search_by_key(&user, |key| key.user) {
                Ok(index) => all.push(unwrap_for(
                    &epoch.keys[index],
                    reader,
                    self.vault(),
                    (namespace.id, epoch.number),
                )?),
                Err(_) if all.is_empty() => {
                    return Err(FormatError::Invalid { what: "this user may not read the namespace" });
                }
                Err(_) => {}
            }
        }
        if all.is_empty() {
            return Err(FormatError::Invalid { what: "a namespace has at least one epoch" });
        }
        Ok(all)
    }
}
