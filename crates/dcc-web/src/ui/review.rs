//! Workspace review: files, lines, commit of chosen paths.
//!
//! Authority: derived. The choice lives in the browser and is bound to path and blob id; a file that
//! moved after it was chosen blocks the commit until it is chosen again.

use maud::{DOCTYPE, Markup, html};

use dcc_api::view::{FileDiff, FileRow, ReviewView, Shell};

use super::components::diff::{kind_letter, path_id};
use super::components::path::{path_json, path_text, query};
use super::components::state::session_pip;
use super::components::{Pip, ago, broken_note, approval_line, bind, diff_lines, event_slice, failure_note, file_article, icon, job_rows, not_built, path_cell, path_key, pm, said, short, soon, st, wp_link};
use super::shell::{Place, page};
use super::workspaces::health;
use crate::safe_text::t;

/// The review.
#[must_use]
pub fn review(shell: &Shell, view: &ReviewView, now_ms: i64) -> Markup {
    let ws = &view.workspace;
    let name = ws.branch.as_deref().unwrap_or(&ws.name);
    let body = html! {
        (head(view, name, now_ms))
        @if ws.repair.is_some() { (broken_note(ws)) } @else if let Some(failure) = &view.failure { (failure_note(failure)) }
        (super::components::outside_notes(ws, now_ms))
        @if !view.approvals.is_empty() { ol aria-label="Waits for you" { @for row in &view.approvals { (approval_line(row, &format!("/approval/{}", query(&row.approval_id)), false, now_ms)) } } }
        (link_form(view))
        div.cols.c-review data-review=(ws.workspace_id) {
            (files(view))
            (lines(view))
            (commit(view, name, now_ms))
        }
    };
    let wp_href = view.wp.as_ref().map(|wp| (format!("/wp/{}", query(&wp.wp_id)), wp.wp_id.clone()));
    let crumbs: Vec<(&str, &str)> = match &wp_href {
        Some((href, id)) => vec![(href, id)],
        None => vec![("/workspaces", "Workspaces")],
    };
    page(shell, Place { rail: "workspaces", title: "Review", crumbs: &crumbs, screen: "review" }, now_ms, &body)
}

/// The lines of one file alone, for loading when it comes into view.
#[must_use]
pub fn file_fragment(diff: &FileDiff) -> Markup {
    html! {
        (DOCTYPE)
        title { (t(&path_text(&diff.file.path))) }
        div id={ "body-" (path_id(&diff.file)) } data-oid=(diff.file.blob_oid) { (diff_lines(diff)) }
    }
}

fn head(view: &ReviewView, name: &str, now_ms: i64) -> Markup {
    let ws = &view.workspace;
    html! {
        div.head data-copy=(ws.workspace_id) {
            h1.cut title=(t(&ws.path)) { (t(name)) }
            (health(ws))
            @if let Some(wp) = &view.wp { span.nw { (wp_link(&wp.wp_id, view.mt_id.as_deref())) } }
            span.lab.nw {
                @if let Some(base) = &ws.base_branch { "from " span.m { (t(base)) } }
                @if let Some(n) = ws.ahead { ", " span.m { (n) } " ahead" } @if let Some(n) = ws.behind { ", " span.m { (n) } " behind" }
            }
            @if let Some(commit) = &ws.last_commit { span.lab.cut { "last commit " span.m { (t(short(&commit.commit_oid))) } ", " (ago(commit.committed_at_ms, now_ms)) } }
            @for session in &ws.sessions { (session_pip(session)) }
            div.row.push.tools {
                (event_slice("ws", &ws.workspace_id))
                div.seg role="group" aria-label="Compare" {
                    button type="button" aria-pressed="true" { "Uncommitted" }
                    @for name in ["Branch", "Last turn", "Commit"] { button type="button" aria-disabled="true" data-why="Not built yet: only uncommitted changes are compared." title="Not built yet" { (name) } }
                }
                div.seg role="group" aria-label="Diff layout" {
                    button type="button" aria-pressed="true" { "Unified" }
                    button type="button" aria-disabled="true" data-why="Not built yet: split diff." title="Not built yet" { "Split" }
                }
            }
        }
    }
}

