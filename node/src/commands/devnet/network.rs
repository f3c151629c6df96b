//! What `dev` and `devnet` share: waiting for finality, and what is shown once it moves.

use crate::client::Client;
use crate::output::amount;
use cairn_chain_spec::{ChainSpec, development};
use cairn_primitives::AccountId32;
use std::path::Path;
use std::time::Duration;

/// How often a node that does not answer yet is asked again.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until a node answers and its finalized head moves; for ever, if it does not.
///
/// # Errors
/// The URL is no URL.
pub async fn finality_moves(url: &str) -> anyhow::Result<()> {
    let mut first = None;
    loop {
        if let Ok(client) = Client::connect(url).await {
            while let Ok(height) = client.finalized_height().await {
                if *first.get_or_insert(height) < height {
                    return Ok(());
                }
                tokio::time::sleep(ASK_INTERVAL).await;
            }
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

/// The funded development accounts, one a line.
#[must_use]
pub fn accounts(spec: &ChainSpec) -> String {
    let properties = spec.properties();
    let line = |name: &&str| {
        let account = AccountId32::from(development::key_pair(name).public());
        let (_, balance) = spec.balances().iter().find(|(owner, _)| *owner == account)?;
        let balance = amount(*balance, properties.token_decimals, &properties.token_symbol);
        Some(format!("//{name:<8} {}  {balance} at genesis\n", account.to_ss58(properties.ss58_format)))
    };
    development::NAMES.iter().filter_map(line).collect()
}

/// Three commands that work as they are printed.
#[must_use]
pub fn commands_to_try(url: &str, chain: &str) -> Vec<String> {
    let program = program();
    vec![
        format!("{program} tx transfer --from //Alice --to //Bob --amount 10 --url {url}"),
        format!("{program} query account //Bob --url {url}"),
        format!("{program} query account //Bob --verify --chain {} --url {url}", quoted(chain)),
    ]
}

/// This program as it can be called from the current folder.
fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "cairn".into() };
    let shorter =
        std::env::current_dir().ok().and_then(|folder| program.strip_prefix(folder).ok().map(Path::to_path_buf));
    // A bare name would be looked for in the shell's path instead.
    let shorter = shorter.map(|path| if path.components().count() == 1 { Path::new(".").join(path) } else { path });
    quoted(&shorter.unwrap_or(program).display().to_string())
}

/// A word that a shell takes as one.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+:,@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{accounts, commands_to_try, quoted};
    use cairn_chain_spec::ChainSpec;

    #[test]
    fn word_with_spaces_or_quotes_is_one_word_to_a_shell() {
        assert_eq!(quoted("target/release/cairn"), "target/release/cairn");
        assert_eq!(quoted("my folder/it's"), "'my folder/it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn commands_to_try_are_accepted_by_the_command_line() {
        use clap::Parser as _;
        for command in commands_to_try("ws://127.0.0.1:9944", "devnet/spec.json") {
            let words: Vec<&str> = command.split(' ').collect();
            assert!(crate::cli::Cli::try_parse_from(words).is_ok(), "{command}");
        }
    }

    #[test]
    fn accounts_of_the_dev_chain_are_all_funded() {
        let text = accounts(&ChainSpec::dev());
        assert_eq!(text.lines().count(), 6);
        assert!(text.starts_with("//Alice    5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu  1000000 CRN"), "{text}");
    }
}
