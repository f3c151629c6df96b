//! The read model: committed blocks and the states after them, for any number of threads.
//!
//! A reader sees the head as of its last publication and everything below; what the writer does meanwhile is invisible.

use crate::backfill::{self, LowestBlock};
use crate::epoch::{Handover, OpenedEpoch};
use crate::error::{LedgerError, ReadError};
use crate::genesis::Genesis;
use crate::history::HistoryGroups;
use crate::signatures::Ancestors;
use crate::snapshot::SnapshotSource;
use cairn_primitives::list_tree::{InclusionProof, ListAccumulator};
use cairn_primitives::state_proof::StateProof;
use cairn_primitives::{
    Certificate, Epoch, EpochSchedule, FinalizedBlock, Hash, Header, Height, TimestampMs, ValidatorSet, View,
};
use cairn_runtime::{BlockHashes, CallContext, CallError, RulesSchedule, StateReadError, StateReader, TakeValue, keys};
use cairn_storage::{Database, DatabaseError, DatabaseView, StateReadModel, StateView, Table, blocks};
use parity_scale_codec::Encode;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The newest committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// The root of the state after it.
    pub state_root: Hash,
    /// Its timestamp.
    pub timestamp: TimestampMs,
}

/// What readers see at once.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) head: Head,
    pub(crate) state: StateView,
    pub(crate) epoch: OpenedEpoch,
    /// The hashes of all headers below the head.
    pub(crate) history: ListAccumulator,
}

/// Reads committed blocks and their states; cheap to clone.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

struct Shared {
    database: Arc<dyn Database>,
    states: StateReadModel,
    genesis: Hash,
    schedule: EpochSchedule,
    rules: RulesSchedule,
    history: HistoryGroups,
    published: RwLock<Published>,
}

impl Reader {
    pub(crate) fn new(
        database: Arc<dyn Database>,
        genesis: &Genesis,
        (schedule, rules): (EpochSchedule, RulesSchedule),
        published: Published,
        states: StateReadModel,
    ) -> Self {
        Self(Arc::new(Shared {
            database,
            states,
            genesis: genesis.hash(),
            schedule,
            rules,
            history: HistoryGroups::default(),
            published: RwLock::new(published),
        }))
    }

    pub(crate) fn publish(&self, published: Published) {
        *self.0.published.write().unwrap_or_else(PoisonError::into_inner) = published;
    }

