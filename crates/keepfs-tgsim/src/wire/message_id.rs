//! Numbers of the messages that the server sends: the time, rising, marked as an answer or not
//! (<https://core.telegram.org/mtproto/description#message-identifier-msg-id>).

use super::time;

/// What a message of the server is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer to one of the client's messages: the number is 1 modulo 4.
    Answer,
    /// Anything else: the number is 3 modulo 4.
    Notice,
}

/// The last number of one connection.
#[derive(Default)]
pub(crate) struct MessageIds(i64);

impl MessageIds {
    /// A number above all before it.
    pub(crate) fn next(&mut self, kind: Kind) -> i64 {
        let now = time();
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let clock = ((now.as_secs() << 32) | fraction) as i64 & !3;
        self.0 = clock.max((self.0 & !3).wrapping_add(4)) | if kind == Kind::Answer { 1 } else { 3 };
        self.0
    }
}

/// Whether a client may use this number now: divisible by 4, at most 300 s old, at most 30 s ahead. The code of
/// `bad_msg_notification` otherwise.
pub(crate) fn check(message_id: i64) -> Result<(), i32> {
    let (now, sent) = (time().as_secs() as i64, message_id >> 32);
    if message_id & 3 != 0 {
        Err(18)
    } else if sent < now - 300 {
        Err(16)
    } else if sent > now + 30 {
        Err(17)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_tell_their_kind() {
        let mut ids = MessageIds::default();
        let mut last = 0;
        for round in 0..1_000 {
            let kind = if round % 3 == 0 { Kind::Notice } else { Kind::Answer };
            let id = ids.next(kind);
            assert!(id > last);
            assert_eq!(id & 3, if kind == Kind::Answer { 1 } else { 3 });
            last = id;
        }
    }

    #[test]
    fn old_early_and_odd_numbers_are_named() {
        let now = (time().as_secs() as i64) << 32;
        assert_eq!(check(now), Ok(()));
        assert_eq!(check(now | 1), Err(18));
        assert_eq!(check(now - (400 << 32)), Err(16));
        assert_eq!(check(now + (100 << 32)), Err(17));
    }
}
