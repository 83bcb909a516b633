//! What DCC tells an agent before the first prompt of a conversation: where it is, what fails there, what stands in.
//!
//! Authority: none; the words are recorded as DCC's own, never as the person's. Invariant: once for each conversation of
//! the agent, so that one taken up again is not told twice and a new one in its place is told.

use dcc_core::ids::WorkspaceId;
use dcc_core::ports::Driver;
use dcc_core::session::Session;
use dcc_core::{Outcome, limits};

use crate::context::Context;
use crate::ledger;

/// The agent's conversation by its own name for it; agents without one have one conversation for each session.
pub(super) fn conversation(session: &Session) -> &str {
    session.agent_session_id.as_deref().unwrap_or("")
}

/// The preamble, when this conversation has not heard it.
pub(super) fn of(cx: &Context, session: &Session, workspace_id: WorkspaceId) -> Outcome<Option<String>> {
    // A plain command would take the words for its input.
    let is_plain = session.capabilities.as_ref().is_some_and(|c| c.driver == Driver::Pty);
    if is_plain || session.briefed.as_deref() == Some(conversation(session)) {
        return Ok(None);
    }
    let workspace = ledger::workspace(cx.ports.recorder.as_ref(), workspace_id)?;
    let branch = workspace.branch.as_deref().unwrap_or("(none)");
    let work = match (&session.wp_id, &session.mt_id) {
        (Some(wp), Some(mt)) => format!("You work on the packet {wp}, micro-task {mt}."),
        (Some(wp), None) => format!("You work on the packet {wp}."),
        _ => "No work packet is bound to this session.".to_owned(),
    };
    Ok(Some(text(&workspace.binding.worktree_path, branch, &work, session.tools)))
}

fn text(worktree: &str, branch: &str, work: &str, tools: bool) -> String {
    let stands_in = if tools {
        format!(
            "The MCP server `dcc` stands in:\n\
             - locus_get_wp reads your packet and micro-tasks; context_search and context_open_ref read your worktree; version_status and version_diff show your changes.\n\
             - version_commit asks for a commit of the paths you name. A person sees exactly these bytes and decides. An answer with state awaiting_user means waiting: \
             go on, or poll job_get with its job_id (each call waits up to {} seconds). Do not ask again. A failure says why.\n\
             - sandbox_run_recipe runs a recipe of the operator by name; capability_request asks a person for a yes in your own words.\n\
             - session_spawn asks for another agent under you: here, in this worktree, with a prompt of yours; a person decides. job_get then tells how it stands and what it said last.\n\
             - locus_add_note, locus_start_mt and locus_block_mt tell of your work on this packet; handoff_write says what is done and what remains.\n\
             - Restoring is not built: write the old content yourself (git show HEAD:PATH reads it).",
            limits::AGENT_TOOL_WAIT_MS_MAX / 1000
        )
    } else {
        "No tool stands in for them here, because this agent takes no MCP server or no server runs: leave your changes in the worktree, and the person reviews and commits them. \
         To undo a change, write the old content yourself (git show HEAD:PATH reads it)."
            .to_owned()
    };
    format!(
        "These words come from the command center (DCC), not from the person you work for.\n\
         You are in a sandbox in the git worktree {worktree} on the branch {branch}. {work}\n\
         Reading git commands work: status, diff, log, show. These fail here, which is expected and no fault to report: add, commit, stash, restore, checkout, switch, reset, \
         merge, rebase, push, fetch. Files outside the worktree, your home and your temporary directory cannot be written.\n\
         {stands_in}\n\
         Only the person decides: you cannot approve anything."
    )
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn it_names_what_fails_and_what_stands_in() {
        let with = text("/tmp/w", "dcc/WP-0001-x", "You work on the packet WP-0001.", true);
        for part in ["/tmp/w", "dcc/WP-0001-x", "WP-0001", "commit", "version_commit", "session_spawn", "job_get", "not built"] {
            assert!(with.contains(part), "{part}: {with}");
        }
        let without = text("/tmp/w", "b", "", false);
        assert!(without.contains("No tool stands in") && !without.contains("version_commit"), "{without}");
    }
}
