//! Forms of a packet: each names the operation it asks for and opens in place.
//!
//! Authority: derived; every form becomes one job, nothing is changed here.

use maud::{Markup, html};

use dcc_api::view::{MtRow, PacketView, Shell};
use dcc_core::Code;

use super::components::forms::{OpButton, start_more};
use super::components::{bind, field_lines, icon, op_button, said, why_not};
use super::packet::proof;
use crate::safe_text::{SafeText, t};

/// Panels under the head, closed until asked for.
#[must_use]
pub fn panels(shell: &Shell, view: &PacketView) -> Markup {
    html! {
        (workspace_form(view))
        (session_form(shell, view))
        (gate_form(view, "pre_work"))
        (gate_form(view, "post_work"))
        (edit_form(view))
        (mts_form(view))
        @for (id, op, title, says) in REASONS { (reason_form(view, id, op, title, says)) }
        (reopen_form(view))
    }
}

const REASONS: [(&str, &str, &str, &str); 6] = [
    ("wp-block", "locus.block_wp", "Block", "It moves to Blocked and returns to where it was when unblocked."),
    ("wp-unblock", "locus.unblock_wp", "Unblock", "It returns to the lane it came from."),
    ("wp-hold", "locus.hold_wp", "Hold for a decision", "It moves to Gated until you release it."),
    ("wp-release", "locus.release_wp", "Release the hold", "It returns to the lane it came from; the reason is the decision."),
    ("wp-cancel", "locus.cancel_wp", "Cancel packet", "Final until reopened. Sessions and jobs must have ended; the worktree stays."),
    ("wp-delete", "locus.delete_wp", "Delete packet", "Leaves a tombstone; asks for approval. The record of what happened stays."),
];

/// Everything beside the leading button.
#[must_use]
pub fn more_menu(view: &PacketView) -> Markup {
    let entry = |id: &str, label: &str, op: &str| {
        let why = why_not(&view.actions, op);
        html! { button.item type="button" data-toggle=(id) aria-disabled=[why.as_ref().map(|_| "true")] data-why=[why.as_ref().map(|why| t(why))] title=[why.as_ref().map(|why| t(why))] { (label) @if why.as_ref().is_some_and(|why| why.starts_with(Code::NotBuilt.as_str())) { " " span.lab { (Code::NotBuilt.as_str()) " not built yet" } } } }
    };
    html! {
        details.menu id="wp-more" {
            summary.btn.sm data-key="." { "More " kbd { "." } }
            div.menu-box {
                (entry("start-session", "Start session", "session.start"))
                (entry("new-ws", "Create worktree", "workspace.create"))
                (entry("gate-pre_work", "Decide pre_work gate", "locus.gate_wp:pre_work"))
                (entry("gate-post_work", "Decide post_work gate", "locus.gate_wp:post_work"))
                (entry("wp-edit", "Edit", "locus.update_wp"))
                (entry("wp-block", "Block", "locus.block_wp"))
                (entry("wp-hold", "Hold for a decision", "locus.hold_wp"))
                (op_button(OpButton { op: "locus.start_wp", label: "Start", class: "item", bind: &bind(&[("wp_id", &view.wp_id)]), then: Some("reload"), why_not: why_not(&view.actions, "locus.start_wp").as_deref(), ..OpButton::default() }))
                (op_button(OpButton { op: "locus.close_wp", label: "Close packet", class: "item", bind: &bind(&[("wp_id", &view.wp_id)]), then: Some("reload"), why_not: close_why(view).as_deref(), ..OpButton::default() }))
                (entry("wp-cancel", "Cancel packet", "locus.cancel_wp"))
                (entry("wp-delete", "Delete packet", "locus.delete_wp"))
            }
        }
    }
}

fn close_why(view: &PacketView) -> Option<String> {
    why_not(&view.actions, "locus.close_wp").or_else(|| view.close_refusal.as_ref().map(|failure| format!("{} {}", failure.code, failure.message)))
}

/// A panel that asks for one operation.
struct Panel<'a> {
    id: &'a str,
    title: &'a str,
    says: &'a str,
    op: &'a str,
    ids: &'a str,
    then: &'a str,
    /// Words of the button.
    go: &'a str,
    danger: bool,
}

