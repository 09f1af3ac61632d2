//! A Telegram account as a store.
