//! dcc session, dcc handoff.

use std::path::Path;

use serde_json::{Value, json};

use dcc_api::door::{Paging, Query, SessionFilter};
use dcc_core::budget::{Amount, Budget};
use dcc_core::ids::{MtId, SessionId, WpId};
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::session::{Lane, Posture, SessionState};
use dcc_core::{Code, Failure, HandoffId, Outcome, limits};

use super::Cli;
use super::output::{short, table};
use super::session_args::{AgentWords, BudgetWords, HandoffCommand, SendArgs, SessionCommand};
use super::work::{clean, items, text};
use super::{up, workspaces};

pub fn run(cli: &Cli, command: SessionCommand) -> Outcome<u8> {
    match command {
        SessionCommand::Start { ws, mt, agent } => {
            if !agent.human {
                // An agent lives longer than this command: a server has to own it.
                up::ensure_served(cli)?;
            }
            let mut bindings = workspaces::bind(cli, &ws)?;
            bindings.mt_id = mt.as_deref().map(MtId::parse).transpose()?;
            cli.submit(Op::SessionStart, wishes(agent)?, bindings)
        }
        SessionCommand::Attach(args) => super::attach::run(cli, &args),
        SessionCommand::Spawn { session, mt, agent } => {
            up::ensure_served(cli)?;
            let mut bindings = bind(cli, &session)?;
            bindings.mt_id = mt.as_deref().map(MtId::parse).transpose()?;
            cli.submit(Op::SessionSpawn, wishes(agent)?, bindings)
        }
        SessionCommand::List { state, role, wp, backend, group, recovery } => {
            let words = ListWords { state: state.as_deref(), role, wp: wp.as_deref(), backend: backend.as_deref(), group: &group, recovery };
            list(cli, words)
        }
        SessionCommand::Show { session } => show(cli, &session),
        SessionCommand::Tree { session } => tree(cli, &session),
        SessionCommand::Send(args) => send(cli, args),
        SessionCommand::Pause { session, reason } => act(cli, Op::SessionPause, &session, clean(json!({ "reason": reason }))),
        SessionCommand::Resume { session, prompt } => {
            up::ensure_served(cli)?;
            act(cli, Op::SessionResume, &session, clean(json!({ "prompt": prompt })))
        }
        SessionCommand::Retry { session, prompt } => {
            up::ensure_served(cli)?;
            act(cli, Op::SessionRetry, &session, clean(json!({ "prompt": prompt })))
        }
        SessionCommand::Route { session, wp, mt, when } => {
            let mut bindings = bind(cli, &session)?;
            bindings.wp_id = Some(WpId::parse(&wp)?);
            bindings.mt_id = mt.as_deref().map(MtId::parse).transpose()?;
            cli.submit(Op::SessionRoute, json!({ "when": when }), bindings)
        }
        SessionCommand::Cancel { session, reason } => act(cli, Op::SessionCancel, &session, clean(json!({ "reason": reason }))),
        SessionCommand::Close { session, handoff, waive, stop } => {
            let handoff = handoff.as_deref().map(read).transpose()?;
            act(cli, Op::SessionClose, &session, clean(json!({ "handoff": handoff, "waive_reason": waive, "stop": stop })))
        }
    }
}

pub fn handoff(cli: &Cli, command: HandoffCommand) -> Outcome<u8> {
    match command {
        HandoffCommand::List => {
            let value = cli.query(&Query::Handoffs { paging: Paging::default() })?;
            cli.out.show(&value, |value| {
                let rows = items(value)
                    .map(|h| vec![short(&text(h, "handoff_id")).to_owned(), text(h, "status"), text(h, "wp_id"), short(&text(h, "session_id")).to_owned(), text(h, "created_at"), first_words(h)])
                    .collect();
                table(&["handoff", "status", "packet", "session", "written", ""], rows)
            });
            Ok(0)
        }
        HandoffCommand::Show { handoff } => {
            let link = cli.link()?;
            let all = link.query(&Query::Handoffs { paging: Paging::default() })?;
            let found: Vec<String> = items(&all).map(|h| text(h, "handoff_id")).filter(|id| *id == handoff || id.ends_with(&handoff)).collect();
            let handoff_id: HandoffId = match found.as_slice() {
                [only] => only.parse()?,
                [] => return Err(Failure::new(Code::NotFound, format!("no handoff {handoff}")).hint("dcc handoff list")),
                several => return Err(Failure::invalid(format!("{handoff} is the end of {} handoffs", several.len())).hint("give more characters")),
            };
            let value = link.query(&Query::Handoff { handoff_id })?;
            cli.out.show(&value, handoff_text);
            Ok(0)
        }
        HandoffCommand::Write { session, wp, file } => {
            let bindings = match (session, wp) {
                (Some(session), _) => bind(cli, &session)?,
                (None, wp) => Bindings { wp_id: wp.as_deref().map(WpId::parse).transpose()?, ..Bindings::default() },
            };
            cli.submit(Op::HandoffWrite, json!({ "handoff": read(&file)? }), bindings)
        }
    }
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|e| Failure::invalid(format!("{} cannot be read: {e}", path.display())))
}

