//! The settings of a node on the command line: a flag for each key of the configuration.

use crate::config::{KEYS, Kind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command as ClapCommand, FromArgMatches};
use std::path::PathBuf;

/// The settings of a node as flags, made from the table of keys, and the file they go over.
#[derive(Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Key path and text of every flag given.
    pub flags: Vec<(String, String)>,
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Vec::new();
        for key in KEYS {
            let path = key.path();
            if let Some(values) = matches.get_many::<String>(&path) {
                flags.push((path, values.cloned().collect::<Vec<_>>().join(",")));
            }
        }
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ConfigArgs {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        let file = Arg::new("config")
            .long("config")
            .short('c')
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file (TOML)");
        KEYS.iter().fold(command.arg(file), |command, key| {
            let (flag, path) = (key.flag(), key.path());
            let arg = Arg::new(path.clone())
                .long(flag.clone())
                .help(key.words)
                .help_heading(format!("[{}]", key.section))
                .value_name(value_name(key.kind))
                .hide_short_help(key.section != "node");
            let arg = if flag == path { arg } else { arg.alias(path) };
            command.arg(match key.kind {
                Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                Kind::Multiaddrs { .. } => arg.action(ArgAction::Append),
                Kind::Text
                | Kind::Path
                | Kind::Number { .. }
                | Kind::Bytes { .. }
                | Kind::Choice(_)
                | Kind::Address
                | Kind::History { .. }
                | Kind::Levels => arg,
            })
        })
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

const fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "TEXT",
        Kind::Path => "PATH",
        Kind::Switch => "true|false",
        Kind::Number { .. } => "NUMBER",
        Kind::Bytes { .. } => "BYTES",
        Kind::Choice(_) => "WORD",
        Kind::Address => "ADDRESS:PORT",
        Kind::Multiaddrs { .. } => "MULTIADDR",
        Kind::History { .. } => "archive|BLOCKS",
        Kind::Levels => "LEVELS",
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn config_flags_are_collected_with_their_paths() {
        let line = "cairn run --role archive --network.listen /ip4/1.2.3.4/tcp/1 --network.listen /ip4/1.2.3.4/tcp/2 \
                    --rpc.allow_public --metrics.enabled=false --node.name x";
        let Command::Run(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("not run");
        };
        let get = |path: &str| args.config.flags.iter().find(|(key, _)| key == path).map(|(_, text)| text.as_str());
        assert_eq!(get("node.role"), Some("archive"));
        assert_eq!(get("node.name"), Some("x"));
        assert_eq!(get("network.listen"), Some("/ip4/1.2.3.4/tcp/1,/ip4/1.2.3.4/tcp/2"));
        assert_eq!(get("rpc.allow_public"), Some("true"));
        assert_eq!(get("metrics.enabled"), Some("false"));
        assert_eq!(args.config.flags.len(), 5);
    }

    #[test]
    fn flag_mistyped_is_refused_with_a_suggestion() {
        let error = Cli::try_parse_from(["cairn", "run", "--network.lisen", "/ip4/1.2.3.4/tcp/1"]).unwrap_err();
        assert!(error.to_string().contains("--network.listen"), "{error}");
    }
}
