//! Every limit of the chunk space by name. What a caller may choose is in `SpaceOptions`; these are the
//! rest, and the defaults.

use std::time::Duration;

/// Shortest piece that content-defined cutting makes, except for the last one of a file, in bytes. A file
/// below this length is one chunk.
pub const CUT_LEN_MIN: usize = 256 * 1024;
/// Length at which cutting turns from reluctant to eager, in bytes; pieces are this long on average.
pub const CUT_LEN_AVERAGE: usize = 1024 * 1024;

/// Packs that grow at the same time. Chunks cut from larger files are spread over them, so that the ranges
/// read from a store do not show where one file's chunks begin and end; smaller chunks share the first.
pub const LANES: usize = 2;

/// Threads that compress and seal at once, hence also the memory they need: each holds at most two chunks.
pub const SEALERS_MAX: usize = 8;

/// Buffers for sealed bytes on their way to a reader, each at most one chunk long.
pub const READ_BUFFERS_MAX: usize = 16;

/// Default for the plaintext blocks kept in memory, in bytes.
pub const BLOCK_CACHE_LEN_DEFAULT: usize = 64 * 1024 * 1024;

/// Layouts of chunks kept in memory; one takes one to two kilobytes, most of it an expanded key.
pub const LAYOUTS_MAX: usize = 4 * 1024;

/// Staged packs whose handles stay open once they take no more chunks: each is one file descriptor.
pub const HANDLES_MAX: usize = 64;

/// Names of packs kept in memory, so that a read does not compute one.
pub const PACK_NAMES_MAX: usize = 16 * 1024;

/// Unit in which sealed bytes of a remote pack are asked for and kept on the local disk, in bytes. Pieces
/// begin at multiples of it, so that what is asked for does not show where a chunk begins or ends.
pub const PIECE_LEN: u32 = 256 * 1024;

/// Sealed pieces kept in memory when there is no cache on the local disk, in bytes.
pub const PIECES_IN_MEMORY_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Chunks that may wait for being fetched ahead; hints beyond are dropped.
pub const PREFETCH_QUEUE_MAX: usize = 64;

/// Threads that fetch ahead, at most.
pub const PREFETCH_THREADS_MAX: usize = 16;

/// Salts drawn from the environment in one go.
pub const SALTS_DRAWN: usize = 256;

/// Counters that are tried for a new pack when a crash left staged packs under the first ones.
pub const PACK_COUNTERS_TRIED_MAX: usize = 256;

/// First pause after a failed upload.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause between two tries of an upload, and the pause where only a person can help.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