fn bind(cli: &Cli, session: &str) -> Outcome<Bindings> {
    let id: SessionId = cli.resolve(cli.link()?.as_ref(), "session", session)?;
    Ok(Bindings { session_id: Some(id), ..Bindings::default() })
}

fn act(cli: &Cli, op: Op, session: &str, params: Value) -> Outcome<u8> {
    cli.submit(op, params, bind(cli, session)?)
}

fn wishes(agent: AgentWords) -> Outcome<Value> {
    let lane = match &agent.lane {
        Some(lane) => Some(Lane::parse(lane).ok_or_else(|| Failure::invalid(format!("{lane:?} is no lane")).hint("PRIMARY, VALIDATION, SUBAGENT or BACKGROUND"))?),
        None => None,
    };
    let command = (!agent.command.is_empty()).then_some(agent.command);
    let paths = (!agent.paths.is_empty()).then_some(agent.paths);
    let budget = limits_of(&agent.budget)?;
    Ok(clean(json!({ "budget": budget, "agent": agent.agent, "command": command, "prompt": agent.prompt, "role": agent.role, "purpose": agent.purpose, "lane": lane, "paths": paths, "human": agent.human.then_some(true) })))
}

/// None of the words: the session has no limit of its own.
fn limits_of(words: &BudgetWords) -> Outcome<Option<Budget>> {
    let budget = Budget {
        max_tokens: words.max_tokens,
        max_cost: words.max_cost.as_deref().map(Amount::parse).transpose()?,
        currency: words.currency.clone(),
        max_wall_ms: words.max_minutes.map(|minutes| minutes.saturating_mul(60_000)),
        ..Budget::default()
    };
    Ok((!budget.is_unlimited()).then_some(budget))
}

fn send(cli: &Cli, args: SendArgs) -> Outcome<u8> {
    let Some(message) = args.message else {
        return act(cli, Op::SessionSend, &args.session, clean(json!({ "text": args.text, "when": args.when })));
    };
    let link = cli.link()?;
    let session_id: SessionId = cli.resolve(link.as_ref(), "session", &args.session)?;
    let shown = link.query(&Query::Session { session_id })?;
    let ids: Vec<String> = shown["waiting"].as_array().into_iter().flatten().map(|m| text(m, "message_id")).filter(|id| *id == message || id.ends_with(&message)).collect();
    let [id] = ids.as_slice() else {
        return Err(Failure::new(Code::NotFound, format!("no one message {message} waits in the session")).hint("dcc session show S lists what waits"));
    };
    let place = match args.place {
        Some(0) => return Err(Failure::invalid("places count from 1")),
        place => place.map(|p| p - 1),
    };
    let params = json!({ "message_id": id, "edit": args.edit, "when": args.when, "remove": args.remove.then_some(true), "move": place, "now": args.now.then_some(true) });
    cli.submit(Op::SessionSend, clean(params), Bindings { session_id: Some(session_id), ..Bindings::default() })
}

/// Which sessions, and how they stand.
struct ListWords<'a> {
    state: Option<&'a str>,
    role: Option<String>,
    wp: Option<&'a str>,
    backend: Option<&'a str>,
    group: &'a str,
    recovery: bool,
}