fn files(view: &ReviewView) -> Markup {
    html! {
        section.pane-files aria-labelledby="files" {
            header.ph {
                h2 id="files" { (view.files.len() + view.files_cut) @if view.files.len() == 1 { " file" } @else { " files" } }
                (pm(Some(view.additions), Some(view.deletions)))
                span.push.lab { span.m id="seen-count" data-local { "0" } " of " span.m { (view.files.len()) } " viewed" }
            }
            @if !view.files.is_empty() {
                div.ph {
                    label.sr for="file-q" { "Filter files" }
                    input.field.tq.grow id="file-q" placeholder="Filter" autocomplete="off" data-key="f" data-keep;
                    button.chip type="button" id="unviewed" aria-pressed="false" data-local { "Unviewed" }
                }
            }
            div.scroll.fill {
                @if view.files.is_empty() { (clean(view)) }
                @if view.files_cut > 0 { p { (st(Pip::Stale, "cut")) " " (view.files_cut) " more files are not listed here; dcc vcs status lists them all." } }
                ul.tree id="tree" aria-label="Changed files" {
                    @for (group, label) in [("source", ""), ("supporting", "Supporting: tests, generated, lock files"), ("unexpected", "Unexpected: outside the scope")] {
                        @let rows: Vec<&FileRow> = view.files.iter().filter(|file| file.group == group || (group == "source" && !matches!(file.group.as_str(), "supporting" | "unexpected"))).collect();
                        @if !rows.is_empty() {
                            @if !label.is_empty() { li.sub.lab id={ "grp-" (group) } { (label) } }
                            @for file in rows { (tree_row(view, file, group)) }
                        }
                    }
                }
            }
            @if !view.files.is_empty() {
                footer.ph.lab { span.row { input.box type="checkbox" checked disabled aria-hidden="true"; " in the commit " kbd { "x" } } span.row.push { input.seen type="checkbox" checked disabled aria-hidden="true"; " I have read it " kbd { "v" } } }
            }
        }
    }
}

fn tree_row(view: &ReviewView, file: &FileRow, group: &str) -> Markup {
    let id = path_id(file);
    let name = path_text(&file.path);
    html! {
        li id={ "t-" (id) } .dim[group == "supporting"] data-row data-path=(path_json(&file.path)) data-key-path=(path_key(&file.path)) data-oid=(file.blob_oid)
            data-id=(id) data-add=(file.additions.unwrap_or(0)) data-del=(file.deletions.unwrap_or(0)) data-name=(t(&name)) data-copy=(t(&name)) {
            input.box type="checkbox" data-box=(id) aria-label={ "Select " (t(&name)) " for the commit" };
            span.kind title=(t(&file.kind)) { (kind_letter(&file.kind)) }
            a.tree-link href={ "#df-" (id) } title=(t(&name)) { (path_cell(&file.path)) }
            (pm(file.additions, file.deletions))
            input.seen type="checkbox" data-seen=(id) aria-label={ "Viewed " (t(&name)) };
            @if group == "unexpected" || !file.in_scope {
                span.word { (st(Pip::Failed, &format!("outside the scope{}", view.wp.as_ref().map_or_else(String::new, |wp| format!(" of {}", wp.wp_id))))) }
            } @else if let Some(plain) = &file.plain { span.word.lab { (t(plain)) } }
            span.word.moved-word data-local hidden {}
        }
    }
}

fn clean(view: &ReviewView) -> Markup {
    let ws = &view.workspace;
    html! {
        div.pad.stack {
            @if ws.dirty_files.is_none() { p { (st(Pip::Stale, "unknown")) " The changes could not be read." } }
            @else { p { (st(Pip::Done, "clean")) } @if let Some(commit) = &ws.last_commit { p.lab { "Last commit " span.m { (t(short(&commit.commit_oid))) } " " (t(&commit.subject)) } } }
            @if let Some(wp) = &view.wp { p { a href={ "/wp/" (query(&wp.wp_id)) } { "Open " (t(&wp.wp_id)) } } }
        }
    }
}

fn lines(view: &ReviewView) -> Markup {
    html! {
        section.scroll.pane-diff id="pane-diff" aria-label="Diff" tabindex="0" {
            @for file in &view.files { (file_article(&view.workspace.workspace_id, file, view.diffs.iter().find(|diff| diff.file.path == file.path))) }
            @if view.files.is_empty() { (log(view)) }
        }
    }
}

fn log(view: &ReviewView) -> Markup {
    html! {
        // What the branch began with was made before anybody could be asked; only its own commits are judged.
        @let own = view.workspace.ahead.filter(|_| view.workspace.base_branch.is_some()).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        header.ph { h2 { "Commits on this branch" } @if own == 0 { span.lab { "none of its own yet" } } }
        ul.rows {
            @for (at, commit) in view.commits.iter().enumerate() {
                @if at == own { li.sub.lab { "before this branch, on " span.m { (t(view.workspace.base_branch.as_deref().unwrap_or(""))) } } }
                li data-row data-copy=(commit.commit_oid) {
                    span.m title=(t(&commit.commit_oid)) { (t(short(&commit.commit_oid))) } span.cut { (t(&commit.subject)) }
                    @if !commit.governed && at < own { (st(Pip::Stale, "ungoverned")) }
                    span.push.lab.nw { (t(&commit.author)) @if let Some(job) = &commit.job_id { " · job " (super::components::job_link(job)) } }
                }
            }
        }
        @if view.commits.is_empty() { p.pad.lab { "No commit on this branch yet." } }
    }
}

