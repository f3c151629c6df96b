//! Proofs of presence and absence in the state tree, their verification, and their ICS-23 form.
