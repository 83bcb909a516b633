//! The watcher on real directories. Nothing here waits for a time: each test waits for the word it expects, and what
//! must not be told is looked for in everything that was told before a later change.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use dcc_core::workspace::escape_path;

use super::*;

/// How long a word may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn id(n: u8) -> WorkspaceId {
    format!("0198c0de-0000-7000-8000-0000000000{n:02x}").parse().unwrap()
}

struct Lab {
    dir: tempfile::TempDir,
    watcher: Option<Watcher>,
    told: Receiver<Seen>,
}

impl Lab {
    /// A main worktree, a linked one, and what git keeps of both.
    fn new() -> Self {
        Self::within(1_000, |_| {})
    }

    fn within(directories_max: usize, before_telling: impl Fn(&Seen) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["main/.git/refs/heads", "main/.git/objects/aa", "main/.git/info", "main/.git/worktrees/one", "main/src", "main/.handshake/gov", "one/src", "one/target"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        put(&dir.path().join("one/.git"), "gitdir: ../main/.git/worktrees/one\n");
        put(&dir.path().join("one/.gitignore"), "target/\n");
        put(&dir.path().join("main/.git/HEAD"), "ref: refs/heads/main\n");
        let (tell, told) = channel();
        let common = dir.path().join("main/.git");
        let say = move |seen: Seen| {
            before_telling(&seen);
            let _ = tell.send(seen);
        };
        let watcher = Watcher::start_within(directories_max, common, Arc::new(|_: &WorktreeBinding| Ok(Vec::new())), say).unwrap();
        Self { dir, watcher: Some(watcher), told }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn binding(&self, tree: &str, git_dir: &str) -> WorktreeBinding {
        use std::os::unix::ffi::OsStrExt as _;
        let text = |path: PathBuf| escape_path(path.as_os_str().as_bytes());
        WorktreeBinding { worktree_path: text(self.at(tree)), git_dir: text(self.at(git_dir)), common_dir: text(self.at("main/.git")), device: 0, inode: 0 }
    }

    /// Follows one or both and waits until they are.
    fn follow(&self, main: bool) -> Seen {
        let mut list = vec![(id(1), self.binding("one", "main/.git/worktrees/one"))];
        if main {
            list.push((id(0), self.binding("main", "main/.git")));
        }
        self.watcher.as_ref().unwrap().follow(list);
        self.told.recv_timeout(PATIENCE).unwrap()
    }

    /// Everything that is told up to what `is_it` picks, that included.
    fn until(&self, what: &str, is_it: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            let seen = self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_else(|_| panic!("{what} was not told; told was {all:#?}"));
            let found = is_it(&seen);
            all.push(seen);
            if found {
                return all;
            }
        }
    }

    fn until_path(&self, n: u8, path: &str) -> Vec<Seen> {
        self.until(path, |seen| paths(std::slice::from_ref(seen), n).iter().any(|p| p == path))
    }
}

fn put(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn paths(told: &[Seen], n: u8) -> Vec<String> {
    told.iter().filter_map(|seen| seen.trees.get(&id(n))).flat_map(|touched| touched.paths.iter().map(dcc_core::RepoPath::display)).collect()
}

#[test]
fn an_edit_is_told_with_its_path_and_its_worktree() {
    let lab = Lab::new();
    let state = lab.follow(true).state;
    assert_eq!((state.trees, state.partial.len()), (2, 0), "{state:?}");
    put(&lab.at("one/target/built"), "ignored");
    put(&lab.at("main/.handshake/gov/record"), "ours");
    put(&lab.at("main/.git/objects/aa/bb"), "an object");
    put(&lab.at("one/src/a"), "edited");
    let told = lab.until_path(1, "src/a");
    assert_eq!(paths(&told, 1), ["src/a"]);
    assert!(told.iter().all(|seen| !seen.refs && !seen.config && !seen.sweep && !seen.trees.contains_key(&id(0))), "{told:#?}");
    put(&lab.at("main/src/b"), "edited");
    let told = lab.until_path(0, "src/b");
    assert_eq!(paths(&told, 1), Vec::<String>::new());
}

#[test]
fn directories_that_come_later_are_followed() {
    let lab = Lab::new();
    lab.follow(false);
    std::fs::create_dir_all(lab.at("one/new/deep/er")).unwrap();
    lab.until_path(1, "new");
    put(&lab.at("one/new/deep/er/file"), "x");
    lab.until_path(1, "new/deep/er/file");
    // Under its new name, and no longer under the old one.
    std::fs::rename(lab.at("one/new"), lab.at("one/moved")).unwrap();
    lab.until_path(1, "moved");
    put(&lab.at("one/moved/deep/er/file"), "y");
    let told = lab.until_path(1, "moved/deep/er/file");
    assert!(!paths(&told, 1).iter().any(|p| p.starts_with("new/deep")), "{told:#?}");
    std::fs::remove_dir_all(lab.at("one/moved")).unwrap();
    lab.until_path(1, "moved");
    std::fs::create_dir(lab.at("one/moved")).unwrap();
    lab.until_path(1, "moved");
    put(&lab.at("one/moved/again"), "z");
    lab.until_path(1, "moved/again");
}

#[test]
fn changed_ignore_rules_change_what_is_followed() {
    let lab = Lab::new();
    let before = lab.follow(false).state.directories;
    put(&lab.at("one/.gitignore"), "src/\n");
    let told = lab.until_path(1, ".gitignore");
    assert_eq!(told.last().unwrap().state.directories, before - 1);
    std::fs::remove_file(lab.at("one/.gitignore")).unwrap();
    lab.until("both directories", |seen| seen.state.directories == before + 1);
    put(&lab.at("one/target/file"), "x");
    lab.until_path(1, "target/file");
}

#[test]
fn refs_and_configuration_are_told_as_what_they_are() {
    let lab = Lab::new();
    lab.follow(true);
    std::fs::create_dir(lab.at("main/.git/refs/heads/dcc")).unwrap();
    lab.until("the new directory of refs", |seen| seen.refs);
    put(&lab.at("main/.git/refs/heads/dcc/branch"), "0");
    lab.until("the new ref", |seen| seen.refs);
    put(&lab.at("main/.git/config"), "[core]\n");
    lab.until("the configuration", |seen| seen.config);
    // A worktree's index is its own; its HEAD concerns the list of heads too.
    put(&lab.at("main/.git/worktrees/one/index"), "x");
    let told = lab.until("the index", |seen| seen.trees.contains_key(&id(1)));
    assert!(paths(&told, 1).is_empty() && !told.last().unwrap().refs);
    put(&lab.at("main/.git/worktrees/one/HEAD"), "x");
    lab.until("the worktree's HEAD", |seen| seen.refs && seen.trees.contains_key(&id(1)));
    put(&lab.at("main/.git/index"), "x");
    lab.until("the main index", |seen| seen.trees.contains_key(&id(0)));
}

#[test]
fn a_worktree_that_is_no_longer_followed_is_silent_and_one_that_vanished_is_named() {
    let lab = Lab::new();
    lab.follow(true);
    lab.follow(false);
    put(&lab.at("main/src/b"), "x");
    put(&lab.at("one/src/a"), "x");
    let told = lab.until_path(1, "src/a");
    assert!(told.iter().all(|seen| !seen.trees.contains_key(&id(0))), "{told:#?}");
    std::fs::rename(lab.at("one"), lab.at("away")).unwrap();
    lab.until("that it is gone", |seen| seen.state.partial.contains_key(&id(1)));
    std::fs::rename(lab.at("away"), lab.at("one")).unwrap();
    // Git writes where a worktree stands when it is told of the move.
    put(&lab.at("main/.git/worktrees/one/gitdir"), "x");
    lab.until("that it is back", |seen| seen.state.partial.is_empty());
    put(&lab.at("one/src/a"), "x");
    lab.until_path(1, "src/a");
}

#[test]
fn beyond_the_limit_the_state_says_so_and_the_rest_goes_on() {
    let lab = Lab::within(8, |_| {});
    for n in 0..20 {
        std::fs::create_dir_all(lab.at(&format!("one/many/{n:02}"))).unwrap();
    }
    let state = lab.follow(false).state;
    assert_eq!(state.directories, 8);
    assert!(state.partial[&id(1)].contains("the most that DCC takes"), "{state:?}");
    put(&lab.at("one/top"), "x");
    lab.until_path(1, "top");
}

#[test]
fn what_was_missed_is_told_as_a_sweep() {
    let (open, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    // The first telling about a file waits until more happened than the queue holds.
    let lab = Lab::within(1_000, move |seen| {
        if seen.trees.values().any(|touched| !touched.paths.is_empty()) {
            let _ = gate.lock().unwrap().recv();
        }
    });
    lab.follow(false);
    let file = lab.at("one/src/busy");
    let deadline = Instant::now() + PATIENCE;
    while !lab.watcher.as_ref().unwrap().missed.load(Ordering::Acquire) {
        put(&file, "x");
        assert!(Instant::now() < deadline, "the queue never ran over");
    }
    std::fs::create_dir_all(lab.at("one/unseen/deep")).unwrap();
    drop(open);
    let told = lab.until("the sweep", |seen| seen.sweep);
    let seen = told.last().unwrap();
    assert!(seen.trees[&id(1)].cut && seen.state.overflows > 0, "{seen:?}");
    put(&lab.at("one/unseen/deep/file"), "x");
    lab.until_path(1, "unseen/deep/file");
}
