//! Execution of Validators' calls.

use super::state::validator_set;
use super::{
    AUTHORITY, Call, Error, Event, KEYS, KeyRecord, KeyRotation, Member, NEXT, OFFENCES, Offence, RotationProof,
};
use crate::dispatch::{DispatchError, DispatchResult, Fault, Origin};
use crate::modules::RuntimeError;
use crate::modules::system::exec::ensure_signed;
use crate::overlay::Overlay;
use cairn_primitives::validator::ValidatorSetError;
use cairn_primitives::{AccountId32, Evidence, Power, PublicKey};

/// Executes a call.
pub(crate) fn dispatch(overlay: &mut Overlay<'_>, origin: Origin, call: &Call) -> DispatchResult {
    match call {
        Call::report_equivocation { evidence } => match origin {
            Origin::Block => report_equivocation(overlay, evidence),
            Origin::Signed(_) => Err(DispatchError::BadOrigin.into()),
        },
        Call::set_validator { key, power } => set_validator(overlay, ensure_signed(origin)?, *key, Power(*power)),
        Call::rotate_key { old, new, epoch, proof } => {
            ensure_signed(origin)?;
            rotate_key(overlay, &KeyRotation { old: *old, new: *new, epoch: *epoch }, proof)
        }
    }
}

fn failed(error: Error) -> Fault {
    Fault::Failed(RuntimeError::Validators(error).into())
}

/// Takes the offender's power; that the evidence holds was verified before: it decides on the whole block.
fn report_equivocation(overlay: &mut Overlay<'_>, evidence: &Evidence) -> DispatchResult {
    let (key, epoch, view) = (evidence.offender(), evidence.epoch(), evidence.view());
    let record = overlay.entry(&KEYS, &key)?.ok_or_else(|| failed(Error::UnknownKey))?;
    if !record.may_have_voted_in(epoch) {
        return Err(failed(Error::KeyRetired));
    }
    let member = record.member;
    if overlay.entry(&OFFENCES, &member)?.is_some() {
        return Err(failed(Error::AlreadyPunished));
    }
    overlay.set_entry(&OFFENCES, &member, &Offence { key, epoch, view })?;
    overlay.emit(Event::EquivocationPunished { member, key, epoch, view });
    let mut next = overlay.value(&NEXT)?;
    // A chain without validators would never produce another block: the last one stays, whatever it did.
    if next.len() > 1
        && let Some(position) = next.iter().position(|other| other.id == member)
    {
        let removed = next.remove(position);
        overlay.set_value(&NEXT, &next)?;
        overlay.emit(Event::ValidatorSet { member, key: removed.key, power: 0 });
    }
    Ok(())
}

fn set_validator(overlay: &mut Overlay<'_>, who: AccountId32, key: PublicKey, power: Power) -> DispatchResult {
    if overlay.value(&AUTHORITY)? != Some(who) {
        return Err(failed(Error::NotAuthority));
    }
    let mut next = overlay.value(&NEXT)?;
    let position = next.iter().position(|member| member.key == key);
    let member = if power == Power::ZERO {
        next.remove(position.ok_or_else(|| failed(Error::NotValidator))?).id
    } else {
        let id = admit(overlay, key)?;
        match position.and_then(|position| next.get_mut(position)) {
            Some(member) => member.power = power,
            None => next.push(Member { id, key, power, rotated: None }),
        }
        id
    };
    write_next(overlay, next)?;
    overlay.emit(Event::ValidatorSet { member, key, power: power.0 });
    Ok(())
}

/// The member that may have power under `key`: the one whose present key it is, or a new one.
fn admit(overlay: &mut Overlay<'_>, key: PublicKey) -> Result<PublicKey, Fault> {
    match overlay.entry(&KEYS, &key)? {
        Some(record) if overlay.entry(&OFFENCES, &record.member)?.is_some() => Err(failed(Error::Punished)),
        Some(record) if record.retired.is_some() => Err(failed(Error::KeyRetired)),
        Some(record) => Ok(record.member),
        None if key.is_weak() => Err(failed(Error::WeakKey)),
        None => {
            overlay.set_entry(&KEYS, &key, &KeyRecord { member: key, retired: None })?;
            Ok(key)
        }
    }
}

fn rotate_key(overlay: &mut Overlay<'_>, rotation: &KeyRotation, proof: &RotationProof) -> DispatchResult {
    let KeyRotation { old, new, epoch } = *rotation;
    let context = *overlay.context();
    if epoch != context.epoch {
        return Err(failed(Error::WrongEpoch));
    }
    let mut next = overlay.value(&NEXT)?;
    let found = next.iter_mut().find(|member| member.key == old).ok_or_else(|| failed(Error::NotValidator))?;
    if overlay.entry(&OFFENCES, &found.id)?.is_some() {
        return Err(failed(Error::Punished));
    }
    if found.rotated == Some(epoch) {
        return Err(failed(Error::RotatedAlready));
    }
    if overlay.entry(&KEYS, &new)?.is_some() {
        return Err(failed(Error::KeyUsed));
    }
    if new.is_weak() {
        return Err(failed(Error::WeakKey));
    }
    if !rotation.is_proved(proof, &context.genesis) {
        return Err(failed(Error::BadProof));
    }
    let member = found.id;
    (found.key, found.rotated) = (new, Some(epoch));
    overlay.set_entry(&KEYS, &old, &KeyRecord { member, retired: Some(epoch) })?;
    overlay.set_entry(&KEYS, &new, &KeyRecord { member, retired: None })?;
    write_next(overlay, next)?;
    overlay.emit(Event::KeyRotated { member, old, new });
    Ok(())
}

/// Writes the members, if they make a set.
fn write_next(overlay: &mut Overlay<'_>, mut next: Vec<Member>) -> DispatchResult {
    next.sort_by_key(|member| member.id);
    validator_set(&next).map_err(|error| {
        failed(match error {
            ValidatorSetError::Empty => Error::LastValidator,
            ValidatorSetError::TooMany(_) => Error::TooManyValidators,
            ValidatorSetError::TooMuchPower => Error::TooMuchPower,
            // Neither is possible: a key has one member, and power zero removes.
            ValidatorSetError::Duplicate(_) | ValidatorSetError::NoPower(_) => Error::KeyUsed,
        })
    })?;
    Ok(overlay.set_value(&NEXT, &next)?)
}
