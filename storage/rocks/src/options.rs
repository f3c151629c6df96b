//! How RocksDB is set up: small, bounded, and each table by the way it is used.

use crate::value_files;
use cairn_storage::Table;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompactionStyle, DBCompressionType, DBRecoveryMode,
    DataBlockIndexType, LogLevel, Options,
};

const MIB: usize = 1 << 20;
/// All write buffers are flushed when that of one table has this size, in bytes.
const WRITE_BUFFER_BYTES: usize = 16 * MIB;
/// Write buffers of all tables together, in bytes: above it they are on their way to the disk, and until they are there others
/// fill, as much again at most.
const WRITE_BUFFERS_BYTES: usize = 48 * MIB;
/// A level-0 file holds what one table got while another filled its write buffer: often very little. So many are merged.
const LEVEL_0_FILES: i32 = 8;
/// Whoever writes bulk waits while any table has so many full buffers that are not on disk, or one of its own so many files in level
/// 0. RocksDB holds everybody up at one buffer more, and at twice as many files.
pub(crate) const BUFFERS_WAITED_FOR: u64 = 2;
pub(crate) const LEVEL_0_FILES_WAITED_FOR: u64 = 24;
const BUFFERS_MAX: i32 = 3;
const LEVEL_0_FILES_SLOW: i32 = 48;
const LEVEL_0_FILES_MAX: i32 = 64;
/// Values of tables of large records lie in files of this size beside the sorted ones, in bytes, so that merging moves keys only.
const BLOB_FILE_BYTES: u64 = 32 << 20;
/// Values that are moved together are read so far ahead, in bytes: they lie in the order of their keys. One by one, each would be
/// a read of its own. A merge has such a buffer for each file that it moves values from, a quarter of all at most.
const BLOB_READ_AHEAD_BYTES: u64 = 128 << 10;
/// The sorted files of such tables, which hold keys, are small, in bytes: checkpoints write pages in the order of their keys, and
/// what is merged with them is what lies between the same keys. Of one large file all keys would be, and old values would be
/// moved just before they are replaced.
const KEY_FILE_BYTES: u64 = 512 << 10;
/// The sorted files of the other tables, in bytes.
const TABLE_FILE_BYTES: u64 = 64 << 20;
/// Shorter values lie with their keys, in bytes.
const BLOB_BYTES_MIN: u64 = 128;
/// The log is cut by flushing the oldest buffers above this size, in bytes: it bounds the time of recovery.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Table files that are open at once.
const OPEN_FILES_MAX: i32 = 512;
/// Filter size: one lookup in a hundred of an absent key reads a block.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Records of bulk are compressed with their neighbours in blocks of this size, in bytes.
const BULK_BLOCK_BYTES: usize = 16 << 10;
/// The level of compression for bulk: half the time of the default one, for a twentieth more bytes.
const ZSTD_LEVEL_FAST: i32 = 1;
/// RocksDB's default; only zlib heeds it.
const ZLIB_WINDOW_BITS: i32 = -14;

/// What the operator chooses.
#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    /// The block cache of all tables, indexes and filters included, in bytes.
    pub cache_bytes: usize,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 * MIB }
    }
}

/// How a table is read.
enum Access {
    /// By whole keys that are hashes; absent ones are asked for. Records come and go.
    Point,
    /// The same of records that stay for good. Their keys lie everywhere, so that to merge new ones into one sorted whole is to
    /// write all of it again; files of about the same age are merged instead, which writes a record as often as it doubles.
    Index,
    /// By whole keys, hot, and in order at opening; all are replaced again and again.
    Page,
    /// In order, large records, deleted from the first on.
    Log,
    /// In order or by height, small records.
    Ordered,
    /// In order or by height, records worth a good compression: the same at all levels, so that files that follow one another are
    /// not written again on their way down.
    Bulk,
    /// The same, of bodies: signatures and accounts, in which nothing repeats but whole accounts. A fast compression finds those,
    /// a good one hardly more (a hundredth of the bytes).
    Bodies,
}

