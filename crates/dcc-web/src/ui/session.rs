//! One session, live: its feed, held requests inline, the composer; the side holds the rest.
//!
//! Authority: derived. Words of an agent are shown as said, calls carry how they are known.

use maud::{Markup, html};

use dcc_api::view::{ActionView, QueuedMessage, SessionRow, SessionView, Shell, TurnItem, TurnView};

use super::components::basics::{budget_bar, tokens};
use super::components::calls::call_run;
use super::components::forms::OpButton;
use super::components::path::query;
use super::components::state::session_state;
use super::components::time::span;
use super::components::{ago, bind, call_list, clock, event_slice, failure_note, held_card, icon, job_link, money, op_button, params, said, short, why_not, wp_link};
use super::session_side::side;
use super::shell::{Place, page};
use crate::safe_text::{SafeText, t};

/// Calls a turn may show unfolded.
const CALLS_OPEN: usize = 12;

/// The session.
#[must_use]
pub fn session(shell: &Shell, view: &SessionView, now_ms: i64) -> Markup {
    let row = &view.session;
    let body = html! {
        (head(view))
        (facts(row, now_ms))
        (close_panel(view))
        (stop_panel(view))
        @if let Some(failure) = &view.failure {
            (failure_note(failure))
            @if !view.output.is_empty() { pre.code.pad-x tabindex="0" aria-label="First lines of standard error" { (SafeText::block(&view.output.join("\n"))) } }
        }
        div.cols.c-session {
            section aria-label="Feed" {
                (feed_head(view))
                div.scroll.fill.feed id="feed" data-follow tabindex="0" aria-label="Turns" {
                    @if view.earlier_turns > 0 { p.pad.lab { (view.earlier_turns) " earlier turns stand in the record. " (event_slice("session", &row.session_id)) } }
                    @for turn in &view.turns { (turn_article(view, turn, now_ms)) }
                    @for card in view.held.iter().filter(|card| !mentioned(view, &card.approval.approval_id)) { div.turn { (held_card(card, now_ms)) } }
                    @if view.turns.is_empty() && view.held.is_empty() { (empty(view)) }
                }
                (composer(view, now_ms))
            }
            aside.scroll aria-label="Detail" { (side(view, now_ms)) }
        }
    };
    let title = format!("{} {}", row.agent, short(&row.session_id));
    let crumbs = [("/sessions", "Sessions")];
    page(shell, Place { rail: "sessions", title: &title, crumbs: &crumbs, screen: "session" }, now_ms, &body)
}

fn mentioned(view: &SessionView, approval_id: &str) -> bool {
    view.turns.iter().flat_map(|turn| &turn.items).any(|item| matches!(item, TurnItem::Held { approval_id: id } if id == approval_id))
}

fn head(view: &SessionView) -> Markup {
    let row = &view.session;
    let ids = bind(&[("session_id", &row.session_id)]);
    let act = |op, label, key| op_button(OpButton { op, label, key, class: "btn sm", bind: &ids, then: Some("reload"), why_not: why_not(&view.actions, op).as_deref(), ..OpButton::default() });
    let ended = matches!(row.state.as_str(), "COMPLETED" | "FAILED" | "CANCELLED");
    html! {
        div.head data-copy=(row.session_id) {
            h1.cut { (t(&row.agent)) } span.m.mut title=(t(&row.session_id)) { (t(short(&row.session_id))) }
            (session_state(row))
            @if !ended {
                div.row.push.tools id="lead" {
                    @if row.state == "PAUSED" { (act("session.resume", "Resume", Some("p"))) } @else { (act("session.pause", "Pause", Some("p"))) }
                    (toggle(&view.actions, "session.close", "close-panel", "Close with handoff", "btn sm"))
                    (toggle(&view.actions, "session.cancel", "stop-panel", "Stop", "btn sm no"))
                }
            } @else {
                div.row.push.tools id="lead" {
                    (act("session.retry", "Retry as a successor", None))
                    @if let Some(wp) = &row.wp_id { a.btn.sm href={ "/wp/" (query(wp)) } { "Back to " (t(wp)) } }
                }
            }
        }
    }
}

