//! The approval card: one component for the inbox, its own page, a feed and a phone, in the fixed
//! order of facts one to six and then the decision.
//!
//! Authority: derived from the plan. Invariants: the requester's words stand behind a dashed line as a
//! claim; an R3 card has no leading button and focus starts on Deny; what cannot be decided now says why.

use maud::{Markup, html};

use dcc_api::view::{ApprovalCard, ApprovalRow, ScopeView};

use super::diff::{diff_lines, kind_letter};
use super::path::{path_whole, query};
use super::{Pip, ago, call_list, failure_note, icon, pm, session_link, short, st, until, wp_link};
use crate::safe_text::{SafeText, t};

/// Shape of a risk tier with its name.
#[must_use]
pub fn tier(tier: &str) -> Markup {
    let class = if tier == "R3" { "st st-failed" } else { "st" };
    html! { span class=(class) title={ "risk tier " (t(tier)) } { (icon(&format!("r-{}", tier.trim_start_matches('R')))) span { (t(tier)) } } }
}

/// One row of a queue.
#[must_use]
pub fn approval_line(row: &ApprovalRow, href: &str, selected: bool, now_ms: i64) -> Markup {
    let waiting = row.status == "pending";
    let tier_class = if row.tier == "R3" { "st st-failed" } else { "st" };
    html! {
        li.q id={ "q-" (row.approval_id) } .on-row[selected] aria-current=[selected.then_some("true")] data-row data-copy=(row.approval_id) {
            span.gut {
                @if waiting {
                    span class=(tier_class) { (icon(&format!("r-{}", row.tier.trim_start_matches('R')))) span.sr { (t(&row.tier)) } }
                } @else {
                    (super::st_quiet(Pip::of_approval(&row.status), decided_word(&row.status)))
                }
            }
            a.cut href=(href) title=(t(&row.title)) { (t(&row.title)) }
            span.age { @if waiting { (ago(row.requested_at_ms, now_ms)) } @else if let Some(at) = row.decided_at_ms { (until(at, now_ms)) } }
            span.lab.cut {
                (t(&row.tier))
                @if let Some(wp) = &row.wp_id { " · " (t(wp)) }
                @if let Some(mt) = &row.mt_id { " " (t(mt)) }
                @if let Some(agent) = &row.agent { " · " (t(agent)) }
                @if !waiting {
                    " · " (decided_word(&row.status)) @if let Some(scope) = &row.scope { " " (t(scope)) }
                    @if let Some(reason) = row.reason.as_ref().filter(|reason| !reason.is_empty()) { ": " (t(reason)) }
                }
            }
            span.exp {
                @if waiting { @if let Some(at) = row.expires_at_ms { "expires " (until(at, now_ms)) } @else { "no expiry" } }
                @else if let Some(failure) = &row.failure { (t(&failure.code)) }
                @else if let Some(outcome) = &row.outcome { (t(outcome)) }
            }
        }
    }
}

/// An approval that its job has used is, for a person, one that he gave.
fn decided_word(status: &str) -> &str {
    if status == "consumed" { "approved" } else { status }
}

/// The requester's own words, unless they only repeat the sentence that we made of the plan.
fn claim(card: &ApprovalCard) -> Option<&str> {
    card.claim.as_deref().filter(|claim| claim.trim() != card.approval.title.trim())
}

/// The whole card.
#[must_use]
pub fn approval_card(card: &ApprovalCard, now_ms: i64) -> Markup {
    let row = &card.approval;
    let id = &row.approval_id;
    html! {
        article.card id={ "card-" (id) } data-approval=(id) data-tier=(row.tier) data-decidable=[card.decidable.then_some("true")]
            data-preview-digest=(card.preview_digest) aria-labelledby={ "title-" (id) } {
            header.head {
                h2.two id={ "title-" (id) } tabindex="-1" { (t(&row.title)) }
                (st(Pip::of_approval(&row.status), if row.status == "pending" { "needs decision" } else { decided_word(&row.status) }))
                span.lab.push.nw {
                    "asked " (super::ago_words(row.requested_at_ms, now_ms))
                    @if let (Some(at), "pending") = (row.expires_at_ms, row.status.as_str()) { " · expires " (until(at, now_ms)) }
                }
            }
            div.facts.scroll tabindex="0" aria-label="What would happen" {
                (fact("1", "What exactly", &what(card)))
                (fact("2", "Where", &place(card)))
                (fact("3", "Who and why", &who(card)))
                (fact("4", "Before this", &before(card)))
                (fact("5", "Risk and undo", &risk(card)))
                (fact("6", "Rule that asked", &rule(card)))
            }
            (decide(card, now_ms))
        }
    }
}

