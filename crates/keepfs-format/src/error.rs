//! The one error of this crate: why bytes were refused.
//!
//! It owns the reasons, in words a person can act on. It never carries secret bytes or plaintext.

use thiserror::Error;

/// Why bytes were refused. Nothing that was refused has had any effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the value does. Fetch the object again; if it stays so, it is damaged.
    #[error("{what}: the bytes end too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes follow where the value ends. The object is damaged, or was made by a faulty writer.
    #[error("{what}: bytes follow the end")]
    TrailingBytes {
        /// What was being read.
        what: &'static str,
    },
    /// A value has a shorter encoding, or the same value has two. The writer is faulty; refuse the object.
    #[error("{what}: not the one canonical encoding")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
    /// A length is over its limit. Nothing was allocated for it; refuse the object, or split what is written.
    #[error("{what}: {actual} is over the limit of {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The length that was found.
        actual: u64,
        /// The highest that is allowed.
        limit: u64,
    },
    /// A tag byte has no meaning in this version. A newer program may know it; do not guess.
    #[error("{what}: unknown tag {found}")]
    BadTag {
        /// Whose tag.
        what: &'static str,
        /// The tag.
        found: u64,
    },
    /// The object is of another version. Say that a newer program is needed.
    #[error("version {found} where {supported} is supported")]
    WrongVersion {
        /// Version of the object.
        found: u8,
        /// The version this program reads.
        supported: u8,
    },
    /// A value breaks a rule of the format. On reading: the writer is faulty, refuse the object.
    /// On writing: the caller is; nothing was written.
    #[error("invalid: {what}")]
    Invalid {
        /// The rule that is broken.
        what: &'static str,
    },
    /// The bytes do not authenticate under the keys at hand: damaged, exchanged for others, or sealed with
    /// a key this machine does not have. Fetch again once, then report damage.
    #[error("{what}: does not authenticate")]
    NotAuthentic {
        /// What was being opened.
        what: &'static str,
    },
    /// Authentic, but not what was asked for: of another vault, machine or place in a history. The store
    /// serves the wrong object; report it.
    #[error("{what} is not the one asked for")]
    Mismatch {
        /// What differs.
        what: &'static str,
    },
    /// The signature is wrong, or the signer has no key in force. Never apply the object; report its author.
    #[error("{what}: the signature does not verify")]
    BadSignature {
        /// What was signed.
        what: &'static str,
    },
    /// Compressed bytes do not decompress to exactly the length they claim. The writer is faulty.
    #[error("{what}: does not decompress to its stated length")]
    BadCompression {
        /// What was being decompressed.
        what: &'static str,
    },
    /// No slot opens with this password or phrase. Ask again; nothing says whether a slot exists, or which.
    #[error("neither a password slot nor a recovery slot opens with this secret")]
    WrongSecret,
    /// A slot asks for a key derivation weaker than is safe or dearer than is sane. Nothing was computed. The
    /// header was tampered with, or a newer program wrote it.
    #[error(
        "key derivation with {memory_kib} KiB, {passes} passes and {lanes} lanes is out of bounds \
         (65536 to 4194304 KiB, 3 to 20 passes, 4 to 64 lanes)"
    )]
    KdfOutOfBounds {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The system has no memory for the key derivation. Free some and try again.
    #[error("there is no room for the {memory_kib} KiB of memory that the key derivation needs")]
    KdfMemory {
        /// Memory in KiB.
        memory_kib: u32,
    },
    /// A recovery phrase has another number of words. Ask again.
    #[error("a recovery phrase has 24 words, this one has {found}")]
    PhraseWordCount {
        /// How many there are.
        found: usize,
    },
    /// A word of a recovery phrase is not in the list. Ask again, naming the position.
    #[error("word {position} of the recovery phrase is not in the word list")]
    PhraseUnknownWord {
        /// Which, counted from 1.
        position: usize,
    },
    /// The words are in the list, but together they are no recovery phrase. Ask again.
    #[error("the recovery phrase has a wrong word or a wrong order of words")]
    PhraseChecksum,
    /// The chain of the roster is broken here. The store or a member tampers; nothing of the entry counts.
    #[error("roster entry {position} is refused: {reason}")]
    Roster {
        /// Position of the entry.
        position: u64,
        /// The rule that it breaks.
        reason: &'static str,
    },
}
