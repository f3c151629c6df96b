use super::state::validator_set;
use super::{AUTHORITY, KEYS, KeyRecord, Member, NEXT};
use cairn_primitives::validator::ValidatorSetError;
use cairn_primitives::{AccountId32, Validator};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;

/// Writes the first validators and the account that sets them.
pub(crate) fn build(
    validators: &[Validator],
    authority: Option<AccountId32>,
    state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), ValidatorSetError> {
    let member =
        |validator: &Validator| Member { id: validator.key, key: validator.key, power: validator.power, rotated: None };
    let mut members: Vec<_> = validators.iter().map(member).collect();
    members.sort_by_key(|member| member.id);
    validator_set(&members)?;
    for member in &members {
        state.insert(KEYS.key(&member.id), KeyRecord { member: member.id, retired: None }.encode());
    }
    state.insert(NEXT.key().to_vec(), members.encode());
    if authority.is_some() {
        state.insert(AUTHORITY.key().to_vec(), authority.encode());
    }
    Ok(())
}
