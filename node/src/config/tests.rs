use super::{History, Kind, LogFormat, Role, UnsafeMethods};
use super::{KEYS, Layers, commented_file, explain, explain_json, load, toml_file};
use crate::exit::{ExitKind, kind_of, one_line};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn layers(file: Option<&str>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> (tempfile::TempDir, Layers) {
    let folder = tempfile::tempdir().unwrap();
    let file = file.map(|text| {
        let path: PathBuf = folder.path().join("cairn.toml");
        std::fs::write(&path, text).unwrap();
        path
    });
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    (folder, Layers { file, environment: owned(environment).into_iter().collect(), flags: owned(flags) })
}

fn refusal(file: Option<&str>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    let (_folder, layers) = layers(file, environment, flags);
    let error = load(&layers).expect_err("a wrong configuration was accepted");
    assert_eq!(kind_of(&error), ExitKind::Config);
    one_line(&error)
}

#[test]
fn defaults_alone_are_a_configuration() {
    let resolved = load(&Layers::default()).unwrap();
    assert_eq!(resolved.values.len(), KEYS.len());
    assert_eq!(resolved.differences().count(), 0);
    let config = resolved.config;
    assert_eq!((config.node.role, config.state.history), (Role::Rpc, History::Window(16_384)));
    assert_eq!(config.rpc.listen.to_string(), "127.0.0.1:9944");
    assert_eq!(config.rpc.unsafe_methods, UnsafeMethods::Auto);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.network.listen.len(), 2);
    assert!(config.network.boot_nodes.is_empty());
}

#[test]
fn keys_have_defaults_in_range_and_names_of_their_own() {
    let mut names = BTreeSet::new();
    for key in KEYS {
        super::value::parse(key.kind, key.default).unwrap_or_else(|problem| panic!("{} {problem}", key.path()));
        assert!(names.insert(key.path()) && names.insert(key.variable()), "{} twice", key.path());
        assert!(key.words.ends_with('.'), "{}", key.path());
    }
    for role in ["validator", "rpc", "archive"] {
        for (path, text) in super::keys::preset(role) {
            let key = super::keys::Key::find(path).unwrap();
            super::value::parse(key.kind, text).unwrap();
        }
    }
}

#[test]
fn later_layers_win_over_earlier_ones() {
    let file = "[network]\npeers_in_max = 10\npeers_out_max = 10\n[rpc]\nbatch_max = 10\n[state]\nhistory = 100\n";
    let environment = [("CAIRN_NETWORK__PEERS_OUT_MAX", "20"), ("CAIRN_RPC__BATCH_MAX", "20"), ("PATH", "/bin")];
    let (_folder, layers) = layers(Some(file), &environment, &[("rpc.batch_max", "30"), ("node.role", "archive")]);
    let resolved = load(&layers).unwrap();
    let config = &resolved.config;
    assert_eq!((config.network.peers_in_max, config.network.peers_out_max, config.rpc.batch_max), (10, 20, 30));
    // The file goes over the preset of the role.
    assert_eq!(config.state.history, History::Window(100));
    let origin = |path: &str| resolved.values.iter().find(|value| value.key.path() == path).unwrap().origin.clone();
    assert!(origin("network.peers_in_max").ends_with("cairn.toml"));
    assert_eq!(origin("network.peers_out_max"), "CAIRN_NETWORK__PEERS_OUT_MAX");
    assert_eq!(origin("rpc.batch_max"), "--rpc.batch_max");
    assert_eq!(origin("node.role"), "--role");
    assert_eq!(origin("rpc.listen"), "default");
}

#[test]
fn role_presets_other_keys_whichever_layer_names_it() {
    let presets = |layers: &Layers| load(layers).unwrap().config.state.history;
    let (_one, flag) = layers(None, &[], &[("node.role", "archive")]);
    assert_eq!(presets(&flag), History::Archive);
    let (_two, file) = layers(Some("[node]\nrole = \"validator\"\n"), &[], &[]);
    assert_eq!(presets(&file), History::Window(4_096));
    let (_three, environment) = layers(None, &[("CAIRN_NODE__ROLE", "archive")], &[]);
    assert_eq!(presets(&environment), History::Archive);
}

