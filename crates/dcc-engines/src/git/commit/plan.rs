//! The plan of a commit: the tree, built in quarantine from bytes read now. Authority: derived; the repository is
//! unchanged.

use std::collections::{BTreeSet, HashMap};

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::{Oid, Sha256Hex};
use dcc_core::path::RepoPath;
use dcc_core::plans::{CommitChange, CommitPath, CommitPlan};
use dcc_core::ports::version::CommitIntent;
use dcc_core::workspace::WorktreeBinding;

use super::select::{self, Becomes, Selection, Staged};
use super::{Entry, Quarantine, message, names, secrets, snapshot};
use crate::files::Root;
use crate::git::builder::{Access, Repo};
use crate::git::{GitCli, attrs, diff, patch, raw};

/// What the quarantined tree changes against the parent's.
struct Built {
    tree: Oid,
    parent_tree: Oid,
    /// Entries of the selected paths in the private index.
    entries: HashMap<RepoPath, Entry>,
}

impl GitCli {
    pub(in crate::git) fn plan_selected(&self, binding: &WorktreeBinding, intent: &CommitIntent) -> Outcome<CommitPlan> {
        let message = message::clean(&intent.message)?;
        check_author(&intent.author_name, &intent.author_email)?;
        let named = select::check(&intent.paths)?;
        let repo = self.open(binding, Access::Write)?;
        let (branch_ref, parent_oid) = self.require_branch(&repo)?;
        self.require_no_operation(&repo)?;

        let paths = self.with_renames(&repo, &parent_oid, named)?;
        let staged = self.staged(&repo, &parent_oid, None, &paths)?;
        let parent = self.parent_entries(&repo, &parent_oid, &paths)?;
        let root = Root::open(binding)?;
        // Only a surface that showed a path says what stood there.
        let seen = intent.expected.iter().map(|(path, _)| path).collect();
        let selection = select::look(&root, &paths, &parent, &staged, &seen)?;
        self.refuse_filtered(&repo, &select::contents(&selection))?;
        let new_paths: Vec<&RepoPath> = selection.iter().filter(|(p, b)| **b != Becomes::Deleted && !parent.contains_key(*p)).map(|(p, _)| p).collect();
        self.refuse_ignored(&repo, &new_paths)?;

        let quarantine = Quarantine::fresh(&intent.quarantine)?;
        snapshot::copy(&root, &selection, &quarantine.tree)?;
        let built = self.build(&repo, &quarantine, &parent_oid, &selection)?;
        check_expected(intent, &selection, &built.entries)?;
        check_index(&selection, &staged, &built.entries)?;
        if built.tree == built.parent_tree {
            return Err(Failure::new(Code::VcsNothingToCommit, "the selected paths equal the parent commit").hint("nothing has to be committed"));
        }
        let (paths, secret_findings, mut warnings) = self.describe(&repo, &quarantine, &built, &selection, &message)?;
        warnings.extend(names::warnings(&paths, &self.tree_paths(&repo, &quarantine)?));
        // The objects hold the bytes now.
        let _ = std::fs::remove_dir_all(&quarantine.tree);
        Ok(CommitPlan {
            workspace_id: intent.workspace_id,
            branch_ref,
            parent_oid,
            parent_tree_oid: built.parent_tree,
            tree_oid: built.tree,
            out_of_scope: out_of_scope(&paths, &intent.in_scope_paths),
            paths,
            message_sha256: Sha256Hex::of(message.as_bytes()),
            message,
            author_name: intent.author_name.trim().to_owned(),
            author_email: intent.author_email.trim().to_owned(),
            secret_findings,
            warnings,
            wp_id: intent.wp_id.clone(),
            mt_id: intent.mt_id.clone(),
            session_id: intent.session_id,
        })
    }

    /// Parent's tree into the private index, the selection over it, and the tree of that.
    fn build(&self, repo: &Repo, quarantine: &Quarantine, parent: &Oid, selection: &Selection) -> Outcome<Built> {
        let copied = Repo { worktree: Some(quarantine.tree.clone()), ..repo.clone() };
        quarantine.command(self, &copied, "read-tree").arg(parent.as_str()).output()?;
        let of = |wanted: &[Becomes]| -> Vec<&RepoPath> { selection.iter().filter(|(_, b)| wanted.contains(b)).map(|(p, _)| p).collect() };
        let steps: [(&Repo, &[&str], Vec<&RepoPath>); 3] = [
            (&copied, &["--force-remove"], of(&[Becomes::Deleted])),
            (&copied, &["--add", "--replace"], of(&[Becomes::File, Becomes::Symlink])),
            // A submodule's commit is read from its own HEAD by git itself; nothing inside is run.
            (repo, &["--add", "--replace"], of(&[Becomes::Gitlink])),
        ];
        for (place, options, paths) in steps {
            if !paths.is_empty() {
                quarantine.command(self, place, "update-index").args(options).args(["-z", "--stdin"]).stdin(attrs::joined(&paths)).output()?;
            }
        }
        // A partial clone need not have the blobs that are not selected.
        let tree = Oid::parse(&quarantine.command(self, &copied, "write-tree").arg("--missing-ok").line()?)?;
        let parent_tree = self.tool.command(repo, Access::Read, "rev-parse").args(["--verify", "-q"]).arg(format!("{parent}^{{tree}}")).line()?;
        Ok(Built { tree, parent_tree: Oid::parse(&parent_tree)?, entries: self.private_entries(&copied, quarantine, selection)? })
    }

