//! Golden files, and what clients rely on.
//!
//! A change of the metadata is a change of the rules: add to `Rules` (with another transaction version where indices of calls
//! or extensions changed), then write the new files with `CAIRN_WRITE_GOLDEN=1 cargo test -p cairn-runtime golden` and
//! commit them. Those of older rules never change.

use super::*;
use crate::EXISTENTIAL_DEPOSIT;
use frame_metadata::RuntimeMetadata;
use parity_scale_codec::{Decode, DecodeAll};
use std::path::PathBuf;

const NEWEST: Rules = Rules::NEWEST;

fn golden_path(rules: Rules, version: u32) -> PathBuf {
    // Tests run in the folder of their crate, wherever it was built.
    PathBuf::from(format!("golden/rules_{}/metadata_v{version}.scale", rules.spec_version()))
}

#[test]
fn golden_metadata_is_what_was_committed() {
    for rules in Rules::ALL {
        for version in METADATA_VERSIONS {
            let (actual, path) = (metadata(rules, version).unwrap(), golden_path(rules, version));
            if std::env::var_os("CAIRN_WRITE_GOLDEN").is_some() && !path.exists() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &actual).unwrap();
            }
            let expected = std::fs::read(&path).unwrap();
            assert!(actual == expected, "{} is not what is served: see the head of this file", path.display());
        }
    }
}

#[test]
fn metadata_decodes_as_its_version() {
    for version in METADATA_VERSIONS {
        let bytes = metadata(NEWEST, version).unwrap();
        let decoded = RuntimeMetadataPrefixed::decode_all(&mut &bytes[..]).unwrap();
        assert_eq!(decoded.0, frame_metadata::META_RESERVED);
        assert_eq!(decoded.1.version(), version);
    }
}

#[test]
fn metadata_of_other_versions_is_none() {
    for version in [0, 13, 17, u32::MAX] {
        assert!(metadata(NEWEST, version).is_none());
    }
}

#[test]
fn module_indices_are_those_of_the_outer_enums() {
    use scale_info::TypeDef;
    let metadata = v16::build(NEWEST);
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
    let RuntimeMetadata::V15(metadata) = RuntimeMetadataPrefixed::decode(&mut encoded(NEWEST, 15).unwrap()).unwrap().1
    else {
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
    let metadata = v15::build(NEWEST);
    let era = metadata.types.types.iter().find(|t| t.ty.path.to_string() == "sp_runtime::generic::era::Era").unwrap();
    let TypeDef::Variant(variants) = &era.ty.type_def else { panic!() };
    assert_eq!(variants.variants.len(), 256);
    assert_eq!(variants.variants[255].name, "Mortal255");
    assert_eq!(variants.variants[255].index, 255);
}

#[test]
fn constants_hold_the_values_of_the_rules() {
    let metadata = v14::build(NEWEST);
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

#[test]
fn older_rules_lack_what_newer_ones_added_and_nothing_else() {
    use scale_info::TypeDef;
    let variants = |rules: Rules| {
        let metadata = v16::build(rules);
        let mut names = Vec::new();
        for portable in &metadata.types.types {
            if let TypeDef::Variant(variants) = &portable.ty.type_def {
                names.extend(variants.variants.iter().map(|variant| format!("{}::{}", portable.ty.path, variant.name)));
            }
        }
        names
    };
    let (old, new) = (variants(Rules::V3), variants(Rules::V4));
    let added: Vec<_> = new.iter().filter(|name| !old.contains(name)).collect();
    let expected = ["call::Call::force_batch", "event::Event::BatchCompletedWithErrors", "event::Event::ItemFailed"];
    assert_eq!(added.len(), expected.len(), "{added:?}");
    assert!(added.iter().zip(expected).all(|(name, end)| name.ends_with(end)), "{added:?}");
    assert!(old.iter().all(|name| new.contains(name)));
}
