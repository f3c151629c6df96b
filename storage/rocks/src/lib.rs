//! The database port on RocksDB: one column family a table, one write-ahead log, synced batches; the long values of large
//! batches lie in files beside it, to which they are written once.
//!
//! The crate translates and bounds; it decides nothing about the chain. A directory is taken only if it is empty or says
//! in its `FORMAT` file that it is a database of this program in a version it knows. One process may have it open.
//!
//! Memory is bounded by [`RocksOptions`]: the block cache, which also holds indexes and filters, and the write buffers of
//! all tables together. After a crash the log is replayed up to its last whole record; damage anywhere else is refused at
//! opening. After a failed write further ones are refused.

mod database;
mod error;
mod format;
mod framing;
mod options;
mod pace;
mod record;
mod small_files;
mod stats;
mod value_files;

pub use database::RocksDatabase;
pub use error::OpenError;
pub use format::is_database;
pub use framing::{FileDamage, check_logs, check_values};
pub use options::RocksOptions;
pub use stats::{DirectoryStats, TableStats};