fn panel(panel: &Panel<'_>, fields: &Markup) -> Markup {
    let Panel { id, title, says, op, ids, then, go, danger } = *panel;
    html! {
        section.panel id=(id) hidden data-panel aria-labelledby={ (id) "-h" } {
            form.stack data-op=(op) data-bind=(ids) data-then=(then) {
                div.row { h2 id={ (id) "-h" } { (title) } span.lab.cut { (says) } button.btn.flat.sm.push type="button" data-close=(id) { "Close " kbd { "Esc" } } }
                (fields)
                div.row { button.btn .go[!danger] .no[danger] .push type="submit" { (go) } }
                (said())
            }
        }
    }
}

fn wp_ids(view: &PacketView) -> String {
    bind(&[("wp_id", &view.wp_id)])
}

fn reason_form(view: &PacketView, id: &str, op: &str, title: &str, says: &str) -> Markup {
    let fields = html! { div.fl { label.lab for={ (id) "-r" } { "Reason, kept on record" } textarea.field id={ (id) "-r" } name="reason" rows="2" required {} } };
    panel(&Panel { id, title, says, op, ids: &wp_ids(view), then: "reload", go: title, danger: matches!(id, "wp-cancel" | "wp-delete") }, &fields)
}

fn reopen_form(view: &PacketView) -> Markup {
    let fields = html! {
        div.fl { label.lab for="reopen-r" { "Reason, kept on record" } textarea.field id="reopen-r" name="reason" rows="2" required {} }
        label.lab { "To " select.field.fit name="to" { option value="in_progress" { "in progress" } option value="ready" { "ready" } } }
    };
    panel(&Panel { id: "wp-reopen", title: "Reopen", says: "The post_work gate starts over.", op: "locus.reopen_wp", ids: &wp_ids(view), then: "reload", go: "Reopen", danger: false }, &fields)
}

fn workspace_form(view: &PacketView) -> Markup {
    let fields = html! {
        div.three-up {
            div.fl { label.lab for="ws-branch" { "Branch" } input.field.m id="ws-branch" name="branch" placeholder={ "dcc/" (t(&view.wp_id)) "-…" } autocomplete="off" spellcheck="false"; }
            div.fl { label.lab for="ws-base" { "Base" } input.field.m id="ws-base" name="base" placeholder="branch of HEAD" autocomplete="off" spellcheck="false"; }
            div.fl { label.lab for="ws-role" { "Role" } select.field id="ws-role" name="role" { option value="coder" { "coder" } option value="human" { "human" } option value="validator" { "validator" } } }
        }
        p.lab { "Makes a git worktree beside the repository, on its own branch, bound to " (t(&view.wp_id)) ". Capability dev.worktree.manage, R1: you will be asked, with the exact path, branch and base." }
    };
    panel(&Panel { id: "new-ws", title: "Create worktree", says: "", op: "workspace.create", ids: &wp_ids(view), then: "reload", go: "Ask for the worktree", danger: false }, &fields)
}

fn session_form(shell: &Shell, view: &PacketView) -> Markup {
    let fields = html! {
        div.three-up {
            div.fl { label.lab for="ss-ws" { "Worktree" } select.field id="ss-ws" name="bind:workspace_id" { @for ws in &view.workspaces { option value=(ws.workspace_id) { (t(ws.branch.as_deref().unwrap_or(&ws.name))) } } } }
            div.fl { label.lab for="ss-mt" { "Micro-task" } select.field id="ss-mt" name="bind:mt_id" { option value="" { "none: the whole packet" } @for mt in view.micro_tasks.iter().filter(|mt| !matches!(mt.status.as_str(), "completed" | "skipped")) { option value=(mt.mt_id) selected[mt.status == "in_progress"] { (t(&mt.mt_id)) " " (t(&mt.name)) } } } }
            div.fl { label.lab for="ss-agent" { "Agent" } select.field id="ss-agent" name="agent" { @for agent in &shell.agents { option value=(t(agent)) { (t(agent)) } } } }
        }
        div.fl { label.lab for="ss-prompt" { "First prompt" } textarea.field id="ss-prompt" name="prompt" rows="3" placeholder="What shall it do first? Empty: the agent gets the packet and waits." {} }
        (start_more("ss"))
        @if shell.agents.is_empty() { p.st-blocked { "No agent preset is configured. Add one under [agents.NAME] in the configuration; dcc doctor shows what is installed." } }
        @if view.workspaces.is_empty() { p.st-blocked { "No worktree yet: a session needs one. Create it first." } }
    };
    panel(&Panel { id: "start-session", title: "Start session", says: "runs in the sandbox of its worktree; what it may not do alone arrives in your inbox", op: "session.start", ids: &wp_ids(view), then: "/session/{session_id}", go: "Start session", danger: false }, &fields)
}

