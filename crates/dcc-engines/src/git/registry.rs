//! Is the worktree still the one that was registered? Authority: derived; a probe of the file system only.
//!
//! Invariants: what a worktree says about itself (its `.git` file) is never trusted, because an agent can write it; it is
//! compared with what the repository's own directory says. Nothing here starts a process or writes.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::limits;
use dcc_core::workspace::{WorkspaceHealth, WorktreeBinding, escape_path};

/// How many entries beside a missing worktree are compared with it, to say where it went.
const SIBLINGS_MAX: usize = 1_000;
/// How often an entry in the making is looked at, and how long the files of its worktree are waited for.
pub(super) const ENTRY_LOOK_EVERY: Duration = Duration::from_millis(limits::GIT_ENTRY_LOOK_MS);
const FILLING_WAIT: Duration = Duration::from_millis(limits::GIT_FILLING_WAIT_MS);

/// The answer about one binding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Examined {
    pub(super) health: WorkspaceHealth,
    /// One sentence: what is wrong. What would repair it names the workspace, which is not known here.
    pub(super) message: String,
    /// The directory and the repository's side agree; reading with the registered directories is safe.
    pub(super) is_readable: bool,
}

impl Examined {
    fn bad(health: WorkspaceHealth, message: String) -> Self {
        Self { health, message, is_readable: false }
    }
    /// The failure for an operation that cannot go on.
    pub(super) fn failure(&self) -> Failure {
        Failure::new(Code::VcsRepoInvalid, self.message.clone()).hint("nothing was touched; dcc ws list shows each workspace's state, dcc ws repair what mends it")
    }
}

/// Checks directory, owner, device, inode, git directory and registration.
pub(super) fn examine(binding: &WorktreeBinding) -> Examined {
    let (worktree, git_dir, common) = (binding.worktree(), binding.git_dir(), binding.common_dir());
    if let Err(bad) = check_directory(binding, &worktree) {
        return bad;
    }
    let registered = if git_dir == common { check_main(&git_dir, &worktree) } else { check_linked(&git_dir, &common, &worktree) };
    if let Err(bad) = registered {
        return bad;
    }
    if let Err(bad) = check_pointer(&worktree, &git_dir) {
        return bad;
    }
    if let Some(reason) = lock_reason(&git_dir) {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        return Examined { health: WorkspaceHealth::Locked, message: format!("the worktree is locked{why}"), is_readable: true };
    }
    Examined { health: WorkspaceHealth::Ok, message: "the worktree stands as registered".into(), is_readable: true }
}

fn check_directory(binding: &WorktreeBinding, worktree: &Path) -> Result<(), Examined> {
    let shown = &binding.worktree_path;
    let meta = match std::fs::symlink_metadata(worktree) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(gone(binding, worktree)),
        Err(e) => return Err(Examined::bad(WorkspaceHealth::Foreign, format!("{shown} cannot be examined: {e}"))),
    };
    let foreign = |why: &str| Err(Examined::bad(WorkspaceHealth::Foreign, format!("{shown} {why}")));
    if !meta.is_dir() {
        return foreign("is not a directory any more");
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return foreign("belongs to another user");
    }
    if (meta.dev(), meta.ino()) != (binding.device, binding.inode) {
        return foreign("is another directory than the one registered (device or inode differ)");
    }
    Ok(())
}

/// Where a directory that is gone from its place stands now, when that can be seen without searching far.
pub(super) fn moved_to(binding: &WorktreeBinding, worktree: &Path) -> Option<PathBuf> {
    let same = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && (m.dev(), m.ino()) == (binding.device, binding.inode));
    let registered = registered_path(&binding.git_dir()).filter(|p| same(p));
    let beside = || {
        let entries = std::fs::read_dir(worktree.parent()?).ok()?;
        entries.take(SIBLINGS_MAX).flatten().map(|e| e.path()).find(|p| same(p))
    };
    registered.or_else(beside)
}

fn gone(binding: &WorktreeBinding, worktree: &Path) -> Examined {
    match moved_to(binding, worktree) {
        Some(now) => Examined::bad(
            WorkspaceHealth::Moved,
            format!("{} now stands at {}", binding.worktree_path, escape_path(now.as_os_str().as_bytes())),
        ),
        None => Examined::bad(
            WorkspaceHealth::Missing,
            format!("{} is gone; its branch and commits are still in the repository", binding.worktree_path),
        ),
    }
}

fn check_main(git_dir: &Path, worktree: &Path) -> Result<(), Examined> {
    let lost = |why: String| Err(Examined::bad(WorkspaceHealth::RegistrationLost, why));
    if !git_dir.is_dir() {
        return lost(format!("the git directory {} is gone; the files in {} are untouched", git_dir.display(), worktree.display()));
    }
    owned(git_dir)
}

fn owned(git_dir: &Path) -> Result<(), Examined> {
    match std::fs::metadata(git_dir) {
        Ok(meta) if meta.uid() == rustix::process::geteuid().as_raw() => Ok(()),
        Ok(_) => Err(Examined::bad(WorkspaceHealth::Foreign, format!("{} belongs to another user", git_dir.display()))),
        Err(e) => Err(Examined::bad(WorkspaceHealth::RegistrationLost, format!("{} cannot be examined: {e}", git_dir.display()))),
    }
}

