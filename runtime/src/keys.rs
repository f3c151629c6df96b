//! Storage keys: twox128(module) ‖ twox128(item) ‖ hasher(key), as Substrate clients compute them.
//!
//! *Virtual* keys are not in the state tree; the node serves them from blocks. The prefixes are written out so that no
//! key is hashed twice; a test computes them.

use cairn_primitives::hash::{blake2_128, blake2_128_of_each};
use cairn_primitives::{AccountId32, Height};

/// The bytes of a module's prefix followed by an item's.
pub type ItemPrefix = [u8; 32];

/// `:code`, virtual: see [`crate::code_marker`].
pub const CODE: &[u8] = b":code";

macro_rules! prefixes {
    ($($(#[$doc:meta])* $name:ident = $module:literal, $item:literal, $hex:literal;)*) => {
        $($(#[$doc])* pub const $name: ItemPrefix = unhex($hex);)*

        #[cfg(test)]
        const PREFIXES: &[(&str, &str, ItemPrefix)] = &[$(($module, $item, $name)),*];
    };
}

prefixes! {
    /// Prefix of `System.Account`: `AccountInfo` by `Blake2_128Concat(AccountId32)`.
    SYSTEM_ACCOUNT = "System", "Account", "26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9";
    /// `System.Events`, virtual: the event records of the block.
    SYSTEM_EVENTS = "System", "Events", "26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7";
    /// `System.Number`, virtual: the height of the block, `u32`.
    SYSTEM_NUMBER = "System", "Number", "26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac";
    /// `System.ParentHash`, virtual.
    SYSTEM_PARENT_HASH = "System", "ParentHash", "26aa394eea5630e07c48ae0c9558cef78a42f33323cb5ced3b44dd825fda9fcc";
    /// `System.Digest`, virtual: the digest of the block.
    SYSTEM_DIGEST = "System", "Digest", "26aa394eea5630e07c48ae0c9558cef799e7f93fc6a98f0874fd057f111c4d2d";
    /// Prefix of `System.BlockHash`, virtual: the hash of a block by `Twox64Concat(u32)`.
    SYSTEM_BLOCK_HASH = "System", "BlockHash", "26aa394eea5630e07c48ae0c9558cef7a44704b568d21667356a5a050c118746";
    /// `System.LastRuntimeUpgrade`: the rules that the last change of rules brought; absent before the first change.
    SYSTEM_LAST_RUNTIME_UPGRADE = "System", "LastRuntimeUpgrade", "26aa394eea5630e07c48ae0c9558cef7f9cce9c888469bb1a0dceaa129672ef8";
    /// `Timestamp.Now`: `u64` milliseconds since the Unix epoch.
    TIMESTAMP_NOW = "Timestamp", "Now", "f0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb";
    /// `Balances.TotalIssuance`: `u128`, the sum of all balances.
    BALANCES_TOTAL_ISSUANCE = "Balances", "TotalIssuance", "c2261276cc9d1f8598ea4b6a74b15c2f57c875e4cff74148e4628f264b974c80";
    /// `Balances.Burnt`: `u128`, what was destroyed since genesis.
    BALANCES_BURNT = "Balances", "Burnt", "c2261276cc9d1f8598ea4b6a74b15c2f7b12fc4e266e6290a25ff401c80eb399";
    /// `Validators.Next`: the members of the next epoch's validator set.
    VALIDATORS_NEXT = "Validators", "Next", "88dcde934c658227ee1dfafcd6e16903fb02f64605cf15ddd5388f35e740c11c";
    /// `Validators.Authority`: the account that sets validators, an `Option`.
    VALIDATORS_AUTHORITY = "Validators", "Authority", "88dcde934c658227ee1dfafcd6e16903695bfb1da5199b1b0bec6d33ecb7a431";
    /// Prefix of `Validators.Keys`: whose key it is, by `Blake2_128Concat(PublicKey)`.
    VALIDATORS_KEYS = "Validators", "Keys", "88dcde934c658227ee1dfafcd6e169039f99a2ce711f3a31b2fc05604c93f179";
    /// Prefix of `Validators.Offences`: what a member was punished for, by `Blake2_128Concat(PublicKey)`.
    VALIDATORS_OFFENCES = "Validators", "Offences", "88dcde934c658227ee1dfafcd6e16903d5c41b52a371aa36c9254ce34324f2a5";
    /// `TransactionPayment.Parameters`: the fee parameters.
    FEE_PARAMETERS = "TransactionPayment", "Parameters", "3f1467a096bcd71a5b6a0c8155e20810c63bdd4a39095ccf55623a6f2872bf8a";
}

/// Decodes 64 hexadecimal digits at compile time.
const fn unhex(text: &str) -> ItemPrefix {
    const fn digit(character: u8) -> u8 {
        match character {
            b'0'..=b'9' => character.wrapping_sub(b'0'),
            b'a'..=b'f' => character.wrapping_sub(b'a').wrapping_add(10),
            _ => 0xff,
        }
    }
    let mut bytes = [0; 32];
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let mut rest: &mut [u8] = &mut bytes;
    let mut left: &[[u8; 2]] = pairs;
    while let (Some((byte, tail)), Some(([high, low], others))) = (rest.split_first_mut(), left.split_first()) {
        *byte = digit(*high).wrapping_mul(16).wrapping_add(digit(*low));
        rest = tail;
        left = others;
    }
    bytes
}

/// The key of an account.
pub type AccountKey = [u8; 80];

/// The key of an account.
#[must_use]
pub fn system_account(account: &AccountId32) -> AccountKey {
    system_account_with(account, &blake2_128(&account.0))
}

/// The keys of several accounts, in their order, sooner than one by one.
pub(crate) fn system_accounts(accounts: &[AccountId32]) -> Vec<AccountKey> {
    let mut keys = Vec::with_capacity(accounts.len());
    blake2_128_of_each(accounts, |account, hash| keys.push(system_account_with(account, &hash)));
    keys
}

fn system_account_with(account: &AccountId32, hash: &[u8; 16]) -> AccountKey {
    let mut key = [0; _];
    let (prefix, rest) = key.split_at_mut(SYSTEM_ACCOUNT.len());
    let (hashed, own) = rest.split_at_mut(hash.len());
    prefix.copy_from_slice(&SYSTEM_ACCOUNT);
    hashed.copy_from_slice(hash);
    own.copy_from_slice(&account.0);
    key
}

/// The account in a key of [`system_account`]; `None` for any other key.
#[must_use]
pub fn parse_system_account(key: &[u8]) -> Option<AccountId32> {
    let rest = key.strip_prefix(&SYSTEM_ACCOUNT)?;
    let account = AccountId32(rest.get(16..)?.try_into().ok()?);
    (system_account(&account) == key).then_some(account)
}

/// As [`parse_system_account`], for a key that the runtime itself made: the hash in it is not looked at.
#[must_use]
pub fn owner_of_system_account(key: &[u8]) -> Option<AccountId32> {
    key.strip_prefix(&SYSTEM_ACCOUNT)?.get(16..)?.try_into().ok().map(AccountId32)
}

/// The key of `Timestamp.Now`.
#[must_use]
pub fn timestamp_now() -> Vec<u8> {
    TIMESTAMP_NOW.to_vec()
}

/// The key of `Balances.TotalIssuance`.
#[must_use]
pub fn total_issuance() -> Vec<u8> {
    BALANCES_TOTAL_ISSUANCE.to_vec()
}

/// The virtual key of the hash of the block at a height.
#[must_use]
pub fn block_hash(height: Height) -> Vec<u8> {
    let number = height.0.to_le_bytes();
    let mut key = Vec::with_capacity(44);
    key.extend_from_slice(&SYSTEM_BLOCK_HASH);
    key.extend_from_slice(cairn_primitives::hash::twox_128(&number).first_chunk::<8>().unwrap_or(&[0; 8]));
    key.extend_from_slice(&number);
    key
}

/// The height in a key of [`block_hash`]; `None` for any other key.
#[must_use]
pub fn parse_block_hash(key: &[u8]) -> Option<Height> {
    let rest = key.strip_prefix(&SYSTEM_BLOCK_HASH)?;
    let height = Height(u32::from_le_bytes(rest.get(8..)?.try_into().ok()?));
    (block_hash(height) == key).then_some(height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::hash::twox_128;

    #[test]
    fn prefixes_written_out_equal_the_hashed_names() {
        for (module, item, prefix) in PREFIXES {
            let expected = [twox_128(module.as_bytes()), twox_128(item.as_bytes())].concat();
            assert_eq!(hex::encode(prefix), hex::encode(expected), "{module}.{item}");
        }
    }

    #[test]
    fn system_account_key_parses_back() {
        let account = AccountId32([7; 32]);
        let mut key = system_account(&account);
        assert_eq!(parse_system_account(&key), Some(account));
        assert_eq!(owner_of_system_account(&key), Some(account));
        key[40] ^= 1;
        assert_eq!(parse_system_account(&key), None);
        assert_eq!(parse_system_account(b"short"), None);
        assert_eq!(owner_of_system_account(&key[..79]), None);
    }

    #[test]
    fn block_hash_key_parses_back() {
        let key = block_hash(Height(77));
        assert_eq!(parse_block_hash(&key), Some(Height(77)));
        assert_eq!(parse_block_hash(&key[..43]), None);
    }
}
