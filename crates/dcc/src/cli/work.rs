//! dcc wp, mt, board.

use serde_json::{Map, Value, json};

use dcc_api::door::{Paging, Query};
use dcc_core::ids::{MtId, WpId};
use dcc_core::job::Bindings;
use dcc_core::locus::WpStatus;
use dcc_core::op::Op;
use dcc_core::{Code, Failure, Outcome};

use super::Cli;
use super::jobs::sheet;
use super::args::{BoardCommand, DepCommand, MtCommand, WpCommand, WpCreate, WpReason};
use super::output::{one_line, short, table, unreadable};

/// Changed lines of one edited file shown on a terminal; the page shows all.
const DRIFT_LINES: usize = 60;

pub fn packet(cli: &Cli, command: WpCommand) -> Outcome<u8> {
    match command {
        WpCommand::Create(args) => create(cli, args),
        WpCommand::List { status, ready, all } => list(cli, status.as_deref(), ready, all),
        WpCommand::Show { wp } => {
            let value = cli.query(&Query::Wp { wp_id: wp_id(&wp)? })?;
            cli.out.show(&value, show);
            Ok(0)
        }
        WpCommand::Set { wp, fields } => cli.submit(Op::LocusUpdateWp, json!({ "set": fields_of(&fields)? }), about(&wp)?),
        WpCommand::Gate { wp, gate, result, reason } => cli.submit(Op::LocusGateWp, clean(json!({ "gate": gate, "result": result, "reason": reason })), about(&wp)?),
        WpCommand::Ready { wp } => cli.submit(Op::LocusUpdateWp, json!({ "set": { "status": "ready" } }), about(&wp)?),
        WpCommand::Start { wp } => cli.submit(Op::LocusStartWp, json!({}), about(&wp)?),
        WpCommand::Block(a) => with_reason(cli, Op::LocusBlockWp, &a),
        WpCommand::Unblock(a) => with_reason(cli, Op::LocusUnblockWp, &a),
        WpCommand::Hold(a) => with_reason(cli, Op::LocusHoldWp, &a),
        WpCommand::Release(a) => with_reason(cli, Op::LocusReleaseWp, &a),
        WpCommand::Close { wp, verdict } => cli.submit(Op::LocusCloseWp, clean(json!({ "verdict": verdict })), about(&wp)?),
        WpCommand::Cancel(a) => with_reason(cli, Op::LocusCancelWp, &a),
        WpCommand::Reopen { which, to } => {
            cli.submit(Op::LocusReopenWp, json!({ "reason": which.reason.clone().unwrap_or_default(), "to": to }), about(&which.wp)?)
        }
        WpCommand::Note { wp, text } => cli.submit(Op::LocusAddNote, json!({ "body": text }), about(&wp)?),
        WpCommand::Accept { wp, mt } => settle(cli, &wp, mt.as_deref(), "accept"),
        WpCommand::Restore { wp, mt } => settle(cli, &wp, mt.as_deref(), "restore"),
        WpCommand::Delete(a) => with_reason(cli, Op::LocusDeleteWp, &a),
        WpCommand::Dep(DepCommand::Add { wp, kind, to }) => cli.submit(Op::LocusAddDependency, json!({ "kind": kind, "to_wp_id": to }), about(&wp)?),
        WpCommand::Dep(DepCommand::Rm { wp, kind, to }) => cli.submit(Op::LocusRemoveDependency, json!({ "kind": kind, "to_wp_id": to }), about(&wp)?),
    }
}

/// A packet's id; its number alone and lower case are understood (`1`, `wp-1` and `WP-0001` name the same).
pub(super) fn wp_id(text: &str) -> Outcome<WpId> {
    let rest = text.strip_prefix("WP-").or_else(|| text.strip_prefix("wp-")).unwrap_or(text);
    match rest.parse::<u32>() {
        Ok(number) if rest.len() < 4 => WpId::parse(&format!("WP-{number:04}")),
        Ok(_) => WpId::parse(&format!("WP-{rest}")),
        Err(_) if text.starts_with("wp-") => WpId::parse(&format!("WP-{rest}")),
        Err(_) => WpId::parse(text),
    }
}

fn about(wp: &str) -> Outcome<Bindings> {
    Ok(Bindings { wp_id: Some(wp_id(wp)?), ..Bindings::default() })
}

/// Leaves out what was not given.
pub(super) fn clean(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).collect()),
        other => other,
    }
}

fn with_reason(cli: &Cli, op: Op, args: &WpReason) -> Outcome<u8> {
    cli.submit(op, clean(json!({ "reason": args.reason })), about(&args.wp)?)
}

