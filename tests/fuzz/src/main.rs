//! Lists the fuzz targets, and writes the inputs that they begin with.
//!
//! `fuzz-seeds` prints one line for each target: name and longest input. `fuzz-seeds <target> <folder>` writes its seeds.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [] => {
            for target in &cairn_fuzz::TARGETS {
                println!("{} {}", target.name, target.len_max);
            }
            Ok(())
        }
        [name, folder] => write(name, Path::new(folder)),
        _ => Err(io::Error::other("give nothing, or a target and a folder")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(name: &str, folder: &Path) -> io::Result<()> {
    let target = cairn_fuzz::find(name).ok_or_else(|| io::Error::other(format!("there is no target {name}")))?;
    fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    Ok(())
}
