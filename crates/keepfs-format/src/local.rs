//! Sealing of what a machine keeps beside the vault: journal frames, pages of the state database, caches.
//!
//! Everything here hangs on one secret, the local root key, that never leaves the machine. Owns the derivation
//! of keys and the sealing of one frame or one page; knows neither files nor what the bytes mean.
//!
//! The cipher is AES-256-GCM-SIV throughout: a state directory can be copied, restored or resumed from a
//! snapshot of the whole machine, and then a place is sealed twice under one key and one nonce. With GCM that
//! would give away the authentication key; here it shows at most that two plaintexts were equal.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::secret::Secret;

/// Length in bytes of the random salt that opens a journal file and of the id that opens a page file.
pub const SALT_LEN: usize = 32;

/// Length in bytes of the tag behind every sealed piece.
pub const TAG_LEN: usize = 16;

/// Length in bytes of the random nonce in front of a sealed page.
pub const PAGE_NONCE_LEN: usize = 16;

/// What a sealed page is longer than the page, in bytes: nonce in front, tag behind.
pub const PAGE_OVERHEAD_LEN: usize = PAGE_NONCE_LEN + TAG_LEN;

/// Part of a page's nonce that is the cipher's own; the rest is authenticated beside the page's place, which
/// under this cipher makes as good a difference.
const CIPHER_NONCE_LEN: usize = 12;

const CONTEXT_JOURNAL: &str = "keepfs 2026 local journal";
const CONTEXT_DATABASE: &str = "keepfs 2026 local database";
const CONTEXT_CACHE: &str = "keepfs 2026 local cache";
const CONTEXT_QUEUE: &str = "keepfs 2026 local queue";

/// The keys of one state directory.
pub struct LocalKeys {
    journal: Secret<32>,
    database: Secret<32>,
    cache: Secret<32>,
    queue: Secret<32>,
}

impl LocalKeys {
    /// Derives all keys from the local root key.
    pub fn derive(root: &Secret<32>) -> Self {
        let derive = |context| Secret::new(blake3::derive_key(context, root.expose()));
        Self {
            journal: derive(CONTEXT_JOURNAL),
            database: derive(CONTEXT_DATABASE),
            cache: derive(CONTEXT_CACHE),
            queue: derive(CONTEXT_QUEUE),
        }
    }

    /// The sealer of one use of one journal file. A file that is used again gets a fresh random `salt`, so that
    /// nothing sealed in an earlier use opens in a later one.
    pub fn frames(&self, salt: &[u8; SALT_LEN]) -> FrameSealer {
        FrameSealer { key: cipher(&self.journal, salt) }
    }

    /// The sealer of one page file, known by the random `file_id` it was made with.
    pub fn pages(&self, file_id: &[u8; SALT_LEN]) -> PageSealer {
        PageSealer { key: cipher(&self.database, file_id), file_id: *file_id }
    }

    /// The key under which cached objects are kept.
    pub fn cache(&self) -> &Secret<32> {
        &self.cache
    }

    /// The key under which waiting uploads are kept.
    pub fn queue(&self) -> &Secret<32> {
        &self.queue
    }
}

/// The cipher for what one file holds: its key is a keyed hash of the file's salt.
fn cipher(key: &Secret<32>, salt: &[u8; SALT_LEN]) -> LessSafeKey {
    let file_key = Secret::new(*blake3::keyed_hash(key.expose(), salt).as_bytes());
    LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM_SIV, file_key.expose()).expect("the key has the cipher's length"),
    )
}

/// Which of the two sealed parts of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramePart {
    /// The fixed part that tells what follows.
    Head,
    /// What the frame carries.
    Body,
}

/// Where a sealed part lies in its journal file; the place is the nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FramePlace {
    /// Number of the frame's first sector in its file.
    pub sector: u64,
    /// Which part of the frame.
    pub part: FramePart,
}

impl FramePlace {
    fn nonce(self) -> Nonce {
        let mut bytes = [0; CIPHER_NONCE_LEN];
        bytes[..8].copy_from_slice(&self.sector.to_le_bytes());
        bytes[8] = match self.part {
            FramePart::Head => 1,
            FramePart::Body => 2,
        };
        Nonce::assume_unique_for_key(bytes)
    }
}

/// Seals the frames of one use of one journal file.
pub struct FrameSealer {
    key: LessSafeKey,
}

impl FrameSealer {
    /// Seals `bytes` in place and returns the tag. A place is sealed once in one use of a file.
    #[must_use]
    pub fn seal(&self, place: FramePlace, beside: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .key
            .seal_in_place_separate_tag(place.nonce(), Aad::from(beside), bytes)
            .expect("a frame is far shorter than the 64 GiB that the cipher can seal at once");
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Opens `sealed` (ciphertext, then tag) in place; nothing if it was not sealed for this place, this use
    /// and these bytes beside it, and then the content of `sealed` is undefined.
    #[must_use]
    pub fn open<'a>(&self, place: FramePlace, beside: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.key.open_in_place(place.nonce(), Aad::from(beside), sealed).ok()
    }
}

/// Seals the pages of one page file.
pub struct PageSealer {
    key: LessSafeKey,
    file_id: [u8; SALT_LEN],
}