fn gate_form(view: &PacketView, gate: &str) -> Markup {
    let id = format!("gate-{gate}");
    let fields = html! {
        input type="hidden" name="gate" value=(gate);
        fieldset.seg { legend.sr { "Result" }
            @for (value, label) in [("pass", "Pass"), ("fail", "Fail"), ("skip", "Skip")] { label { input type="radio" name="result" value=(value) checked[value == "pass"]; (label) } }
        }
        div.fl { label.lab for={ (id) "-r" } { "Reason; needed for skip and fail" } textarea.field id={ (id) "-r" } name="reason" rows="2" {} }
    };
    panel(&Panel { id: &id, title: &format!("Gate {gate}"), says: "A result is void when what it looked at changes.", op: "locus.gate_wp", ids: &wp_ids(view), then: "reload", go: "Record result", danger: false }, &fields)
}

fn edit_form(view: &PacketView) -> Markup {
    let criteria = view.acceptance_criteria.iter().map(|criterion| criterion.text.as_str()).collect::<Vec<_>>().join("\n");
    let fields = html! {
        input type="hidden" name="expected_version" data-type="int" value=(view.version);
        div.fl { label.lab for="ed-title" { "Title" } input.field id="ed-title" name="set.title" value=(view.title) data-changed-only required; }
        div.two-up {
            div.fl { label.lab for="ed-ac" { "Acceptance criteria, one a line" } textarea.field id="ed-ac" name="set.acceptance_criteria" rows="4" data-type="lines" data-changed-only { (criteria) } }
            div.fl { label.lab for="ed-scope" { "May change: globs, one a line" } textarea.field id="ed-scope" name="set.in_scope_paths" rows="4" data-type="lines" data-changed-only { (view.in_scope_paths.join("\n")) } }
        }
        div.fl { label.lab for="ed-desc" { "Description" } textarea.field id="ed-desc" name="set.description" rows="3" data-changed-only { (view.description.as_deref().unwrap_or("")) } }
        div.row.wrap { label.lab { "Priority " select.field.fit name="set.priority" data-type="int" data-changed-only { @for n in 0..5 { option value=(n) selected[n == view.priority] { (n) } } } } }
    };
    panel(&Panel { id: "wp-edit", title: "Edit packet", says: "Only changed fields are sent; a newer version elsewhere refuses the edit.", op: "locus.update_wp", ids: &wp_ids(view), then: "reload", go: "Save", danger: false }, &fields)
}

fn mts_form(view: &PacketView) -> Markup {
    let fields = html! {
        div.mt-lines data-repeat="micro_tasks" {
            fieldset.two-up data-item {
                div.fl { label.lab for="mt-name" { "Name" } input.field id="mt-name" name="name" autocomplete="off" required; }
                (field_lines("mt-done", "done_criteria", "Done when", "one a line", 2, true))
            }
        }
        div.row { button.btn.sm type="button" data-repeat-add="micro_tasks" { (icon("plus")) " Another" } span.lab { "All of them are added, or none." } }
    };
    panel(&Panel { id: "add-mts", title: "Add micro-tasks", says: "", op: "locus.register_mts", ids: &wp_ids(view), then: "reload", go: "Add micro-tasks", danger: false }, &fields)
}

/// The form for a note, above the list.
#[must_use]
pub fn note_form(view: &PacketView) -> Markup {
    let fields = html! { div.fl { label.sr for="note-body" { "Note" } textarea.field id="note-body" name="body" rows="2" required {} } };
    panel(&Panel { id: "add-note", title: "Add note", says: "cannot be changed afterwards", op: "locus.add_note", ids: &wp_ids(view), then: "reload", go: "Add note", danger: false }, &fields)
}