/// Settles a file that was edited by hand.
fn settle(cli: &Cli, wp: &str, mt: Option<&str>, action: &str) -> Outcome<u8> {
    let wp_id = wp_id(wp)?;
    let mt_id = mt.map(MtId::parse).transpose()?;
    let record = clean(json!({ "wp_id": wp_id, "mt_id": mt_id }));
    cli.submit(Op::LocusAcceptEdit, json!({ "record": record, "action": action }), Bindings { wp_id: Some(wp_id), mt_id, ..Bindings::default() })
}

fn create(cli: &Cli, args: WpCreate) -> Outcome<u8> {
    let description = match (&args.description, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|e| Failure::invalid(format!("{} cannot be read: {e}", path.display())))?,
        (None, None) => String::new(),
    };
    let params = clean(json!({
        "title": args.title, "wp_id": args.id, "type": args.wp_type, "priority": args.priority, "description": description,
        "acceptance_criteria": args.criteria, "in_scope_paths": args.scope, "labels": args.labels,
    }));
    cli.submit(Op::LocusCreateWp, params, Bindings::default())
}

fn fields_of(fields: &[String]) -> Outcome<Map<String, Value>> {
    let mut set = Map::new();
    for field in fields {
        let (key, value) = field.split_once('=').ok_or_else(|| Failure::invalid(format!("{field:?} is not KEY=VALUE")).hint("such as title='New title' priority=1 labels=a,b"))?;
        let value = match key {
            "priority" => json!(value.parse::<u8>().map_err(|_| Failure::invalid("priority is a number from 0 to 4"))?),
            "labels" | "acceptance_criteria" | "in_scope_paths" => json!(value.split(',').map(str::trim).filter(|p| !p.is_empty()).collect::<Vec<_>>()),
            _ => json!(value),
        };
        set.insert(key.to_owned(), value);
    }
    Ok(set)
}

fn list(cli: &Cli, status: Option<&str>, ready: bool, all: bool) -> Outcome<u8> {
    let status = status.map(|s| WpStatus::parse(s).ok_or_else(|| Failure::invalid(format!("{s:?} is not a status")))).transpose()?;
    let value = cli.query(&Query::Wps { status, ready, all, paging: Paging::default() })?;
    cli.out.show(&value, |value| {
        let rows: Vec<Vec<String>> = items(value)
            .map(|p| {
                let count = format!("{}/{}", p["micro_tasks_done"], p["micro_tasks_total"]);
                let status = if p["tombstone"].is_null() { text(p, "status") } else { "deleted".to_owned() };
                let why = if p["drift"].is_null() { text(p, "why") } else { format!("file edited by hand: dcc wp show {}", text(p, "wp_id")) };
                vec![text(p, "wp_id"), status, format!("P{}", p["priority"]), count, text(p, "title"), why]
            })
            .collect();
        let mut out = if rows.is_empty() { "no packets; dcc wp create --title T makes one".to_owned() } else { table(&["packet", "status", "prio", "tasks", "title", "why"], rows) };
        for stranger in value["not_accepted"].as_array().into_iter().flatten() {
            out.push_str(&format!("\n{}", one_line(&text(stranger, "message"))));
        }
        out
    });
    Ok(0)
}

fn show(value: &Value) -> String {
    let mut out = format!("{} {} [{}]\n  {}\n", text(value, "wp_id"), text(value, "title"), text(value, "status"), text(value, "why"));
    for criterion in value["acceptance_criteria"].as_array().into_iter().flatten() {
        out.push_str(&format!("  criterion: {}\n", criterion.as_str().unwrap_or_default()));
    }
    for gate in ["pre_work", "post_work"] {
        out.push_str(&format!("  gate {gate}: {}\n", value["gates"][gate]["status"].as_str().unwrap_or_default()));
    }
    for task in value["micro_tasks"].as_array().into_iter().flatten() {
        out.push_str(&format!("  {} [{}] {}\n", text(task, "mt_id"), text(task, "status"), text(task, "name")));
    }
    if let Some(ws) = value["workspace_id"].as_str() {
        out.push_str(&format!("  workspace {}\n", short(ws)));
    }
    for drift in value["drifted"].as_array().into_iter().flatten() {
        out.push_str(&show_drift(drift));
    }
    out
}

