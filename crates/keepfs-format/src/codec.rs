//! The byte codec all formats share: little-endian integers, minimal varints, bounded byte strings.
//!
//! It owns the one encoding of each primitive. It never allocates for a length it has not checked, and a
//! value it reads has exactly one encoding.

use crate::error::FormatError;
use crate::ids::Time;

/// Longest varint, in bytes: 64 bits, seven at a time.
pub const VARINT_LEN_MAX: usize = 10;
const NANOS_PER_SEC: u32 = 1_000_000_000;

/// Appends primitives to a buffer.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer that has room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Appends to bytes that exist already, so that a caller can use one buffer again and again.
    pub fn append_to(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Drops all bytes from `len` on: takes back what was written since [`len`](Self::len) gave that value.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Hands out the bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Seven bits a byte, least significant first, in as few bytes as there can be.
    #[inline]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed number: zigzag, so that small magnitudes are short, then varint.
    #[inline]
    pub fn signed(&mut self, value: i64) {
        self.varint(zigzag(value));
    }

    /// The difference to a number the reader knows; wraps, so every pair has exactly one encoding.
    #[inline]
    pub fn delta(&mut self, value: u64, base: u64) {
        self.signed(value.wrapping_sub(base) as i64);
    }

    /// Bytes whose number the reader knows.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A varint length, then the bytes. The caller has checked the length against the reader's limit.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// A point in time as its distance from one the reader knows: seconds, then nanoseconds forward.
    #[inline]
    pub fn time(&mut self, value: Time, base: Time) {
        let (borrow, nanos) = if value.nanos >= base.nanos {
            (0, value.nanos - base.nanos)
        } else {
            (1, value.nanos + NANOS_PER_SEC - base.nanos)
        };
        self.signed(value.secs.wrapping_sub(base.secs).wrapping_sub(borrow));
        self.varint(u64::from(nanos));
    }
}

