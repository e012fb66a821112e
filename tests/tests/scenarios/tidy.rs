//! Rules of the code itself: which crate may use which, who may name what, and nothing left lying about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dmnode_tests::workspace;

/// Crate → the crates of ours it may use (in any kind of dependency).
const ARROWS: &[(&str, &[&str])] = &[
    ("dmnode", &["dmnode-cli", "dmnode-actors", "dmnode-raft", "dmnode-storage", "dmnode-model"]),
    ("dmnode-cli", &["dmnode-model"]),
    ("dmnode-raft", &["dmnode-storage", "dmnode-model", "dmnode-fuzz"]),
    ("dmnode-model", &["dmnode-fuzz"]),
    ("dmnode-fuzz", &[]),
    ("dmnode-storage", &["dmnode-model"]),
    ("dmnode-actors", &["dmnode-mysql", "dmnode-schema", "dmnode-storage", "dmnode-model", "dmnode-fuzz"]),
    ("dmnode-mysql", &["dmnode-model", "dmnode-fuzz"]),
    ("dmnode-schema", &["dmnode-mysql", "dmnode-model", "dmnode-fuzz"]),
    ("dmnode-chaos", &["dmnode-model"]),
    ("dmnode-tests", &["dmnode-model"]),
];

/// Dependency → the crates that may name it. `node` starts the actor system; `chaos` and `tests` are clients of servers.
const NAMED_BY: &[(&str, &[&str])] = &[
    ("sled", &["dmnode-storage"]),
    ("openraft", &["dmnode-raft"]),
    ("actix", &["dmnode-actors", "dmnode"]),
    ("mysql_async", &["dmnode-mysql", "dmnode-chaos", "dmnode-tests"]),
];

#[test]
fn tidy_crates_depend_along_the_arrows_only() -> Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(workspace::root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()?;
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut seen = 0;
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let allowed = allowed.get(name).with_context(|| format!("{name} has no place among the rooms"))?;
        for dependency in &package.dependencies {
            let dependency = dependency.name.as_str();
            if dependency.starts_with("dmnode") {
                ensure!(allowed.contains(&dependency), "{name} must not use {dependency}");
            }
            for (guarded, users) in NAMED_BY {
                ensure!(dependency != *guarded || users.contains(&name), "{name} must not name {guarded}");
            }
        }
        seen += 1;
    }
    ensure!(seen == ARROWS.len(), "{seen} crates found, {} have a place", ARROWS.len());
    Ok(())
}

/// Files of the project as git knows them, new ones included.
fn project_files() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace::root())
        .output()?;
    ensure!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().map(|name| workspace::root().join(name)).filter(|path| path.is_file()).collect())
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

#[test]
fn tidy_no_leftover_markers() -> Result<()> {
    // Put together here, so that this file does not contain them.
    let markers = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["db", "g!("].concat(),
    ];
    let mut found = Vec::new();
    for path in project_files()?.iter().filter(|path| is_rust(path)) {
        let text = std::fs::read_to_string(path)?;
        for (number, line) in text.lines().enumerate() {
            if markers.iter().any(|marker| line.contains(marker.as_str())) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    ensure!(found.is_empty(), "left over:\n{}", found.join("\n"));
    Ok(())
}

/// A file that is much too long hides what is in it.
#[test]
fn tidy_source_files_are_of_readable_size() -> Result<()> {
    const LINES_MAX: usize = 900;
    let mut long = Vec::new();
    for path in project_files()?.iter().filter(|path| is_rust(path)) {
        let lines = std::fs::read_to_string(path)?.lines().count();
        if lines > LINES_MAX {
            long.push(format!("{}: {lines}", path.display()));
        }
    }
    ensure!(long.is_empty(), "files of more than {LINES_MAX} lines:\n{}", long.join("\n"));
    Ok(())
}

/// Every module says what it is for.
#[test]
fn tidy_every_module_has_a_description() -> Result<()> {
    let mut bare = Vec::new();
    // The tests of a module in a file of their own need no introduction.
    let is_tests =
        |path: &Path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    for path in project_files()?.iter().filter(|path| is_rust(path) && !is_tests(path)) {
        let text = std::fs::read_to_string(path)?;
        if !text.trim_start().starts_with("//!") && !text.trim_start().starts_with("#![") {
            bare.push(path.display().to_string());
        }
    }
    ensure!(bare.is_empty(), "without a description:\n{}", bare.join("\n"));
    Ok(())
}

/// No text of the project names a path of the machine it was written on or a host of a package mirror.
#[test]
fn tidy_no_foreign_paths() -> Result<()> {
    let root = workspace::root().display().to_string();
    for path in project_files()? {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        ensure!(!text.contains(&format!("{root}/")), "{} names {root}", path.display());
    }
    for script in ["scripts/fetch-mysql", "scripts/test", "scripts/demo", ".ci/run"] {
        let text = std::fs::read_to_string(workspace::root().join(script))?;
        ensure!(!text.contains("://"), "{script} names a host");
    }
    Ok(())
}
