//! Golden files, and what clients rely on.
//!
//! A change of the metadata is a change of the rules: raise `SPEC_VERSION` (and `TRANSACTION_VERSION` where calls or
//! extensions changed), then write the files anew with
//! `CAIRN_WRITE_GOLDEN=1 cargo test -p cairn-runtime golden` and commit them.

use super::*;
use crate::EXISTENTIAL_DEPOSIT;
use frame_metadata::RuntimeMetadata;
use parity_scale_codec::{Decode, DecodeAll};
use std::path::PathBuf;

fn golden_path(version: u32) -> PathBuf {
    // Tests run in the folder of their crate, wherever it was built.
    PathBuf::from(format!("golden/metadata_v{version}.scale"))
}

#[test]
fn golden_metadata_is_what_was_committed() {
    for version in METADATA_VERSIONS {
        let actual = metadata(version).unwrap();
        if std::env::var_os("CAIRN_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(golden_path(version).parent().unwrap()).unwrap();
            std::fs::write(golden_path(version), &actual).unwrap();
        }
        let expected = std::fs::read(golden_path(version)).unwrap();
        assert!(actual == expected, "metadata V{version} changed: see the head of this file");
    }
}

#[test]
fn metadata_decodes_as_its_version() {
    for version in METADATA_VERSIONS {
        let bytes = metadata(version).unwrap();
        let decoded = RuntimeMetadataPrefixed::decode_all(&mut &bytes[..]).unwrap();
        assert_eq!(decoded.0, frame_metadata::META_RESERVED);
        assert_eq!(decoded.1.version(), version);
    }
}

#[test]
fn metadata_of_other_versions_is_none() {
    for version in [0, 13, 17, u32::MAX] {
        assert!(metadata(version).is_none());
    }
}

#[test]
fn module_indices_are_those_of_the_outer_enums() {
    use scale_info::TypeDef;
    let metadata = v16::build();
    for outer in
        [metadata.outer_enums.call_enum_ty, metadata.outer_enums.event_enum_ty, metadata.outer_enums.error_enum_ty]
    {
        let TypeDef::Variant(variants) = &metadata.types.resolve(outer.id).unwrap().type_def else { panic!() };
        for variant in &variants.variants {
            let pallet = metadata.pallets.iter().find(|pallet| pallet.index == variant.index).unwrap();
            assert_eq!(pallet.name, variant.name);
        }
    }
}

#[test]
fn extensions_stand_in_the_order_of_the_payload() {
    let RuntimeMetadata::V15(metadata) = RuntimeMetadataPrefixed::decode(&mut encoded(15).unwrap()).unwrap().1 else {
        panic!()
    };
    let names: Vec<_> = metadata.extrinsic.signed_extensions.iter().map(|e| e.identifier.as_str()).collect();
    assert_eq!(
        names,
        [
            "CheckNonZeroSender",
            "CheckSpecVersion",
            "CheckTxVersion",
            "CheckGenesis",
            "CheckMortality",
            "CheckNonce",
            "CheckWeight",
            "ChargeTransactionPayment",
            "CheckMetadataHash"
        ]
    );
}

#[test]
fn era_type_has_a_variant_for_each_first_byte() {
    use scale_info::TypeDef;
    let metadata = v15::build();
    let era = metadata.types.types.iter().find(|t| t.ty.path.to_string() == "sp_runtime::generic::era::Era").unwrap();
    let TypeDef::Variant(variants) = &era.ty.type_def else { panic!() };
    assert_eq!(variants.variants.len(), 256);
    assert_eq!(variants.variants[255].name, "Mortal255");
    assert_eq!(variants.variants[255].index, 255);
}

#[test]
fn constants_hold_the_values_of_the_rules() {
    let metadata = v14::build();
    let balances = metadata.pallets.iter().find(|pallet| pallet.name == "Balances").unwrap();
    assert_eq!(balances.constants[0].value, EXISTENTIAL_DEPOSIT.encode());
    let utility = metadata.pallets.iter().find(|pallet| pallet.name == "Utility").unwrap();
    let limit = u32::decode(&mut &utility.constants[0].value[..]).unwrap();
    assert_eq!(limit as usize, crate::modules::utility::BATCH_CALLS_MAX);
    let validators = metadata.pallets.iter().find(|pallet| pallet.name == "Validators").unwrap();
    let limits: Vec<_> =
        validators.constants.iter().map(|c| u32::decode(&mut &c.value[..]).unwrap() as usize).collect();
    assert_eq!(limits, [cairn_primitives::validator::VALIDATORS_MAX, crate::BLOCK_REPORTS_MAX]);
}
