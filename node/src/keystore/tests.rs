use super::{KeyKind, development, from_argument, generate, peer_id, read, read_kind};
use crate::exit::{ExitKind, kind_of, one_line};
use cairn_primitives::{AccountId32, PublicKey};

#[test]
fn development_alice_and_bob_are_the_well_known_keys() {
    let seed = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
    let alice = seed("abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115");
    let bob = seed("3b7b60af2abcd57ba401ab398f84f4ca54bd6b2140d2503fbcf3286535fe3ff1");
    assert_eq!(development("//Alice").unwrap().public(), cairn_primitives::KeyPair::from_seed(&alice).public());
    assert_eq!(development("//Bob").unwrap().public(), cairn_primitives::KeyPair::from_seed(&bob).public());
    let account = AccountId32::from(development("//Alice").unwrap().public());
    assert_eq!(account.to_ss58(42), "5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu");
}

#[test]
fn development_path_malformed_is_none() {
    for path in
        ["", "Alice", "//", "//Alice/", "//Alice//Bob", "/Alice", "//Al ice", "//01234567890123456789012345678901"]
    {
        assert!(development(path).is_none(), "{path}");
    }
}

#[test]
fn generated_key_read_back_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/account.json");
    let pair = generate(&path, KeyKind::Account).unwrap();
    assert_eq!(read(&path).unwrap().pair.public(), pair.public());
    assert_eq!(from_argument(path.to_str().unwrap(), KeyKind::Account).unwrap().public(), pair.public());
    let error = read_kind(&path, KeyKind::Consensus).unwrap_err();
    assert!(one_line(&error).contains("is a account key, a consensus key is needed"), "{error}");
}

#[test]
fn generate_on_existing_file_refuses_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.json");
    let first = generate(&path, KeyKind::Node).unwrap();
    let error = generate(&path, KeyKind::Node).unwrap_err();
    assert_eq!(kind_of(&error), ExitKind::Key);
    assert!(one_line(&error).contains("never overwritten"), "{}", one_line(&error));
    assert_eq!(read(&path).unwrap().pair.public(), first.public());
}

#[cfg(unix)]
#[test]
fn key_file_readable_by_others_is_refused_with_the_cure() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.json");
    generate(&path, KeyKind::Node).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = read(&path).unwrap_err();
    assert!(one_line(&error).contains("chmod 600"), "{}", one_line(&error));
}

#[test]
fn damaged_key_file_is_refused_without_showing_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.json");
    generate(&path, KeyKind::Node).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let secret = good.split("\"secret\": \"").nth(1).unwrap()[..66].to_owned();
    let cases = [
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace("\"none\"", "\"argon2\""),
        good.replace("\"ed25519\"", "\"sr25519\""),
        good.replace(&secret, &format!("0x{}", "11".repeat(32))),
        good.replace(&secret, &secret[..64]),
        good.replace('}', ""),
        String::new(),
    ];
    for text in cases {
        std::fs::write(&path, &text).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(kind_of(&error), ExitKind::Key);
        assert!(!one_line(&error).contains(&secret[2..20]), "{}", one_line(&error));
    }
}

#[test]
fn secret_as_argument_is_refused() {
    let error = from_argument(&format!("0x{}", "11".repeat(32)), KeyKind::Account).unwrap_err();
    assert!(one_line(&error).contains("shell's history"));
}

#[test]
fn peer_id_has_the_form_of_ed25519_peers() {
    assert!(peer_id(&PublicKey([7; 32])).starts_with("12D3KooW"));
    assert_eq!(peer_id(&PublicKey([7; 32])).len(), 52);
}
