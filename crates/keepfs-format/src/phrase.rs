//! The recovery phrase: 256 random bits as 24 English words.
//!
//! It owns the way between bits and words. The words follow BIP 39, whose list was chosen so that four letters
//! tell any two words apart, and whose checksum catches a word that was misread. It never derives keys: that is
//! the slot's part.

use bip39::{Language, Mnemonic};
use zeroize::{Zeroize, Zeroizing};

use crate::env::{self, Env};
use crate::error::FormatError;
use crate::secret::Secret;

/// Number of words in a phrase.
pub const PHRASE_WORDS: usize = 24;
/// Longest text that is looked at when a phrase is read, in bytes: 24 words of 8 letters and generous blanks.
pub const PHRASE_LEN_MAX: usize = 1024;
const ENTROPY_LEN: usize = 32;

/// A secret that opens a vault without the password. Whoever has it has everything.
pub struct RecoveryPhrase {
    entropy: Secret<ENTROPY_LEN>,
}

impl RecoveryPhrase {
    /// A new random phrase.
    pub fn draw(env: &dyn Env) -> Self {
        Self { entropy: env::draw(env) }
    }

    /// Reads the words, separated by white space of any kind and in any letter case.
    ///
    /// # Errors
    /// [`FormatError::PhraseWordCount`], [`FormatError::PhraseUnknownWord`] or [`FormatError::PhraseChecksum`],
    /// so that a person can find the slip of the pen; none of them says anything about a vault.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.len() > PHRASE_LEN_MAX {
            return Err(FormatError::TooLong {
                what: "recovery phrase",
                actual: text.len() as u64,
                limit: PHRASE_LEN_MAX as u64,
            });
        }
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        let found = lower.split_whitespace().count();
        if found != PHRASE_WORDS {
            return Err(FormatError::PhraseWordCount { found });
        }
        let mnemonic =
            Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
                bip39::Error::UnknownWord(index) => FormatError::PhraseUnknownWord { position: index + 1 },
                bip39::Error::BadWordCount(found) => FormatError::PhraseWordCount { found },
                _ => FormatError::PhraseChecksum,
            })?;
        let (mut padded, _) = mnemonic.to_entropy_array();
        let mut entropy = [0; ENTROPY_LEN];
        entropy.copy_from_slice(&padded[..ENTROPY_LEN]);
        padded.zeroize();
        let phrase = Self { entropy: Secret::new(entropy) };
        entropy.zeroize();
        Ok(phrase)
    }

    /// The words, separated by single spaces.
    pub fn words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, self.entropy.expose())
            .expect("256 bits are one of the lengths that the word list is made for");
        // Reserved in full, so that growing leaves no unwiped copy behind.
        let mut words = Zeroizing::new(String::with_capacity(PHRASE_LEN_MAX));
        for word in mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// The bits, for the slot that is sealed under them.
    pub(crate) fn entropy(&self) -> &Secret<ENTROPY_LEN> {
        &self.entropy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CountingEnv;

    /// From the test vectors of BIP 39: 256 zero bits, and 256 one bits.
    const ZEROS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";
    const ONES: &str = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo \
        zoo vote";

    fn fail(text: &str) -> FormatError {
        RecoveryPhrase::parse(text).err().unwrap()
    }

    #[test]
    fn published_vectors_hold() {
        assert_eq!(RecoveryPhrase::parse(ZEROS).unwrap().entropy.expose(), &[0; 32]);
        assert_eq!(RecoveryPhrase::parse(ONES).unwrap().entropy.expose(), &[0xff; 32]);
        assert_eq!(*RecoveryPhrase { entropy: Secret::new([0; 32]) }.words(), ZEROS);
    }

    #[test]
    fn words_come_back_in_any_case_and_spacing() {
        let env = CountingEnv::new(1);
        for _ in 0..50 {
            let phrase = RecoveryPhrase::draw(&env);
            let shouted = format!("  {}\n", phrase.words().to_uppercase().replace(' ', "\n\t "));
            assert_eq!(RecoveryPhrase::parse(&shouted).unwrap().entropy.expose(), phrase.entropy.expose());
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        assert_eq!(fail(""), FormatError::PhraseWordCount { found: 0 });
        assert_eq!(fail("abandon abandon art"), FormatError::PhraseWordCount { found: 3 });
        assert_eq!(
            fail(&ZEROS.replacen("abandon", "abandom", 1)),
            FormatError::PhraseUnknownWord { position: 1 }
        );
        assert_eq!(fail(&ZEROS.replace("art", "arx")), FormatError::PhraseUnknownWord { position: 24 });
        assert_eq!(fail(&ZEROS.replace("art", "zoo")), FormatError::PhraseChecksum);
        assert!(matches!(fail(&"zoo ".repeat(1000)), FormatError::TooLong { .. }));
    }
}
