//! What must still hold under the lock just before the first effect. Reads only; the world is asked, never memory.

use dcc_core::locus::RecordKey;
use dcc_core::plan::Precondition;
use dcc_core::ports::version::HeadState;
use dcc_core::workspace::unescape_path;
use dcc_core::{Code, Failure, MtId, Oid, Outcome, Sha256Hex, WorkspaceId, WpId, limits};

use crate::context::Context;
use crate::{ledger, repairs};

/// All of them; the first that does not hold ends the job with nothing done.
pub fn check_all(cx: &Context, preconditions: &[Precondition]) -> Outcome<()> {
    preconditions.iter().try_for_each(|p| check(cx, p))
}

fn check(cx: &Context, precondition: &Precondition) -> Outcome<()> {
    match precondition {
        Precondition::RefIs { name, oid } => ref_is(cx, name, oid),
        Precondition::RefAbsent { name } => match cx.ports.version.ref_oid(&cx.config.common_dir, name)? {
            None => Ok(()),
            Some(oid) => Err(Failure::new(Code::WorktreeConflict, format!("{name} exists already at {}", oid.short())).hint("choose another branch with --branch")),
        },
        Precondition::HeadIs { workspace_id, name } => head_is(cx, *workspace_id, name),
        Precondition::PathAbsent { path } => path_absent(path),
        Precondition::NoOperationInProgress { workspace_id } => {
            let workspace = ledger::workspace(cx.ports.recorder.as_ref(), *workspace_id)?;
            match cx.ports.version.operation_in_progress(&workspace.binding)? {
                None => Ok(()),
                Some(what) => Err(Failure::new(Code::VcsConflict, format!("a {what} is in progress in the worktree")).hint(format!("finish or abort the {what} with git first"))),
            }
        }
        Precondition::RecordIs { key, version, sha256 } => record_is(cx, key, *version, *sha256),
        Precondition::RecordFileIs { key, sha256 } => {
            let key = parse_key(key)?;
            match cx.ports.locus.drifted(&key)? {
                Some(seen) if seen.found_sha256() == *sha256 => Ok(()),
                _ => Err(Failure::new(Code::StalePreview, format!("the file of {} changed meanwhile", key.text())).hint("look at it again, then decide anew")),
            }
        }
        Precondition::PacketUnbound { wp_id } => match ledger::worktree_of(cx.ports.recorder.as_ref(), wp_id)? {
            None => Ok(()),
            Some(w) => Err(Failure::new(Code::WorktreeConflict, format!("{wp_id} already has the worktree {}", w.binding.worktree_path))
                .hint("one active packet has one worktree: use it, or close it first with dcc ws close WS")),
        },
        Precondition::FileIs { workspace_id, path, sha256 } => {
            let workspace = ledger::workspace(cx.ports.recorder.as_ref(), *workspace_id)?;
            let now = cx.ports.files.read(&workspace.binding, path, limits::ARTIFACT_BYTES_MAX as u64)?.map(|b| Sha256Hex::of(&b));
            fresh(now == *sha256, || format!("{} changed since the plan was made", path.display()))
        }
        Precondition::SessionIn { session_id, states } => {
            let session = ledger::session(cx.ports.recorder.as_ref(), *session_id)?;
            if states.contains(&session.state) {
                Ok(())
            } else {
                Err(Failure::new(Code::IllegalTransition, format!("the session is {}", session.state.as_str())))
            }
        }
        Precondition::ConfigIs { workspace_id, sha256 } => {
            let workspace = ledger::workspace(cx.ports.recorder.as_ref(), *workspace_id)?;
            let now = cx.ports.version.config_facts(&cx.config.common_dir, Some(&workspace.binding))?.digest;
            fresh(now == *sha256, || "the repository's configuration changed since the plan was made".to_owned())
        }
        Precondition::NoSandbox => fresh(!crate::waivers::has_sandbox(cx), || "the sandbox works here: there is nothing to waive".to_owned()),
        Precondition::Waived { workspace_id, waiver_id } => {
            if crate::waivers::holds(cx, *workspace_id, *waiver_id)? && !crate::waivers::has_sandbox(cx) {
                return Ok(());
            }
            Err(Failure::new(Code::SandboxUnavailable, "the waiver of the sandbox that this start rests on is over").hint("dcc sandbox waive --ws WS --for 30m --reason R"))
        }
        Precondition::ExecutableIs { path, sha256 } => {
            let (_, now) = cx.ports.sandbox.resolve(path)?;
            fresh(now == *sha256, || format!("{path} is not the program that was shown"))
        }
    }
}

/// What was shown is still so.
fn fresh(is: bool, why: impl FnOnce() -> String) -> Outcome<()> {
    if is { Ok(()) } else { Err(Failure::new(Code::StalePreview, why()).hint("ask again: the new preview shows the state of now")) }
}

fn ref_is(cx: &Context, name: &str, oid: &Oid) -> Outcome<()> {
    let now = cx.ports.version.ref_oid(&cx.config.common_dir, name)?;
    let found = now.as_ref().map_or("nothing", |o| o.short());
    fresh(now.as_ref() == Some(oid), || format!("{name} moved: it was {}, it is {found}", oid.short()))
}

fn path_absent(path: &str) -> Outcome<()> {
    use std::os::unix::ffi::OsStringExt as _;
    let real = std::path::PathBuf::from(std::ffi::OsString::from_vec(unescape_path(path)));
    match real.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(Failure::new(Code::WorktreeConflict, format!("{path} exists already")).hint("move it away or choose another branch name")),
        Err(e) => Err(Failure::engine(format!("{path} cannot be looked at: {e}"))),
    }
}

fn head_is(cx: &Context, workspace_id: WorkspaceId, name: &str) -> Outcome<()> {
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
    let probe = repairs::require_whole(cx, &workspace)?;
    let now = match &probe.head {
        Some(HeadState::Branch { name, .. } | HeadState::Unborn { name }) => format!("refs/heads/{name}"),
        Some(HeadState::Detached { oid }) => format!("detached at {}", oid.short()),
        None => "unknown".to_owned(),
    };
    if now == name {
        Ok(())
    } else {
        Err(Failure::new(Code::VcsHeadMoved, format!("the worktree's HEAD was {name}, it is {now}")))
    }
}

fn record_is(cx: &Context, key: &str, version: Option<u64>, sha256: Option<Sha256Hex>) -> Outcome<()> {
    let key = parse_key(key)?;
    let now = match &key {
        RecordKey::Packet { wp_id } => cx.ports.locus.packet(wp_id)?.map(|e| (e.record.version, e.sha256)),
        RecordKey::MicroTask { wp_id, mt_id } => cx.ports.locus.micro_task(wp_id, mt_id)?.map(|e| (e.record.version, e.sha256)),
    };
    if now == version.zip(sha256) {
        return Ok(());
    }
    Err(Failure::new(Code::VersionConflict, format!("{} changed meanwhile", key.text())).hint("read it again and repeat"))
}

fn parse_key(text: &str) -> Outcome<RecordKey> {
    Ok(match text.split_once('/') {
        Some((wp, mt)) => RecordKey::MicroTask { wp_id: WpId::parse(wp)?, mt_id: MtId::parse(mt)? },
        None => RecordKey::Packet { wp_id: WpId::parse(text)? },
    })
}