/// Takes primitives from a slice.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names the thing in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// What is being read, for errors.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether all bytes were read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`FormatError::TrailingBytes`] when bytes are left.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::TrailingBytes { what: self.what }) }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] when fewer are left. All other readers fail so as well.
    #[inline]
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(FormatError::Truncated { what: self.what }),
        }
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// An array of known length.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(FormatError::Truncated { what: self.what }),
        }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint in its shortest form.
    ///
    /// # Errors
    /// [`FormatError::NotCanonical`] when a shorter form exists or the value needs more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, FormatError> {
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.varint_long()
    }

    fn varint_long(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for index in 0..VARINT_LEN_MAX {
            let byte = self.u8()?;
            // The tenth byte holds only the 64th bit.
            if index == VARINT_LEN_MAX - 1 && byte > 1 {
                return Err(FormatError::NotCanonical { what: self.what });
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let minimal = byte != 0 || index == 0;
                return if minimal { Ok(value) } else { Err(FormatError::NotCanonical { what: self.what }) };
            }
        }
        Err(FormatError::NotCanonical { what: self.what })
    }

    /// A varint no greater than `limit`; `what` names it in the error.
    #[inline]
    pub fn varint_max(&mut self, what: &'static str, limit: u64) -> Result<u64, FormatError> {
        let value = self.varint()?;
        if value > limit { Err(FormatError::TooLong { what, actual: value, limit }) } else { Ok(value) }
    }

    /// A varint that fits 32 bits.
    #[inline]
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        self.varint_max(what, u64::from(u32::MAX)).map(|value| value as u32)
    }

    /// A count of things that each take at least `each_len_min` bytes of what is left, so that room for
    /// them may be reserved.
    #[inline]
    pub fn count(
        &mut self,
        what: &'static str,
        limit: usize,
        each_len_min: usize,
    ) -> Result<usize, FormatError> {
        let count = self.varint_max(what, limit as u64)? as usize;
        if count > self.remaining() / each_len_min.max(1) {
            return Err(FormatError::Truncated { what });
        }
        Ok(count)
    }

    /// A zigzag varint.
    #[inline]
    pub fn signed(&mut self) -> Result<i64, FormatError> {
        self.varint().map(unzigzag)
    }

    /// A number as its difference to `base`.
    #[inline]
    pub fn delta(&mut self, base: u64) -> Result<u64, FormatError> {
        self.signed().map(|difference| base.wrapping_add(difference as u64))
    }

    /// Bytes with a varint length of at most `limit`.
    #[inline]
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], FormatError> {
        let len = self.varint_max(what, limit as u64)? as usize;
        self.raw(len)
    }

    /// A point in time as its distance from `base`.
    #[inline]
    pub fn time(&mut self, base: Time) -> Result<Time, FormatError> {
        let secs = base.secs.wrapping_add(self.signed()?);
        let nanos = self.varint()?;
        if nanos >= u64::from(NANOS_PER_SEC) {
            return Err(FormatError::NotCanonical { what: "nanoseconds of a time" });
        }
        let sum = base.nanos + nanos as u32;
        if sum >= NANOS_PER_SEC {
            Ok(Time { secs: secs.wrapping_add(1), nanos: sum - NANOS_PER_SEC })
        } else {
            Ok(Time { secs, nanos: sum })
        }
    }
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Whether a time's nanoseconds are within their second.
///
/// # Errors
/// [`FormatError::Invalid`] when they are not.
#[inline]
pub fn check_time(time: Time) -> Result<(), FormatError> {
    if time.nanos < NANOS_PER_SEC {
        Ok(())
    } else {
        Err(FormatError::Invalid { what: "nanoseconds are below 10^9" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_have_one_encoding() {
        for shift in 0..64 {
            for offset in [-1i64, 0, 1] {
                let value = (1u64 << shift).wrapping_add(offset as u64);
                let mut writer = Writer::new();
                writer.varint(value);
                writer.signed(value as i64);
                writer.delta(value, 77);
                let bytes = writer.into_bytes();
                let mut reader = Reader::new(&bytes, "test");
                assert_eq!(reader.varint().unwrap(), value);
                assert_eq!(reader.signed().unwrap(), value as i64);
                assert_eq!(reader.delta(77).unwrap(), value);
                reader.finish().unwrap();
            }
        }
    }

    #[test]
    fn longer_forms_of_a_varint_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0xff; 10], &[0x80; 11]] {
            let error = Reader::new(bytes, "test").varint().unwrap_err();
            assert_eq!(error, FormatError::NotCanonical { what: "test" });
        }
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(Reader::new(&most, "test").varint().unwrap(), u64::MAX);
        most[9] = 2;
        assert!(Reader::new(&most, "test").varint().is_err());
    }

    #[test]
    fn times_come_back_at_the_edges() {
        let samples = [
            Time { secs: i64::MIN, nanos: 0 },
            Time { secs: i64::MAX, nanos: 999_999_999 },
            Time { secs: -1, nanos: 999_999_999 },
            Time { secs: 0, nanos: 0 },
            Time { secs: 1_700_000_000, nanos: 5 },
        ];
        for base in samples {
            for value in samples {
                let mut writer = Writer::new();
                writer.time(value, base);
                let bytes = writer.into_bytes();
                let mut reader = Reader::new(&bytes, "test");
                assert_eq!(reader.time(base).unwrap(), value);
                reader.finish().unwrap();
            }
        }
    }

    #[test]
    fn a_length_over_its_limit_is_refused_before_it_is_read() {
        let mut writer = Writer::new();
        writer.bytes(b"abc");
        let bytes = writer.into_bytes();
        assert_eq!(Reader::new(&bytes, "test").bytes("name", 3).unwrap(), b"abc");
        assert_eq!(
            Reader::new(&bytes, "test").bytes("name", 2).unwrap_err(),
            FormatError::TooLong { what: "name", actual: 3, limit: 2 }
        );
        assert!(Reader::new(&[200, 1, 0], "test").count("things", 1000, 4).is_err());
    }
}
