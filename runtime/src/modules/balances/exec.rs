//! Execution of Balances' calls, and what other modules do to balances.

use super::{BURNT, Call, EXISTENTIAL_DEPOSIT, Error, Event, TOTAL_ISSUANCE};
use crate::dispatch::{DispatchError, DispatchResult, Fault, Origin, add, sub};
use crate::modules::RuntimeError;
use crate::modules::system::exec::ensure_signed;
use crate::modules::system::{ACCOUNT_FLAGS_NEW_LOGIC, AccountInfo, Event as SystemEvent};
use crate::overlay::{AccountRef, Overlay};
use cairn_primitives::{AccountId32, MultiAddress};

/// What may happen to an account that is left with less than the existential deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preservation {
    /// It dies.
    Expendable,
    /// The call fails.
    Preserve,
}

impl Preservation {
    const fn of(keep_alive: bool) -> Self {
        if keep_alive { Self::Preserve } else { Self::Expendable }
    }

    const fn minimum(self) -> u128 {
        match self {
            Self::Expendable => 0,
            Self::Preserve => EXISTENTIAL_DEPOSIT,
        }
    }
}

/// Executes a call.
pub(crate) fn dispatch(overlay: &mut Overlay<'_>, origin: Origin, call: &Call) -> DispatchResult {
    let sender = ensure_signed(origin)?;
    match call {
        Call::transfer_allow_death { dest, value } => {
            transfer(overlay, sender, resolve(dest)?, *value, Preservation::Expendable)
        }
        Call::transfer_keep_alive { dest, value } => {
            transfer(overlay, sender, resolve(dest)?, *value, Preservation::Preserve)
        }
        Call::transfer_all { dest, keep_alive } => {
            transfer_all(overlay, sender, resolve(dest)?, Preservation::of(*keep_alive))
        }
        Call::burn { value, keep_alive } => burn(overlay, sender, *value, Preservation::of(*keep_alive)),
    }
}

const fn resolve(address: &MultiAddress) -> Result<AccountId32, DispatchError> {
    match address {
        MultiAddress::Id(account) => Ok(*account),
        MultiAddress::Index(_) | MultiAddress::Raw(_) | MultiAddress::Address32(_) | MultiAddress::Address20(_) => {
            Err(DispatchError::CannotLookup)
        }
    }
}

fn failed(error: Error) -> Fault {
    Fault::Failed(RuntimeError::Balances(error).into())
}

/// What remains of `info`'s free balance after `value` left.
fn remaining(info: &AccountInfo, value: u128, preservation: Preservation) -> Result<u128, Fault> {
    let rest = info.data.free.checked_sub(value).ok_or_else(|| failed(Error::InsufficientBalance))?;
    if value > info.spendable(0) {
        return Err(failed(Error::LiquidityRestrictions));
    }
    if preservation == Preservation::Preserve && rest < EXISTENTIAL_DEPOSIT {
        return Err(failed(Error::Expendability));
    }
    Ok(rest)
}

fn transfer(
    overlay: &mut Overlay<'_>,
    from: AccountId32,
    to: AccountId32,
    value: u128,
    preservation: Preservation,
) -> DispatchResult {
    let source = overlay.load(&from)?;
    let target = overlay.load(&to)?;
    move_balance(overlay, source, target, value, preservation)
}

fn transfer_all(
    overlay: &mut Overlay<'_>,
    from: AccountId32,
    to: AccountId32,
    preservation: Preservation,
) -> DispatchResult {
    let source = overlay.load(&from)?;
    let target = overlay.load(&to)?;
    let value = overlay.account(source).unwrap_or_default().spendable(preservation.minimum());
    move_balance(overlay, source, target, value, preservation)
}