impl PageSealer {
    /// Seals what belongs at `place` into `sealed`, which is [`PAGE_OVERHEAD_LEN`] longer than `plain` and brings a
    /// random nonce as its first [`PAGE_NONCE_LEN`] bytes.
    pub fn seal(&self, place: u64, plain: &[u8], sealed: &mut [u8]) {
        let (nonce, rest) = sealed.split_at_mut(PAGE_NONCE_LEN);
        let (body, tag) = rest.split_at_mut(plain.len());
        let (nonce, beside) = self.bind(place, nonce);
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(&beside), plain, body, &[], tag)
            .expect("the body has the length of the plaintext and the tag the cipher's");
    }

    /// Opens what was sealed for `place` into `plain`. False if it was not sealed for this file and this place, or
    /// has another length; then the content of `plain` is undefined. An older version of the same page opens too.
    #[must_use]
    pub fn open(&self, place: u64, sealed: &[u8], plain: &mut [u8]) -> bool {
        if sealed.len() != plain.len() + PAGE_OVERHEAD_LEN {
            return false;
        }
        let (nonce, rest) = sealed.split_at(PAGE_NONCE_LEN);
        let (body, tag) = rest.split_at(plain.len());
        let (nonce, beside) = self.bind(place, nonce);
        self.key.open_separate_gather(nonce, Aad::from(&beside), body, tag, plain).is_ok()
    }

    /// The cipher's nonce, and what is authenticated beside the page: file, place, rest of the nonce.
    fn bind(
        &self,
        place: u64,
        nonce: &[u8],
    ) -> (Nonce, [u8; SALT_LEN + 8 + PAGE_NONCE_LEN - CIPHER_NONCE_LEN]) {
        let mut cipher_nonce = [0; CIPHER_NONCE_LEN];
        cipher_nonce.copy_from_slice(&nonce[..CIPHER_NONCE_LEN]);
        let mut beside = [0; SALT_LEN + 8 + PAGE_NONCE_LEN - CIPHER_NONCE_LEN];
        beside[..SALT_LEN].copy_from_slice(&self.file_id);
        beside[SALT_LEN..SALT_LEN + 8].copy_from_slice(&place.to_le_bytes());
        beside[SALT_LEN + 8..].copy_from_slice(&nonce[CIPHER_NONCE_LEN..PAGE_NONCE_LEN]);
        (Nonce::assume_unique_for_key(cipher_nonce), beside)
    }
}

/// Bytes without end that look like anything sealed: the fill of space that holds nothing yet.
pub struct Noise {
    reader: blake3::OutputReader,
}

impl Noise {
    /// Noise that follows from `seed`.
    pub fn new(seed: &Secret<32>) -> Self {
        Self { reader: blake3::Hasher::new_keyed(seed.expose()).finalize_xof() }
    }

    /// Fills `out` with the next bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.reader.fill(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8) -> LocalKeys {
        LocalKeys::derive(&Secret::new([byte; 32]))
    }

    const PLACE: FramePlace = FramePlace { sector: 8, part: FramePart::Body };

    fn sealed_frame() -> Vec<u8> {
        let mut frame = b"what happened".to_vec();
        let tag = keys(1).frames(&[7; SALT_LEN]).seal(PLACE, b"beside", &mut frame);
        frame.extend_from_slice(&tag);
        frame
    }

    #[test]
    fn frame_opens_only_with_its_key_salt_place_and_neighbour() {
        let open = |root, salt, place, beside: &[u8]| {
            let mut frame = sealed_frame();
            keys(root).frames(&[salt; SALT_LEN]).open(place, beside, &mut frame).map(|plain| plain.to_vec())
        };
        assert_eq!(open(1, 7, PLACE, b"beside").unwrap(), b"what happened");
        assert!(open(2, 7, PLACE, b"beside").is_none());
        assert!(open(1, 8, PLACE, b"beside").is_none());
        assert!(open(1, 7, FramePlace { sector: 9, ..PLACE }, b"beside").is_none());
        assert!(open(1, 7, FramePlace { part: FramePart::Head, ..PLACE }, b"beside").is_none());
        assert!(open(1, 7, PLACE, b"besides").is_none());
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_refused() {
        let sealer = keys(1).frames(&[7; SALT_LEN]);
        for bit in 0..sealed_frame().len() * 8 {
            let mut frame = sealed_frame();
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(PLACE, b"beside", &mut frame).is_none(), "bit {bit}");
        }
    }

    const PAGE_LEN: usize = 4096;

    #[test]
    fn every_flipped_byte_of_a_page_is_refused() {
        let sealer = keys(1).pages(&[3; SALT_LEN]);
        let mut plain = [0; PAGE_LEN];
        plain[17] = 99;
        let mut sealed = [5; PAGE_LEN + PAGE_OVERHEAD_LEN];
        sealer.seal(4, &plain, &mut sealed);
        let mut out = [0; PAGE_LEN];
        assert!(sealer.open(4, &sealed, &mut out));
        assert_eq!(out, plain);
        for at in 0..sealed.len() {
            sealed[at] ^= 0x10;
            assert!(!sealer.open(4, &sealed, &mut out), "byte {at}");
            sealed[at] ^= 0x10;
        }
    }

    #[test]
    fn page_of_another_place_file_key_or_length_is_refused() {
        let mut sealed = [5; PAGE_LEN + PAGE_OVERHEAD_LEN];
        keys(1).pages(&[3; SALT_LEN]).seal(4, &[1; PAGE_LEN], &mut sealed);
        let mut out = [0; PAGE_LEN];
        assert!(!keys(1).pages(&[3; SALT_LEN]).open(5, &sealed, &mut out));
        assert!(!keys(1).pages(&[4; SALT_LEN]).open(4, &sealed, &mut out));
        assert!(!keys(2).pages(&[3; SALT_LEN]).open(4, &sealed, &mut out));
        assert!(!keys(1).pages(&[3; SALT_LEN]).open(4, &sealed[..PAGE_LEN], &mut out));
    }

    #[test]
    fn noise_does_not_repeat() {
        let mut noise = Noise::new(&Secret::new([9; 32]));
        let (mut first, mut second) = ([0; 64], [0; 64]);
        noise.fill(&mut first);
        noise.fill(&mut second);
        assert_ne!(first, second);
    }
}
