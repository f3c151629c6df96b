//! Keys that sign transactions, of either kind.

use crate::account::AccountId32;
use crate::crypto::KeyPair;
use crate::crypto::sr25519::Sr25519Pair;
use crate::extrinsic::MultiSignature;

/// The key of an account.
#[derive(Clone, Debug)]
pub enum AccountKey {
    /// ed25519: what our own tools make.
    Ed25519(Box<KeyPair>),
    /// sr25519: what most wallets make.
    Sr25519(Box<Sr25519Pair>),
}

impl AccountKey {
    /// The account that the key signs for.
    #[must_use]
    pub fn account(&self) -> AccountId32 {
        match self {
            Self::Ed25519(pair) => pair.public().into(),
            Self::Sr25519(pair) => AccountId32(pair.public()),
        }
    }

    /// Signs a message; the same message always gets the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> MultiSignature {
        match self {
            Self::Ed25519(pair) => MultiSignature::Ed25519(pair.sign(message)),
            Self::Sr25519(pair) => MultiSignature::Sr25519(pair.sign(message)),
        }
    }
}

impl From<KeyPair> for AccountKey {
    fn from(pair: KeyPair) -> Self {
        Self::Ed25519(Box::new(pair))
    }
}

impl From<Sr25519Pair> for AccountKey {
    fn from(pair: Sr25519Pair) -> Self {
        Self::Sr25519(Box::new(pair))
    }
}