fn commit(view: &ReviewView, name: &str, now_ms: i64) -> Markup {
    let ws = &view.workspace;
    let refusal = view.commit_refusal.as_ref().map(|failure| format!("{} {}", failure.code, failure.message));
    html! {
        aside.pane-commit id="commit-pane" aria-labelledby="commit" {
            header.ph { h2 id="commit" { "Commit" } span.push.nw { "selected " b.m id="sel-count" data-local { "0" } span.m { "/" (view.files.len()) } } span.pm id="sel-pm" data-local {} }
            form.commit-form id="commit-form" data-commit data-op="version.commit" data-bind=(bind(&[("workspace_id", &ws.workspace_id)])) data-then="reload" {
                div.scroll.fill {
                    div.pad.stack { label.lab for="msg" { "Message" } textarea.field id="msg" name="message" rows="6" required data-key="C" { (view.message) } }
                    section.sec {
                        header.ph { h3 { "Preview" } span.push.lab { "exactly these bytes" } }
                        ul.rows id="sel-list" data-local { li.lab { span { "Nothing selected. Tick files with the square box, or " kbd { "x" } "." } } }
                        dl.kv.pad {
                            dt { "Branch" } dd.m.cut title=(t(name)) { (t(name)) }
                            @if let Some(oid) = &ws.head_oid { dt { "Parent" } dd.m title=(t(oid)) { (t(short(oid))) } }
                            @if let Some(author) = &view.author { dt { "Author" } dd.cut title=(t(author)) { (t(author)) } }
                            @if !view.trailers.is_empty() { dt { "Trailers" } dd.m.cut { (t(&view.trailers.join(", "))) } }
                        }
                    }
                    (checks(view))
                    @if !view.jobs.is_empty() { section.sec { header.ph { h3 { "Jobs here" } a.link.lab.push href={ "/jobs?ws=" (query(&ws.workspace_id)) } { "All" } } (job_rows(&view.jobs, now_ms)) } }
                    (not_built(&[
                        ("Inline comments to the agent", "Write to the session instead: the composer queues your message."),
                        ("Split diff, other compare sources", "Unified against the last commit only."),
                        ("Discard, restore, reset, merge", "Destructive verbs are not built: use git in a terminal. DCC finds what you did, records it as ungoverned and shows it here."),
                        ("Word-level syntax colours", "Only changed words are marked."),
                    ]))
                }
                div.act.stack {
                    button.btn.go type="submit" id="commit-go" aria-disabled=[refusal.as_ref().map(|_| "true")] data-why=[refusal.as_ref().map(|why| t(why))] { span id="commit-label" data-local { "Commit 0 paths" } " " kbd { "C" } }
                    @if let Some(why) = &refusal { p.lab.st-failed { (t(why)) } }
                    p.lab { "R1 · asks once · undo is a revert commit. Your index stays as it is." }
                    (said())
                    div.row { (soon("Danger zone", "Discard, restore, reset and merge: use git in a terminal.")) span.push {} }
                }
            }
        }
    }
}

fn checks(view: &ReviewView) -> Markup {
    let ids = bind(&[("workspace_id", &view.workspace.workspace_id)]);
    html! {
        section.sec {
            header.ph { h3 { "Checks on this tree" } }
            ul.rows {
                @for check in &view.checks {
                    li { (st(Pip::of_step(&check.status), &check.name)) span.push.lab.cut { (t(&check.detail)) @if let Some(job) = &check.job_id { " " (super::components::job_link(job)) } } }
                }
                @for recipe in &view.recipes {
                    li { span.m.cut { (t(recipe)) } span.push { button.btn.sm type="button" data-op="sandbox.run_recipe" data-bind=(ids) data-params=(super::components::params(&[("recipe", recipe.as_str().into())])) data-then="reload" { "Run" } } }
                }
            }
            @if view.checks.is_empty() && view.recipes.is_empty() { p.pad.lab { "No recipe is configured. Add one under [recipes.NAME] and it can be run here, in the sandbox." } }
        }
    }
}

fn link_form(view: &ReviewView) -> Markup {
    html! {
        @if view.wp.is_none() && !view.packets.is_empty() {
            form.note data-op="workspace.link" data-bind=(bind(&[("workspace_id", &view.workspace.workspace_id)])) data-then="reload" {
                (st(Pip::Stale, "no packet")) label.lab for="lk" { "Bind this worktree to" }
                select.field.fit id="lk" name="wp_id" { @for wp in &view.packets { option value=(wp.wp_id) { (t(&wp.wp_id)) " " (t(&wp.title)) } } }
                button.btn.sm type="submit" { (icon("link")) " Bind" } (said())
            }
        }
    }
}
