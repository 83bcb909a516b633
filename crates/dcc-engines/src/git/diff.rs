//! What changed, as files with counts and, when asked for, as lines. Authority: derived.
//!
//! Invariants: one git process makes list, counts and text, so they cannot disagree; new ids of worktree files are
//! computed as a commit would store them, without writing an object; submodules are compared by commit and not entered.

use std::collections::{HashMap, HashSet};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::version::{DiffSource, FileDiff};
use dcc_core::workspace::WorktreeBinding;

use super::builder::{Access, Repo};
use super::{GitCli, patch, raw, untracked};

/// Text of a file beyond this is not diffed; git then calls it binary.
pub(super) const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// More paths than this are filtered after the fact instead of named on the command line.
const NAMED_PATHS_MAX: usize = 400;

/// The same answer whatever the configuration says.
pub(super) const ARGS: &[&str] = &[
    "-z",
    "--full-index",
    "--no-abbrev",
    "--find-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-relative",
    "--ignore-submodules=dirty",
    "--submodule=short",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--diff-algorithm=histogram",
];

/// The two sides, resolved.
struct Ends {
    old: String,
    /// None is the worktree.
    new: Option<Oid>,
}

impl GitCli {
    pub(super) fn diff_of(&self, binding: &WorktreeBinding, source: &DiffSource, paths: &[RepoPath], with_text: bool) -> Outcome<Vec<FileDiff>> {
        let repo = self.open(binding, Access::Read)?;
        let ends = self.ends(&repo, source)?;
        let named = self.with_partners(&repo, &ends, paths)?;
        let mut files = match named {
            Some(named) if named.is_empty() => Vec::new(),
            Some(named) => self.tracked_changes(&repo, &ends, &named)?,
            None => self.tracked_changes(&repo, &ends, &[])?,
        };
        if ends.new.is_none() {
            let seen: HashSet<RepoPath> = files.iter().map(|f| f.path.clone()).collect();
            let mut more = untracked::list(self, &repo, binding, paths)?;
            more.retain(|f| !seen.contains(&f.path));
            files.extend(more);
            self.mark_conflicts(&repo, &mut files)?;
            self.drop_filtered_oids(&repo, &mut files)?;
        }
        if !paths.is_empty() {
            let wanted: HashSet<&RepoPath> = paths.iter().collect();
            files.retain(|f| wanted.contains(&f.path) || f.renamed_from.as_ref().is_some_and(|o| wanted.contains(o)));
        }
        if !with_text {
            for file in &mut files {
                file.hunks = Vec::new();
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn ends(&self, repo: &Repo, source: &DiffSource) -> Outcome<Ends> {
        let head = || self.resolve_in(repo, "HEAD").ok();
        match source {
            DiffSource::Uncommitted => Ok(Ends { old: head().map_or_else(|| empty_tree(repo), |oid| oid.to_string()), new: None }),
            DiffSource::Branch { base } => {
                let base_oid = self.resolve_in(repo, base)?;
                let Some(head) = head() else {
                    return Err(Failure::new(Code::VcsRepoInvalid, "the branch has no commit yet").hint("compare the uncommitted changes instead"));
                };
                let run = self.tool.command(repo, Access::Read, "merge-base").args([base_oid.as_str(), head.as_str()]).run()?;
                match run.code() {
                    Some(0) => Ok(Ends { old: Oid::parse(&run.line())?.to_string(), new: Some(head) }),
                    Some(1) => Err(Failure::new(Code::VcsRepoInvalid, format!("{base} and HEAD have no common commit"))),
                    _ => Err(run.failure()),
                }
            }
            DiffSource::Commit { oid } => {
                let commit = self.resolve_in(repo, oid.as_str())?;
                let parent = self.resolve_in(repo, &format!("{commit}^1")).ok();
                Ok(Ends { old: parent.map_or_else(|| empty_tree(repo), |oid| oid.to_string()), new: Some(commit) })
            }
        }
    }

    /// The named paths with the other halves of renames; none when the whole has to be compared.
    fn with_partners(&self, repo: &Repo, ends: &Ends, paths: &[RepoPath]) -> Outcome<Option<Vec<RepoPath>>> {
        if paths.is_empty() || paths.len() > NAMED_PATHS_MAX {
            return Ok(None);
        }
        let out = self.compare(repo, ends, &["--raw"], &[])?;
        let wanted: HashSet<&RepoPath> = paths.iter().collect();
        let mut named: Vec<RepoPath> = Vec::new();
        for record in raw::parse(&out)?.records {
            let both = [RepoPath::new(record.path).ok(), record.from.and_then(|f| RepoPath::new(f).ok())];
            if both.iter().flatten().any(|p| wanted.contains(p)) {
                named.extend(both.into_iter().flatten());
            }
        }
        Ok(Some(named))
    }

    fn compare(&self, repo: &Repo, ends: &Ends, form: &[&str], paths: &[RepoPath]) -> Outcome<Vec<u8>> {
        let mut cmd = self.tool.command(repo, Access::Read, "diff").option("core.bigFileThreshold", TEXT_BYTES_MAX.to_string());
        cmd = cmd.args(form).args(ARGS).arg(&ends.old);
        if let Some(new) = &ends.new {
            cmd = cmd.arg(new.as_str());
        }
        cmd.paths(paths).output()
    }

    fn tracked_changes(&self, repo: &Repo, ends: &Ends, paths: &[RepoPath]) -> Outcome<Vec<FileDiff>> {
        let out = self.compare(repo, ends, &["--raw", "--numstat", "--patch"], paths)?;
        let parsed = raw::parse(&out)?;
        let mut sections: HashMap<Vec<u8>, Vec<patch::Section>> = HashMap::new();
        for section in patch::parse(parsed.patch) {
            sections.entry(section.path.clone()).or_default().push(section);
        }
        let mut files: Vec<FileDiff> = Vec::new();
        for record in &parsed.records {
            let Ok(path) = RepoPath::new(record.path) else { continue };
            if files.last().is_some_and(|f| f.path == path) {
                // An unmerged path may come twice.
                continue;
            }
            let found = sections.remove(record.path).unwrap_or_default();
            if found.is_empty() && record.letter == 'M' && record.old_mode == record.new_mode && record.new_oid.is_none() {
                // Only the file's times differ from what the index remembers.
                continue;
            }
            let counts = parsed.counts.get(record.path).copied().unwrap_or((None, None));
            files.push(file(path, record, counts, found));
        }
        Ok(files)
    }

    /// Against the worktree git calls an unmerged path modified; the index knows better.
    fn mark_conflicts(&self, repo: &Repo, files: &mut [FileDiff]) -> Outcome<()> {
        let out = self.tool.command(repo, Access::Read, "ls-files").args(["--unmerged", "-z"]).output()?;
        let names = out.split(|b| *b == 0).filter_map(|line| Some(&line[line.iter().position(|b| *b == b'\t')? + 1..]));
        let unmerged: HashSet<&[u8]> = names.collect();
        for file in files.iter_mut().filter(|f| unmerged.contains(f.path.as_bytes())) {
            "conflict".clone_into(&mut file.change);
        }
        Ok(())
    }

    /// A path under a filter has no id that we could compute: the filter does not run.
    fn drop_filtered_oids(&self, repo: &Repo, files: &mut [FileDiff]) -> Outcome<()> {
        let paths: Vec<&RepoPath> = files.iter().filter(|f| f.new_oid.is_some()).map(|f| &f.path).collect();
        let filtered = self.filtered(repo, &paths)?;
        for file in files.iter_mut().filter(|f| filtered.contains_key(&f.path)) {
            file.new_oid = None;
        }
        Ok(())
    }
}

fn file(path: RepoPath, record: &raw::Record<'_>, counts: (Option<u32>, Option<u32>), sections: Vec<patch::Section>) -> FileDiff {
    let is_submodule = record.old_mode == "160000" || record.new_mode == "160000";
    let new_oid = record.new_oid.clone().or_else(|| sections.iter().rev().find_map(|s| s.new_oid.clone()));
    let is_plain_mode = record.letter == 'M' && record.old_mode != record.new_mode && sections.iter().all(|s| s.hunks.is_empty() && !s.is_binary);
    let new_oid = match record.letter {
        'D' => None,
        _ if is_plain_mode => new_oid.or_else(|| record.old_oid.clone()),
        _ => new_oid,
    };
    let change = match record.letter {
        'A' => "added",
        'D' => "deleted",
        'R' => "renamed",
        'C' => "copied",
        'T' => "type changed",
        'U' => "conflict",
        _ if is_plain_mode => "mode",
        _ => "modified",
    };
    let real = |mode: &str| (mode != "000000").then(|| mode.to_owned());
    FileDiff {
        path,
        renamed_from: record.from.and_then(|f| RepoPath::new(f).ok()),
        change: change.to_owned(),
        old_mode: real(record.old_mode),
        new_mode: real(record.new_mode),
        old_oid: record.old_oid.clone(),
        new_oid,
        added: counts.0,
        deleted: counts.1,
        is_binary: counts == (None, None) && record.letter != 'U' || sections.iter().any(|s| s.is_binary),
        is_submodule,
        crlf_only: !sections.is_empty() && sections.iter().all(|s| s.crlf_only),
        cut: sections.iter().any(|s| s.cut),
        hunks: sections.into_iter().flat_map(|s| s.hunks).collect(),
    }
}

/// The id of the tree without entries; git knows it without the object.
pub(super) fn empty_tree(repo: &Repo) -> String {
    match repo.config.object_format().as_str() {
        "sha256" => "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
        _ => "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    }
    .to_owned()
}

/// Room for the text of one file.
pub(super) fn text_budget() -> usize {
    limits::DIFF_FILE_BYTES_MAX
}
