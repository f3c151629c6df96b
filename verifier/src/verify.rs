//! The checks.

use crate::answer::{
    BlockAnswer, EventAnswer, Finality, FinalityAnswer, Handover, LINKS_MAX, ProofAnswer, SetAnswer, TransactionAnswer,
};
use cairn_primitives::hash::blake2_256;
use cairn_primitives::light::{FinalHeader, LightError, TrustAnchor};
use cairn_primitives::state_proof::ProofError;
use cairn_primitives::{Epoch, Hash, Header, Height, Power, PublicKey, Validator, ValidatorSet};

/// Why an answer proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A part says something else than what was asked for, or than the part that it repeats.
    #[error("{what}: {found} where {expected} is due")]
    Mismatch {
        /// The part.
        what: &'static str,
        /// In the answer.
        found: String,
        /// Asked for, or what follows from the rest.
        expected: String,
    },
    /// More headers up to the finalization than any chain has.
    #[error("{found} headers up to the finalization, at most {LINKS_MAX} are possible")]
    TooManyLinks {
        /// In the answer.
        found: usize,
    },
    /// The block is not genesis, and nothing proves it final.
    #[error("nothing in the answer proves block {0} final")]
    NoFinality(Height),
    /// The validators are no set.
    #[error("the validators are no set: {0}")]
    Set(String),
    /// A header, a certificate or a proof does not hold.
    #[error(transparent)]
    Light(#[from] LightError),
}

/// What a caller asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// The newest block, whichever that is.
    Newest,
    /// The block with this hash.
    Hash(Hash),
    /// The block at this height.
    Height(Height),
}

/// A block that is proved final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBlock {
    /// The header.
    pub header: FinalHeader,
    /// The block in whose history it is, where that was proved.
    pub under: Option<Hash>,
    /// The height of the block that the certificate is of; its own for genesis.
    pub certified: Height,
    /// How many validators signed; none for genesis.
    pub signers: usize,
}

/// Checks answers against the validators of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    anchor: TrustAnchor,
}

fn same<T: PartialEq + ToString>(what: &'static str, found: &T, expected: &T) -> Result<(), VerifyError> {
    if found == expected {
        return Ok(());
    }
    Err(VerifyError::Mismatch { what, found: found.to_string(), expected: expected.to_string() })
}

impl Verifier {
    /// Trusts an anchor and nothing else.
    #[must_use]
    pub const fn new(anchor: TrustAnchor) -> Self {
        Self { anchor }
    }

    /// What is trusted by now.
    #[must_use]
    pub const fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// The epoch whose validators have to be trusted before a block can be verified with what the answer offers.
    #[must_use]
    pub fn epoch_needed(&self, block: &BlockAnswer, finality: Option<&Finality>) -> Epoch {
        let under = finality.and_then(|finality| finality.history.as_ref()).map_or(block, |history| &history.under);
        self.anchor.schedule().epoch_of(Height(under.height))
    }

    /// Trusts the validators of the next epoch, as a quorum of the present ones made its predecessor's end final.
    ///
    /// # Errors
    /// It is the end of another epoch, or does not hold.
    pub fn follow(&mut self, handover: &Handover) -> Result<(), VerifyError> {
        let Handover { epoch, closing, certificate, next } = handover;
        same("epoch", epoch, &self.anchor.epoch().0)?;
        let header = check_block(closing, BlockRef::Newest)?;
        same("next.blockHash", &next.block_hash.is_some(), &false)?;
        same("next.epoch", &next.epoch, &Epoch(*epoch).next().0)?;
        self.anchor = self.anchor.advance(header.clone(), &certificate.0, next.set()?)?;
        Ok(())
    }

    /// Verifies that a block is final.
    ///
    /// # Errors
    /// It is not the block asked for, or something does not hold.
    pub fn block(
        &self,
        asked: BlockRef,
        block: &BlockAnswer,
        finality: Option<&Finality>,
    ) -> Result<VerifiedBlock, VerifyError> {
        let header = check_block(block, asked)?;
        let Some(finality) = finality else {
            if header.height() != Height::ZERO {
                return Err(VerifyError::NoFinality(header.height()));
            }
            let header = self.anchor.verify_genesis(header.clone())?;
            return Ok(VerifiedBlock { header, under: None, certified: Height::ZERO, signers: 0 });
        };
        let Some(history) = &finality.history else { return self.certified(header, finality) };
        let under = self.certified(check_block(&history.under, BlockRef::Newest)?, finality)?;
        let header = under.header.verify_ancestor(header.clone(), &history.proof.0)?;
        Ok(VerifiedBlock { header, under: Some(under.header.hash()), ..under })
    }

    /// From the certified header down to the block, link by link.
    fn certified(&self, block: &Header, finality: &Finality) -> Result<VerifiedBlock, VerifyError> {
        let Finality { history: _, height, hash, links, certificate } = finality;
        if links.len() > LINKS_MAX {
            return Err(VerifyError::TooManyLinks { found: links.len() });
        }
        let mut oldest_first = std::iter::once(block).chain(links.iter().map(|link| &link.0));
        let newest = oldest_first.next_back().unwrap_or(block);
        let mut header = self.anchor.verify_final(newest.clone(), &certificate.0)?;
        same("finality.height", height, &newest.number)?;
        same("finality.hash", &hash.0, &header.hash())?;
        while let Some(parent) = oldest_first.next_back() {
            header = header.verify_parent(parent.clone())?;
        }
        let signers = certificate.0.signatures().count();
        Ok(VerifiedBlock { header, under: None, certified: newest.height(), signers })
    }

