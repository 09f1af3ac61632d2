//! Whether bytes look like noise: their entropy, and the chi-square test against equal counts. Pure.

use serde::Serialize;

/// Values a byte can have.
const VALUES: usize = 256;

/// Below this many bytes for each value the test says nothing.
const EXPECTED_MIN: u64 = 5;

/// Standard deviations that pure noise exceeds once in about two million tests.
const DEVIATIONS_MAX: f64 = 5.0;

/// Counts of byte values.
pub(crate) struct Histogram([u64; VALUES]);

/// What the counts say.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Randomness {
    /// Bytes looked at.
    pub(crate) sampled_bytes: u64,
    /// Shannon entropy of single bytes; 8 is the most.
    pub(crate) entropy_bits_per_byte: f64,
    /// Sum of squared differences from equal counts, over the expected count; about 255 for noise.
    pub(crate) chi_square: f64,
    /// Standard deviations between that and what noise gives.
    pub(crate) deviations: f64,
    /// In one word.
    pub(crate) verdict: Verdict,
}

/// In one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Not to be told from random bytes by this test.
    Random,
    /// Some bytes are more frequent than chance allows.
    Structured,
    /// Not enough bytes to tell.
    TooFew,
}

impl Histogram {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self([0; VALUES])
    }

    /// Counts bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0[usize::from(*byte)] += 1;
        }
    }

    /// What the counts say; `None` without any.
    pub(crate) fn judge(&self) -> Option<Randomness> {
        let total: u64 = self.0.iter().sum();
        if total == 0 {
            return None;
        }
        let expected = total as f64 / VALUES as f64;
        let entropy = self.0.iter().filter(|count| **count > 0).map(|count| {
            let share = *count as f64 / total as f64;
            -share * share.log2()
        });
        let chi_square: f64 = self.0.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        let deviations = deviations_of(chi_square);
        let verdict = if total < EXPECTED_MIN * VALUES as u64 {
            Verdict::TooFew
        } else if deviations.abs() <= DEVIATIONS_MAX {
            Verdict::Random
        } else {
            Verdict::Structured
        };
        Some(Randomness {
            sampled_bytes: total,
            entropy_bits_per_byte: entropy.sum(),
            chi_square,
            deviations,
            verdict,
        })
    }
}

/// Wilson and Hilferty: the cube root of chi-square over its degrees of freedom is nearly normal.
fn deviations_of(chi_square: f64) -> f64 {
    let freedom = (VALUES - 1) as f64;
    let variance = 2.0 / (9.0 * freedom);
    ((chi_square / freedom).cbrt() - (1.0 - variance)) / variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bytes: &[u8]) -> Randomness {
        let mut histogram = Histogram::new();
        histogram.add(bytes);
        histogram.judge().unwrap()
    }

    #[test]
    fn noise_is_random_and_text_is_not() {
        let mut noise = vec![0; 1 << 20];
        getrandom::fill(&mut noise).unwrap();
        let random = judge(&noise);
        assert_eq!(random.verdict, Verdict::Random, "{random:?}");
        assert!(random.entropy_bits_per_byte > 7.99);
        let text = include_bytes!("randomness.rs");
        assert_eq!(judge(text).verdict, Verdict::Structured);
    }

    #[test]
    fn one_text_block_in_a_hundred_is_seen() {
        let mut bytes = vec![0; 1 << 20];
        getrandom::fill(&mut bytes).unwrap();
        bytes[..10 << 10].fill(b'a');
        assert_eq!(judge(&bytes).verdict, Verdict::Structured);
    }

    #[test]
    fn too_even_counts_are_no_noise_either() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
        assert_eq!(judge(&bytes).verdict, Verdict::Structured);
    }

    #[test]
    fn few_bytes_say_nothing() {
        assert_eq!(judge(b"hello").verdict, Verdict::TooFew);
        assert!(Histogram::new().judge().is_none());
    }
}