const fn access(table: Table) -> Access {
    match table {
        Table::PendingBlocks => Access::Point,
        Table::Heights | Table::Transactions => Access::Index,
        Table::StatePages => Access::Page,
        Table::Meta
        | Table::Hashes
        | Table::Finalizations
        | Table::ValidatorSets
        | Table::Journal
        | Table::StateKeys
        | Table::StateNodes => Access::Ordered,
        Table::StateDiffs => Access::Log,
        Table::Headers | Table::Events | Table::StateHistory => Access::Bulk,
        Table::Bodies => Access::Bodies,
    }
}

/// Whether files of a table can be merged by ranges of keys. Of an index all would be.
pub(crate) const fn merges_ranges(table: Table) -> bool {
    !matches!(access(table), Access::Index)
}

/// How large the sorted files of a table become when they are merged, in bytes.
pub(crate) const fn file_bytes(table: Table) -> u64 {
    match access(table) {
        Access::Page | Access::Log => KEY_FILE_BYTES,
        Access::Point | Access::Index | Access::Ordered | Access::Bulk | Access::Bodies => TABLE_FILE_BYTES,
    }
}

pub(crate) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A record that a crash cut short at the very end is dropped; damage before it is refused.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    // Derived batches are in no log: all tables reach the disk together, or one could be ahead of what another says of it.
    options.set_atomic_flush(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_open_files(OPEN_FILES_MAX);
    // One flush and, once files wait, two merges: that of a large index takes minutes, and the other tables go on beside it.
    options.set_max_background_jobs(3);
    // Table files reach the disk little by little, not in one stall.
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * MIB);
    options
}

pub(crate) fn column_families(cache: &Cache) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    let tables = Table::ALL.into_iter().map(|table| (table.name(), access(table), file_bytes(table)));
    let all = tables.chain([(value_files::FAMILY, Access::Ordered, TABLE_FILE_BYTES)]);
    all.map(|(name, access, bytes)| ColumnFamilyDescriptor::new(name, column_family(access, bytes, cache)))
}

fn column_family(access: Access, file_bytes: u64, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(BUFFERS_MAX);
    options.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_SLOW);
    options.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_MAX);
    options.set_level_zero_file_num_compaction_trigger(LEVEL_0_FILES);
    options.set_target_file_size_base(file_bytes);
    match access {
        Access::Point => by_whole_keys(&mut blocks, &mut options),
        Access::Index => {
            by_whole_keys(&mut blocks, &mut options);
            options.set_compaction_style(DBCompactionStyle::Universal);
            // Otherwise all of it would be written again every thirty days.
            options.set_ttl(0);
            options.set_periodic_compaction_seconds(0);
        }
        Access::Page => {
            by_whole_keys(&mut blocks, &mut options);
            blocks.set_block_restart_interval(4);
            separate_values(&mut options);
        }
        Access::Log => {
            options.set_compression_type(DBCompressionType::None);
            separate_values(&mut options);
        }
        Access::Ordered => options.set_compression_type(DBCompressionType::Lz4),
        Access::Bodies => {
            blocks.set_block_size(BULK_BLOCK_BYTES);
            options.set_compression_type(DBCompressionType::Lz4);
        }
        Access::Bulk => {
            blocks.set_block_size(BULK_BLOCK_BYTES);
            options.set_compression_type(DBCompressionType::Zstd);
            options.set_compression_options(ZLIB_WINDOW_BITS, ZSTD_LEVEL_FAST, 0, 0);
        }
    }
    options.set_block_based_table_factory(&blocks);
    options
}

/// Finds records by their whole keys, or says soon that there is none. Hashes do not get shorter.
fn by_whole_keys(blocks: &mut BlockBasedOptions, options: &mut Options) {
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    options.set_compression_type(DBCompressionType::None);
}

/// Keeps values apart from keys. Files of which most is garbage are rewritten, from the oldest on.
fn separate_values(options: &mut Options) {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_file_size(BLOB_FILE_BYTES);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(0.25);
    options.set_blob_gc_force_threshold(0.5);
    options.set_blob_compaction_readahead_size(BLOB_READ_AHEAD_BYTES);
}
