//! The statement that both keys sign.

use cairn_primitives::crypto::verify;
use cairn_primitives::{Epoch, Hash, KeyPair, PublicKey, Signature};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The domain tag of key changes.
const ROTATION_DOMAIN: &[u8] = b"cairn/rotate-key/1";

/// A change of a validator's key. It can be used in one epoch only; since a new key is one that was never used, it can be
/// used only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct KeyRotation {
    /// The key until now.
    pub old: PublicKey,
    /// The key from the next epoch on.
    pub new: PublicKey,
    /// The epoch in which it is valid.
    pub epoch: Epoch,
}

/// The signatures under a [`KeyRotation`]: the old key gives its power away, the new one shows that it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct RotationProof {
    /// By the old key.
    pub by_old: Signature,
    /// By the new key.
    pub by_new: Signature,
}

impl KeyRotation {
    /// The bytes that are signed: domain tag, genesis hash, old key, new key, epoch.
    #[must_use]
    pub fn signing_payload(&self, genesis: &Hash) -> Vec<u8> {
        let mut payload = ROTATION_DOMAIN.to_vec();
        payload.extend_from_slice(&genesis.0);
        self.encode_to(&mut payload);
        payload
    }

    /// Signs with both keys.
    #[must_use]
    pub fn prove(&self, old: &KeyPair, new: &KeyPair, genesis: &Hash) -> RotationProof {
        let payload = self.signing_payload(genesis);
        RotationProof { by_old: old.sign(&payload), by_new: new.sign(&payload) }
    }

    /// Whether both keys signed.
    #[must_use]
    pub(super) fn is_proved(&self, proof: &RotationProof, genesis: &Hash) -> bool {
        let payload = self.signing_payload(genesis);
        verify(&self.old, &payload, &proof.by_old) && verify(&self.new, &payload, &proof.by_new)
    }
}
