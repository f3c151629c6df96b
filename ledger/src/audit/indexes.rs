//! What no block accounts for: records above the head, index entries that lead nowhere, and the tables beside the chain.

use super::{Audit, AuditReport, JudgeRecord, OnProgress, Phase, SCAN_RECORDS, Top};
use cairn_primitives::{Block, Epoch, Hash, Height, ValidatorSet};
use cairn_storage::damage::{scan_table, shown_key};
use cairn_storage::{Damages, DatabaseView, KeyRange, Table, blocks};
use parity_scale_codec::DecodeAll;

/// Blocks read at once.
const SCAN_BLOCKS: usize = 4;

/// Checks what [`super::blocks`] does not reach from a height.
pub(super) fn check(
    audit: &Audit,
    head: &Top,
    report: &mut AuditReport,
    judge: &JudgeRecord<'_>,
    progress: &OnProgress<'_>,
) {
    let view: &dyn DatabaseView = &*audit.database;
    for table in [Table::Headers, Table::Bodies, Table::Hashes, Table::Events, Table::Finalizations] {
        check_above(view, table, head.height, &mut report.damages);
    }
    let mut seen = 0_u64;
    let mut told = |count: u64| {
        seen = seen.saturating_add(count);
        progress(Phase::Indexes, seen, None);
    };
    check_heights(view, head.height, report, &mut told);
    check_transactions(view, report, &mut told);
    let running = audit.schedule.epoch_of(head.height.next());
    check_validator_sets(view, running, &mut report.damages);
    check_pending(view, &mut report.damages);
    check_journal(view, running, judge, &mut report.damages);
}

/// No record lies above the head, and none under a key that is no height.
fn check_above(view: &dyn DatabaseView, table: Table, head: Height, damages: &mut Damages) {
    let mut start = head.0.to_be_bytes().to_vec();
    start.push(0);
    scan_table(view, table, KeyRange::from(start), SCAN_BLOCKS, damages, &mut |key, _, damages| {
        damages.add_key(table, key, format!("it lies above the head, {head}"));
    });
}

/// As many hashes lead to checked heights as there are checked blocks; the blocks have found theirs already.
fn check_heights(view: &dyn DatabaseView, head: Height, report: &mut AuditReport, told: &mut dyn FnMut(u64)) {
    let from = report.from;
    let mut found = 0_u64;
    let is_checked = |value: &[u8]| <[u8; 4]>::try_from(value).is_ok_and(|height| u32::from_be_bytes(height) >= from.0);
    scan_table(view, Table::Heights, KeyRange::all(), SCAN_RECORDS, &mut report.damages, &mut |_, value, _| {
        found = found.saturating_add(u64::from(is_checked(&value)));
        told(1);
    });
    if found <= report.blocks {
        return;
    }
    scan_table(view, Table::Heights, KeyRange::all(), SCAN_RECORDS, &mut report.damages, &mut |key, value, damages| {
        let Ok(height) = <[u8; 4]>::try_from(value).map(|height| Height(u32::from_be_bytes(height))) else {
            return damages.add_key(Table::Heights, key, "the value is not a height");
        };
        if height >= from
            && height <= head
            && blocks::hash_of(view, height).ok().flatten().is_some_and(|hash| hash.0 == *key)
        {
            return;
        }
        damages.add_key(Table::Heights, key, format!("it leads to height {height}, whose block has another hash"));
    });
}

