//! Code search in one worktree: ripgrep's engine over git's list of files.
//!
//! Authority: derived, read-only. Changes nothing, starts no process, keeps nothing.
//!
//! Invariants: only listed files are read, opened below the worktree's root with no symbolic link anywhere on the way;
//! the answer is the same for the same files however the threads run: hits by path, then line, cut at the limit.
//!
//! On failure: CTX_QUERY_ERROR for a pattern or glob that cannot be understood, with where; CTX_SCOPE_DENIED for a
//! glob that points outside. A file that vanished, is binary, too large or unreadable is passed over and not counted.

mod file;
mod query;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dcc_core::failure::{Failure, Outcome};
use dcc_core::path::RepoPath;
use dcc_core::ports::search::{CodeHit, CodeQuery, CodeResults, CodeSearch};
use dcc_core::workspace::WorktreeBinding;

use file::Root;
use query::Compiled;

/// The machine also runs agents; two saturate a disk's queue well enough.
const THREADS: usize = 2;

/// Gives the files of a worktree: tracked ones plus untracked ones that are not ignored.
pub type ListFiles = Arc<dyn Fn(&WorktreeBinding) -> Outcome<Vec<RepoPath>> + Send + Sync>;

/// The `CodeSearch` port.
pub struct RipgrepSearch {
    list_files: ListFiles,
}

impl RipgrepSearch {
    pub fn new(list_files: ListFiles) -> Self {
        Self { list_files }
    }
}

impl CodeSearch for RipgrepSearch {
    fn search(&self, worktree: &WorktreeBinding, query: &CodeQuery) -> Outcome<CodeResults> {
        let compiled = Compiled::new(query)?;
        let root = Root::open(&worktree.worktree())?;
        let mut paths = (self.list_files)(worktree)?;
        paths.retain(|path| compiled.wants(path));
        paths.sort();
        paths.dedup();
        let mut results = search_all(&root, &compiled, &paths)?;
        results.hits.sort_by(|a, b| a.path.cmp(&b.path).then(a.line.cmp(&b.line)));
        results.cut = results.hits.len() > compiled.limit;
        results.hits.truncate(compiled.limit);
        Ok(results)
    }
}

/// Files are taken in order and each taken file is finished, so what was searched is a prefix of the list: when it
/// holds more hits than the limit, the first hits of the whole list are among them.
fn search_all(root: &Root, compiled: &Compiled, paths: &[RepoPath]) -> Outcome<CodeResults> {
    let next = AtomicUsize::new(0);
    let found = AtomicUsize::new(0);
    let all: Mutex<(Vec<CodeHit>, u64)> = Mutex::default();
    let work = || -> Outcome<()> {
        let mut searcher = compiled.searcher();
        while found.load(Ordering::Relaxed) <= compiled.limit {
            let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let Some(bytes) = root.read_text(path)? else { continue };
            let hits = compiled.hits(&mut searcher, path, &bytes)?;
            found.fetch_add(hits.len(), Ordering::Relaxed);
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.extend(hits);
            all.1 += 1;
        }
        Ok(())
    };
    let ended: Vec<Outcome<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Failure::engine("a search thread failed")))).collect()
    });
    ended.into_iter().collect::<Outcome<()>>()?;
    let (hits, files_searched) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(CodeResults { hits, files_searched, cut: false })
}
