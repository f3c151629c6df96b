//! From a folder to a database, and from a database to a chain; what fails has its exit code.

use crate::config::{History, NodeConfig};
use crate::exit::{ExitContext as _, ExitKind};
use cairn_chain_spec::ChainSpec;
use cairn_ledger::{Genesis, Ledger, LedgerConfig, LedgerError, Signers};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_runtime::BlockLimits;
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_storage::{Database, HistoryMode, StateConfig};
use cairn_storage_rocks::{OpenError, RocksDatabase, RocksOptions};
use std::path::Path;
use std::sync::Arc;

/// Room in a block for everything but transactions, in bytes.
const BLOCK_OVERHEAD_BYTES: usize = 16 << 10;

fn state_cache_bytes(config: &NodeConfig) -> usize {
    usize::try_from(config.state.cache_bytes).unwrap_or(usize::MAX)
}

/// What the database has of the memory for state, in bytes.
pub fn block_cache_bytes(config: &NodeConfig) -> usize {
    state_cache_bytes(config) / 4
}

/// Opens the database in a folder, or makes a new one.
///
/// # Errors
/// The folder cannot be made; the database is locked, damaged, or of another format.
pub fn open_database(folder: &Path, cache_bytes: usize) -> anyhow::Result<Arc<RocksDatabase>> {
    std::fs::create_dir_all(folder)
        .exit_with(ExitKind::Config, format!("the data folder {} cannot be made (node.data_dir)", folder.display()))?;
    Ok(Arc::new(open_rocks(folder, cache_bytes)?))
}

/// Opens the database in a folder, which must exist.
///
/// # Errors
/// It is locked, damaged, foreign or of another format; each with its exit code.
pub fn open_rocks(folder: &Path, cache_bytes: usize) -> anyhow::Result<RocksDatabase> {
    RocksDatabase::open(folder, RocksOptions { cache_bytes }).map_err(|error| {
        let kind = match &error {
            OpenError::Locked { .. } => ExitKind::DatabaseLocked,
            OpenError::Newer { .. } | OpenError::Older { .. } | OpenError::Damaged { .. } => ExitKind::DatabaseDamaged,
            OpenError::Foreign { .. } | OpenError::Inaccessible { .. } | OpenError::Processor => ExitKind::Config,
        };
        anyhow::Error::new(crate::exit::Failure::new(kind, error.to_string()))
    })
}

/// Opens the chain in a database, which gets its genesis block if it is new.
///
/// # Errors
/// The database fails, is damaged or belongs to another chain; each with its exit code.
pub fn open_ledger(
    database: Arc<dyn Database>,
    config: &NodeConfig,
    spec: &ChainSpec,
    genesis: &Genesis,
) -> anyhow::Result<Ledger> {
    let history = match config.state.history {
        History::Archive => HistoryMode::Archive,
        History::Window(blocks) => HistoryMode::Window(blocks),
    };
    // The database has the last quarter.
    let cache_bytes = state_cache_bytes(config) / 4 * 3;
    let signers = Signers::with_memory(usize::try_from(config.state.signers_bytes).unwrap_or(usize::MAX));
    let state = StateConfig::for_memory(history, cache_bytes);
    let config = LedgerConfig { signers, ..ledger_config(spec, genesis.clone(), state) };
    Ledger::open(database, config).map_err(ledger_failure)
}

/// The chain of a chain spec, as a ledger keeps it.
pub fn ledger_config(spec: &ChainSpec, genesis: Genesis, state: StateConfig) -> LedgerConfig {
    LedgerConfig {
        genesis,
        schedule: spec.epoch_schedule(),
        rules: spec.rules(),
        spec_hash: spec.spec_hash(),
        state,
        limits: block_limits(),
        signers: Signers::default(),
    }
}

/// A failure of the ledger with its exit code.
pub fn ledger_failure(error: LedgerError) -> anyhow::Error {
    let kind = match &error {
        LedgerError::OtherChain { .. } | LedgerError::OtherRules(_) | LedgerError::UnnamedRules { .. } => {
            ExitKind::WrongChain
        }
        LedgerError::UnknownRules(_) => ExitKind::UnknownRules,
        LedgerError::Database(_)
        | LedgerError::State(_)
        | LedgerError::Genesis(_)
        | LedgerError::UnknownBlock(_)
        | LedgerError::WrongEpoch { .. }
        | LedgerError::UnprovedHandover { .. }
        | LedgerError::NotBelow { .. }
        | LedgerError::FinalizedInvalid { .. }
        | LedgerError::Execution(_) => ExitKind::DatabaseDamaged,
    };
    anyhow::Error::new(crate::exit::Failure::new(kind, error.to_string()))
}

/// Bounds of the blocks that this node builds.
pub const fn block_limits() -> BlockLimits {
    BlockLimits { bytes_max: BLOCK_BYTES_MAX - BLOCK_OVERHEAD_BYTES, weight_max: BLOCK_WEIGHT_MAX }
}
