//! What all metadata versions say, in the words of none of them.

use super::runtime_apis::RuntimeApi;
use super::shapes::{
    ChargeTransactionPayment, CheckGenesis, CheckMetadataHash, CheckMortality, CheckNonZeroSender, CheckNonce,
    CheckSpecVersion, CheckTxVersion, CheckWeight, Extra, Runtime, UncheckedExtrinsic,
};
use super::storage::{self, Entry};
use crate::modules::{balances, system, timestamp, transaction_payment, utility, validators};
use crate::{
    BLOCK_HASH_COUNT, EXISTENTIAL_DEPOSIT, Rules, RuntimeCall, RuntimeError, RuntimeEvent, RuntimeVersion, Weight,
    runtime_version, weight,
};
use cairn_primitives::account::SS58_PREFIX_DEFAULT;
use cairn_primitives::extrinsic::{EXTRINSIC_VERSION, MultiSignature};
use cairn_primitives::{AccountId32, Hash, MultiAddress};
use parity_scale_codec::Encode;
use scale_info::{MetaType, TypeInfo, meta_type};

/// The description of the whole runtime.
pub(super) struct Model {
    pub(super) modules: Vec<Module>,
    pub(super) extrinsic: Extrinsic,
    pub(super) apis: Vec<RuntimeApi>,
    pub(super) call: MetaType,
    pub(super) event: MetaType,
    pub(super) error: MetaType,
    pub(super) runtime: MetaType,
}

/// One module.
pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) index: u8,
    pub(super) docs: &'static str,
    pub(super) storage: Vec<Entry>,
    pub(super) call: Option<MetaType>,
    pub(super) event: Option<MetaType>,
    pub(super) error: Option<MetaType>,
    pub(super) constants: Vec<Constant>,
    pub(super) associated_types: Vec<(&'static str, MetaType)>,
}

/// A value fixed by the rules.
pub(super) struct Constant {
    pub(super) name: &'static str,
    pub(super) ty: MetaType,
    pub(super) value: Vec<u8>,
    pub(super) docs: &'static str,
}

/// The form of extrinsics.
pub(super) struct Extrinsic {
    pub(super) version: u8,
    pub(super) ty: MetaType,
    pub(super) address: MetaType,
    pub(super) signature: MetaType,
    pub(super) extra: MetaType,
    pub(super) extensions: Vec<Extension>,
}

/// A condition that a signer puts on a transaction.
pub(super) struct Extension {
    pub(super) identifier: &'static str,
    /// What it adds to the extrinsic.
    pub(super) ty: MetaType,
    /// What it adds to the signed payload alone.
    pub(super) implicit: MetaType,
}

fn constant<T: Encode + TypeInfo + 'static>(name: &'static str, value: &T, docs: &'static str) -> Constant {
    Constant { name, ty: meta_type::<T>(), value: value.encode(), docs }
}

fn extension<T: TypeInfo + 'static, I: TypeInfo + 'static>(identifier: &'static str) -> Extension {
    Extension { identifier, ty: meta_type::<T>(), implicit: meta_type::<I>() }
}

impl Model {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            modules: vec![system(rules), timestamp(), balances(), transaction_payment(), utility(), validators()],
            extrinsic: extrinsic(),
            apis: super::runtime_apis::all(),
            call: meta_type::<RuntimeCall>(),
            event: meta_type::<RuntimeEvent>(),
            error: meta_type::<RuntimeError>(),
            runtime: meta_type::<Runtime>(),
        }
    }
}

fn extrinsic() -> Extrinsic {
    Extrinsic {
        version: EXTRINSIC_VERSION,
        ty: meta_type::<UncheckedExtrinsic>(),
        address: meta_type::<MultiAddress>(),
        signature: meta_type::<MultiSignature>(),
        extra: meta_type::<Extra>(),
        extensions: vec![
            extension::<CheckNonZeroSender, ()>("CheckNonZeroSender"),
            extension::<CheckSpecVersion, u32>("CheckSpecVersion"),
            extension::<CheckTxVersion, u32>("CheckTxVersion"),
            extension::<CheckGenesis, Hash>("CheckGenesis"),
            extension::<CheckMortality, Hash>("CheckMortality"),
            extension::<CheckNonce, ()>("CheckNonce"),
            extension::<CheckWeight, ()>("CheckWeight"),
            extension::<ChargeTransactionPayment, ()>("ChargeTransactionPayment"),
            extension::<CheckMetadataHash, Option<[u8; 32]>>("CheckMetadataHash"),
        ],
    }
}

