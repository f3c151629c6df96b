//! Version 14: no runtime calls; the oldest that clients read.

use super::model::{Constant, Extrinsic, Model, Module};
use super::storage::Entry;
use super::{paths, since};
use crate::rules::Rules;
use frame_metadata::v14::{
    ExtrinsicMetadata, PalletCallMetadata, PalletConstantMetadata, PalletErrorMetadata, PalletEventMetadata,
    PalletMetadata, PalletStorageMetadata, RuntimeMetadataV14, SignedExtensionMetadata, StorageEntryMetadata,
};

/// The metadata.
pub(super) fn build(rules: Rules) -> RuntimeMetadataV14 {
    let Model { modules, extrinsic: form, runtime, .. } = Model::new(rules);
    let pallets = modules.into_iter().map(pallet).collect();
    let mut metadata = RuntimeMetadataV14::new(pallets, extrinsic(form), runtime);
    since::remove_newer(rules, &mut metadata.types);
    paths::rename(&mut metadata.types);
    metadata
}

fn extrinsic(form: Extrinsic) -> ExtrinsicMetadata {
    let signed_extensions = form
        .extensions
        .into_iter()
        .map(|extension| SignedExtensionMetadata {
            identifier: extension.identifier,
            ty: extension.ty,
            additional_signed: extension.implicit,
        })
        .collect();
    ExtrinsicMetadata { ty: form.ty, version: form.version, signed_extensions }
}

fn pallet(module: Module) -> PalletMetadata {
    PalletMetadata {
        name: module.name,
        storage: storage(module.name, module.storage),
        calls: module.call.map(|ty| PalletCallMetadata { ty }),
        event: module.event.map(|ty| PalletEventMetadata { ty }),
        constants: constants(module.constants),
        error: module.error.map(|ty| PalletErrorMetadata { ty }),
        index: module.index,
    }
}

/// The constants of a module in the form that versions 14 and 15 share.
pub(super) fn constants(constants: Vec<Constant>) -> Vec<PalletConstantMetadata> {
    let constants = constants.into_iter().map(|constant| PalletConstantMetadata {
        name: constant.name,
        ty: constant.ty,
        value: constant.value,
        docs: vec![constant.docs],
    });
    constants.collect()
}

/// The storage of a module in the form that versions 14 and 15 share.
pub(super) fn storage(prefix: &'static str, entries: Vec<Entry>) -> Option<PalletStorageMetadata> {
    if entries.is_empty() {
        return None;
    }
    let entries = entries
        .into_iter()
        .map(|entry| StorageEntryMetadata {
            name: entry.name,
            modifier: entry.modifier,
            ty: entry.ty,
            default: entry.default,
            docs: vec![entry.docs],
        })
        .collect();
    Some(PalletStorageMetadata { prefix, entries })
}