/// As many extrinsic hashes lead to checked heights as there are extrinsics in them. There may be fewer: one that is included
/// again leads to the last place.
fn check_transactions(view: &dyn DatabaseView, report: &mut AuditReport, told: &mut dyn FnMut(u64)) {
    let from = report.from;
    let place = |value: &[u8]| {
        let (height, index) = value.split_first_chunk::<4>()?;
        Some((Height(u32::from_be_bytes(*height)), u32::from_be_bytes(index.try_into().ok()?)))
    };
    let mut found = 0_u64;
    scan_table(view, Table::Transactions, KeyRange::all(), SCAN_RECORDS, &mut report.damages, &mut |_, value, _| {
        found = found.saturating_add(u64::from(place(&value).is_none_or(|(height, _)| height >= from)));
        told(1);
    });
    if found <= report.extrinsics {
        return;
    }
    let mut last: Option<(Height, Vec<Hash>)> = None;
    scan_table(
        view,
        Table::Transactions,
        KeyRange::all(),
        SCAN_RECORDS,
        &mut report.damages,
        &mut |key, value, damages| {
            let Some((height, index)) = place(&value) else {
                return damages.add_key(Table::Transactions, key, "the value is not a height and a place");
            };
            if height < from {
                return;
            }
            if last.as_ref().is_none_or(|(known, _)| *known != height) {
                let body = blocks::body(view, height).ok().flatten().unwrap_or_default();
                last = Some((height, body.iter().map(|extrinsic| extrinsic.hash()).collect()));
            }
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let hash = last.as_ref().and_then(|(_, hashes)| hashes.get(index));
            if hash.is_none_or(|hash| hash.0 != *key) {
                let reason = format!("it leads to height {height}, place {index}, where another extrinsic or none is");
                damages.add_key(Table::Transactions, key, reason);
            }
        },
    );
}

/// The sets of epochs that have begun are checked with the blocks; there are no others.
fn check_validator_sets(view: &dyn DatabaseView, running: Epoch, damages: &mut Damages) {
    match blocks::validator_set(view, running) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let key = running.0.to_be_bytes();
            damages.add(Table::ValidatorSets, Some(&key), format!("epoch {running}"), "the record is missing");
        }
        Err(error) => {
            let key = running.0.to_be_bytes();
            damages.add_error(Table::ValidatorSets, Some(&key), format!("epoch {running}"), &error);
        }
    }
    let mut start = running.0.to_be_bytes().to_vec();
    start.push(0);
    scan_table(view, Table::ValidatorSets, KeyRange::from(start), SCAN_BLOCKS, damages, &mut |key, _, damages| {
        damages.add_key(Table::ValidatorSets, key, format!("the last epoch that has begun is {running}"));
    });
}

/// Blocks that are not final hash to their keys.
fn check_pending(view: &dyn DatabaseView, damages: &mut Damages) {
    let table = Table::PendingBlocks;
    scan_table(view, table, KeyRange::all(), SCAN_BLOCKS, damages, &mut |key, value, damages| match Block::decode_all(
        &mut value.as_slice(),
    ) {
        Ok(block) if block.header.hash().0 != *key => {
            damages.add_key(table, key, format!("the block hashes to {}", block.header.hash()));
        }
        Ok(block) if block.extrinsics_root() != block.header.extrinsics_root => {
            damages.add_key(table, key, "the extrinsics are not those of the header");
        }
        Ok(_) => {}
        Err(error) => damages.add_key(table, key, error),
    });
}

/// Records of the journal are whole and belong to the epoch of their key.
fn check_journal(view: &dyn DatabaseView, running: Epoch, judge: &JudgeRecord<'_>, damages: &mut Damages) {
    let table = Table::Journal;
    let mut known: Option<(Epoch, Option<ValidatorSet>)> = None;
    let mut last: Option<(Epoch, u64)> = None;
    scan_table(view, table, KeyRange::all(), SCAN_RECORDS, damages, &mut |key, value, damages| {
        let place = key.split_first_chunk::<8>().and_then(|(epoch, sequence)| Some((epoch, sequence.try_into().ok()?)));
        let place = place.map(|(epoch, sequence)| (Epoch(u64::from_be_bytes(*epoch)), u64::from_be_bytes(sequence)));
        let Some((epoch, sequence)) = place else {
            return damages.add_key(table, key, "the key is not an epoch and a sequence number");
        };
        if epoch > running {
            return damages.add_key(table, key, format!("it is of epoch {epoch}, the running one is {running}"));
        }
        if let Some((before, number)) = last.replace((epoch, sequence))
            && before == epoch
            && number.checked_add(1) != Some(sequence)
        {
            damages.add_key(
                table,
                key,
                format!("record {sequence} of epoch {epoch} follows record {number}: one is missing"),
            );
        }
        if known.as_ref().is_none_or(|(read, _)| *read != epoch) {
            known = Some((epoch, blocks::validator_set(view, epoch).ok().flatten()));
        }
        let set = known.as_ref().and_then(|(_, set)| set.as_ref());
        if let Err(reason) = judge(epoch, set, &value) {
            damages.add(table, Some(key), format!("epoch {epoch}, {}", shown_key(key)), reason);
        }
    });
}