    /// Verifies the answer of `cairn_getFinality`, its ends of epochs included: they are followed first.
    ///
    /// # Errors
    /// As [`Self::follow`] and [`Self::block`].
    pub fn finality(&mut self, asked: BlockRef, answer: &FinalityAnswer) -> Result<VerifiedBlock, VerifyError> {
        let FinalityAnswer { block, finality, handovers } = answer;
        for handover in handovers {
            self.follow(handover)?;
        }
        self.block(asked, block, finality.as_ref())
    }

    /// Verifies what the state after a block holds under each of `keys`; the values are those of the answer's items.
    ///
    /// # Errors
    /// The block is another or not final, an item is of another key, or a proof does not hold.
    pub fn state(&self, asked: BlockRef, keys: &[Vec<u8>], answer: &ProofAnswer) -> Result<VerifiedBlock, VerifyError> {
        let ProofAnswer { block, items, finality } = answer;
        let verified = self.block(asked, block, finality.as_ref())?;
        same("items", &items.len(), &keys.len())?;
        for (item, key) in items.iter().zip(keys) {
            if item.key.0 != *key {
                return Err(LightError::State(ProofError::WrongKey).into());
            }
            verified.header.verify_state(key, item.value.as_ref().map(|value| value.0.as_slice()), &item.proof.0)?;
            if item.ics23.0 != item.proof.0.to_ics23(key) {
                let (found, expected) = ("another proof".to_owned(), "the proof beside it".to_owned());
                return Err(VerifyError::Mismatch { what: "items.ics23", found, expected });
            }
        }
        Ok(verified)
    }

    /// Verifies that the extrinsic with `hash` is in a block, at the place that the answer says.
    ///
    /// # Errors
    /// It is another extrinsic, the block is not final, or the proof does not hold.
    pub fn transaction(&self, hash: &Hash, answer: &TransactionAnswer) -> Result<VerifiedBlock, VerifyError> {
        let TransactionAnswer { block, index, extrinsic, proof, finality } = answer;
        same("extrinsic", &blake2_256(&extrinsic.0), hash)?;
        let verified = self.block(BlockRef::Newest, block, finality.as_ref())?;
        verified.header.verify_extrinsic(*index, &extrinsic.0, &proof.0)?;
        Ok(verified)
    }

    /// Verifies that a block's event at `index` is the record of the answer.
    ///
    /// # Errors
    /// It is another block or index, the block is not final, or the proof does not hold.
    pub fn event(&self, asked: BlockRef, index: u32, answer: &EventAnswer) -> Result<VerifiedBlock, VerifyError> {
        let EventAnswer { block, index: answered, event, proof, finality } = answer;
        same("index", answered, &index)?;
        let verified = self.block(asked, block, finality.as_ref())?;
        verified.header.verify_event(index, &event.0, &proof.0)?;
        Ok(verified)
    }

    /// Verifies that the validators of the answer are those that a header of this epoch names.
    ///
    /// # Errors
    /// They are not the trusted ones.
    pub fn validators(&self, block: &VerifiedBlock, answer: &SetAnswer) -> Result<ValidatorSet, VerifyError> {
        let context = block.header.header().context().map_err(LightError::from)?;
        same("epoch", &answer.epoch, &context.epoch.0)?;
        let set = answer.set()?;
        same("validators", &set.hash(), &context.validators_hash)?;
        if let Some(hash) = answer.block_hash {
            same("blockHash", &hash.0, &block.header.hash())?;
        }
        Ok(set)
    }
}

/// The header of a block that is the one asked for; everything beside the header is compared with it.
fn check_block(block: &BlockAnswer, asked: BlockRef) -> Result<&Header, VerifyError> {
    let header = &block.header.0;
    let hash = header.hash();
    match asked {
        BlockRef::Newest => {}
        BlockRef::Hash(asked) => same("block", &hash, &asked)?,
        BlockRef::Height(asked) => same("block", &header.height(), &asked)?,
    }
    same("block.height", &block.height, &header.number)?;
    same("block.hash", &block.hash.0, &hash)?;
    same("block.stateRoot", &block.state_root.0, &header.state_root)?;
    Ok(header)
}

impl SetAnswer {
    /// The set; everything beside keys, power, epoch and block is compared with what follows from it.
    ///
    /// # Errors
    /// The validators are no set, or something else is said of them.
    pub fn set(&self) -> Result<ValidatorSet, VerifyError> {
        let validators = self
            .validators
            .iter()
            .map(|validator| Validator { key: PublicKey(validator.key.0.0), power: Power(validator.power.0) });
        let set = ValidatorSet::new(validators.collect()).map_err(|error| VerifyError::Set(error.to_string()))?;
        let expected = Self::new(Epoch(self.epoch), &set, self.block_hash.map(|hash| hash.0));
        if *self == expected {
            return Ok(set);
        }
        same("validators.hash", &self.hash.0, &expected.hash.0)?;
        let (found, expected) = ("other figures".to_owned(), "those that follow from keys and power".to_owned());
        Err(VerifyError::Mismatch { what: "validators", found, expected })
    }
}
