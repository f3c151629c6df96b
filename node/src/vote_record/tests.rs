use super::{Found, MAGIC, VoteRecord, create, path_beside};
use crate::exit::{ExitKind, kind_of, one_line};
use cairn_consensus::JournalRecord;
use cairn_primitives::{Epoch, Hash, KeyPair, PublicKey, Subject, ValidatorIndex, View, Vote};
use std::path::{Path, PathBuf};

const GENESIS: Hash = Hash([7; 32]);

fn pair() -> KeyPair {
    KeyPair::from_seed(&[3; 32])
}

fn key() -> PublicKey {
    pair().public()
}

fn vote(view: u64) -> JournalRecord {
    let subject = Subject::Nullify { epoch: Epoch(0), view: View(view) };
    JournalRecord::Vote(Vote::sign(subject, ValidatorIndex(0), &pair(), &GENESIS))
}

fn records(path: &Path) -> Vec<JournalRecord> {
    match VoteRecord::open(path, key(), GENESIS).unwrap().1 {
        Found::Records(records) => records,
        Found::Lost => panic!("the record is lost"),
    }
}

fn with_votes(folder: &Path, views: std::ops::Range<u64>) -> PathBuf {
    let path = path_beside(&folder.join("consensus.json"));
    create(&path, &key()).unwrap();
    let (mut record, _) = VoteRecord::open(&path, key(), GENESIS).unwrap();
    for view in views {
        record.append(&[vote(view)]).unwrap();
    }
    path
}

#[test]
fn record_opened_again_holds_what_was_appended() {
    let folder = tempfile::tempdir().unwrap();
    let path = with_votes(folder.path(), 1..4);
    assert_eq!(records(&path), [vote(1), vote(2), vote(3)]);
    create(&path, &key()).unwrap();
    assert_eq!(records(&path).len(), 3, "a record that exists is left as it is");
}

#[test]
fn record_torn_at_any_byte_keeps_every_whole_entry_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = with_votes(folder.path(), 1..4);
    let whole = std::fs::read(&path).unwrap();
    let first = MAGIC.len() + 32;
    for length in first..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let kept = records(&path);
        assert!(kept.len() < 3 && [vote(1), vote(2), vote(3)].starts_with(&kept), "{length}");
        let (mut record, _) = VoteRecord::open(&path, key(), GENESIS).unwrap();
        record.append(&[vote(9)]).unwrap();
        drop(record);
        assert_eq!(records(&path).last(), Some(&vote(9)), "{length}");
    }
}

#[test]
fn record_that_is_missing_is_lost_until_something_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consensus.votes");
    let (mut record, found) = VoteRecord::open(&path, key(), GENESIS).unwrap();
    assert!(matches!(found, Found::Lost) && !path.exists());
    let floor = JournalRecord::Floor { epoch: Epoch(0), view: View(5) };
    record.append(&[floor.clone(), vote(6)]).unwrap();
    drop(record);
    assert_eq!(records(&path), [floor, vote(6)]);
}

#[test]
fn record_of_another_key_or_chain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = with_votes(folder.path(), 1..2);
    let other_chain = VoteRecord::open(&path, key(), Hash([8; 32])).unwrap_err();
    assert!(one_line(&other_chain).contains("chain"), "{}", one_line(&other_chain));
    let other_key = VoteRecord::open(&path, KeyPair::from_seed(&[4; 32]).public(), GENESIS).unwrap_err();
    assert!(one_line(&other_key).contains("another key"), "{}", one_line(&other_key));
    assert_eq!(kind_of(&other_key), ExitKind::Key);
}

#[test]
fn record_damaged_before_its_tail_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = with_votes(folder.path(), 1..2);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[MAGIC.len() + 40] ^= 1;
    bytes.resize(bytes.len() + super::TORN_BYTES_MAX, 0);
    std::fs::write(&path, bytes).unwrap();
    let error = VoteRecord::open(&path, key(), GENESIS).unwrap_err();
    assert!(one_line(&error).contains("damaged at byte"), "{}", one_line(&error));
}

#[test]
fn record_written_anew_holds_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = with_votes(folder.path(), 1..4);
    let (mut record, _) = VoteRecord::open(&path, key(), GENESIS).unwrap();
    record.rewrite(&[vote(3)]).unwrap();
    record.append(&[vote(4)]).unwrap();
    let in_use = VoteRecord::open(&path, key(), GENESIS).unwrap_err();
    assert!(one_line(&in_use).contains("another process"), "{}", one_line(&in_use));
    drop(record);
    assert_eq!(records(&path), [vote(3), vote(4)]);
}