#[test]
fn unknown_key_is_refused_with_suggestion_and_the_keys_of_its_section() {
    let problem = refusal(Some("[network]\nlisen = []\n"), &[], &[]);
    assert!(problem.contains("unknown key `network.lisen`: did you mean `network.listen`?"), "{problem}");
    assert!(problem.contains("boot_nodes, reserved, reserved_only"), "{problem}");
    let problem = refusal(Some("[netwrok]\nlisten = []\n"), &[], &[]);
    assert!(problem.contains("unknown section `netwrok`: did you mean `network`?"), "{problem}");
    let problem = refusal(None, &[("CAIRN_RPC__LISEN", "127.0.0.1:1")], &[]);
    assert!(problem.contains("did you mean `rpc.listen`?"), "{problem}");
    let problem = refusal(None, &[("CAIRN_RPC_LISTEN", "127.0.0.1:1")], &[]);
    assert!(problem.contains("did you mean CAIRN_RPC__LISTEN"), "{problem}");
    let problem = refusal(Some("network = 3\n"), &[], &[]);
    assert!(problem.contains("names the section [network]"), "{problem}");
}

#[test]
fn value_out_of_range_names_key_origin_and_limit() {
    let cases = [
        ("network.peers_out_max", "0", "a number from 1 to 1000 (peers)"),
        ("network.peers_out_max", "-1", "a number from 1 to 1000 (peers)"),
        ("network.peers_out_max", "99999999999999999999999", "a number from 1 to 1000 (peers)"),
        ("network.listen", "127.0.0.1:30333", "not a multiaddress"),
        ("rpc.listen", "localhost:9944", "an IP address with port"),
        ("rpc.request_bytes_max", "1 KiB", "64 KiB to 64 MiB"),
        ("rpc.request_bytes_max", "2 MB", "64 KiB to 64 MiB"),
        ("node.role", "validater", "did you mean `validator`?"),
        ("metrics.enabled", "yes", "true or false"),
        ("state.history", "3", "archive, or a number of blocks from 64 to 100000000"),
        ("log.level", "loud=yes=no", "levels"),
        ("node.name", "a\nb", "a text"),
    ];
    for (path, text, expected) in cases {
        let problem = refusal(None, &[], &[(path, text)]);
        assert!(problem.contains(path) && problem.contains(expected), "{path} = {text}: {problem}");
    }
    let problem = refusal(Some("[network]\npeers_in_max = [1]\nlisten = \"/ip4/1.2.3.4/tcp/1\"\n"), &[], &[]);
    assert!(problem.contains("`network.peers_in_max`") && problem.contains("is a list"), "{problem}");
}

#[test]
fn several_mistakes_are_reported_together() {
    let problem = refusal(Some("[rpc]\nbatch_max = 0\nlisen = 1\n[log]\nformat = \"xml\"\n"), &[], &[]);
    assert!(problem.contains("rpc.lisen") && problem.contains("rpc.batch_max") && problem.contains("log.format"));
}

#[test]
fn file_that_is_missing_or_not_toml_is_refused_with_its_name() {
    let missing = Layers { file: Some("no/such/cairn.toml".into()), ..Layers::default() };
    assert!(one_line(&load(&missing).unwrap_err()).contains("no/such/cairn.toml"));
    let problem = refusal(Some("[rpc\n"), &[], &[]);
    assert!(problem.contains("cairn.toml is not valid TOML"), "{problem}");
}