fn move_balance(
    overlay: &mut Overlay<'_>,
    source: AccountRef,
    target: AccountRef,
    value: u128,
    preservation: Preservation,
) -> DispatchResult {
    let (from, to) = (overlay.id(source), overlay.id(target));
    let sender = overlay.account(source).unwrap_or_default();
    let rest = remaining(&sender, value, preservation)?;
    if source != target {
        let receiver = overlay.account(target).unwrap_or_default();
        let grown = add(receiver.data.free, value)?;
        if !receiver.is_alive() && grown < EXISTENTIAL_DEPOSIT {
            return Err(failed(Error::ExistentialDeposit));
        }
        set_free(overlay, source, sender, rest)?;
        set_free(overlay, target, receiver, grown)?;
    }
    overlay.emit(Event::Transfer { from, to, amount: value });
    Ok(())
}

fn burn(overlay: &mut Overlay<'_>, who: AccountId32, value: u128, preservation: Preservation) -> DispatchResult {
    let account = overlay.load(&who)?;
    let info = overlay.account(account).unwrap_or_default();
    let rest = remaining(&info, value, preservation)?;
    set_free(overlay, account, info, rest)?;
    count_burnt(overlay, value)?;
    overlay.emit(Event::Burned { who, amount: value });
    Ok(())
}

/// Takes a fee that validation found payable.
pub(crate) fn withdraw(overlay: &mut Overlay<'_>, account: AccountRef, amount: u128) -> DispatchResult {
    let mut info = overlay.account(account).unwrap_or_default();
    info.data.free = sub(info.data.free, amount)?;
    overlay.set_account(account, Some(info));
    overlay.emit(Event::Withdraw { who: overlay.id(account), amount });
    Ok(())
}

/// Gives an account fees that were withdrawn before; returns what was too little to create an account.
pub(crate) fn deposit(overlay: &mut Overlay<'_>, who: &AccountId32, amount: u128) -> Result<u128, Fault> {
    let account = overlay.load(who)?;
    let info = overlay.account(account).unwrap_or_default();
    let grown = add(info.data.free, amount)?;
    if amount == 0 || (!info.is_alive() && grown < EXISTENTIAL_DEPOSIT) {
        return Ok(amount);
    }
    set_free(overlay, account, info, grown)?;
    overlay.emit(Event::Deposit { who: *who, amount });
    Ok(0)
}

/// Counts what was taken out of balances and goes to nobody.
pub(crate) fn count_burnt(overlay: &mut Overlay<'_>, amount: u128) -> DispatchResult {
    if amount == 0 {
        return Ok(());
    }
    let issuance = sub(overlay.value(&TOTAL_ISSUANCE)?, amount)?;
    let burnt = add(overlay.value(&BURNT)?, amount)?;
    overlay.set_value(&TOTAL_ISSUANCE, &issuance)?;
    overlay.set_value(&BURNT, &burnt)?;
    Ok(())
}

/// Writes a free balance; the account comes to life or dies by it.
fn set_free(overlay: &mut Overlay<'_>, account: AccountRef, mut info: AccountInfo, free: u128) -> DispatchResult {
    let id = overlay.id(account);
    let is_alive = info.data.reserved > 0 || free >= EXISTENTIAL_DEPOSIT;
    info.data.free = free;
    if is_alive == info.is_alive() {
        overlay.set_account(account, Some(info));
        return Ok(());
    }
    if is_alive {
        info.providers = 1;
        info.data.flags = ACCOUNT_FLAGS_NEW_LOGIC;
        overlay.set_account(account, Some(info));
        overlay.emit(SystemEvent::NewAccount { account: id });
        overlay.emit(Event::Endowed { account: id, free_balance: free });
        return Ok(());
    }
    info.providers = 0;
    info.data.free = 0;
    overlay.set_account(account, (info.nonce > 0).then_some(info));
    overlay.emit(SystemEvent::KilledAccount { account: id });
    if free > 0 {
        overlay.emit(Event::DustLost { account: id, amount: free });
        count_burnt(overlay, free)?;
    }
    Ok(())
}
