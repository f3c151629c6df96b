use crate::keys;
use crate::overlay::StorageValue;
use crate::state::{StateReadError, StateReader};
use parity_scale_codec::{Decode, DecodeAll, Encode};
use scale_info::TypeInfo;

/// Set on every account: tells wallets that `frozen` overlaps with `reserved`.
pub const ACCOUNT_FLAGS_NEW_LOGIC: u128 = 1 << 127;

/// An account: how many transactions it sent and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AccountInfo {
    /// How many transactions the account sent: the nonce of its next one.
    pub nonce: u32,
    /// What needs the account to exist; always zero.
    pub consumers: u32,
    /// What lets the account exist: one while it holds a balance.
    pub providers: u32,
    /// What lets the account exist without a balance; always zero.
    pub sufficients: u32,
    /// What it holds.
    pub data: AccountData,
}

/// What an account holds, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AccountData {
    /// What can be spent, but for what is frozen.
    pub free: u128,
    /// What is set aside and cannot be spent.
    pub reserved: u128,
    /// How much of `free` and `reserved` together may not leave the account.
    pub frozen: u128,
    /// [`ACCOUNT_FLAGS_NEW_LOGIC`].
    pub flags: u128,
}

impl AccountInfo {
    /// Decodes the stored value; `None` where there is no account.
    pub(crate) fn parse(bytes: Option<&[u8]>) -> Result<Option<Self>, StateReadError> {
        bytes
            .map(|mut bytes| Self::decode_all(&mut bytes))
            .transpose()
            .map_err(|error| StateReadError::malformed("System.Account", &error))
    }

    /// How much may leave the account while `minimum` stays, in base units.
    #[must_use]
    pub fn spendable(&self, minimum: u128) -> u128 {
        let frozen = self.data.frozen.saturating_sub(self.data.reserved);
        self.data.free.saturating_sub(frozen.max(minimum))
    }

    /// Whether the account holds a balance.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.providers > 0
    }
}

/// The rules that the last change of rules brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct LastRuntimeUpgradeInfo {
    /// Their version; no rules have version 0.
    #[codec(compact)]
    pub spec_version: u32,
    /// The name of the runtime.
    pub spec_name: String,
}

/// Written by the first block under other rules than those of the block before; never pruned.
pub(crate) const LAST_RUNTIME_UPGRADE: StorageValue<LastRuntimeUpgradeInfo> =
    StorageValue::new("System.LastRuntimeUpgrade", keys::SYSTEM_LAST_RUNTIME_UPGRADE);

/// The version of the rules that the last change of rules brought; `None` where they never changed.
///
/// # Errors
/// The state cannot be read.
pub fn last_upgrade(state: &dyn StateReader) -> Result<Option<u32>, StateReadError> {
    let LastRuntimeUpgradeInfo { spec_version, .. } = LAST_RUNTIME_UPGRADE.read(state)?;
    Ok((spec_version != 0).then_some(spec_version))
}
