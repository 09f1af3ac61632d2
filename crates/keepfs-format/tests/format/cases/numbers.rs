//! Vectors of the primitives.

use crate::vectors::Vector;

pub(crate) fn all() -> Vec<Vector> {
    let number = |name: &str, bytes: &[u8]| Vector::new("number", name, bytes);
    let time = |name: &str, bytes: &[u8]| Vector::new("time", name, bytes);
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let too_high = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    vec![
        number("good_zero", &[0]),
        number("good_127", &[0x7f]),
        number("good_128", &[0x80, 0x01]),
        number("good_highest", &most),
        number("over_64_bits", &too_high),
        number("zero_in_two_bytes", &[0x80, 0x00]),
        number("one_in_three_bytes", &[0x81, 0x80, 0x00]),
        number("eleven_bytes", &[0x80; 11]),
        number("ends_early", &[0x80]),
        number("nothing", &[]),
        number("bytes_behind", &[0, 0]),
        time("good_same", &[0, 0]),
        time("good_a_nanosecond_later", &[0, 1]),
        time("good_a_nanosecond_earlier", &[1, 0xff, 0x93, 0xeb, 0xdc, 0x03]),
        time("good_half_a_second_later", &[0, 0x80, 0xca, 0xb5, 0xee, 0x01]),
        time("a_whole_second_of_nanoseconds", &[0, 0x80, 0x94, 0xeb, 0xdc, 0x03]),
        time("no_nanoseconds", &[0]),
    ]
}
