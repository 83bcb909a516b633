//! The selected bytes, copied into quarantine as they are read. Authority: derived.
//!
//! Why a copy: git then reads files that nobody else writes, so what is previewed is what is hashed; and it applies line
//! endings and encodings itself, with the same attributes and the same index it would have in the worktree.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::path::RepoPath;

use super::select::{Becomes, Selection};
use crate::files::{Node, Root};

/// Git reads no larger attributes file.
const ATTRIBUTES_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Copies files and links to be committed, and every attributes file that bears on them.
pub(super) fn copy(root: &Root, selection: &Selection, tree: &Path) -> Outcome<()> {
    let mut dirs: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (path, becomes) in selection {
        let to = tree.join(path.to_os_path());
        match (becomes, root.look(path)?) {
            (Becomes::Deleted | Becomes::Gitlink, _) => continue,
            (Becomes::File, Node::Regular { mut file, is_executable, .. }) => write(&to, &mut file, if is_executable { 0o755 } else { 0o644 }, path)?,
            (Becomes::Symlink, Node::Symlink(text)) => {
                make_parent(&to)?;
                std::os::unix::fs::symlink(OsStr::from_bytes(&text), &to).map_err(|e| failed(path, &e))?;
            }
            (Becomes::File | Becomes::Symlink, _) => {
                return Err(Failure::new(Code::StalePreview, format!("{} changed its kind while it was read", path.display())).hint("look again and select anew"));
            }
        }
        let bytes = path.as_bytes();
        dirs.insert(Vec::new());
        dirs.extend(bytes.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| bytes[..=i].to_vec()));
    }
    for dir in dirs {
        let path = RepoPath::new([dir.as_slice(), b".gitattributes"].concat())?;
        if selection.contains_key(&path) {
            continue;
        }
        if let Node::Regular { mut file, bytes, .. } = root.look(&path)?
            && bytes <= ATTRIBUTES_BYTES_MAX
        {
            write(&tree.join(path.to_os_path()), &mut file, 0o644, &path)?;
        }
    }
    Ok(())
}

fn failed(path: &RepoPath, e: &std::io::Error) -> Failure {
    Failure::engine(format!("{} cannot be copied into quarantine: {e}", path.display()))
}

fn make_parent(to: &Path) -> Outcome<()> {
    let parent = to.parent().expect("a path below the quarantine has a parent");
    std::fs::create_dir_all(parent).map_err(|e| Failure::engine(format!("quarantine {}: {e}", parent.display())))
}

fn write(to: &Path, from: &mut std::fs::File, mode: u32, path: &RepoPath) -> Outcome<()> {
    make_parent(to)?;
    let mut copied = || -> std::io::Result<()> {
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        std::io::copy(from, &mut out)?;
        out.flush()?;
        out.set_permissions(std::fs::Permissions::from_mode(mode))
    };
    copied().map_err(|e| failed(path, &e))
}