fn fact(number: &str, name: &str, body: &Markup) -> Markup {
    html! { section.fact { h3 { b { (number) } (name) } div.stack { (body) } } }
}

fn what(card: &ApprovalCard) -> Markup {
    html! {
        @if !card.command.is_empty() {
            pre.code aria-label="Command" { @for (at, part) in card.command.iter().enumerate() { @if at > 0 { " " } span.arg { (SafeText::line(&quoted(part))) } } }
        }
        @if let Some(message) = &card.message { pre.code { (SafeText::block(message)) } }
        @if !card.paths.is_empty() {
            table.tbl.tight.flush {
                thead.sr { tr { th { "Kind" } th { "Path" } th { "Lines" } th { "Blob" } } }
                tbody {
                    @for path in &card.paths {
                        tr {
                            td.m.mut.w-kind title=(t(&path.kind)) { (kind_letter(&path.kind)) }
                            td { (path_whole(&path.path)) }
                            td.n { (pm(path.additions, path.deletions)) }
                            td.n.mut title=[path.blob_oid.as_ref().map(|oid| t(oid))] { @if let Some(oid) = &path.blob_oid { (t(short(oid))) } }
                        }
                    }
                }
            }
        }
        @if !card.facts.is_empty() { dl.kv { @for fact in &card.facts { dt { (t(&fact.name)) } dd.m { (SafeText::block(&fact.value)) } } } }
        @if let Some(diff) = &card.diff {
            details open id={ "diff-" (card.approval.approval_id) } {
                summary.row.lab { (icon("right")) span.cut { (t(&super::path_text(&diff.file.path))) ", first lines" } }
                (diff_lines(diff))
            }
            @if let Some(href) = &card.diff_href { p { a href=(href) data-key="o" { "Open the whole diff " kbd { "o" } } } }
        } @else if let Some(href) = &card.diff_href { p { a href=(href) data-key="o" { "Open the diff " kbd { "o" } } } }
    }
}

/// A part of a command as a shell would need it, so that its borders are seen.
fn quoted(part: &str) -> String {
    let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&byte));
    if plain { part.to_owned() } else { format!("'{}'", part.replace('\'', "'\\''")) }
}

fn place(card: &ApprovalCard) -> Markup {
    html! {
        @if let Some(path) = &card.workspace_path {
            div.m.wrap-any { @if let Some(ws) = &card.approval.workspace_id { a.link href={ "/ws/" (query(ws)) } { (t(path)) } } @else { (t(path)) } }
        }
        p {
            @if let Some(branch) = &card.branch { span.lab { "branch " } span.m { (t(branch)) } " " }
            @if let Some(oid) = &card.parent_oid { span.lab { "parent " } span.m title=(t(oid)) { (t(short(oid))) } " " }
            @if let Some(oid) = &card.tree_oid { span.lab { "tree " } span.m title=(t(oid)) { (t(short(oid))) } " " span.lab { "approved tree = committed tree" } }
        }
        @if !card.network.is_empty() { p { span.lab { "network " } @for host in &card.network { span.m { (t(host)) } " " } } }
        @if card.workspace_path.is_none() && card.branch.is_none() { span.lab { "in the project, no worktree" } }
    }
}