/// The form for a link to another packet.
#[must_use]
pub fn dependency_form(view: &PacketView) -> Markup {
    let fields = html! {
        div.two-up {
            div.fl { label.lab for="dep-kind" { "Kind" } select.field id="dep-kind" name="kind" { @for kind in ["blocked_by", "blocks", "related", "parent-child", "discovered-from", "duplicate-of", "implements", "tests", "documents"] { option value=(kind) { (kind) } } } }
            div.fl { label.lab for="dep-to" { "Packet" } input.field.m id="dep-to" name="to_wp_id" placeholder="WP-" autocomplete="off" required; }
        }
    };
    panel(&Panel { id: "add-dep", title: "Add link", says: "cycles and dangling ends are refused", op: "locus.add_dependency", ids: &wp_ids(view), then: "reload", go: "Add link", danger: false }, &fields)
}

/// One micro-task, opened: criteria, evidence form, other moves.
#[must_use]
pub fn mt_panel(view: &PacketView, mt: &MtRow) -> Markup {
    let ids = bind(&[("wp_id", &view.wp_id), ("mt_id", &mt.mt_id)]);
    html! {
        div.stack.mt-more {
            @if let Some(scope) = &mt.scope { pre.prose { (SafeText::block(scope)) } }
            dl.kv {
                dt { "Done when" } dd { ul { @for criterion in &mt.done_criteria { li { (t(criterion)) } } } }
                @if !mt.files.is_empty() { dt { "Files" } dd.m { (t(&mt.files.join(" "))) } }
                @if !mt.depends_on.is_empty() { dt { "Depends on" } dd.m { (t(&mt.depends_on.join(" "))) } }
                @if let Some(evidence) = &mt.evidence { dt { "Evidence" } dd { (proof(evidence, None)) } }
            }
            @if matches!(mt.status.as_str(), "in_progress" | "pending" | "blocked" | "failed") {
                @if mt.status == "in_progress" { (evidence_form(view, mt, &ids)) }
                (mt_reason(view, mt, &ids))
            } @else {
                form.row data-op="locus.reopen_mt" data-bind=(ids) data-then="reload" {
                    label.sr for={ "re-" (mt.mt_id) } { "Reason" } input.field id={ "re-" (mt.mt_id) } name="reason" placeholder="Reason"; button.btn.sm type="submit" { "Reopen" } (said())
                }
            }
        }
    }
}

fn evidence_form(view: &PacketView, mt: &MtRow, ids: &str) -> Markup {
    html! {
        form.stack data-op="locus.complete_mt" data-bind=(ids) data-then="reload" {
            h3 { "Mark done: on which evidence?" }
            @if view.evidence_jobs.is_empty() { p.lab { "No finished job yet that could prove it. Commit or run a recipe in the worktree first, or state it yourself." } }
            @else {
                div.fl { label.lab for={ "ev-" (mt.mt_id) } { "A finished job" }
                    select.field id={ "ev-" (mt.mt_id) } name="evidence.job_id" {
                        option value="" { "none: use the statement" }
                        @for (at, evidence) in view.evidence_jobs.iter().enumerate() {
                            option value=[evidence.job_id.as_deref()] selected[at == 0] {
                                @if let Some(command) = &evidence.command { (t(command)) }
                                @if let Some(exit) = evidence.exit_code { " · exit " (exit) }
                                @if let Some(tests) = evidence.tests_run { " · " (tests) " tests" }
                                @if let Some(oid) = &evidence.commit_oid { " · " (t(super::components::short(oid))) }
                            }
                        }
                    }
                }
            }
            div.fl { label.lab for={ "st-" (mt.mt_id) } { "or your own statement, marked as such" } textarea.field id={ "st-" (mt.mt_id) } name="evidence.statement" rows="2" {} }
            div.row { button.btn.go.push type="submit" { "Mark " (t(&mt.mt_id)) " done" } }
            (said())
        }
    }
}

fn mt_reason(view: &PacketView, mt: &MtRow, ids: &str) -> Markup {
    let _ = view;
    html! {
        form.row.wrap data-op="locus.block_mt" data-bind=(ids) data-then="reload" {
            label.sr for={ "why-" (mt.mt_id) } { "Reason" }
            input.field.grow id={ "why-" (mt.mt_id) } name="reason" placeholder="Reason for blocked, failed or skipped" required;
            @if mt.status == "in_progress" {
                button.btn.sm type="submit" data-op-override="locus.block_mt" { "Blocked" }
                button.btn.sm type="submit" data-op-override="locus.fail_mt" { "Failed" }
            }
            @if mt.status != "in_progress" { button.btn.sm type="submit" data-op-override="locus.skip_mt" { "Skip" } }
            (said())
        }
    }
}