fn toggle(actions: &[ActionView], op: &str, id: &str, label: &str, class: &str) -> Markup {
    let why = why_not(actions, op);
    html! {
        button class=(class) type="button" data-toggle=(id) aria-controls=(id) aria-expanded="false" aria-disabled=[why.as_ref().map(|_| "true")] data-why=[why.as_ref().map(|why| t(why))] title=[why.as_ref().map(|why| t(why))] {
            @if op == "session.cancel" { (icon("stop")) " " } (label)
        }
    }
}

fn facts(row: &SessionRow, now_ms: i64) -> Markup {
    let began = row.started_at_ms.unwrap_or(row.created_at_ms);
    html! {
        div.head.facts-line {
            dl.read {
                div { dt { "Packet" } dd { @if let Some(wp) = &row.wp_id { (wp_link(wp, row.mt_id.as_deref())) } @else { "none" } } }
                div { dt { "Worktree" } dd { @if let (Some(ws), Some(branch)) = (&row.workspace_id, &row.branch) { a.cut href={ "/ws/" (query(ws)) } title=(t(branch)) { (t(branch)) } } @else { "none" } } }
                div { dt { "Role, model" } dd { (t(&row.role)) @if let Some(model) = &row.model_id { ", " (t(model)) } } }
                div { dt { "Elapsed" } dd { @if let Some(end) = row.ended_at_ms { (span(end - began)) } @else { (ago(began, now_ms)) } } }
                div { dt { "Tokens" } dd { @match (row.tokens_in, row.tokens_out) { (None, None) => "not reported", (a, b) => { (tokens(a.unwrap_or(0))) " in, " (tokens(b.unwrap_or(0))) " out" } } } }
                @if let Some(cost) = &row.cost { div { dt { "Cost" } dd { (money(cost)) } } }
                @if let Some(budget) = &row.budget { div { dt { "Budget" } dd { (budget_bar(budget)) " " (t(&budget.words)) } } }
                @if row.driver == "pty" { div { dt { "Driven by" } dd { "terminal, unobserved" } } }
                @if row.driver == "human" { div { dt { "Driven by" } dd { "a person" } } }
                div { dt { "Sandbox" } dd { @if row.sandbox_posture.is_empty() { span.st-failed { "unknown" } } @else { (t(&row.sandbox_posture)) } } }
                div { dt { "Grants" } dd { @if row.grants > 0 { a href="/inbox?tab=grants" { (row.grants) } } @else { "0" } } }
                div { dt { "Last activity" } dd { @if let Some(at) = row.last_activity_at_ms { (ago(at, now_ms)) } @else { "none" } } }
            }
        }
    }
}

fn feed_head(view: &SessionView) -> Markup {
    html! {
        div.head {
            div.seg role="group" aria-label="Show" data-local id="feed-show" {
                button type="button" aria-pressed="true" data-show="all" { "All" }
                button type="button" aria-pressed="false" data-show="tools" data-key="t" { "Tools " kbd { "t" } }
                button type="button" aria-pressed="false" data-show="errors" data-key="E" { "Errors " kbd { "E" } }
            }
            span.lab.push { (view.turns.len() as i64 + view.earlier_turns) " turns, " (view.session.tool_calls) " calls" span id="following" data-local {} }
            (event_slice("session", &view.session.session_id))
        }
    }
}

fn turn_article(view: &SessionView, turn: &TurnView, now_ms: i64) -> Markup {
    html! {
        article.turn id={ "turn-" (turn.turn_id) } data-who=(turn.who) data-own[turn.who == "operator"] data-failed[turn.failure.is_some()] {
            header.row {
                b { @if turn.who == "operator" { "you" } @else { (t(&turn.name)) } }
                span.lab { (clock(turn.started_at_ms)) }
                span.lab.cut { (t(&turn_words(turn))) }
                @if turn.status == "running" { (super::components::st(super::components::Pip::Active, "working")) span.lab { (ago(turn.started_at_ms, now_ms)) } }
                @if let Some(job) = &turn.job_id { span.push.lab { "job " (job_link(job)) } }
            }
            @if turn.earlier_parts > 0 { p.lab { (turn.earlier_parts) " earlier messages and calls of this turn stand in the record. " (event_slice("session", &view.session.session_id)) } }
            @if turn.who == "system" { (told(turn)) }
            @else { @for (at, item) in turn.items.iter().enumerate() { (turn_item(view, turn, at, item, now_ms)) } }
            @if let Some(failure) = &turn.failure { (failure_note(failure)) }
        }
    }
}

