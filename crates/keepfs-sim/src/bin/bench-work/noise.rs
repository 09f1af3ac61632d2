//! Bytes that neither compress nor repeat and follow from a seed and an offset alone, so that whoever reads any part
//! of a file can tell whether it is what was written. It owns no file.

/// Bytes that one step of the generator gives.
const WORD_LEN: usize = 8;

/// A page, the unit of small reads and writes, in bytes.
pub(crate) const PAGE_LEN: usize = 4_096;

/// Odd constant and finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number at place `index` of the sequence of `seed`.
pub(crate) fn number(seed: u64, index: u64) -> u64 {
    let mut word = seed.wrapping_mul(GAMMA).rotate_left(32).wrapping_add(index.wrapping_mul(GAMMA));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Fills `out` with the bytes at `offset`, a multiple of 8, of the noise of `seed`.
pub(crate) fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let first = offset / WORD_LEN as u64;
    for (index, piece) in (first..).zip(out.chunks_mut(WORD_LEN)) {
        piece.copy_from_slice(&number(seed, index).to_le_bytes()[..piece.len()]);
    }
}

/// Whether `bytes` are those at `offset`, a multiple of 8, of the noise of `seed`.
pub(crate) fn is_noise(seed: u64, offset: u64, bytes: &[u8]) -> bool {
    let first = offset / WORD_LEN as u64;
    (first..)
        .zip(bytes.chunks(WORD_LEN))
        .all(|(index, piece)| *piece == number(seed, index).to_le_bytes()[..piece.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_the_noise_follows_from_its_offset() {
        let mut whole = vec![0; 1_003];
        fill(7, 0, &mut whole);
        let mut part = vec![0; 203];
        fill(7, 800, &mut part);
        assert_eq!(whole[800..], part);
        assert!(is_noise(7, 800, &part));
    }

    #[test]
    fn one_wrong_bit_or_another_seed_is_no_noise() {
        let mut bytes = vec![0; 4_096];
        fill(7, 4_096, &mut bytes);
        assert!(!is_noise(8, 4_096, &bytes));
        assert!(!is_noise(7, 0, &bytes));
        bytes[4_000] ^= 1;
        assert!(!is_noise(7, 4_096, &bytes));
    }

    #[test]
    fn noise_does_not_repeat_its_words() {
        let mut seen = std::collections::HashSet::new();
        for seed in 1..5 {
            for index in 0..50_000 {
                assert!(seen.insert(number(seed, index)), "seed {seed}, index {index}");
            }
        }
    }
}
