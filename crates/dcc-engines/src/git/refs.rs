//! Refs, revisions and history, read. Authority: derived.
//!
//! Invariant: a revision is resolved to an object id before any other command sees it, behind `--end-of-options`.

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::ids::Oid;
use dcc_core::path::RepoPath;
use dcc_core::ports::version::{AheadBehind, CommitFacts};
use dcc_core::time::Timestamp;
use dcc_core::workspace::WorktreeBinding;

use super::GitCli;
use super::builder::{Access, Repo};

/// Each field ends in NUL; git allows none inside.
const LOG_FORMAT: &str = "--format=tformat:%H%x00%T%x00%P%x00%an%x00%ae%x00%at%x00%ct%x00%s%x00%b";
const LOG_FIELDS: usize = 9;
/// A revision longer than this is no revision.
const REVISION_BYTES_MAX: usize = 1_024;

impl GitCli {
    pub(super) fn resolve_in(&self, repo: &Repo, revision: &str) -> Outcome<Oid> {
        let unknown = || Failure::new(Code::VcsRepoInvalid, format!("{revision:?} names no commit")).hint("give a branch, a tag or a commit id");
        if revision.is_empty() || revision.len() > REVISION_BYTES_MAX || revision.starts_with('-') || revision.chars().any(char::is_control) {
            return Err(unknown());
        }
        let run = self
            .tool
            .command(repo, Access::Read, "rev-parse")
            .args(["--verify", "-q", "--end-of-options"])
            .arg(format!("{revision}^{{commit}}"))
            .run()?;
        if run.is_success() {
            return Oid::parse(&run.line()).map_err(|_| unknown());
        }
        if revision == "HEAD" {
            return Err(Failure::new(Code::VcsRepoInvalid, "the repository has no commit yet").hint("make the first commit, then ask again"));
        }
        Err(unknown())
    }

    pub(super) fn ref_oid_in(&self, repo: &Repo, name: &str) -> Outcome<Option<Oid>> {
        if name != "HEAD" && !name.starts_with("refs/") {
            return Err(Failure::invalid(format!("{name:?} is not a full ref name")).hint("a full name starts with refs/"));
        }
        let run = self.tool.command(repo, Access::Read, "show-ref").args(["--verify", "-q", "--", name]).run()?;
        match run.code() {
            Some(0) => {
                let oid = self.tool.command(repo, Access::Read, "rev-parse").args(["--verify", "-q", "--end-of-options", name]).line()?;
                Oid::parse(&oid).map(Some)
            }
            Some(1) => Ok(None),
            _ => Err(run.failure()),
        }
    }

    pub(super) fn ahead_behind_in(&self, repo: &Repo, branch: &str, base: &str) -> Outcome<AheadBehind> {
        let (branch, base) = (self.resolve_in(repo, branch)?, self.resolve_in(repo, base)?);
        let line = self.tool.command(repo, Access::Read, "rev-list").args(["--left-right", "--count"]).arg(format!("{branch}...{base}")).arg("--").line()?;
        let mut counts = line.split_whitespace().map(|n| n.parse().unwrap_or(0));
        Ok(AheadBehind { ahead: counts.next().unwrap_or(0), behind: counts.next().unwrap_or(0) })
    }

    pub(super) fn is_branch(&self, name: &str) -> bool {
        if name.is_empty() || name.starts_with('-') || name == "HEAD" || name.len() > dcc_core::limits::PATH_BYTES_MAX || name.contains('\0') {
            return false;
        }
        let run = self.tool.bare("check-ref-format").arg(format!("refs/heads/{name}")).run();
        run.is_ok_and(|r| r.is_success())
    }

    pub(super) fn commit_is_in(&self, repo: &Repo, branch_ref: &str, oid: &Oid) -> Outcome<bool> {
        let Some(tip) = self.ref_oid_in(repo, branch_ref)? else { return Ok(false) };
        if tip == *oid {
            return Ok(true);
        }
        let exists = self.tool.command(repo, Access::Read, "cat-file").arg("-e").arg(format!("{oid}^{{commit}}")).run()?;
        if !exists.is_success() {
            return Ok(false);
        }
        let run = self.tool.command(repo, Access::Read, "merge-base").args(["--is-ancestor", oid.as_str(), tip.as_str()]).run()?;
        match run.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(run.failure()),
        }
    }

    pub(super) fn tracked(&self, binding: &WorktreeBinding, path: &RepoPath) -> Outcome<bool> {
        let repo = self.open(binding, Access::Read)?;
        let out = self.tool.command(&repo, Access::Read, "ls-files").arg("-z").paths(std::slice::from_ref(path)).output()?;
        Ok(out.split(|b| *b == 0).any(|name| name == path.as_bytes()))
    }

    pub(super) fn history(&self, binding: &WorktreeBinding, limit: usize, paths: &[RepoPath]) -> Outcome<Vec<CommitFacts>> {
        let repo = self.open(binding, Access::Read)?;
        let run = self.tool.command(&repo, Access::Read, "rev-parse").args(["--verify", "-q", "HEAD^{commit}"]).run()?;
        if !run.is_success() {
            return Ok(Vec::new());
        }
        let limit = limit.min(dcc_core::limits::PAGE_MAX);
        let out = self
            .tool
            .command(&repo, Access::Read, "log")
            .args(["-z", "--no-color", "--no-decorate", "--no-notes", "--no-show-signature", "--no-ext-diff", "--no-textconv", LOG_FORMAT])
            .arg(format!("--max-count={limit}"))
            .arg(run.line())
            .paths(paths)
            .output()?;
        parse_log(&out)
    }
}

fn parse_log(bytes: &[u8]) -> Outcome<Vec<CommitFacts>> {
    let fields: Vec<&[u8]> = bytes.split(|b| *b == 0).collect();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let seconds = |b: &[u8]| Timestamp(text(b).trim().parse::<i64>().unwrap_or(0).saturating_mul(1000));
    let mut list = Vec::new();
    // The separator after the last commit leaves one empty field.
    for f in fields.chunks_exact(LOG_FIELDS) {
        let parents = text(f[2]).split_whitespace().map(Oid::parse).collect::<Result<_, _>>()?;
        let body = text(f[8]).trim_end().to_owned();
        list.push(CommitFacts {
            oid: Oid::parse(&text(f[0]))?,
            tree_oid: Oid::parse(&text(f[1]))?,
            parents,
            author: text(f[3]),
            author_email: text(f[4]),
            authored_at: seconds(f[5]),
            committed_at: seconds(f[6]),
            subject: text(f[7]),
            trailers: trailers(&body),
            body,
        });
    }
    Ok(list)
}

/// DCC-* trailers of the last paragraph, which counts only when every line of it is a trailer.
pub(super) fn trailers(body: &str) -> Vec<(String, String)> {
    let last = body.trim_end().rsplit("\n\n").next().unwrap_or("");
    let mut found = Vec::new();
    for line in last.lines() {
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((key, value)) = line.split_once(": ") else { return Vec::new() };
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Vec::new();
        }
        if key.starts_with("DCC-") {
            found.push((key.to_owned(), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_stand_in_the_last_paragraph_only() {
        assert_eq!(trailers("text\n\nDCC-Job: 1\nSigned-off-by: a <b>"), [("DCC-Job".to_owned(), "1".to_owned())]);
        assert!(trailers("DCC-Job: 1\n\nmore").is_empty());
        assert!(trailers("DCC-Job: 1\nprose here").is_empty());
        assert!(trailers("").is_empty());
    }
}
