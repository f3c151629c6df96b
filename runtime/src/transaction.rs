//! A transaction taken apart once: everything later reads the decoded form.

use crate::client::implicit;
use crate::invalid::InvalidTransaction;
use crate::modules::RuntimeCall;
use crate::modules::utility::BATCH_DEPTH_MAX;
use crate::rules::Rules;
use crate::weight::{EXTRINSIC_BASE, Weight};
use cairn_primitives::codec::{DecodeError, decode_strict};
use cairn_primitives::crypto::{Scheme, sr25519, verify};
use cairn_primitives::extrinsic::{
    EXTRINSIC_BYTES_MAX, Envelope, EnvelopeError, MultiSignature, SignedPart, signing_payload,
};
use cairn_primitives::{AccountId32, Hash, OpaqueExtrinsic, PublicKey, Signature};
use std::sync::{Arc, OnceLock};

/// Why bytes are not a transaction of these rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The envelope is malformed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The call is unknown or malformed.
    #[error(transparent)]
    Call(#[from] DecodeError),
    /// Batches inside batches beyond the limit.
    #[error("batches nest {0} deep, at most {BATCH_DEPTH_MAX} levels are allowed")]
    Nesting(u32),
}

impl From<TransactionError> for InvalidTransaction {
    fn from(error: TransactionError) -> Self {
        Self::Malformed { reason: error.to_string() }
    }
}

/// A decoded extrinsic with its bytes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Transaction(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    hash: Hash,
    bytes: OpaqueExtrinsic,
    encoded_len: usize,
    signed: Option<SignedPart>,
    call: RuntimeCall,
    call_offset: usize,
    weight: Weight,
    /// The first rules that have all its calls.
    since: Rules,
    /// The rules, the chain and the era block for which the signature was verified.
    verified_for: OnceLock<(Rules, Hash, Hash)>,
}

/// What must verify before a transaction may be in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureClaim {
    /// The key that is said to have signed.
    pub key: PublicKey,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// How the key signs.
    pub scheme: Scheme,
    /// The signature.
    pub signature: Signature,
}

impl SignatureClaim {
    /// Whether the signature is valid, checked alone.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.scheme {
            Scheme::Ed25519 => verify(&self.key, &self.payload, &self.signature),
            Scheme::Sr25519 => sr25519::verify(&self.key.0, &self.payload, &self.signature.0),
        }
    }
}

impl Transaction {
    /// Takes an extrinsic apart, envelope and call, strictly.
    ///
    /// # Errors
    /// The bytes are no canonical V4 extrinsic, or the call is unknown, malformed or nested too deeply.
    pub fn decode(bytes: OpaqueExtrinsic) -> Result<Self, TransactionError> {
        let hash = bytes.hash();
        Self::decode_hashed(bytes, hash)
    }

    /// Decodes many as [`Self::decode`] does; their hashes are computed side by side.
    pub fn decode_each<'a>(
        extrinsics: impl Iterator<Item = &'a OpaqueExtrinsic> + Clone,
    ) -> impl Iterator<Item = Result<Self, TransactionError>> {
        let hashes = OpaqueExtrinsic::hashes(extrinsics.clone());
        extrinsics.zip(hashes).map(|(bytes, hash)| Self::decode_hashed(bytes.clone(), hash))
    }

    fn decode_hashed(bytes: OpaqueExtrinsic, hash: Hash) -> Result<Self, TransactionError> {
        let envelope = Envelope::parse(bytes.bytes())?;
        let call: RuntimeCall = decode_strict("call", envelope.call, EXTRINSIC_BYTES_MAX)?;
        let depth = call.batch_depth();
        if depth > BATCH_DEPTH_MAX {
            return Err(TransactionError::Nesting(depth));
        }
        let call_offset = bytes.bytes().len().saturating_sub(envelope.call.len());
        let weight = if envelope.signed.is_some() { EXTRINSIC_BASE } else { Weight::ZERO };
        let weight = weight.saturating_add(call.weight());
        let (signed, since) = (envelope.signed, call.since());
        let (encoded_len, verified_for) = (bytes.encoded_len(), OnceLock::new());
        Ok(Self(Arc::new(Parts { hash, bytes, encoded_len, signed, call, call_offset, weight, since, verified_for })))
    }

    /// BLAKE2b-256 of the encoded extrinsic with its length prefix: what clients call its hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// The bytes it came as.
    #[must_use]
    pub fn bytes(&self) -> &OpaqueExtrinsic {
        &self.0.bytes
    }

    /// The length of the extrinsic in a block, its length prefix included, in bytes: what the fee counts.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.0.encoded_len
    }

    /// Who signed under which conditions; `None` for a bare extrinsic.
    #[must_use]
    pub fn signed(&self) -> Option<&SignedPart> {
        self.0.signed.as_ref()
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &RuntimeCall {
        &self.0.call
    }

    /// The weight of the whole extrinsic.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.0.weight
    }

    /// The account that pays and acts.
    #[must_use]
    pub fn sender(&self) -> Option<AccountId32> {
        self.0.signed.as_ref().map(|signed| signed.signer)
    }

    /// The first rules that have all its calls: under older ones it does not exist.
    #[must_use]
    pub fn since(&self) -> Rules {
        self.0.since
    }

    /// Whether [`Self::remember_signature`] was told that the signature holds under these rules on this chain with this era
    /// block.
    #[must_use]
    pub fn is_signature_known(&self, rules: Rules, genesis: &Hash, era_block: &Hash) -> bool {
        self.0.verified_for.get() == Some(&(rules, *genesis, *era_block))
    }

    /// Notes in all clones that the signature was verified: that [`Self::signature_claim`] of the same arguments holds. Of
    /// several era blocks, on branches that exclude each other, the first is remembered.
    pub fn remember_signature(&self, rules: Rules, genesis: &Hash, era_block: &Hash) {
        // An era block that is there already stays; the signature is then verified again where the other one counts.
        self.0.verified_for.get_or_init(|| (rules, *genesis, *era_block));
    }

    /// The accounts that the transaction is about, as far as its bytes tell: what is worth reading ahead.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountId32> {
        self.sender().into_iter().chain(self.0.call.recipient())
    }

    /// What must verify: the caller checks many claims together.
    ///
    /// `era_block` is the hash of the block at the birth of the transaction's era, genesis for an immortal one.
    ///
    /// # Errors
    /// There is no signature, or it is of a scheme that is not accepted.
    pub fn signature_claim(
        &self,
        rules: Rules,
        genesis: &Hash,
        era_block: &Hash,
    ) -> Result<SignatureClaim, InvalidTransaction> {
        let signed = self.signed().ok_or(InvalidTransaction::Unsigned)?;
        let (scheme, signature) = match signed.signature {
            MultiSignature::Ed25519(signature) => (Scheme::Ed25519, signature),
            MultiSignature::Sr25519(signature) => (Scheme::Sr25519, Signature(signature)),
            MultiSignature::Ecdsa(_) => return Err(InvalidTransaction::UnsupportedSignature { scheme: "ecdsa" }),
        };
        let implicit = implicit(rules, genesis, era_block);
        let call = self.0.bytes.bytes().get(self.0.call_offset..).unwrap_or_default();
        let payload = signing_payload(call, &signed.extra, &implicit);
        Ok(SignatureClaim { key: PublicKey(signed.signer.0), payload, scheme, signature })
    }
}

#[cfg(test)]
mod tests;
