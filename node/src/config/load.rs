//! Merging the layers and reading the typed configuration out of the result.

use super::NodeConfig;
use super::keys::{ENVIRONMENT_PREFIX, KEYS, Key, preset, sections};
use super::rules;
use super::value::{check, closest};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use config::{Config, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A configuration file larger than this is refused, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is merged, lowest first; the defaults and the preset of the role come before.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that was named, if any.
    pub file: Option<PathBuf>,
    /// The environment: variables outside of our names are passed over.
    pub environment: BTreeMap<String, String>,
    /// Key path and text of every flag given.
    pub flags: Vec<(String, String)>,
}

impl Layers {
    /// The layers of this process: its environment, a file and flags.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        Self { file, environment: std::env::vars().collect(), flags }
    }
}

/// A key's value and where it comes from.
#[derive(Clone, Debug)]
pub struct ResolvedValue {
    /// The key.
    pub key: &'static Key,
    /// The checked value.
    pub value: serde_json::Value,
    /// `default`, `role …`, the file's name, the variable or the flag.
    pub origin: String,
}

/// All keys with value and origin, and the typed configuration made from them.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// In the order of the table.
    pub values: Vec<ResolvedValue>,
    /// The configuration.
    pub config: NodeConfig,
}

impl Resolved {
    /// What the role's preset and the operator changed in the defaults.
    pub fn differences(&self) -> impl Iterator<Item = &ResolvedValue> {
        self.values.iter().filter(|value| value.origin != ORIGIN_DEFAULT)
    }
}

const ORIGIN_DEFAULT: &str = "default";

/// One layer with one origin for each value.
#[derive(Clone, Debug)]
struct Layer(Vec<(String, String, String)>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let value = |origin: &String, text: &String| Value::new(Some(origin), ValueKind::String(text.clone()));
        Ok(self.0.iter().map(|(path, text, origin)| (path.clone(), value(origin, text))).collect())
    }
}

/// Merges the layers, refuses unknown keys, checks every value and every combination.
///
/// # Errors
/// Each names key, origin, limit and cure, with [`ExitKind::Config`].
pub fn load(layers: &Layers) -> anyhow::Result<Resolved> {
    check_file(layers)?;
    let role = merge(layers, "")?.get_string("node.role").unwrap_or_default();
    let merged = merge(layers, &role)?;
    let root = merged.cache.clone();
    let mut problems = unknown_keys(&root);
    problems.extend(unknown_variables(&layers.environment));
    let mut values = Vec::new();
    for key in KEYS {
        let Some(value) = value_at(&root, key) else { continue };
        let origin = origin_of(key, value);
        match check(key, value) {
            Ok(value) => values.push(ResolvedValue { key, value, origin }),
            Err(problem) => problems.push(format!("`{}` ({origin}) {problem}", key.path())),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::new(ExitKind::Config, problems.join("\n  ")).into());
    }
    let config = typed(&values).exit_with(ExitKind::Config, "the configuration does not hold together")?;
    rules::check(&config)?;
    Ok(Resolved { values, config })
}

fn check_file(layers: &Layers) -> anyhow::Result<()> {
    let Some(path) = &layers.file else { return Ok(()) };
    let metadata = std::fs::metadata(path)
        .exit_with(ExitKind::Config, format!("cannot read the configuration file {}", path.display()))?;
    if metadata.len() > FILE_BYTES_MAX {
        let message = format!("{} has {} bytes, at most {FILE_BYTES_MAX} are read", path.display(), metadata.len());
        return Err(Failure::new(ExitKind::Config, message).into());
    }
    Ok(())
}

fn merge(layers: &Layers, role: &str) -> anyhow::Result<Config> {
    let origin = ORIGIN_DEFAULT.to_owned();
    let defaults = KEYS.iter().map(|key| (key.path(), key.default.to_owned(), origin.clone())).collect();
    let preset =
        preset(role).iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned(), format!("role {role}")));
    let mut builder = Config::builder().add_source(Layer(defaults)).add_source(Layer(preset.collect()));
    if let Some(path) = &layers.file {
        builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
    }
    let variables: Map<String, String> = layers
        .environment
        .iter()
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX) && name.contains("__"))
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    let environment =
        Environment::with_prefix(ENVIRONMENT_PREFIX).prefix_separator("_").separator("__").source(Some(variables));
    let flags = layers.flags.iter().map(|(path, text)| {
        let flag = Key::find(path).map_or_else(|| path.clone(), Key::flag);
        (path.clone(), text.clone(), format!("--{flag}"))
    });
    let merged = builder.add_source(environment).add_source(Layer(flags.collect())).build();
    let name = layers.file.as_ref().map_or_else(|| "the configuration".into(), |path| path.display().to_string());
    merged.exit_with(ExitKind::Config, format!("{name} is not valid TOML"))
}

fn value_at<'a>(root: &'a Value, key: &Key) -> Option<&'a Value> {
    let ValueKind::Table(sections) = &root.kind else { return None };
    let ValueKind::Table(section) = &sections.get(key.section)?.kind else { return None };
    section.get(key.name)
}

fn origin_of(key: &Key, value: &Value) -> String {
    match value.origin() {
        Some("the environment") => key.variable(),
        Some(origin) => origin.into(),
        None => "unknown".into(),
    }
}

fn unknown_keys(root: &Value) -> Vec<String> {
    let ValueKind::Table(tables) = &root.kind else { return Vec::new() };
    let sorted: BTreeMap<&String, &Value> = tables.iter().collect();
    let mut problems = Vec::new();
    for (section, value) in sorted {
        let known: Vec<&str> = KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect();
        match &value.kind {
            _ if known.is_empty() => {
                let hint = hint(closest(section, sections().into_iter()).map(str::to_owned));
                problems.push(format!("unknown section `{section}`{hint}; sections: {}", sections().join(", ")));
            }
            ValueKind::Table(keys) => {
                let names: std::collections::BTreeSet<&String> = keys.keys().collect();
                for name in names.into_iter().filter(|name| !known.contains(&name.as_str())) {
                    let hint = hint(closest(name, known.iter().copied()).map(|near| format!("{section}.{near}")));
                    let known = known.join(", ");
                    problems.push(format!("unknown key `{section}.{name}`{hint}; keys of [{section}]: {known}"));
                }
            }
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::String(_)
            | ValueKind::Array(_) => {
                problems.push(format!("`{section}` is a value, but names the section [{section}]"));
            }
        }
    }
    problems
}

fn hint(near: Option<String>) -> String {
    near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default()
}

/// `CAIRN_NETWORK_LISTEN` with one underscore would be passed over in silence.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let prefix = format!("{ENVIRONMENT_PREFIX}_");
    let single = |key: &Key| key.variable().replace("__", "_");
    environment
        .keys()
        .filter(|name| name.starts_with(&prefix) && !name.contains("__"))
        .filter_map(|name| KEYS.iter().find(|key| single(key) == name.to_uppercase()).map(|key| (name, key)))
        .map(|(name, key)| format!("unknown variable {name}: did you mean {} (two underscores)?", key.variable()))
        .collect()
}

fn typed(values: &[ResolvedValue]) -> Result<NodeConfig, serde_json::Error> {
    let mut root = serde_json::Map::new();
    for resolved in values {
        let section = root.entry(resolved.key.section).or_insert_with(|| serde_json::json!({}));
        if let serde_json::Value::Object(section) = section {
            section.insert(resolved.key.name.into(), resolved.value.clone());
        }
    }
    serde_json::from_value(serde_json::Value::Object(root))
}