fn list(cli: &Cli, words: ListWords<'_>) -> Outcome<u8> {
    let ListWords { state, role, wp, backend, group, recovery } = words;
    let key = match group {
        "flat" => None,
        "packet" => Some("wp_id"),
        "role" => Some("role"),
        "model" => Some("model_id"),
        "agent" => Some("agent"),
        other => return Err(Failure::invalid(format!("{other:?} is no grouping")).hint("packet, role, model, agent or flat")),
    };
    let states = state.map_or(Ok(Vec::new()), |text| {
        text.split(',').map(|word| SessionState::parse(word).ok_or_else(|| Failure::invalid(format!("{word:?} is no session state")).hint("CREATED, ACTIVE, PAUSED, BLOCKED, COMPLETED, FAILED, CANCELLED"))).collect()
    })?;
    let role = role.map(|r| serde_json::from_value(json!(r)).map_err(|_| Failure::invalid(format!("{r:?} is no role")).hint("coder, validator, human or orchestrator"))).transpose()?;
    let filter = SessionFilter { states, role, backend: backend.map(str::to_owned), wp_id: wp.map(WpId::parse).transpose()?, parent_session_id: None, recovery };
    let mut value = cli.query(&Query::Sessions { filter, paging: Paging::default() })?;
    if let (Some(key), Some(rows)) = (key, value["items"].as_array_mut()) {
        for row in rows.iter_mut() {
            row["group"] = row[key].clone();
        }
        // Stable: within a group the newest stays first.
        rows.sort_by_key(|row| text(row, "group"));
    }
    cli.out.show(&value, |value| if recovery { recovery_table(value) } else { session_table(value, key.is_some()) });
    Ok(0)
}

fn session_table(value: &Value, grouped: bool) -> String {
    let rows = items(value)
        .map(|s| {
            let mut state = if s["queued"] == true { "QUEUED".to_owned() } else { text(s, "state") };
            if confinement(&s["posture"]) == "UNENFORCED" {
                state.push_str(" UNENFORCED");
            }
            let mut row = vec![short(&text(s, "session_id")).to_owned(), text(s, "agent"), text(s, "role"), state, text(s, "state_reason"), text(s, "wp_id"), text(s, "mt_id"), text(s, "tool_calls")];
            if grouped {
                row.insert(0, text(s, "group"));
            }
            row
        })
        .collect();
    let mut head = vec!["session", "agent", "role", "state", "reason", "packet", "task", "calls"];
    if grouped {
        head.insert(0, "group");
    }
    table(&head, rows)
}

fn recovery_table(value: &Value) -> String {
    if items(value).next().is_none() {
        return "nothing rests without an agent".to_owned();
    }
    let seconds = |v: &Value| v.as_i64().map_or_else(|| "-".to_owned(), |ms| format!("{} s", ms / 1000));
    let rows = items(value)
        .map(|s| {
            let pending = s["pending_calls"].as_array().map_or(0, Vec::len);
            let dirty = s["dirty_files"].as_u64().map_or_else(|| "unknown".to_owned(), |n| n.to_string());
            vec![short(&text(s, "session_id")).to_owned(), text(s, "agent"), text(s, "wp_id"), text(s, "state_reason"), seconds(&s["checkpoint_age_ms"]), seconds(&s["heartbeat_age_ms"]), pending.to_string(), dirty]
        })
        .collect();
    format!(
        "{}\n  dcc session resume S, dcc session cancel S (then dcc session retry S)",
        table(&["session", "agent", "packet", "reason", "checkpoint", "heartbeat", "pending calls", "dirty files"], rows)
    )
}

/// The layers that hold an agent, or that none does.
fn confinement(posture: &Value) -> String {
    let holds = || serde_json::from_value::<Posture>(posture.clone()).is_ok_and(|posture| posture.confines_agents());
    if posture.is_object() && !holds() { "UNENFORCED".to_owned() } else { posture["layers"].to_string() }
}

fn show(cli: &Cli, session: &str) -> Outcome<u8> {
    let link = cli.link()?;
    let session_id: SessionId = cli.resolve(link.as_ref(), "session", session)?;
    let value = link.query(&Query::Session { session_id })?;
    cli.out.show(&value, |s| {
        let mut out = format!(
            "session {} {} [{}, {}]\n  agent {} ({})\n  packet {} {}\n  sandbox {}",
            text(s, "session_id"), text(s, "role"), text(s, "state"), text(s, "state_reason"), text(s, "agent"), text(s, "command"), text(s, "wp_id"), text(s, "mt_id"), confinement(&s["posture"])
        );
        let mut line = |words: String| out.push_str(&format!("\n  {words}"));
        if s["queued"] == true {
            line(format!("waits for a slot: {}", text(&s["queued_run"], "why")));
        }
        for (at, message) in s["waiting"].as_array().into_iter().flatten().enumerate() {
            line(format!("{}. {} {} [{}]: {}", at + 1, short(&text(message, "message_id")), text(message, "when"), text(&message["delivery"], "status"), text(message, "text")));
        }
        for key in ["queue", "boundary", "now"] {
            if s["state"] == "ACTIVE" || s["state_reason"] == "approval_wait" {
                line(format!("--when {key}: {}", text(&s["delivery"][key], "what")));
            }
        }
        if !text(s, "fault").is_empty() {
            line(text(s, "fault"));
        }
        out
    });
    Ok(0)
}

