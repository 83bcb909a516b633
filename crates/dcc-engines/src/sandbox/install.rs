//! Which directory tree belongs to a program: what it needs to read to run, and no more.
//!
//! Authority: derived, from the file system. A program that lies in a wide directory gets its own file only.

use std::path::{Path, PathBuf};

/// The operator's home, where keys and credentials lie.
pub fn operator_home() -> Option<PathBuf> {
    std::env::home_dir().and_then(|home| std::fs::canonicalize(home).ok())
}

/// Where the operator's keys and DCC's own credentials lie.
pub fn operator_secrets() -> Vec<PathBuf> {
    let Some(home) = operator_home() else { return Vec::new() };
    let mut secrets: Vec<PathBuf> = [".ssh", ".gnupg", ".aws", ".azure", ".kube", ".config/gcloud", ".config/dcc", ".local/state/dcc", ".local/share/keyrings"]
        .iter()
        .map(|name| home.join(name))
        .collect();
    secrets.extend(std::env::var_os("XDG_STATE_HOME").map(|state| PathBuf::from(state).join("dcc")));
    secrets.extend(std::env::var_os("XDG_CONFIG_HOME").map(|config| PathBuf::from(config).join("dcc")));
    secrets
}

/// The program's file and its install tree: the outermost `node_modules` above it, or the prefix of its `bin`, or its
/// directory, for the path as given and for the file it leads to. A tree that contains a guarded directory, or that
/// is shared by many programs of a home, is left out.
pub fn tree(program: &Path, guarded: &[PathBuf]) -> Vec<PathBuf> {
    let mut granted = Vec::new();
    let real = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_path_buf());
    for path in [program, &real] {
        granted.push(path.to_path_buf());
        for candidate in candidates(path) {
            if let Ok(candidate) = std::fs::canonicalize(candidate)
                && is_narrow(&candidate, guarded)
            {
                granted.push(candidate);
                break;
            }
        }
    }
    granted.sort();
    granted.dedup();
    granted
}

/// From the widest sensible tree to the narrowest.
fn candidates(program: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let modules = program.ancestors().filter(|dir| dir.file_name().is_some_and(|name| name == "node_modules")).last();
    all.extend(modules.map(Path::to_path_buf));
    if let Some(dir) = program.parent() {
        if dir.file_name().is_some_and(|name| name == "bin") {
            all.extend(dir.parent().map(Path::to_path_buf));
        }
        all.push(dir.to_path_buf());
    }
    all
}

/// Not the root, not a top-level directory, not above anything guarded, and not a home's shared prefix: `~/.local`
/// and `~/.cargo` hold keyrings and tokens beside their programs.
fn is_narrow(dir: &Path, guarded: &[PathBuf]) -> bool {
    let shared_prefix = dir.parent().is_some_and(|parent| {
        guarded.iter().any(|inside| inside == parent) && dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    });
    dir.components().count() > 2 && !shared_prefix && !guarded.iter().any(|inside| inside.starts_with(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, name: &str) -> PathBuf {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let from = std::env::current_exe().unwrap();
        std::os::unix::fs::symlink(from, &path).ok();
        path
    }

    #[test]
    fn a_home_is_never_granted_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let home = std::fs::canonicalize(dir.path()).unwrap();
        let guarded = vec![home.clone()];
        for (program, tree) in [
            ("tool", None),
            (".local/bin/tool", Some(".local/bin")),
            (".cargo/bin/cargo", Some(".cargo/bin")),
            ("bin/tool", Some("bin")),
            (".nvm/versions/v20/bin/node", Some(".nvm/versions/v20")),
            ("apps/lib/node_modules/x/node_modules/y/cli.js", Some("apps/lib/node_modules")),
        ] {
            let path = file(&home, program);
            let granted = super::tree(&path, &guarded);
            let inside: Vec<_> = granted.iter().filter(|p| p.starts_with(&home) && **p != path).collect();
            let want: Vec<_> = tree.map(|t| home.join(t)).into_iter().collect();
            assert_eq!(inside, want.iter().collect::<Vec<_>>(), "{program}");
        }
    }
}