    fn published(&self) -> RwLockReadGuard<'_, Published> {
        // One assignment under the lock: a panic elsewhere cannot leave it half done.
        self.0.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self) -> &dyn DatabaseView {
        &*self.0.database
    }

    /// The newest committed block.
    #[must_use]
    pub fn head(&self) -> Head {
        self.published().head
    }

    /// Bytes of the head's state that no checkpoint has written yet.
    #[must_use]
    pub fn unsaved_state_bytes(&self) -> usize {
        self.0.states.unsaved_bytes()
    }

    /// The hash of the genesis block.
    #[must_use]
    pub fn genesis_hash(&self) -> Hash {
        self.0.genesis
    }

    /// The epoch of the block after the head.
    #[must_use]
    pub fn current_epoch(&self) -> OpenedEpoch {
        self.published().epoch.clone()
    }

    /// Which heights belong to which epoch.
    #[must_use]
    pub fn schedule(&self) -> EpochSchedule {
        self.0.schedule
    }

    /// Which rules hold at which height.
    #[must_use]
    pub fn rules(&self) -> &RulesSchedule {
        &self.0.rules
    }

    /// The validators that vote on the block at `height`, and their epoch; genesis counts as the first epoch's.
    ///
    /// # Errors
    /// The epoch of that height has not begun, or the database failed.
    pub fn validators(&self, height: Height) -> Result<(Epoch, Arc<ValidatorSet>), ReadError> {
        let epoch = self.0.schedule.epoch_of(height);
        Ok((epoch, self.validators_of(epoch)?))
    }

    /// The validators of an epoch.
    ///
    /// # Errors
    /// The epoch has not begun, or the database failed.
    pub fn validators_of(&self, epoch: Epoch) -> Result<Arc<ValidatorSet>, ReadError> {
        let current = self.current_epoch();
        if epoch >= current.epoch {
            return if epoch == current.epoch { Ok(current.validators) } else { Err(ReadError::UnknownEpoch(epoch)) };
        }
        blocks::validator_set(self.view(), epoch)?.map(Arc::new).ok_or(ReadError::UnknownEpoch(epoch))
    }

    /// What shows that `epoch` handed over to the next; `None` where it has not ended.
    ///
    /// # Errors
    /// The database failed, or lacks a part of it.
    pub fn handover(&self, epoch: Epoch) -> Result<Option<Handover>, ReadError> {
        let Some(height) = self.0.schedule.closing(epoch).filter(|height| *height <= self.head().height) else {
            return Ok(None);
        };
        let missing = |table| DatabaseError::Missing { table, reason: format!("the end of epoch {epoch}") };
        let closing = blocks::header(self.view(), height)?.ok_or_else(|| missing(Table::Headers))?;
        let finalization = blocks::finalization(self.view(), height)?.ok_or_else(|| missing(Table::Finalizations))?;
        Ok(Some(Handover { closing, finalization, validators: self.validators_of(epoch.next())? }))
    }

    /// The hash of the block at a height; `None` above the head.
    ///
    /// # Errors
    /// The database failed.
    pub fn block_hash(&self, height: Height) -> Result<Option<Hash>, ReadError> {
        if height > self.head().height {
            return Ok(None);
        }
        Ok(blocks::hash_of(self.view(), height)?)
    }

    /// The height of a committed block.
    ///
    /// # Errors
    /// The database failed.
    pub fn height_of(&self, hash: &Hash) -> Result<Option<Height>, ReadError> {
        let head = self.head();
        if *hash == head.hash {
            return Ok(Some(head.height));
        }
        let height = blocks::height_of(self.view(), hash)?;
        Ok(height.filter(|height| *height <= head.height))
    }

    /// The header of a committed block.
    ///
    /// # Errors
    /// The database failed.
    pub fn header(&self, hash: &Hash) -> Result<Option<Header>, ReadError> {
        Ok(self.height_of(hash)?.map(|height| blocks::header(self.view(), height)).transpose()?.flatten())
    }

    /// A committed block with its own finalization, if it has one; `None` for an unknown hash.
    ///
    /// # Errors
    /// Only the header is here; the database failed.
    pub fn block(&self, hash: &Hash) -> Result<Option<FinalizedBlock>, ReadError> {
        let Some(height) = self.height_of(hash)? else { return Ok(None) };
        let block = blocks::finalized_block(self.view(), height)?;
        block.ok_or_else(|| self.not_kept()).map(Some)
    }

    /// The committed block at a height with its own finalization, if it has one; `None` where it is not here.
    ///
    /// # Errors
    /// The database failed.
    pub fn block_at(&self, height: Height) -> Result<Option<FinalizedBlock>, ReadError> {
        if height > self.head().height {
            return Ok(None);
        }
        Ok(blocks::finalized_block(self.view(), height)?)
    }

    /// The encoded `Vec<EventRecord>` of a committed block; `None` for an unknown hash.
    ///
    /// # Errors
    /// Only the header is here; the database failed.
    pub fn events(&self, hash: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(height) = self.height_of(hash)? else { return Ok(None) };
        self.events_at(height)?.ok_or_else(|| self.not_kept()).map(Some)
    }

    /// The encoded `Vec<EventRecord>` of the committed block at a height; `None` where it is not here.
    ///
    /// # Errors
    /// The database failed.
    pub fn events_at(&self, height: Height) -> Result<Option<Vec<u8>>, ReadError> {
        if height > self.head().height {
            return Ok(None);
        }
        Ok(blocks::events(self.view(), height)?)
    }

    /// Why a block whose header is here is not.
    fn not_kept(&self) -> ReadError {
        self.lowest_block().map_or_else(|error| error, |lowest| ReadError::BlockNotKept { lowest })
    }

    /// What makes the block at `height` final: its own finalization or the first of a descendant, with that block's
    /// header. `None` for genesis and above the head.
    ///
    /// # Errors
    /// The database failed.
    pub fn finalization_for(&self, height: Height) -> Result<Option<(Header, Certificate)>, ReadError> {
        if height == Height::ZERO {
            return Ok(None);
        }
        let Some((at, certificate)) = blocks::finalization_from(self.view(), height)? else { return Ok(None) };
        if at > self.head().height {
            return Ok(None);
        }
        Ok(blocks::header(self.view(), at)?.map(|header| (header, certificate)))
    }

    /// The block's own finalization; `None` where a descendant's covers it.
    ///
    /// # Errors
    /// The database failed.
    pub fn finalization(&self, height: Height) -> Result<Option<Certificate>, ReadError> {
        Ok(blocks::finalization(self.view(), height)?)
    }

    /// What the head has of the running epoch: the view of its finalization, or else the one in which it was proposed; and that
    /// finalization. The block that opened the epoch is its view 0, whatever view of the last epoch it was proposed in.
    ///
    /// # Errors
    /// The database failed or is damaged.
    pub fn head_view(&self) -> Result<(View, Option<Certificate>), ReadError> {
        let (head, opening) = (self.head(), self.current_epoch().opening);
        let finalization = self.finalization(head.height)?;
        let view = match (&finalization, self.header(&head.hash)?) {
            _ if head.height == opening.height => View::ZERO,
            (Some(certificate), _) => certificate.subject.view(),
            (None, Some(header)) => {
                header.context().map_err(|error| DatabaseError::damaged(Table::Headers, error))?.view
            }
            (None, None) => View::ZERO,
        };
        Ok((view, finalization))
    }

    /// Where a transaction is: height and index.
    ///
    /// # Errors
    /// The database failed.
    pub fn transaction(&self, hash: &Hash) -> Result<Option<(Height, u32)>, ReadError> {
        let found = blocks::transaction_location(self.view(), hash)?;
        Ok(found.filter(|(height, _)| *height <= self.head().height))
    }

    /// The state after the newest committed block.
    #[must_use]
    pub fn state_at_head(&self) -> HeadState {
        HeadState(self.published().state.clone())
    }

    /// The state after a committed block.
    ///
    /// # Errors
    /// The block is unknown or its state was pruned, or the database failed.
    pub fn state_at(&self, hash: &Hash) -> Result<StateAt, ReadError> {
        // Most ask at the head, whose state is at hand: nothing is looked up for them.
        let newest = {
            let published = self.published();
            (published.head.hash == *hash).then(|| (published.head.height, published.state.clone()))
        };
        if let Some((height, state)) = newest {
            return Ok(StateAt { reader: self.clone(), height, newest: Some(state) });
        }
        let height = self.height_of(hash)?.ok_or(ReadError::UnknownBlock(*hash))?;
        let lowest = self.0.states.lowest_height();
        if height < lowest {
            return Err(ReadError::Pruned { height, lowest });
        }
        Ok(StateAt { reader: self.clone(), height, newest: None })
    }

    /// The newest committed block and the state after it, to be made a snapshot while blocks go on.
    ///
    /// # Errors
    /// The block is genesis; the database failed.
    pub fn snapshot(&self) -> Result<SnapshotSource, ReadError> {
        let published = self.published().clone();
        SnapshotSource::new(self.view(), self, published)
    }

    /// The lowest height whose state can be read.
    #[must_use]
    pub fn lowest_state(&self) -> Height {
        self.0.states.lowest_height()
    }

    /// The lowest height from which on all blocks are here: that of the snapshot that the node began with, if it did, or what
    /// was added below it.
    ///
    /// # Errors
    /// The database failed.
    pub fn lowest_block(&self) -> Result<Height, ReadError> {
        Ok(blocks::lowest_block(self.view())?)
    }

    /// Where the blocks end that are here; `None` where no block is missing.
    ///
    /// # Errors
    /// The database failed or is damaged.
    pub fn wanted_below(&self) -> Result<Option<LowestBlock>, ReadError> {
        Ok(backfill::wanted(self.view())?)
    }

    /// Proves that the block at a height is in the history of a later committed block.
    ///
    /// # Errors
    /// `block` is not below `under`, or `under` above the head; headers are missing here; the database failed.
    pub fn prove_history(&self, block: Height, under: Height) -> Result<InclusionProof, ReadError> {
        let head = self.head().height;
        if under > head {
            return Err(ReadError::NotBelow { block: under, under: head.next() });
        }
        self.0.history.prove(self.view(), block, under)
    }

    /// Proofs of what the state after a committed block holds under `keys`, all of that one version, in order.
    ///
    /// # Errors
    /// The block is unknown, its tree is no longer kept, or the database failed.
    pub fn prove(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<StateProof>, ReadError> {
        let height = self.height_of(at)?.ok_or(ReadError::UnknownBlock(*at))?;
        Ok(self.0.states.prove(height, keys)?)
    }
}