/// The whole tree that the session belongs to.
fn tree(cli: &Cli, session: &str) -> Outcome<u8> {
    let link = cli.link()?;
    let id: SessionId = cli.resolve(link.as_ref(), "session", session)?;
    let all = link.query(&Query::Sessions { filter: SessionFilter::default(), paging: Paging::default() })?;
    let parent_of = |id: &str| items(&all).find(|s| s["session_id"] == id).and_then(|s| s["parent_session_id"].as_str().map(str::to_owned));
    let mut root = id.to_string();
    while let Some(parent) = parent_of(&root) {
        root = parent;
    }
    let value = branch(&all, &root).ok_or_else(|| Failure::new(Code::NotFoundSession, format!("no session {id}")))?;
    cli.out.show(&value, |value| twigs(value, 0));
    Ok(0)
}

fn branch(all: &Value, id: &str) -> Option<Value> {
    let session = items(all).find(|s| s["session_id"] == id)?;
    let children: Vec<Value> = items(all).filter(|s| s["parent_session_id"] == id).filter_map(|s| branch(all, s["session_id"].as_str()?)).collect();
    let is_open = |node: &Value| node["state"].as_str().and_then(SessionState::parse).is_some_and(|state| !state.is_terminal());
    // All that is open below ends when this one is stopped.
    let stops: u64 = children.iter().map(|child| child["stops"].as_u64().unwrap_or(0) + u64::from(is_open(child))).sum();
    let open = children.iter().filter(|child| is_open(child)).count();
    Some(json!({
        "open_children": open, "stops": stops, "session_id": id, "agent": session["agent"], "role": session["role"], "state": session["state"], "state_reason": session["state_reason"], "depth": session["spawn_depth"],
        "successor_of": session["successor_of"], "children": children,
    }))
}

fn twigs(node: &Value, depth: usize) -> String {
    let mut out = format!("{}{} {} {} [{}, {}]", "  ".repeat(depth), short(&text(node, "session_id")), text(node, "agent"), text(node, "role"), text(node, "state"), text(node, "state_reason"));
    if node["stops"].as_u64().is_some_and(|n| n > 0) {
        out.push_str(&format!(", {} of {} children open, stops {} with it", node["open_children"], limits::CHILDREN_ACTIVE_MAX, node["stops"]));
    }
    out.push('\n');
    for child in node["children"].as_array().into_iter().flatten() {
        out.push_str(&twigs(child, depth + 1));
    }
    out
}

fn first_words(handoff: &Value) -> String {
    let first = handoff["done"][0].as_str().or_else(|| handoff["remaining"][0].as_str()).or_else(|| handoff["reason"].as_str()).or_else(|| handoff["text"].as_str());
    first.unwrap_or_default().chars().take(60).collect()
}

fn handoff_text(handoff: &Value) -> String {
    let mut out = format!("handoff {} [{}] {}\n  packet {} session {}", text(handoff, "handoff_id"), text(handoff, "status"), text(handoff, "created_at"), text(handoff, "wp_id"), text(handoff, "session_id"));
    for key in ["done", "remaining", "decisions", "uncertainties", "blockers"] {
        for point in handoff[key].as_array().into_iter().flatten() {
            out.push_str(&format!("\n  {key}: {}", point.as_str().unwrap_or_default()));
        }
    }
    for evidence in handoff["evidence"].as_array().into_iter().flatten() {
        out.push_str(&format!("\n  evidence: {} {}", text(evidence, "kind"), text(evidence, "ref")));
    }
    for key in ["reason", "text"] {
        if !text(handoff, key).is_empty() {
            out.push_str(&format!("\n  {}", text(handoff, key)));
        }
    }
    out
}
