//! One line in words for an event, from its code and payload.
//!
//! Authority: derived. Invariant: total over the closed registry; a payload that was purged or has another shape still
//! gives a sentence, the code's own name in words.

use serde_json::Value;

use dcc_core::event::{Event, EventCode};

use super::rows::{counted, cut, line};

/// What happened, in one line.
pub(super) fn sentence(event: &Event) -> String {
    let text = cut(&said(event), 300);
    if text.trim().is_empty() { event.code.name().replace('_', " ") } else { text }
}

fn said(event: &Event) -> String {
    let code = event.code.as_str();
    if let Some(text) = event.payload["sentence"].as_str().filter(|_| ["FR-EVT-WP-", "FR-EVT-MT-", "FR-EVT-DEP-"].iter().any(|front| code.starts_with(front))) {
        return line(text);
    }
    match code.get(..11).unwrap_or("") {
        "FR-EVT-JOB-" | "FR-EVT-GATE" | "FR-EVT-CAP-" => job(event),
        "FR-EVT-APPR" => approval(event),
        "FR-EVT-SESS" | "FR-EVT-HAND" => session(event),
        "FR-EVT-TOOL" => tool(event),
        "FR-EVT-WS-0" | "FR-EVT-VCS-" => workspace(event),
        _ => house(event),
    }
}

/// A text of the payload at a pointer, first line.
fn at<'a>(payload: &'a Value, pointer: &str) -> &'a str {
    payload.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The text with words before it, or nothing.
fn with(before: &str, text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!("{before}{}", line(text)) }
}

fn job(event: &Event) -> String {
    let p = &event.payload;
    match event.code {
        EventCode::JobAccepted => format!("job accepted{}", with(": ", at(p, "/job/op"))),
        EventCode::JobStateChange => format!("job {} to {}{}", at(p, "/from"), at(p, "/to"), with(": ", at(p, "/failure/message"))).replace('_', " "),
        EventCode::JobPlanned => format!("plan frozen{}", with(" as ", at(p, "/plan_digest").get(..12).unwrap_or(""))),
        EventCode::EffectPlanned => format!("effect named before it happens{}", with(": ", &effect(&p["effect"]))),
        EventCode::EffectObserved => format!("effect seen{}", with(": ", &effect(&p["result"]))),
        EventCode::JobFinished => format!("job {}{}", at(p, "/to").replace('_', " "), with(": ", at(p, "/failure/message"))),
        EventCode::GateDecided => format!("gate {} {}{}", at(p, "/gate/gate"), at(p, "/gate/outcome"), with(": ", at(p, "/gate/reason"))),
        EventCode::CapabilityAction => format!("{} used by {} at {}", at(p, "/capability"), at(p, "/op"), at(p, "/tier")),
        _ => String::new(),
    }
}

/// Names and values of an effect that people know things by.
fn effect(value: &Value) -> String {
    const TOLD: [&str; 9] = ["commit_oid", "path", "branch", "recipe", "exit_code", "wp_id", "mt_id", "agent", "stop_reason"];
    let mut parts: Vec<String> = TOLD
        .iter()
        .filter_map(|key| value.get(*key).filter(|v| !v.is_null()).map(|v| format!("{} {}", key.replace('_', " "), v.as_str().map_or_else(|| v.to_string(), |t| cut(t, 60)))))
        .collect();
    if let Some(oid) = value.pointer("/commit/oid").and_then(Value::as_str) {
        parts.push(format!("commit {}", oid.get(..9).unwrap_or(oid)));
    }
    if let Some(records) = value.get("records").and_then(Value::as_array) {
        parts.push(counted(records.len(), "record"));
    }
    parts.join(", ")
}

