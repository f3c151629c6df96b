//! The suite that every adapter of the database port passes.
