//! From a database to a ledger: what is read and compared before the first block.

use super::{BranchState, Ledger, LedgerConfig, read_head, read_next};
use crate::epoch::{NamedSet, OpenedEpoch};
use crate::error::LedgerError;
use crate::genesis::write_genesis;
use crate::pending::{PendingBlocks, StoredBlocks};
use crate::reader::{Published, Reader};
use crate::signatures::SignatureChecker;
use cairn_primitives::header::DigestItem;
use cairn_primitives::{Header, Height, TimestampMs};
use cairn_runtime::{RulesSchedule, last_upgrade};
use cairn_storage::{Database, DatabaseError, Durability, StateHead, StateStore, Table, WriteBatch, blocks};
use std::sync::Arc;

impl Ledger {
    /// Opens the chain in `database`; an empty database is given the genesis block.
    ///
    /// # Errors
    /// The database fails, is damaged or belongs to another chain or one whose rules changed elsewhere.
    pub fn open(database: Arc<dyn Database>, config: LedgerConfig) -> Result<Self, LedgerError> {
        let LedgerConfig { genesis, schedule, rules, spec_hash, state, limits, signers } = config;
        let mut state = StateStore::open(database.clone(), state)?;
        match blocks::chain_identity(&*database)? {
            Some(identity) if identity.genesis_hash != genesis.hash() => {
                return Err(LedgerError::OtherChain { found: identity.genesis_hash, expected: genesis.hash() });
            }
            Some(_) => {}
            None => write_genesis(&*database, &mut state, &genesis, spec_hash)?,
        }
        let head = blocks::head(&*database)?
            .ok_or_else(|| LedgerError::Genesis("the database names a chain, but has no head".into()))?;
        if state.head() != Some(StateHead { height: head.height, root: head.state_root }) {
            let reason = format!("the state is not that of head {} at height {}", head.hash, head.height);
            return Err(DatabaseError::damaged(Table::Meta, reason).into());
        }
        let header = blocks::header(&*database, head.height)?
            .ok_or_else(|| DatabaseError::damaged(Table::Headers, format!("no header at the head, {}", head.height)))?;
        check_rules(&*database, &state, &rules, head.height)?;
        let head_timestamp = timestamp_of(&header)?;
        let epoch = OpenedEpoch::read(&*database, schedule, head.height)?;
        let next = open_next(&state, &header)?;
        let stored = open_stored(&*database, &head)?;
        let published = Published {
            head: read_head(&head, head_timestamp),
            state: state.view(),
            epoch: epoch.clone(),
            history: head.history.clone(),
        };
        let reader = Reader::new(database.clone(), &genesis, (schedule, rules.clone()), published, state.read_model());
        let signatures = SignatureChecker::new(genesis.hash(), rules.clone(), signers);
        Ok(Self {
            database,
            state,
            genesis,
            schedule,
            rules,
            limits,
            head,
            head_timestamp,
            validators: NamedSet::new(epoch.validators.clone()),
            epoch,
            next,
            pending: PendingBlocks::default(),
            stored,
            signatures,
            reader,
        })
    }
}

fn timestamp_of(header: &Header) -> Result<TimestampMs, LedgerError> {
    Ok(header.context().map_err(|error| LedgerError::Genesis(error.to_string()))?.timestamp)
}

/// Whether the rules of the committed blocks changed where the chain spec says, and nowhere else; blocks that are not here are not
/// looked at.
fn check_rules(
    database: &dyn Database,
    state: &StateStore,
    rules: &RulesSchedule,
    head: Height,
) -> Result<(), LedgerError> {
    for upgrade in rules.upgrades().iter().take_while(|upgrade| upgrade.height <= head.next()) {
        let header = blocks::header(database, Height(upgrade.height.0.saturating_sub(1)))?;
        if header.is_some_and(|header| !header.digest.contains(&DigestItem::RuntimeEnvironmentUpdated)) {
            return Err(LedgerError::OtherRules(*upgrade));
        }
    }
    // Headers may be missing, the state is here; versions rise, so that the last change tells of all.
    let made = last_upgrade(&BranchState { state, overlay: None });
    let made = made.map_err(|error| LedgerError::Execution(error.to_string()))?;
    let is_named =
        |version| rules.upgrades().iter().any(|upgrade| upgrade.height <= head && upgrade.spec_version == version);
    match (rules.last_change(head), made) {
        (Some(last), Some(found)) if last.spec_version == found => Ok(()),
        (_, Some(found)) if !is_named(found) => Err(LedgerError::UnnamedRules { found, head }),
        (Some(last), _) => Err(LedgerError::OtherRules(last)),
        (None, _) => Ok(()),
    }
}

/// The validators of the next epoch in the committed state, which are those that the head's header names.
fn open_next(state: &StateStore, header: &Header) -> Result<NamedSet, LedgerError> {
    let next = read_next(&BranchState { state, overlay: None })?;
    let named = header.context().map_err(|error| DatabaseError::damaged(Table::Headers, error))?.next_validators_hash;
    if next.hash != named {
        let reason = format!("the next validators in the state hash to {}, the head names {named}", next.hash);
        return Err(DatabaseError::damaged(Table::StatePages, reason).into());
    }
    Ok(next)
}

/// The certified blocks on disk; those that cannot become final any more are deleted.
fn open_stored(database: &dyn Database, head: &blocks::Head) -> Result<StoredBlocks, LedgerError> {
    let mut stored = StoredBlocks::default();
    for (hash, block) in blocks::pending::all(database)? {
        stored.insert(hash, &block.header);
    }
    let mut batch = WriteBatch::new();
    for hash in stored.commit(head.hash, head.height) {
        blocks::pending::delete(&mut batch, &hash);
    }
    if !batch.is_empty() {
        database.write(batch, Durability::Unsynced)?;
    }
    Ok(stored)
}