fn system(rules: Rules) -> Module {
    Module {
        name: "System",
        index: 0,
        docs: "Accounts, remarks, and what every block says about itself.",
        storage: storage::system(rules),
        call: Some(meta_type::<system::Call>()),
        event: Some(meta_type::<system::Event>()),
        error: None,
        constants: vec![
            constant::<Weight>("BlockWeightMax", &weight::BLOCK_WEIGHT_MAX, "What a block may weigh."),
            constant("BlockHashCount", &BLOCK_HASH_COUNT, "How many blocks back an era may begin."),
            constant::<RuntimeVersion>("Version", &runtime_version(rules), "The versions of the rules."),
            constant("SS58Prefix", &SS58_PREFIX_DEFAULT, "The address prefix of the chain."),
        ],
        associated_types: vec![
            ("Hash", meta_type::<Hash>()),
            ("Hashing", meta_type::<super::shapes::BlakeTwo256>()),
            ("AccountId", meta_type::<AccountId32>()),
            ("Nonce", meta_type::<u32>()),
        ],
    }
}

fn timestamp() -> Module {
    let period = constant("MinimumPeriod", &timestamp::MINIMUM_PERIOD_MS, "Half the block time to reckon with, in ms.");
    Module {
        name: "Timestamp",
        index: 1,
        docs: "The time of the block.",
        storage: storage::timestamp(),
        call: Some(meta_type::<timestamp::Call>()),
        event: None,
        error: None,
        constants: vec![period],
        associated_types: vec![("Moment", meta_type::<u64>())],
    }
}

fn balances() -> Module {
    Module {
        name: "Balances",
        index: 2,
        docs: "Amounts held by accounts, and their transfer.",
        storage: storage::balances(),
        call: Some(meta_type::<balances::Call>()),
        event: Some(meta_type::<balances::Event>()),
        error: Some(meta_type::<balances::Error>()),
        constants: vec![constant(
            "ExistentialDeposit",
            &EXISTENTIAL_DEPOSIT,
            "An account holds at least this or nothing, in base units.",
        )],
        associated_types: vec![("Balance", meta_type::<u128>())],
    }
}

fn transaction_payment() -> Module {
    Module {
        name: "TransactionPayment",
        index: 3,
        docs: "What transactions pay, and who gets it.",
        storage: storage::transaction_payment(),
        call: None,
        event: Some(meta_type::<transaction_payment::Event>()),
        error: None,
        constants: Vec::new(),
        associated_types: Vec::new(),
    }
}

fn utility() -> Module {
    Module {
        name: "Utility",
        index: 4,
        docs: "Several calls in one transaction.",
        storage: Vec::new(),
        call: Some(meta_type::<utility::Call>()),
        event: Some(meta_type::<utility::Event>()),
        error: Some(meta_type::<utility::Error>()),
        constants: vec![constant("batched_calls_limit", &1_000u32, "How many calls a batch may have.")],
        associated_types: Vec::new(),
    }
}

fn validators() -> Module {
    Module {
        name: "Validators",
        index: 5,
        docs: "Who votes in the next epoch, with which keys, and what equivocation costs.",
        storage: storage::validators(),
        call: Some(meta_type::<validators::Call>()),
        event: Some(meta_type::<validators::Event>()),
        error: Some(meta_type::<validators::Error>()),
        constants: vec![
            constant("ValidatorsMax", &256u32, "How many validators there may be."),
            constant("BlockReportsMax", &8u32, "How many reports of equivocation a block may have."),
        ],
        associated_types: Vec::new(),
    }
}