/// Both sides of an edited file, and the commands that settle it.
fn show_drift(drift: &Value) -> String {
    let record = [text(drift, "wp_id"), text(drift, "mt_id")].join(" ");
    let record = record.trim_end();
    let mut out = format!("  drift: {}\n", text(drift, "message"));
    let lines = drift["diff"]["hunks"].as_array().into_iter().flatten().flat_map(|hunk| hunk["lines"].as_array().into_iter().flatten());
    for line in lines.take(DRIFT_LINES) {
        let sign = match line["kind"].as_str() {
            Some("add") => '+',
            Some("del") => '-',
            _ => ' ',
        };
        out.push_str(&format!("    {sign}{}\n", one_line(&text(line, "text"))));
    }
    match drift["refusal"]["message"].as_str() {
        Some(why) => out.push_str(&format!("  the edit cannot be accepted: {why}\n")),
        None => out.push_str(&format!("  dcc wp accept {record}   takes the edit in as the next version\n")),
    }
    out.push_str(&format!("  dcc wp restore {record}   writes the accepted version back\n"));
    out
}

pub fn micro_task(cli: &Cli, command: MtCommand) -> Outcome<u8> {
    let with = |wp: &str, mt: &str| -> Outcome<Bindings> { Ok(Bindings { wp_id: Some(wp_id(wp)?), mt_id: Some(MtId::parse(mt)?), ..Bindings::default() }) };
    match command {
        MtCommand::Add { wp, name, criteria, scope, depends_on } => {
            let task = clean(json!({ "name": name, "done_criteria": criteria, "scope": scope, "depends_on": depends_on }));
            cli.submit(Op::LocusRegisterMts, json!({ "micro_tasks": [task] }), about(&wp)?)
        }
        MtCommand::List { wp } => {
            let packet = cli.query(&Query::Wp { wp_id: wp_id(&wp)? })?;
            let value = json!({ "items": packet["micro_tasks"], "next_cursor": null });
            cli.out.show(&value, |value| {
                table(&["task", "status", "name"], items(value).map(|t| vec![text(t, "mt_id"), text(t, "status"), text(t, "name")]).collect())
            });
            Ok(0)
        }
        MtCommand::Show { wp, mt } => {
            let packet = cli.query(&Query::Wp { wp_id: wp_id(&wp)? })?;
            let task = packet["micro_tasks"]
                .as_array()
                .and_then(|all| all.iter().find(|t| t["mt_id"] == mt.as_str()))
                .cloned()
                .ok_or_else(|| Failure::new(Code::NotFoundMt, format!("no micro-task {mt} in {wp}")))?;
            cli.out.show(&task, |task| sheet(task, &["mt_id", "name", "status", "done_criteria"]));
            Ok(0)
        }
        MtCommand::Start { wp, mt } => cli.submit(Op::LocusStartMt, json!({}), with(&wp, &mt)?),
        MtCommand::Done { wp, mt, job, statement } => {
            let evidence = match job {
                Some(job) => {
                    let id: dcc_core::JobId = cli.resolve(cli.link()?.as_ref(), "job", &job)?;
                    json!({ "job_id": id })
                }
                None => json!({ "statement": statement }),
            };
            cli.submit(Op::LocusCompleteMt, json!({ "evidence": evidence }), with(&wp, &mt)?)
        }
        MtCommand::Fail { wp, mt, reason } => cli.submit(Op::LocusFailMt, json!({ "reason": reason }), with(&wp, &mt)?),
        MtCommand::Block { wp, mt, reason } => cli.submit(Op::LocusBlockMt, json!({ "reason": reason }), with(&wp, &mt)?),
        MtCommand::Skip { wp, mt, reason } => cli.submit(Op::LocusSkipMt, json!({ "reason": reason }), with(&wp, &mt)?),
        MtCommand::Reopen { wp, mt, reason } => cli.submit(Op::LocusReopenMt, clean(json!({ "reason": reason })), with(&wp, &mt)?),
    }
}

pub fn board(cli: &Cli, command: &BoardCommand) -> Outcome<u8> {
    match command {
        BoardCommand::Sync => cli.submit(Op::LocusSyncTaskBoard, json!({}), Bindings::default()),
        BoardCommand::Render => {
            let value = cli.query(&Query::Board)?;
            let lanes = value["lanes"].as_array().ok_or_else(|| unreadable("lanes"))?.clone();
            cli.out.show(&value, |value| {
                let mut out = format!("{}: {}\n", text(value, "path"), text(value, "mirror_state"));
                for lane in &lanes {
                    for card in items(lane) {
                        out.push_str(&format!("  {:<12} {} {}\n", text(lane, "status"), text(card, "wp_id"), text(card, "title")));
                    }
                }
                out
            });
            Ok(0)
        }
    }
}

/// The items of a list.
pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value["items"].as_array().into_iter().flatten()
}

/// A field as text; null is empty.
pub(super) fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}