fn approval(event: &Event) -> String {
    let p = &event.payload;
    match event.code {
        EventCode::ApprovalRequested => format!("asked: {}", line(at(p, "/approval/preview/title"))),
        EventCode::ApprovalPresented => format!("request shown{}", with(" over ", at(p, "/presented/surface"))),
        EventCode::ApprovalDecided => {
            let yes = p.pointer("/decision/approve").and_then(Value::as_bool).unwrap_or(false);
            let how = if yes { format!("approved, {}", at(p, "/decision/scope")) } else { "denied".to_owned() };
            format!("{how}{}", with(": ", at(p, "/decision/reason")))
        }
        EventCode::ApprovalExpired => "request expired undecided".to_owned(),
        EventCode::ApprovalStale => format!("request {}{}", if at(p, "/status").is_empty() { "stale" } else { at(p, "/status") }, with(": ", at(p, "/reason"))),
        EventCode::ApprovalConsumed => "approval used by its job".to_owned(),
        EventCode::GrantIssued => format!("grant issued for the {}", at(p, "/grant/scope")),
        EventCode::GrantRevoked => "grant revoked".to_owned(),
        EventCode::GrantUsed => format!("grant used, time {}", p["use"].as_u64().unwrap_or(0)),
        _ => String::new(),
    }
}

fn session(event: &Event) -> String {
    let p = &event.payload;
    match event.code {
        EventCode::SessionCreated => format!("session with {} created", at(p, "/session/agent")),
        EventCode::SessionStateChange | EventCode::SessionCompleted => format!(
            "session {}{}{}",
            at(p, "/to").to_lowercase(),
            with(", ", &at(p, "/reason").replace('_', " ")),
            with(": ", at(p, "/fault"))
        ),
        EventCode::SessionMessage => {
            let who = match at(p, "/role") {
                "user" => "prompt",
                "session" => "another session's prompt",
                "thought" => "agent thinks",
                "system" => "note",
                _ => "agent says",
            };
            format!("{who}{}", with(": ", at(p, "/text")))
        }
        EventCode::SessionBudgetWarning => format!("budget warning{}", with(": ", at(p, "/message"))),
        EventCode::SessionSteered => format!("session steered: {}{}", at(p, "/steer"), with(", ", at(p, "/reason"))),
        EventCode::SessionUpdate => match at(p, "/kind") {
            "plan" => format!("agent's plan, {}", counted(p["entries"].as_array().map_or(0, Vec::len), "step")),
            "usage" => format!("context filled {} of {} tokens", p["used"].as_u64().unwrap_or(0), p["size"].as_u64().unwrap_or(0)),
            "noise" => format!("a line outside the protocol{}", with(": ", at(p, "/sample"))),
            _ => format!("agent update{}", with(": ", at(p, "/what"))),
        },
        EventCode::HandoffWritten => format!("handoff written{}", with(": ", at(p, "/text"))),
        EventCode::HandoffWaived => format!("handoff waived{}", with(": ", at(p, "/reason"))),
        _ => String::new(),
    }
}

fn tool(event: &Event) -> String {
    let p = &event.payload;
    if event.code == EventCode::RecipeFinished {
        let end = match (p["timed_out"].as_bool(), p["exit_code"].as_i64()) {
            (Some(true), _) => "timed out".to_owned(),
            (_, Some(exit)) => format!("exit {exit}"),
            _ => "ended by a signal".to_owned(),
        };
        return format!("recipe {}: {end}", at(p, "/recipe"));
    }
    let (kind, title, status) = (at(p, "/tool/kind"), at(p, "/tool/title"), at(p, "/tool/status").replace('_', " "));
    if title.is_empty() && kind.is_empty() {
        return String::new();
    }
    format!("{status} {kind}{}", with(": ", title)).trim().to_owned()
}

fn workspace(event: &Event) -> String {
    let p = &event.payload;
    match event.code {
        EventCode::WorkspaceCreated => format!("worktree created{}", with(" on ", at(p, "/workspace/branch"))),
        EventCode::WorkspaceImported => format!("worktree registered{}", with(": ", at(p, "/workspace/binding/worktree_path"))),
        EventCode::WorkspaceLinked => match at(p, "/wp_id") {
            "" => "worktree unlinked from its packet".to_owned(),
            wp => format!("worktree linked to {wp}"),
        },
        EventCode::HeadMoved => format!("HEAD is {} now, by this job", with("", at(p, "/to/branch"))),
        EventCode::WorkspaceRepaired => format!("repaired{}", with(": ", &at(p, "/fix").replace('_', " "))),
        EventCode::OutOfBandChange => format!("changed outside DCC{}", with(": ", at(p, "/message"))),
        EventCode::Committed => {
            let oid = at(p, "/commit_oid");
            let branch = at(p, "/branch_ref").trim_start_matches("refs/heads/");
            format!("commit {} of {} on {branch}", oid.get(..9).unwrap_or(oid), counted(p["path_count"].as_u64().unwrap_or(0) as usize, "path"))
        }
        _ => String::new(),
    }
}

