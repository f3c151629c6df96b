//! For those who make transactions: calls, signing, and the extrinsic of the block itself.

use crate::modules::validators::KeyRotation;
use crate::modules::{RuntimeCall, balances, system, timestamp, utility, validators};
use crate::rules::Rules;
use cairn_primitives::extrinsic::{
    Envelope, MultiSignature, SignedPart, TransactionExtra, TransactionImplicit, signing_payload,
};
use cairn_primitives::signer::AccountKey;
use cairn_primitives::{
    AccountId32, Epoch, Evidence, Hash, KeyPair, MultiAddress, OpaqueExtrinsic, PublicKey, TimestampMs,
};
use parity_scale_codec::Encode;

/// A transfer that may use up the sender's account.
#[must_use]
pub const fn transfer_allow_death(to: AccountId32, value: u128) -> RuntimeCall {
    RuntimeCall::Balances(balances::Call::transfer_allow_death { dest: MultiAddress::Id(to), value })
}

/// A transfer that leaves the sender at least the existential deposit, or fails.
#[must_use]
pub const fn transfer_keep_alive(to: AccountId32, value: u128) -> RuntimeCall {
    RuntimeCall::Balances(balances::Call::transfer_keep_alive { dest: MultiAddress::Id(to), value })
}

/// A transfer of everything that can be spent.
#[must_use]
pub const fn transfer_all(to: AccountId32, keep_alive: bool) -> RuntimeCall {
    RuntimeCall::Balances(balances::Call::transfer_all { dest: MultiAddress::Id(to), keep_alive })
}

/// The destruction of an amount.
#[must_use]
pub const fn burn(value: u128, keep_alive: bool) -> RuntimeCall {
    RuntimeCall::Balances(balances::Call::burn { value, keep_alive })
}

/// Bytes in a block.
#[must_use]
pub const fn remark(remark: Vec<u8>) -> RuntimeCall {
    RuntimeCall::System(system::Call::remark { remark })
}

/// Bytes in a block, with an event.
#[must_use]
pub const fn remark_with_event(remark: Vec<u8>) -> RuntimeCall {
    RuntimeCall::System(system::Call::remark_with_event { remark })
}

/// Calls one after the other until one fails.
#[must_use]
pub const fn batch(calls: Vec<RuntimeCall>) -> RuntimeCall {
    RuntimeCall::Utility(utility::Call::batch { calls })
}

/// Calls all or none.
#[must_use]
pub const fn batch_all(calls: Vec<RuntimeCall>) -> RuntimeCall {
    RuntimeCall::Utility(utility::Call::batch_all { calls })
}

/// All calls, whichever of them fail.
#[must_use]
pub const fn force_batch(calls: Vec<RuntimeCall>) -> RuntimeCall {
    RuntimeCall::Utility(utility::Call::force_batch { calls })
}

/// A validator's power from the next epoch on; zero removes it.
#[must_use]
pub const fn set_validator(key: PublicKey, power: u64) -> RuntimeCall {
    RuntimeCall::Validators(validators::Call::set_validator { key, power })
}

/// Another key for a validator from the next epoch on, signed by both, for a block of `epoch`.
#[must_use]
pub fn rotate_key(old: &KeyPair, new: &KeyPair, epoch: Epoch, genesis: &Hash) -> RuntimeCall {
    let rotation = KeyRotation { old: old.public(), new: new.public(), epoch };
    let proof = Box::new(rotation.prove(old, new, genesis));
    RuntimeCall::Validators(validators::Call::rotate_key { old: old.public(), new: new.public(), epoch, proof })
}

/// A signed extrinsic with `call`, under the newest rules.
///
/// `era_block` is the hash of the block at the birth of the era, genesis for an immortal transaction.
#[must_use]
pub fn sign(
    key: &KeyPair,
    call: &RuntimeCall,
    extra: TransactionExtra,
    genesis: &Hash,
    era_block: &Hash,
) -> OpaqueExtrinsic {
    let sign = |payload: &[u8]| MultiSignature::Ed25519(key.sign(payload));
    signed(key.public().into(), &sign, call, extra, (Rules::NEWEST, genesis, era_block))
}

/// As [`sign`], with a key of either kind and under the rules that the chain has.
#[must_use]
pub fn sign_by(
    key: &AccountKey,
    call: &RuntimeCall,
    extra: TransactionExtra,
    rules: Rules,
    genesis: &Hash,
    era_block: &Hash,
) -> OpaqueExtrinsic {
    signed(key.account(), &|payload| key.sign(payload), call, extra, (rules, genesis, era_block))
}

fn signed(
    signer: AccountId32,
    sign: &dyn Fn(&[u8]) -> MultiSignature,
    call: &RuntimeCall,
    extra: TransactionExtra,
    (rules, genesis, era_block): (Rules, &Hash, &Hash),
) -> OpaqueExtrinsic {
    let call = call.encode();
    let implicit = implicit(rules, genesis, era_block);
    let signature = sign(&signing_payload(&call, &extra, &implicit));
    let signed = Some(SignedPart { signer, signature, extra });
    OpaqueExtrinsic::new(Envelope { signed, call: &call }.to_bytes())
}

/// What a signature is over besides call and extra.
pub(crate) fn implicit(rules: Rules, genesis: &Hash, era_block: &Hash) -> TransactionImplicit {
    TransactionImplicit::new(rules.spec_version(), rules.transaction_version(), *genesis, *era_block)
}

/// The first extrinsic of a block at `timestamp`.
#[must_use]
pub fn timestamp_extrinsic(timestamp: TimestampMs) -> OpaqueExtrinsic {
    bare(&RuntimeCall::Timestamp(timestamp::Call::set { now: timestamp.0 }))
}

/// The extrinsic of a block that reports an equivocation.
#[must_use]
pub fn report_extrinsic(evidence: &Evidence) -> OpaqueExtrinsic {
    bare(&RuntimeCall::Validators(validators::Call::report_equivocation { evidence: Box::new(evidence.clone()) }))
}

fn bare(call: &RuntimeCall) -> OpaqueExtrinsic {
    OpaqueExtrinsic::new(Envelope { signed: None, call: &call.encode() }.to_bytes())
}