/// Our own words to the agent: a short one as it stands, a long one under its first line.
fn told(turn: &TurnView) -> Markup {
    let text = turn.items.iter().filter_map(|item| if let TurnItem::Text { text } = item { Some(text.as_str()) } else { None }).collect::<Vec<_>>().join("\n");
    let lines = text.lines().count();
    html! {
        @if lines <= 3 { div.say.prose { (SafeText::block(&text)) } }
        @else {
            details id={ "told-" (turn.turn_id) } {
                summary.row.lab { (icon("right")) span.cut { (t(text.lines().next().unwrap_or(""))) } span.push.nw { (lines) " lines" } }
                div.say.prose { (SafeText::block(&text)) }
            }
        }
    }
}

fn turn_words(turn: &TurnView) -> String {
    [
        turn.number.map(|number| format!("turn {number}")),
        turn.ended_at_ms.map(|end| span(end - turn.started_at_ms)),
        turn.tokens.map(|n| format!("{} tokens", tokens(n))),
        turn.cost.as_ref().map(|cost| format!("{} {} {}", cost.amount, cost.currency, cost.source)),
        turn.note.clone(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" · ")
}

fn turn_item(view: &SessionView, turn: &TurnView, at: usize, item: &TurnItem, now_ms: i64) -> Markup {
    html! {
        @match item {
            TurnItem::Text { text } => div.say.prose { (SafeText::block(text)) },
            TurnItem::Thought { text } => details.thought id={ "th-" (turn.turn_id) "-" (at) } { summary.row.lab { (icon("right")) "reasoning the agent shows" } div.claim.prose { (SafeText::block(text)) } },
            TurnItem::Calls { calls } => {
                @if turn.status != "running" && calls.len() > CALLS_OPEN { (call_run(calls, &format!("run-{}-{at}", turn.turn_id))) }
                @else { (call_list(calls, "c-")) }
            },
            TurnItem::Held { approval_id } => {
                @if let Some(card) = view.held.iter().find(|card| card.approval.approval_id == *approval_id) { (held_card(card, now_ms)) }
                @else { p.lab { "A request was decided: " a.link href={ "/approval/" (query(approval_id)) } { (t(short(approval_id))) } } }
            },
        }
    }
}

fn composer(view: &SessionView, now_ms: i64) -> Markup {
    let row = &view.session;
    let ended = matches!(row.state.as_str(), "COMPLETED" | "FAILED" | "CANCELLED");
    let why = why_not(&view.actions, "session.send").or_else(|| ended.then(|| "HSK-409-ILLEGAL-TRANSITION This session has ended; start another from its packet.".to_owned()));
    html! {
        form.composer.stack data-op="session.send" data-bind=(bind(&[("session_id", &row.session_id)])) data-clear aria-label={ "Message to " (t(&row.agent)) } {
            @if !view.queued.is_empty() {
                div.row.wrap id="queued" {
                    @for (at, message) in view.queued.iter().enumerate() { (waiting(row, at, message, now_ms)) }
                    span.lab { (view.queued.len()) " waiting" }
                }
            }
            label.sr for="say-text" { "Message" }
            textarea.field id="say-text" name="text" rows="2" required data-key="i" data-submit-keys placeholder={ "Steer " (t(&row.agent)) ". Your text is kept until it is delivered." } {}
            div.row.wrap {
                fieldset.seg { legend.sr { "When to deliver" }
                    @for way in &view.deliveries {
                        label title=(t(&way.sentence)) { input type="radio" name="when" value=(way.when) checked[way.when == "queue"] disabled[way.refused]; (mode_name(&way.when)) }
                    }
                }
                @for way in &view.deliveries { span.lab.cut data-when=(way.when) { (t(&way.sentence)) } }
                button.btn.go.push type="submit" aria-disabled=[why.as_ref().map(|_| "true")] data-why=[why.as_ref().map(|why| t(why))] title=[why.as_ref().map(|why| t(why))] { @if row.state == "ACTIVE" { "Queue message " } @else { "Send " } kbd { "Ctrl Enter" } }
            }
            (said())
        }
    }
}

fn mode_name(when: &str) -> &'static str {
    match when {
        "boundary" => "Next boundary",
        "now" => "Stop and send",
        _ => "Queue",
    }
}