fn who(card: &ApprovalCard) -> Markup {
    let row = &card.approval;
    html! {
        div.row.wrap {
            @if let Some(session) = &row.session_id { (session_link(session, row.agent.as_deref())) } @else { b { (t(&card.requester)) } }
            @if let Some(role) = &card.role { span.lab { (t(role)) @if let Some(model) = &card.model_id { ", " (t(model)) } } }
            @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) }
            @if let Some(title) = card.mt_name.as_ref().or(card.wp_title.as_ref()) { span.lab { (t(title)) } }
            @if let Some(job) = &row.job_id { span.lab { "job " } (super::job_link(job)) }
        }
        @if let Some(last) = &card.last_instruction { p { span.lab { "last instruction " } (t(last)) } }
        @if let Some(claim) = claim(card) { p.claim { span.lab { "claim " } (t(claim)) } }
    }
}

fn before(card: &ApprovalCard) -> Markup {
    html! {
        @if card.before.is_empty() { p.lab { "Nothing: this is the first act." } }
        @else { (call_list(&card.before, &format!("b-{}-", short(&card.approval.approval_id)))) }
        (super::event_slice("approval", &card.approval.approval_id))
    }
}

fn risk(card: &ApprovalCard) -> Markup {
    html! {
        div.row.wrap {
            (tier(&card.approval.tier))
            span { (t(&card.risk)) }
            span.st.st-failed[!card.reversible] { (icon(if card.reversible { "undo" } else { "noundo" })) "undo: " (t(&card.undo)) }
            @for note in &card.risk_notes { span.lab { (t(note)) } }
        }
    }
}

fn rule(card: &ApprovalCard) -> Markup {
    html! {
        div.row.wrap {
            span.m { (t(&card.capability_id)) }
            span.lab { (t(&card.rule)) }
            @if !card.rule_source.is_empty() { span.lab { (t(&card.rule_source)) } }
        }
        @if let Some(miss) = &card.grant_miss { p.lab { "No grant covered it: " (t(miss)) } }
    }
}

fn decide(card: &ApprovalCard, now_ms: i64) -> Markup {
    html! {
        footer.act {
            @if card.decidable { (buttons(card, now_ms)) } @else { (outcome(card, now_ms)) }
            div.said data-local role="status" {}
        }
    }
}

fn buttons(card: &ApprovalCard, now_ms: i64) -> Markup {
    let id = &card.approval.approval_id;
    let grave = card.approval.tier == "R3";
    html! {
        @if let Some(text) = &card.confirm_text {
            div.confirm {
                label.lab for={ "confirm-" (id) } { "R3 cannot be undone by a button. Type " code { (t(text)) } " to make Once work." }
                input.field.m id={ "confirm-" (id) } data-confirm=(text) autocomplete="off" spellcheck="false" data-keep;
            }
        }
        div.scopes role="group" aria-label="Decide" {
            @for scope in card.scopes.iter().filter(|scope| scope.offered) { (scope_button(scope, grave, now_ms)) }
            button.btn.no type="button" data-decide="deny" data-key="d" autofocus[grave] aria-expanded="false" aria-controls={ "deny-" (id) } {
                b { "Deny " kbd { "d" } } small { "Sends a reason" @if let Some(agent) = &card.approval.agent { " to " (t(agent)) } "." }
            }
        }
        @let refused: Vec<&ScopeView> = card.scopes.iter().filter(|scope| !scope.offered).collect();
        @if !refused.is_empty() {
            p.lab.scopes-no { @for scope in refused { b { (t(&title_case(&scope.scope))) } " not offered: " (t(scope.refusal.as_deref().unwrap_or("this kind is decided one at a time"))) ". " } }
        }
        form.deny.stack id={ "deny-" (id) } hidden data-panel aria-label="Deny" {
            label.lab for={ "reason-" (id) } { "Reason, sent as it stands" }
            div.row.wrap {
                @for reason in ["not now", "too wide, ask for less", "wrong path", "use the fixture instead", "explain first"] {
                    button.chip type="button" data-fill={ "reason-" (id) } { (reason) }
                }
            }
            textarea.field id={ "reason-" (id) } rows="2" name="reason" {}
            div.row { button.btn.no type="submit" data-decide="deny-now" { "Deny" } button.btn.flat type="button" data-close={ "deny-" (id) } { "Back" } }
        }
    }
}

