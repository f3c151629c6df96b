//! The storage items of each module, the virtual ones included, as clients address them.

use super::shapes::Digest;
use crate::EventRecord;
use crate::modules::system::{AccountInfo, LastRuntimeUpgradeInfo};
use crate::modules::transaction_payment::FeeParameters;
use crate::modules::validators::{KeyRecord, Member, Offence};
use crate::rules::Rules;
use cairn_primitives::{AccountId32, Hash, PublicKey};
use frame_metadata::v14::{StorageEntryModifier, StorageEntryType, StorageHasher};
use parity_scale_codec::Encode;
use scale_info::{TypeInfo, meta_type};

/// One item: a value, or a map.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) modifier: StorageEntryModifier,
    pub(super) ty: StorageEntryType,
    pub(super) default: Vec<u8>,
    pub(super) docs: &'static str,
}

fn value<T: TypeInfo + Encode + 'static>(name: &'static str, default: &T, docs: &'static str) -> Entry {
    let ty = StorageEntryType::Plain(meta_type::<T>());
    Entry { name, modifier: StorageEntryModifier::Default, ty, default: default.encode(), docs }
}

/// A value that may be absent.
fn optional_value<T: TypeInfo + 'static>(name: &'static str, docs: &'static str) -> Entry {
    let ty = StorageEntryType::Plain(meta_type::<T>());
    Entry { name, modifier: StorageEntryModifier::Optional, ty, default: None::<()>.encode(), docs }
}

fn map<K: TypeInfo + 'static, V: TypeInfo + Encode + 'static>(
    name: &'static str,
    hasher: StorageHasher,
    default: &V,
    docs: &'static str,
) -> Entry {
    let ty = StorageEntryType::Map { hashers: vec![hasher], key: meta_type::<K>(), value: meta_type::<V>() };
    Entry { name, modifier: StorageEntryModifier::Default, ty, default: default.encode(), docs }
}

/// A map in which an entry that is not there means something else than any entry.
fn optional_map<K: TypeInfo + 'static, V: TypeInfo + 'static>(name: &'static str, docs: &'static str) -> Entry {
    let hashers = vec![StorageHasher::Blake2_128Concat];
    let ty = StorageEntryType::Map { hashers, key: meta_type::<K>(), value: meta_type::<V>() };
    Entry { name, modifier: StorageEntryModifier::Optional, ty, default: None::<()>.encode(), docs }
}

pub(super) fn system(rules: Rules) -> Vec<Entry> {
    let account = AccountInfo::default();
    let mut entries = vec![
        map::<AccountId32, _>("Account", StorageHasher::Blake2_128Concat, &account, "The account of a key."),
        map::<u32, _>("BlockHash", StorageHasher::Twox64Concat, &Hash::ZERO, "The hash of the block at a height."),
        value("Number", &0u32, "The height of the block."),
        value("ParentHash", &Hash::ZERO, "The hash of the block before."),
        value("Digest", &Digest::default(), "The digest in the block's header."),
        value("Events", &Vec::<EventRecord>::new(), "The events of the block."),
    ];
    // No change of rules leads to the first ones.
    if rules > Rules::FIRST {
        let docs = "The rules that the last change of rules brought.";
        entries.push(optional_value::<LastRuntimeUpgradeInfo>("LastRuntimeUpgrade", docs));
    }
    entries
}

pub(super) fn timestamp() -> Vec<Entry> {
    vec![value("Now", &0u64, "The time of the block, in milliseconds since the Unix epoch.")]
}

pub(super) fn balances() -> Vec<Entry> {
    vec![
        value("TotalIssuance", &0u128, "The sum of all balances, in base units."),
        value("Burnt", &0u128, "What was destroyed since genesis, in base units."),
    ]
}

pub(super) fn transaction_payment() -> Vec<Entry> {
    vec![value("Parameters", &FeeParameters::default(), "What transactions pay.")]
}

pub(super) fn validators() -> Vec<Entry> {
    vec![
        value("Next", &Vec::<Member>::new(), "The validators of the next epoch, sorted by member."),
        value("Authority", &None::<AccountId32>, "The account that may set validators."),
        optional_map::<PublicKey, KeyRecord>("Keys", "Whose key it is or was."),
        optional_map::<PublicKey, Offence>("Offences", "What a member, by its first key, was punished for."),
    ]
}