/// A message that waits, with what may be done to it.
fn waiting(row: &SessionRow, at: usize, message: &QueuedMessage, now_ms: i64) -> Markup {
    let ids = bind(&[("session_id", &row.session_id)]);
    let act = |label: &str, more: (&str, serde_json::Value)| {
        let given = params(&[("message_id", message.message_id.as_str().into()), more]);
        op_button(OpButton { op: "session.send", label, class: "btn flat sm", bind: &ids, params: &given, then: Some("reload"), ..OpButton::default() })
    };
    html! {
        span.chip id={ "m-" (message.message_id) } data-copy=(message.message_id) {
            (icon("clock")) span.cut title=(t(&message.text)) { (mode_name(&message.when)) ": “" (t(&message.text)) "”" } " " span.mut { (ago(message.queued_at_ms, now_ms)) }
            (act("Send now", ("now", true.into())))
            @if at > 0 { (act("Earlier", ("move", (at - 1).into()))) }
            (act("Remove", ("remove", true.into())))
        }
    }
}

fn close_panel(view: &SessionView) -> Markup {
    let id = bind(&[("session_id", &view.session.session_id)]);
    html! {
        section.panel id="close-panel" hidden data-panel aria-labelledby="cl-h" {
            form.stack data-op="session.close" data-bind=(id) data-then="reload" {
                div.row { h2 id="cl-h" { "Close with handoff" } span.lab { "the page a new agent or person starts from; the worktree stays" } button.btn.flat.sm.push type="button" data-close="close-panel" { "Close " kbd { "Esc" } } }
                div.two-up {
                    div.fl { label.lab for="h-done" { "Done" } textarea.field id="h-done" name="handoff.done" rows="3" {} }
                    div.fl { label.lab for="h-rem" { "Remaining" } textarea.field id="h-rem" name="handoff.remaining" rows="3" {} }
                    div.fl { label.lab for="h-dec" { "Decisions, one a line" } textarea.field id="h-dec" name="handoff.decisions" rows="2" data-type="lines" {} }
                    div.fl { label.lab for="h-unc" { "Uncertainties and blockers, one a line" } textarea.field id="h-unc" name="handoff.uncertainties" rows="2" data-type="lines" {} }
                }
                div.fl { label.lab for="h-waive" { @if view.handoff_required { "or waive it: the reason is kept on record" } @else { "or close without one, with a reason" } } input.field id="h-waive" name="waive_reason" autocomplete="off"; }
                div.row { button.btn.go.push type="submit" { "Close session" } }
                (said())
            }
        }
    }
}

fn stop_panel(view: &SessionView) -> Markup {
    let id = bind(&[("session_id", &view.session.session_id)]);
    html! {
        section.panel id="stop-panel" hidden data-panel aria-labelledby="sp-h" {
            form.stack data-op="session.cancel" data-bind=(id) data-then="reload" {
                div.row { h2 id="sp-h" { "Stop this session" } button.btn.flat.sm.push type="button" data-close="stop-panel" { "Close " kbd { "Esc" } } }
                p {
                    "The agent and everything it started is ended, within 5 s. "
                    @match view.uncommitted_files { Some(0) => "Nothing is uncommitted.", Some(n) => { (n) " uncommitted files stay in the worktree." }, None => "Whether files are uncommitted is unknown; they stay in the worktree." }
                    " " (view.held.len()) " held requests are answered with cancelled. Your typed text is kept."
                }
                div.fl { label.lab for="stop-r" { "Reason" } input.field id="stop-r" name="reason" autocomplete="off"; }
                div.row { button.btn.no.push type="submit" { "Stop session" } }
                (said())
            }
        }
    }
}

fn empty(view: &SessionView) -> Markup {
    html! {
        div.pad.stack {
            p { "No turn yet. " @if view.session.state == "CREATED" { "The agent is starting." } @else { "Write the first message below." } }
            @if !view.starters.is_empty() {
                p.lab { "Starting points from the packet:" }
                div.row.wrap { @for text in &view.starters { button.chip type="button" data-fill="say-text" { (t(text)) } } }
            }
        }
    }
}