/// Board, recovery, drift, project.
fn house(event: &Event) -> String {
    let p = &event.payload;
    match event.code {
        EventCode::BoardWritten => "task board written".to_owned(),
        EventCode::BoardEdited => format!("task board edited by hand{}", with(": ", at(p, "/message"))),
        EventCode::SyncRefused => format!("task board left alone{}", with(": ", at(p, "/message"))),
        EventCode::RecoveryStarted => format!("recovery looks at {}", at(p, "/op")),
        EventCode::RecoveryResolved => format!("recovery: {}{}", at(p, "/resolved"), with(", ", at(p, "/evidence"))),
        EventCode::RebuildFinished => format!("derived data rebuilt from {} events", p["events"].as_u64().unwrap_or(0)),
        EventCode::DriftFound => format!("drift found: {}{}", at(p, "/key"), with(" ", at(p, "/message"))),
        EventCode::DriftSettled => format!("drift settled{}", with(": ", at(p, "/key"))),
        EventCode::ConfigChanged => at(p, "/message").to_owned(),
        EventCode::ConfigAccepted => "the repository's configuration was accepted as it was".to_owned(),
        EventCode::UngatedEffect => format!("effect without a gate{}", with(": ", at(p, "/message"))),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(code: EventCode, payload: Value) -> Event {
        serde_json::from_value(json!({
            "seq": 1, "event_id": "0198c0de-0000-7000-8000-000000000001", "ts": "2026-01-31T09:10:11.120Z", "code": code, "name": code.name(),
            "actor_kind": "human", "actor_id": "operator", "actor": {"principal": "operator", "surface": "terminal", "attended": true},
            "outcome": "ok", "payload": payload, "payload_sha256": "0".repeat(64), "project_id": "0198c0de-0000-7000-8000-000000000002",
            "instance_id": "0198c0de-0000-7000-8000-000000000003", "prev_hash": "0".repeat(64), "hash": "0".repeat(64)
        }))
        .unwrap()
    }

    #[test]
    fn every_code_has_words_even_without_a_payload() {
        for code in EventCode::ALL {
            for payload in [json!({}), Value::Null, json!([1])] {
                let text = sentence(&event(*code, payload));
                assert!(!text.trim().is_empty() && !text.contains('\n'), "{code:?}: {text:?}");
            }
        }
    }

    #[test]
    fn sentences_name_the_thing() {
        for (code, payload, want) in [
            (EventCode::WpStatusChanged, json!({"sentence": "WP-0001 started"}), "WP-0001 started"),
            (EventCode::JobStateChange, json!({"from": "running", "to": "awaiting_user"}), "job running to awaiting user"),
            (EventCode::ApprovalDecided, json!({"decision": {"approve": false, "reason": "too wide"}}), "denied: too wide"),
            (EventCode::ApprovalDecided, json!({"decision": {"approve": true, "scope": "once"}}), "approved, once"),
            (EventCode::SessionMessage, json!({"role": "user", "text": "do\nit"}), "prompt: do"),
            (EventCode::ToolCallFinished, json!({"tool": {"kind": "edit", "title": "a.rs", "status": "ok"}}), "ok edit: a.rs"),
            (EventCode::Committed, json!({"commit_oid": "0123456789ab", "branch_ref": "refs/heads/x", "path_count": 1}), "commit 012345678 of 1 path on x"),
            (EventCode::RecipeFinished, json!({"recipe": "test", "exit_code": 1}), "recipe test: exit 1"),
        ] {
            assert_eq!(sentence(&event(code, payload)), want);
        }
    }
}
