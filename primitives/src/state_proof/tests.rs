//! Rules of proofs.