    /// Every path of the tree that is to be committed.
    fn tree_paths(&self, repo: &Repo, quarantine: &Quarantine) -> Outcome<Vec<RepoPath>> {
        let out = quarantine.command(self, repo, "ls-files").arg("-z").output()?;
        Ok(out.split(|b| *b == 0).filter(|p| !p.is_empty()).filter_map(|p| RepoPath::new(p).ok()).collect())
    }

    fn private_entries(&self, repo: &Repo, quarantine: &Quarantine, selection: &Selection) -> Outcome<HashMap<RepoPath, Entry>> {
        let out = quarantine.command(self, repo, "ls-files").args(["--stage", "-z"]).output()?;
        let mut found = HashMap::new();
        for line in out.split(|b| *b == 0).filter(|l| !l.is_empty()) {
            let unknown = || Failure::engine("git ls-files answered in an unknown form");
            let tab = line.iter().position(|b| *b == b'\t').ok_or_else(unknown)?;
            let Ok(path) = RepoPath::new(&line[tab + 1..]) else { continue };
            if selection.contains_key(&path) {
                let head = std::str::from_utf8(&line[..tab]).map_err(|_| unknown())?;
                let (mode, rest) = head.split_once(' ').ok_or_else(unknown)?;
                let oid = Oid::parse(rest.split(' ').next().unwrap_or(""))?;
                found.insert(path, (mode.to_owned(), oid));
            }
        }
        Ok(found)
    }

    /// The tree's changes, proven equal to the selection, with counts, rename pairs and the secret scan.
    fn describe(&self, repo: &Repo, quarantine: &Quarantine, built: &Built, selection: &Selection, message: &str) -> Outcome<(Vec<CommitPath>, Vec<String>, Vec<String>)> {
        let compare = |form: &[&str]| {
            quarantine
                .command(self, repo, "diff-tree")
                .option("core.bigFileThreshold", diff::TEXT_BYTES_MAX.to_string())
                .args(["-r"])
                .args(diff::ARGS)
                .args(form)
                .args([built.parent_tree.as_str(), built.tree.as_str()])
                .output()
        };
        let whole = compare(&["--raw", "--numstat", "--patch", "--no-renames"])?;
        let parsed = raw::parse(&whole)?;
        let pairs = compare(&["--raw", "--find-renames"])?;
        let partners: HashMap<&[u8], &[u8]> = raw::parse(&pairs)?.records.iter().filter(|r| r.letter == 'R').filter_map(|r| Some((r.path, r.from?))).collect();

        let mut findings = secrets::Findings::default();
        findings.in_message(message);
        for section in patch::parse(parsed.patch) {
            if let Ok(path) = RepoPath::new(section.path.as_slice()) {
                findings.in_file(&path, &section.hunks, section.cut);
            }
        }
        let mut paths = Vec::with_capacity(parsed.records.len());
        let mut extra = None;
        let mut modes = Vec::new();
        for record in &parsed.records {
            let path = RepoPath::new(record.path)?;
            if !selection.contains_key(&path) {
                extra = extra.or(Some(path));
                continue;
            }
            let counts = parsed.counts.get(record.path).copied().unwrap_or((None, None));
            modes.extend(names::mode_change(&path, record.old_mode, record.new_mode));
            let from = partners.get(record.path).and_then(|from| RepoPath::new(*from).ok());
            paths.push(commit_path(path, record, counts, from));
        }
        check_sets(selection, &paths, extra, &built.entries)?;
        paths.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((paths, findings.into_sentences(), modes))
    }
}

fn commit_path(path: RepoPath, record: &raw::Record<'_>, counts: raw::Counts, renamed_from: Option<RepoPath>) -> CommitPath {
    let change = match record.letter {
        'A' => CommitChange::Added,
        'D' => CommitChange::Deleted,
        'T' => CommitChange::TypeChanged,
        _ => CommitChange::Modified,
    };
    let is_deleted = change == CommitChange::Deleted;
    CommitPath {
        path,
        change,
        mode: (!is_deleted).then(|| record.new_mode.to_owned()),
        oid: if is_deleted { None } else { record.new_oid.clone() },
        added: counts.0,
        deleted: counts.1,
        renamed_from,
    }
}