fn check_linked(git_dir: &Path, common: &Path, worktree: &Path) -> Result<(), Examined> {
    let lost = |why: String| Err(Examined::bad(WorkspaceHealth::RegistrationLost, format!("{why}; the files in {} are untouched", worktree.display())));
    if git_dir.parent() != Some(common.join("worktrees").as_path()) {
        return Err(Examined::bad(WorkspaceHealth::Foreign, format!("{} is not a worktree entry of {}", git_dir.display(), common.display())));
    }
    if !std::fs::symlink_metadata(git_dir).is_ok_and(|m| m.is_dir()) {
        return lost(format!("git no longer knows this worktree: {} is gone", git_dir.display()));
    }
    owned(common)?;
    let Some(registered) = registered_path(git_dir) else {
        return lost(format!("{} names no worktree", git_dir.join("gitdir").display()));
    };
    if !same_file(&registered, worktree) {
        return lost(format!("git has this worktree registered at {}", registered.display()));
    }
    let named = read_line(&git_dir.join("commondir")).map(|line| git_dir.join(super::builder::path_of(&line)));
    if !named.is_some_and(|dir| same_file(&dir, common)) {
        return Err(Examined::bad(WorkspaceHealth::Foreign, format!("{} belongs to another repository", git_dir.display())));
    }
    Ok(())
}

/// The worktree's own `.git` must agree; when it does not, reading goes on with the registered directories, writing not.
fn check_pointer(worktree: &Path, git_dir: &Path) -> Result<(), Examined> {
    let pointer = worktree.join(".git");
    let bad = |health, message| Err(Examined { health, message, is_readable: true });
    let Ok(meta) = std::fs::symlink_metadata(&pointer) else {
        return bad(WorkspaceHealth::RegistrationLost, format!("{} is gone", pointer.display()));
    };
    let named = if meta.is_file() { pointer_target(&pointer) } else { Some(pointer.clone()) };
    if named.is_some_and(|dir| same_file(&dir, git_dir)) {
        return Ok(());
    }
    bad(WorkspaceHealth::Foreign, format!("{} names another repository than the one registered: somebody swapped it", pointer.display()))
}

/// What a `.git` file points to; a claim.
pub(super) fn pointer_target(file: &Path) -> Option<PathBuf> {
    let line = read_line(file)?;
    let target = line.strip_prefix(b"gitdir:")?;
    Some(file.parent()?.join(super::builder::path_of(target.trim_ascii())))
}

/// The worktree directory that a worktree entry names.
pub(super) fn registered_path(git_dir: &Path) -> Option<PathBuf> {
    let line = read_line(&git_dir.join("gitdir"))?;
    let dot_git = git_dir.join(super::builder::path_of(&line));
    dot_git.parent().map(Path::to_owned)
}

/// The reason, possibly empty, when the worktree entry is locked.
pub(super) fn lock_reason(git_dir: &Path) -> Option<String> {
    let bytes = read_small(&git_dir.join("locked"))?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// True when git has filled the worktree of this entry. The git of a killed process goes on with its work, and is waited
/// for as long as a person would wait.
pub(super) fn is_filled(git_dir: &Path) -> bool {
    let deadline = Instant::now() + FILLING_WAIT;
    loop {
        // Git holds this lock while it fills a new worktree.
        let is_filling = lock_reason(git_dir).as_deref() == Some("initializing");
        if !is_filling || Instant::now() >= deadline {
            return !is_filling;
        }
        // tidy, allowed: git tells nobody when it is done with an entry.
        std::thread::sleep(ENTRY_LOOK_EVERY);
    }
}

/// A small regular file's first line; anything else is none.
fn read_line(path: &Path) -> Option<Vec<u8>> {
    let bytes = read_small(path)?;
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    Some(bytes[..end].to_vec()).filter(|l| !l.is_empty())
}

/// A regular file of at most 64 KiB; a FIFO or a device put there is not opened.
pub(super) fn read_small(path: &Path) -> Option<Vec<u8>> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    if !meta.is_file() || meta.len() > 64 * 1024 {
        return None;
    }
    std::fs::read(path).ok()
}

/// True when both paths name one existing file or directory.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Binds a worktree that the repository lists: its git directory, device and inode.
pub(super) fn bind(common: &Path, worktree: &Path) -> Outcome<WorktreeBinding> {
    let invalid = |why: String| Failure::new(Code::VcsRepoInvalid, why).hint("git worktree list shows the repository's worktrees");
    let common = std::fs::canonicalize(common).map_err(|e| invalid(format!("{}: {e}", common.display())))?;
    let worktree = std::fs::canonicalize(worktree).map_err(|e| invalid(format!("{}: {e}", worktree.display())))?;
    let git_dir = if is_main(&common, &worktree) {
        common.clone()
    } else {
        entries(&common)
            .into_iter()
            .find(|dir| registered_path(dir).is_some_and(|p| same_file(&p, &worktree)))
            .ok_or_else(|| invalid(format!("{} is not a worktree of {}", worktree.display(), common.display())))?
    };
    let meta = std::fs::metadata(&worktree).map_err(|e| invalid(format!("{}: {e}", worktree.display())))?;
    let text = |p: &Path| escape_path(p.as_os_str().as_bytes());
    let binding = WorktreeBinding { worktree_path: text(&worktree), git_dir: text(&git_dir), common_dir: text(&common), device: meta.dev(), inode: meta.ino() };
    let examined = examine(&binding);
    if !matches!(examined.health, WorkspaceHealth::Ok | WorkspaceHealth::Locked) {
        return Err(examined.failure());
    }
    Ok(binding)
}

/// The main worktree holds the common directory as `.git`, or a `.git` file that names it.
fn is_main(common: &Path, worktree: &Path) -> bool {
    let dot_git = worktree.join(".git");
    if dot_git.is_dir() { same_file(&dot_git, common) } else { pointer_target(&dot_git).is_some_and(|p| same_file(&p, common)) }
}

/// The worktree entries of a repository.
pub(super) fn entries(common: &Path) -> Vec<PathBuf> {
    let Ok(list) = std::fs::read_dir(common.join("worktrees")) else { return Vec::new() };
    let mut dirs: Vec<PathBuf> = list.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs
}
