use crate::keys;
use crate::overlay::StorageValue;

/// An account holds at least this or nothing, in base units. A constant of the rules, not of the chain spec: clients
/// read it from the metadata.
pub const EXISTENTIAL_DEPOSIT: u128 = 1_000_000;

/// The sum of all balances. Written when something is burnt; never pruned.
pub(crate) const TOTAL_ISSUANCE: StorageValue<u128> =
    StorageValue::new("Balances.TotalIssuance", keys::BALANCES_TOTAL_ISSUANCE);

/// What was destroyed since genesis: fees' burnt share, dust, burns. Written when something is burnt; never pruned.
pub(crate) const BURNT: StorageValue<u128> = StorageValue::new("Balances.Burnt", keys::BALANCES_BURNT);