#[test]
fn public_rpc_is_refused_for_validators_and_for_unsafe_methods_unless_told_twice() {
    let public = ("rpc.listen", "0.0.0.0:9944");
    let accepted = |flags: &[(&str, &str)]| load(&layers(None, &[], flags).1).is_ok();
    assert!(accepted(&[public]));
    assert!(accepted(&[("node.role", "validator")]));
    let problem = refusal(None, &[], &[public, ("rpc.unsafe_methods", "on")]);
    assert!(problem.contains("rpc.allow_public_unsafe = true"), "{problem}");
    assert!(accepted(&[public, ("rpc.unsafe_methods", "on"), ("rpc.allow_public_unsafe", "true")]));
    let problem = refusal(None, &[], &[public, ("node.role", "validator")]);
    assert!(problem.contains("rpc.allow_public = true"), "{problem}");
    assert!(accepted(&[public, ("node.role", "validator"), ("rpc.allow_public", "true")]));
    let offers = |flags: &[(&str, &str)]| load(&layers(None, &[], flags).1).unwrap().config.rpc.offers_unsafe();
    assert!(offers(&[]) && !offers(&[public]) && !offers(&[("rpc.unsafe_methods", "off")]));
}

#[test]
fn combinations_that_cannot_work_are_refused() {
    assert!(refusal(None, &[], &[("network.listen", "")]).contains("network.listen is empty"));
    assert!(refusal(None, &[], &[("network.reserved_only", "true")]).contains("nobody to talk to"));
    assert!(refusal(None, &[], &[("metrics.listen", "127.0.0.1:9944")]).contains("give metrics another port"));
}

#[test]
fn file_shown_gives_the_same_configuration_again() {
    let flags = [("node.role", "archive"), ("node.name", "a \"name\" \\ ü"), ("rpc.request_bytes_max", "1 MiB")];
    let (_folder, first) = layers(None, &[], &flags);
    let first = load(&first).unwrap();
    let (_again, second) = layers(Some(&toml_file(&first)), &[], &[]);
    assert_eq!(load(&second).unwrap().config, first.config);
}

#[test]
fn commented_file_is_accepted_as_it_is_and_with_every_line_active() {
    let set = BTreeMap::from([("node.chain".to_owned(), serde_json::json!("dev"))]);
    let text = commented_file(&set);
    let (_folder, plain) = layers(Some(&text), &[], &[]);
    let resolved = load(&plain).unwrap();
    assert_eq!(resolved.config.node.chain, "dev");
    assert_eq!(resolved.differences().count(), 1);
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    let active: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| names.contains(&name)) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (_other, every) = layers(Some(&active), &[], &[]);
    let every = load(&every).unwrap();
    assert_eq!(every.config, resolved.config);
    assert_eq!(every.differences().count(), KEYS.len());
}

#[test]
fn explain_names_value_origin_range_and_names_of_every_key() {
    let (_folder, layers) = layers(None, &[("CAIRN_RPC__BATCH_MAX", "7")], &[]);
    let resolved = load(&layers).unwrap();
    let text = explain(&resolved);
    assert!(text.contains("rpc.batch_max = 7\n    from   CAIRN_RPC__BATCH_MAX\n"), "{text}");
    assert!(text.contains("CAIRN_NODE__DATA_DIR · --data-dir"), "{text}");
    assert_eq!(explain_json(&resolved).as_array().unwrap().len(), KEYS.len());
}

#[test]
fn bytes_are_read_with_and_without_units() {
    let parse = |text: &str| super::value::parse(Kind::Bytes { min: 0, max: u64::MAX }, text).ok();
    for (text, bytes) in [("64", 64u64), ("64 B", 64), ("1KiB", 1024), ("2 MiB", 2 << 20), ("1_024 GiB", 1 << 40)] {
        assert_eq!(parse(text), Some(serde_json::json!(bytes)), "{text}");
    }
    for text in ["", "MiB", "1.5 MiB", "1 mib", "99999999999 GiB", "-1"] {
        assert_eq!(parse(text), None, "{text}");
    }
}
