//! Messages of the next epoch that come before it opens here.

use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Epoch, PublicKey};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, VecDeque};

/// The most messages kept of one sender; the oldest go first.
const MESSAGES_PER_SENDER_MAX: usize = 16;

/// The most senders of whom messages are kept: as many as a validator set may have.
const SENDERS_MAX: usize = 256;

/// The most bytes kept of all senders, encoded; a proposal is the only large message. Where they do not suffice, who has
/// most gives way.
pub(crate) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The messages of the next epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyMessages {
    senders: BTreeMap<PublicKey, Kept>,
    bytes: usize,
}

/// The messages of a sender, oldest first, each with its size.
#[derive(Clone, Debug, Default)]
struct Kept {
    messages: VecDeque<(ConsensusMessage, usize)>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, message: ConsensusMessage, size: usize) {
        self.messages.push_back((message, size));
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Drops the oldest message and returns its size.
    fn drop_oldest(&mut self) -> usize {
        let size = self.messages.pop_front().map_or(0, |(_, size)| size);
        self.bytes = self.bytes.saturating_sub(size);
        size
    }
}

impl EarlyMessages {
    /// Keeps a vote, proposal or certificate of the epoch after `present`, once. Those of later epochs are of no use, as
    /// block sync must come first; questions are asked again.
    pub(crate) fn keep(&mut self, present: Epoch, from: PublicKey, message: ConsensusMessage) {
        let is_of_use = matches!(
            message,
            ConsensusMessage::Proposal { .. } | ConsensusMessage::Vote(_) | ConsensusMessage::Certificate(_)
        );
        let is_new_sender = !self.senders.contains_key(&from);
        if !is_of_use
            || message.epoch() != Some(present.next())
            || is_new_sender && self.senders.len() >= SENDERS_MAX
            || self.senders.get(&from).is_some_and(|kept| kept.messages.iter().any(|(known, _)| *known == message))
        {
            return;
        }
        let size = message.encoded_size();
        let kept = self.senders.entry(from).or_default();
        kept.push(message, size);
        self.bytes = self.bytes.saturating_add(size);
        if kept.messages.len() > MESSAGES_PER_SENDER_MAX {
            self.bytes = self.bytes.saturating_sub(kept.drop_oldest());
        }
        while self.bytes > BYTES_MAX {
            let Some(largest) = self.senders.values_mut().max_by_key(|kept| kept.bytes) else { return };
            self.bytes = self.bytes.saturating_sub(largest.drop_oldest());
        }
    }

    /// Forgets the messages of a sender.
    pub(crate) fn forget(&mut self, from: &PublicKey) {
        let forgotten = self.senders.remove(from).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(forgotten.bytes);
    }

    /// Takes the messages of an epoch out, and forgets all others.
    pub(crate) fn take(&mut self, epoch: Epoch) -> Vec<(PublicKey, ConsensusMessage)> {
        self.bytes = 0;
        let senders = std::mem::take(&mut self.senders).into_iter();
        let messages =
            senders.flat_map(|(from, kept)| kept.messages.into_iter().map(move |(message, _)| (from, message)));
        messages.filter(|(_, message)| message.epoch() == Some(epoch)).collect()
    }

    /// How many messages are kept.
    pub(crate) fn len(&self) -> usize {
        self.senders.values().map(|kept| kept.messages.len()).fold(0, usize::saturating_add)
    }

    /// Their bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}