impl Ancestors for Reader {
    fn hash_at(&self, height: Height) -> Result<Option<Hash>, LedgerError> {
        Ok(blocks::hash_of(self.view(), height)?)
    }
}

impl BlockHashes for Reader {
    fn block_hash(&self, height: Height) -> Result<Option<Hash>, StateReadError> {
        Self::block_hash(self, height).map_err(StateReadError::new)
    }
}

/// The state after the newest committed block, fixed at the time of asking.
#[derive(Clone)]
pub struct HeadState(StateView);

impl StateReader for HeadState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateReadError> {
        self.0.get(key).map_err(StateReadError::new)
    }

    fn get_many(&self, keys: &[&[u8]], take: &mut TakeValue<'_>) -> Result<(), StateReadError> {
        self.0.get_many(keys).map_err(StateReadError::new)?.iter().try_for_each(take)
    }
}

/// The state after one committed block, virtual keys included.
#[derive(Clone)]
pub struct StateAt {
    reader: Reader,
    height: Height,
    /// The view of the head, where the block is the head.
    newest: Option<StateView>,
}

impl StateAt {
    /// The height of the block.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The value under a key; keys that clients expect in the state but that are served from blocks count too.
    ///
    /// # Errors
    /// The database failed.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(value) = self.virtual_value(key)? {
            return Ok(Some(value));
        }
        match &self.newest {
            Some(view) => Ok(view.get(key)?),
            None => Ok(self.reader.0.states.get_at(self.height, key)?),
        }
    }

    /// At most `count` keys with a prefix, greater than `start`, in ascending order; virtual keys are not listed.
    ///
    /// # Errors
    /// The database failed.
    pub fn keys(&self, prefix: &[u8], start: Option<&[u8]>, count: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        Ok(self.reader.0.states.keys_at(self.height, prefix, start, count)?)
    }

    /// Runs a read-only function of the runtime on this state.
    ///
    /// # Errors
    /// The function is unknown, refuses its input, or the state cannot be read.
    pub fn call(&self, name: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
        let genesis_hash = self.reader.genesis_hash();
        let schedule = self.reader.rules();
        let context = CallContext { height: self.height, genesis_hash, block_hashes: &self.reader, schedule };
        cairn_runtime::call(name, input, self, &context)
    }

    fn virtual_value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let view = self.reader.view();
        if key == keys::CODE {
            return Ok(Some(cairn_runtime::code_marker(self.reader.rules().after(self.height)?)));
        }
        if key == keys::SYSTEM_NUMBER {
            return Ok(Some(self.height.0.encode()));
        }
        if key == keys::SYSTEM_EVENTS {
            return Ok(blocks::events(view, self.height)?);
        }
        if key == keys::SYSTEM_PARENT_HASH {
            return Ok(blocks::header(view, self.height)?.map(|header| header.parent_hash.encode()));
        }
        if key == keys::SYSTEM_DIGEST {
            return Ok(blocks::header(view, self.height)?.map(|header| header.digest.encode()));
        }
        if let Some(height) = keys::parse_block_hash(key) {
            // As in Substrate: the hashes of earlier blocks, as far back as an era may reach.
            let age =
                self.height.0.checked_sub(height.0).filter(|age| (1..=cairn_runtime::BLOCK_HASH_COUNT).contains(age));
            return Ok(if age.is_some() { blocks::hash_of(view, height)?.map(|hash| hash.encode()) } else { None });
        }
        Ok(None)
    }
}

impl StateReader for StateAt {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateReadError> {
        Self::get(self, key).map_err(StateReadError::new)
    }
}