fn scope_button(scope: &ScopeView, grave: bool, now_ms: i64) -> Markup {
    let once = scope.scope == "once";
    html! {
        button.btn .go[once && !grave] .wide-scope[!once] type="button" data-decide="approve" data-scope=(scope.scope) data-key=[once.then_some("a")] .narrow-hide[!matches!(scope.scope.as_str(), "once" | "job")] {
            b { (t(&title_case(&scope.scope))) @if once { " " kbd { "a" } } }
            small {
                (t(&scope.covers))
                @if let Some(at) = scope.until_at_ms { ", till " (until(at, now_ms)) "." }
                @if scope.releases > 0 { " Also " (scope.releases) " waiting " (if scope.releases == 1 { "call" } else { "calls" }) "." }
            }
        }
    }
}

fn title_case(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn outcome(card: &ApprovalCard, now_ms: i64) -> Markup {
    let row = &card.approval;
    html! {
        @if let Some(refusal) = &card.refusal { (failure_note(refusal)) }
        @if row.status != "pending" {
            div.row.wrap {
                (st(Pip::of_approval(&row.status), decided_word(&row.status)))
                @if let Some(scope) = &row.scope { b { (t(scope)) } }
                @if let Some(by) = &row.decided_by { span.lab { "by " (t(by)) } }
                @if let Some(at) = row.decided_at_ms { span.lab { (super::ago_words(at, now_ms)) } }
                @if let Some(outcome) = &row.outcome { span.lab { (t(outcome)) } }
            }
            @if let Some(reason) = row.reason.as_ref().filter(|reason| !reason.is_empty()) { p { span.lab { "reason " } (t(reason)) } }
            @if let Some(failure) = &row.failure { p { span.st-failed { (t(&failure.message)) } " " span.m.mut { (t(&failure.code)) } @if let Some(hint) = &failure.hint { " " span.lab { (t(hint)) } } } }
            @if !card.released.is_empty() { p.lab { "Released by this decision" } (super::job_rows(&card.released, now_ms)) }
        }
    }
}

/// A diff of so many lines is read where it was asked; a longer one opens with a key.
const HELD_LINES: usize = 24;

fn lines_of(diff: &dcc_api::view::FileDiff) -> usize {
    diff.hunks.iter().map(|hunk| hunk.lines.len()).sum()
}

/// The same decision inline in a feed: sentence, the two nearest buttons, the rest one step away.
#[must_use]
pub fn held_card(card: &ApprovalCard, now_ms: i64) -> Markup {
    let row = &card.approval;
    let id = &row.approval_id;
    let add: i64 = card.paths.iter().filter_map(|path| path.additions).sum();
    let del: i64 = card.paths.iter().filter_map(|path| path.deletions).sum();
    html! {
        section.held id={ "held-" (id) } data-approval=(id) data-tier=(row.tier) data-decidable=[card.decidable.then_some("true")]
            data-preview-digest=(card.preview_digest) aria-label="Held call" {
            div.row.wrap {
                (st(Pip::Needs, &row.title))
                (pm(Some(add), Some(del)))
                span.lab { (t(&row.tier)) " · undo: " (t(&card.undo)) @if let Some(at) = row.expires_at_ms { " · expires " (until(at, now_ms)) } }
                a.link.push href={ "/approval/" (query(id)) } { "Open card" }
            }
            @if !card.command.is_empty() || card.message.is_some() || !card.paths.is_empty() {
                details id={ "held-what-" (id) } open[row.tier == "R2" || !card.command.is_empty() || card.diff.as_ref().is_some_and(|diff| lines_of(diff) <= HELD_LINES)] {
                    summary.row.lab { (icon("right")) "What exactly" }
                    div.stack { (what(card)) (place(card)) }
                }
            }
            @if let Some(claim) = claim(card) { p.claim { span.lab { "claim " } (t(claim)) } }
            @if card.decidable && row.tier != "R3" {
                div.held-act {
                    (buttons(card, now_ms))
                    div.said data-local role="status" {}
                }
            } @else if row.tier == "R3" {
                div { p { "R3 is decided on its own card. " a href={ "/approval/" (query(id)) } { "Open the card" } } div.said data-local role="status" {} }
            } @else {
                div { (outcome(card, now_ms)) div.said data-local role="status" {} }
            }
        }
    }
}
