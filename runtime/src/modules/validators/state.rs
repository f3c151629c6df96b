use crate::keys;
use crate::overlay::{StorageMap, StorageValue};
use crate::state::{StateReadError, StateReader};
use cairn_primitives::validator::ValidatorSetError;
use cairn_primitives::{AccountId32, Epoch, Power, PublicKey, Validator, ValidatorSet, View};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// A validator of the next epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Member {
    /// Its first key, which names it for ever.
    pub id: PublicKey,
    /// The key it votes with.
    pub key: PublicKey,
    /// Its power, above zero.
    pub power: Power,
    /// The epoch in which it changed its key last.
    pub rotated: Option<Epoch>,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct KeyRecord {
    /// The member's first key.
    pub member: PublicKey,
    /// The last epoch in which the key may vote; `None` for the member's present key.
    pub retired: Option<Epoch>,
}

/// What a member was punished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Offence {
    /// The key it signed with.
    pub key: PublicKey,
    /// The epoch of the two votes.
    pub epoch: Epoch,
    /// The view of the two votes.
    pub view: View,
}

/// The validators of the next epoch, sorted by member. Written by genesis and every call of the module; never pruned.
pub(crate) const NEXT: StorageValue<Vec<Member>> = StorageValue::new("Validators.Next", keys::VALIDATORS_NEXT);

/// The account that sets validators. Written by genesis, where the chain spec names one; never pruned.
pub(crate) const AUTHORITY: StorageValue<Option<AccountId32>> =
    StorageValue::new("Validators.Authority", keys::VALIDATORS_AUTHORITY);

/// Every key that a member ever had. Written when a member or a key is added; never pruned.
pub(crate) const KEYS: StorageMap<PublicKey, KeyRecord> = StorageMap::new("Validators.Keys", keys::VALIDATORS_KEYS);

/// The punished members by first key. Written by the first report of a member; never pruned.
pub(crate) const OFFENCES: StorageMap<PublicKey, Offence> =
    StorageMap::new("Validators.Offences", keys::VALIDATORS_OFFENCES);

/// The set that the members make.
pub(crate) fn validator_set(members: &[Member]) -> Result<ValidatorSet, ValidatorSetError> {
    ValidatorSet::new(members.iter().map(|member| Validator { key: member.key, power: member.power }).collect())
}

/// The validator set of the next epoch as it stands in `state`.
///
/// # Errors
/// The state cannot be read, or holds no set.
pub fn next_validators(state: &dyn StateReader) -> Result<ValidatorSet, StateReadError> {
    validator_set(&NEXT.read(state)?)
        .map_err(|error| StateReadError::new(format!("the state holds no validators for the next epoch: {error}")))
}

/// What the member to whom a key belongs or belonged was punished for.
///
/// # Errors
/// The state cannot be read.
pub fn offence(state: &dyn StateReader, key: &PublicKey) -> Result<Option<Offence>, StateReadError> {
    match KEYS.read(state, key)? {
        Some(record) => OFFENCES.read(state, &record.member),
        None => Ok(None),
    }
}

/// Whether a report of an equivocation by `key` in `epoch` would find somebody to punish.
///
/// # Errors
/// The state cannot be read.
pub fn is_punishable(state: &dyn StateReader, key: &PublicKey, epoch: Epoch) -> Result<bool, StateReadError> {
    match KEYS.read(state, key)? {
        Some(record) if record.may_have_voted_in(epoch) => Ok(OFFENCES.read(state, &record.member)?.is_none()),
        Some(_) | None => Ok(false),
    }
}

impl KeyRecord {
    /// Whether the key was not retired before `epoch`.
    pub(super) fn may_have_voted_in(&self, epoch: Epoch) -> bool {
        self.retired.is_none_or(|last| epoch <= last)
    }
}
