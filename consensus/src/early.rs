//! Messages of the next epoch that come before it opens here.

use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Epoch, PublicKey};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, VecDeque};

/// The most messages kept of one sender; the oldest go first.
const MESSAGES_PER_SENDER_MAX: usize = 16;

/// The most senders of whom messages are kept: as many as a validator set may have.
const SENDERS_MAX: usize = 256;

/// The most bytes kept of all senders, encoded; a proposal is the only large message.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The messages of the next epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyMessages {
    senders: BTreeMap<PublicKey, VecDeque<(ConsensusMessage, usize)>>,
    bytes: usize,
}

impl EarlyMessages {
    /// Keeps a message of the epoch after `present`; those of later epochs are of no use, block sync must come first.
    pub(crate) fn keep(&mut self, present: Epoch, from: PublicKey, message: ConsensusMessage) {
        let is_new_sender = !self.senders.contains_key(&from);
        if message.epoch() != Some(present.next()) || is_new_sender && self.senders.len() >= SENDERS_MAX {
            return;
        }
        let size = message.encoded_size();
        if self.bytes.saturating_add(size) > BYTES_MAX {
            return;
        }
        let kept = self.senders.entry(from).or_default();
        kept.push_back((message, size));
        self.bytes = self.bytes.saturating_add(size);
        if kept.len() > MESSAGES_PER_SENDER_MAX
            && let Some((_, size)) = kept.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(size);
        }
    }

    /// Forgets the messages of a sender.
    pub(crate) fn forget(&mut self, from: &PublicKey) {
        let forgotten = self.senders.remove(from).unwrap_or_default();
        self.bytes = forgotten.iter().fold(self.bytes, |bytes, (_, size)| bytes.saturating_sub(*size));
    }

    /// Takes the messages of an epoch out, and forgets all others.
    pub(crate) fn take(&mut self, epoch: Epoch) -> Vec<(PublicKey, ConsensusMessage)> {
        self.bytes = 0;
        let senders = std::mem::take(&mut self.senders).into_iter();
        let messages = senders.flat_map(|(from, kept)| kept.into_iter().map(move |(message, _)| (from, message)));
        messages.filter(|(_, message)| message.epoch() == Some(epoch)).collect()
    }

    /// How many messages are kept.
    pub(crate) fn len(&self) -> usize {
        self.senders.values().map(VecDeque::len).fold(0, usize::saturating_add)
    }

    /// Their bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}
