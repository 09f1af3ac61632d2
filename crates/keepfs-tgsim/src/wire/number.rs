//! Numbers of 2048 bits: the group of key exchange and login, and their form as 256 bytes.
//!
//! It owns the constants; it never decides what is computed with them.

use num_bigint::BigUint;

/// The prime of Telegram's own servers, safe and of 2048 bits, for which 3 generates the right subgroup
/// (<https://core.telegram.org/mtproto/auth_key>, step 5).
const PRIME_HEX: &str = "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f48198a0aa7c14058229493d22530f4db\
    fa336f6e0ac925139543aed44cce7c3720fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64\
    2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4a4a695811051907e162753b56b0f6b41\
    0dba74d8a84b2a14b3144e0ef1284754fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4\
    e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f0d8115f635b105ee2e4e15d04b2454bf\
    6f4fadf034b10403119cd8e3b92fcc5b";

/// The generator that goes with [`prime`].
pub(crate) const GENERATOR: u8 = 3;

pub(crate) fn prime() -> BigUint {
    from_hex(PRIME_HEX)
}

/// A number that stands in this crate's source.
pub(crate) fn from_hex(hex: &str) -> BigUint {
    BigUint::parse_bytes(hex.as_bytes(), 16).expect("the constants of this crate are hexadecimal")
}

/// Big-endian, padded in front; what exceeds 2048 bits is cut off.
pub(crate) fn to_bytes_256(number: &BigUint) -> [u8; 256] {
    let bytes = number.to_bytes_be();
    let tail = &bytes[bytes.len().saturating_sub(256)..];
    let mut out = [0; 256];
    out[256 - tail.len()..].copy_from_slice(tail);
    out
}