/// Exactly the selected paths change. Git passes over some names in silence, and some additions remove other paths.
fn check_sets(selection: &Selection, paths: &[CommitPath], extra: Option<RepoPath>, entries: &HashMap<RepoPath, Entry>) -> Outcome<()> {
    if let Some(extra) = extra {
        return Err(select::denied(&extra, "would change too, because a selected path takes its place").hint("select both, or neither"));
    }
    let changed: BTreeSet<&RepoPath> = paths.iter().map(|p| &p.path).collect();
    match selection.iter().find(|(path, _)| !changed.contains(path)) {
        None => Ok(()),
        Some((path, becomes)) if *becomes != Becomes::Deleted && !entries.contains_key(path) => Err(select::denied(path, "is a name that git refuses to store")),
        Some((path, _)) => Err(Failure::new(Code::VcsNothingToCommit, format!("{} equals the parent commit", path.display())).hint("leave it out of the selection")),
    }
}

/// Git drops these characters in silence; then the commit would name somebody else than the preview.
fn check_author(name: &str, email: &str) -> Outcome<()> {
    for (what, text) in [("name", name), ("address", email)] {
        if text.trim().is_empty() || text.contains(|c: char| c.is_control() || matches!(c, '<' | '>')) {
            return Err(Failure::invalid(format!("the author's {what} {text:?} is not one git would keep as it is")).hint("set it: git config --global user.name and user.email"));
        }
    }
    Ok(())
}

/// What the person saw is what stands there now.
fn check_expected(intent: &CommitIntent, selection: &Selection, entries: &HashMap<RepoPath, Entry>) -> Outcome<()> {
    for (path, expected) in intent.expected.iter().filter(|(p, _)| selection.contains_key(p)) {
        let now = entries.get(path).map(|(_, oid)| oid);
        if now != expected.as_ref() {
            return Err(Failure::new(Code::StalePreview, format!("{} changed since it was selected", path.display())).hint("look at it again and select anew"));
        }
    }
    Ok(())
}

/// The user's index holds, for every selected path, the parent's version or the one to be committed.
fn check_index(selection: &Selection, staged: &Staged, entries: &HashMap<RepoPath, Entry>) -> Outcome<()> {
    match selection.keys().find(|path| staged.get(*path).is_some_and(|entry| entry.as_ref() != entries.get(*path))) {
        Some(path) => Err(select::diverged(path)),
        None => Ok(()),
    }
}

/// Paths that no pattern of the packet's scope covers; an empty scope covers everything.
fn out_of_scope(paths: &[CommitPath], scope: &[String]) -> Vec<RepoPath> {
    if scope.is_empty() {
        return Vec::new();
    }
    let globs: Vec<(Option<globset::GlobMatcher>, &str)> = scope
        .iter()
        .map(|pattern| {
            let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build().ok().map(|g| g.compile_matcher());
            (glob, pattern.trim_end_matches('/'))
        })
        .collect();
    let covered = |path: &RepoPath| {
        globs.iter().any(|(glob, plain)| {
            let beneath = path.as_bytes().strip_prefix(plain.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
            beneath || glob.as_ref().is_some_and(|g| g.is_match(path.to_os_path()))
        })
    };
    paths.iter().map(|p| &p.path).filter(|p| !covered(p)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_patterns_cover_directories_and_globs() {
        let path = |text: &str| CommitPath { path: RepoPath::new(text).unwrap(), change: CommitChange::Added, mode: None, oid: None, added: None, deleted: None, renamed_from: None };
        let paths = [path("src/a.rs"), path("src/deep/b.rs"), path("docs/x.md"), path("srcs/c")];
        let scope = ["src/".to_owned(), "docs/*.md".to_owned()];
        assert_eq!(out_of_scope(&paths, &scope), [RepoPath::new("srcs/c").unwrap()]);
        assert!(out_of_scope(&paths, &[]).is_empty());
        assert_eq!(out_of_scope(&paths, &["src/*.rs".to_owned()]).len(), 3);
    }

    #[test]
    fn authors_that_git_would_change_are_refused() {
        assert!(check_author("Ann O. Nym Jr.", "a@b").is_ok());
        for (name, email) in [("", "a@b"), ("a<b", "a@b"), ("a\nb", "a@b"), ("a", "")] {
            assert!(check_author(name, email).is_err(), "{name:?}");
        }
    }
}
