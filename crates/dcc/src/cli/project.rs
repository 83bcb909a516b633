//! dcc init, status, doctor, rebuild.

use std::time::Duration;

use serde_json::{Value, json};

use dcc_api::door::{Door as _, Paging, Query, SessionFilter};
use dcc_core::approval::ApprovalStatus;
use dcc_core::job::Bindings;
use dcc_core::op::Op;
use dcc_core::event::EventCode;
use dcc_core::ports::{EventFilter, LoginState, Order, Recorder as _, Sandbox as _};
use dcc_core::{Code, Outcome, Timestamp, limits};

use super::Cli;
use super::output::{table, visible};
use super::work::{items, text};
use crate::wire::config::OperatorConfig;
use crate::wire::open::{self, OpenOptions};
use crate::wire::{doctor, integrity, lock};

/// How long a step waits for the project lock.
const WAIT: Duration = Duration::from_millis(limits::PROJECT_LOCK_WAIT_MS);

pub fn init(cli: &Cli) -> Outcome<u8> {
    let found = cli.find()?;
    let was = found.is_initialised();
    if was && crate::link::Remote::connect(&found, false)?.is_some() {
        let value = json!({ "project_id": found.require_project_id()?, "root_path": found.main.worktree_path, "status": "served" });
        cli.out.show(&value, |_| format!("{} is a project already, and a server owns it", found.root.display()));
        return Ok(0);
    }
    let project = open::open(&found, &OpenOptions { what: "init", wait: WAIT, serving: false })?;
    let facts = project.app.project();
    let value = json!({ "project_id": facts.project_id, "root_path": facts.root_path, "status": if was { "existing" } else { "created" } });
    cli.out.show(&value, |_| {
        let word = if was { "is a project already" } else { "is a project now" };
        format!("{} {word}\n  records: {} (kept out of git by info/exclude)\n  next: dcc up, or dcc wp create --title T", facts.root_path, found.state_dir.display())
    });
    Ok(0)
}

pub fn status(cli: &Cli) -> Outcome<u8> {
    let found = cli.find()?;
    let project_id = found.require_project_id()?;
    integrity::warn_once(&found.dirs, project_id);
    let broken = integrity::known(&found.dirs, project_id);
    let root = found.main.worktree_path.clone();
    let link = crate::link::connect(found, cli.attended())?;
    let approvals = link.query(&Query::Approvals { status: Some(ApprovalStatus::Pending), paging: dcc_api::door::Paging::default() })?;
    let sessions = link.query(&Query::Sessions { filter: SessionFilter::default(), paging: Paging::default() })?;
    let open: Vec<&Value> = items(&sessions).filter(|s| !matches!(s["state"].as_str(), Some("COMPLETED" | "FAILED" | "CANCELLED"))).collect();
    let recovery = SessionFilter { recovery: true, ..SessionFilter::default() };
    let to_recover = items(&link.query(&Query::Sessions { filter: recovery, paging: Paging::default() })?).count();
    let wps = link.query(&Query::Wps { status: None, ready: false, all: false, paging: dcc_api::door::Paging::default() })?;
    let mut lanes = serde_json::Map::new();
    for wp in items(&wps) {
        let slot = lanes.entry(text(wp, "status")).or_insert(json!(0));
        *slot = json!(slot.as_u64().unwrap_or(0) + 1);
    }
    let workspaces = link.query(&Query::Workspaces { paging: Paging::default() })?;
    let broken_worktrees = items(&workspaces).filter(|w| w["status"] != "archived" && !matches!(w["health"].as_str(), None | Some("ok" | "locked"))).count();
    let drifted = items(&wps).filter(|wp| !wp["drift"].is_null()).count() + wps["not_accepted"].as_array().map_or(0, Vec::len);
    let value = json!({
        "root_path": root, "worktrees_broken": broken_worktrees, "records_not_accepted": drifted, "served": link.is_served(), "read_only": link.read_only()?, "integrity": broken, "approvals_pending": items(&approvals).count(), "sessions_open": open.len(), "sessions_to_recover": to_recover, "packets": lanes,
    });
    cli.out.show(&value, |v| {
        let number = |what: &str, count: &Value| count.as_u64().filter(|count| *count > 0).map(|count| format!("\n  {count} {what}")).unwrap_or_default();
        let lanes: Vec<String> = v["packets"].as_object().into_iter().flatten().map(|(k, n)| format!("{n} {k}")).collect();
        format!(
            "{}{}{}{}{}\n  server {}\n  {} approvals wait for you\n  {} sessions open, {} rest without an agent (dcc session list --recovery)\n  packets: {}",
            text(v, "root_path"),
            v["read_only"].as_str().map(|why| format!("\n  read only: {}", visible(why))).unwrap_or_default(),
            v["integrity"].as_str().map(|found| format!("\n  BROKEN: {}", visible(found))).unwrap_or_default(),
            number("worktrees do not stand as they were registered (dcc ws list)", &v["worktrees_broken"]),
            number("records are not as they were accepted (dcc wp list)", &v["records_not_accepted"]),
            if v["served"] == true { "running" } else { "not running (dcc up)" },
            v["approvals_pending"],
            v["sessions_open"],
            v["sessions_to_recover"],
            if lanes.is_empty() { "none".to_owned() } else { lanes.join(", ") }
        )
    });
    Ok(0)
}

pub fn doctor(cli: &Cli) -> Outcome<u8> {
    let found = cli.find()?;
    let mut checks = doctor::machine_checks(&found);
    checks.push(match OperatorConfig::load(&found.dirs.config_file()) {
        Ok(config) => (
            "configuration".into(),
            "ok".into(),
            format!("{}: {} recipes, {} agents", found.dirs.config_file().display(), config.recipes.len(), config.agents.len()),
            None,
        ),
        Err(failure) => ("configuration".into(), "fault".into(), failure.message, failure.hint),
    });
    let run_dir = found.dirs.state.join("sandbox");
    // Where it cannot be made, the sandbox says so itself.
    let _ = crate::wire::dirs::private_dir(&run_dir);
    let posture = open::sandbox(run_dir)?.posture();
    let status = if posture.confines_agents() { "ok" } else { "fault" };
    checks.push(("sandbox".into(), status.into(), format!("{}; metadata {}, network {}, processes {}, disk {}", posture.layers.join("+"), word(posture.metadata), word(posture.network), word(posture.processes), word(posture.disk)), None));
    for note in &posture.notes {
        checks.push(("sandbox note".into(), "ok".into(), note.clone(), None));
    }
    checks.extend(doctor::workspace_checks(&found));
    checks.extend(server_check(&found));
    if found.is_initialised() {
        checks.extend(canon_checks(&found)?);
    } else {
        checks.push(("project".into(), "absent".into(), "not initialised".into(), Some("dcc init".into())));
    }
    let config = OperatorConfig::load(&found.dirs.config_file()).unwrap_or_default();
    checks.extend(dcc_core::ports::AgentCatalogue::list(&crate::agents::Agents::new(config.agents, &found.dirs)).into_iter().map(agent_check));
    let faults = checks.iter().filter(|(_, status, ..)| status == "fault").count();
    let items: Vec<Value> = checks.iter().map(|(name, status, evidence, fix)| json!({ "name": name, "status": status, "evidence": evidence, "fix": fix })).collect();
    let value = json!({ "items": items, "next_cursor": null, "status": if faults == 0 { "ok" } else { "fault" } });
    cli.out.show(&value, |_| table(&["check", "status", "evidence", "fix"], checks.iter().map(|(n, s, e, f)| vec![n.clone(), s.clone(), e.clone(), f.clone().unwrap_or_default()]).collect()));
    let is_broken = checks.iter().any(|(name, status, ..)| name.starts_with("recorder") && status == "fault");
    Ok(if is_broken { Code::Integrity.exit_code() } else { u8::from(faults > 0) })
}

/// Where the agent's program is, and what can be told of its login.
fn agent_check(agent: dcc_core::ports::AgentListing) -> doctor::Check {
    let evidence = if agent.installed { format!("{}; login: {} ({})", agent.what, agent.login.as_str(), agent.login_evidence) } else { agent.what };
    let fix = (agent.installed && agent.login == LoginState::NoneStored).then(|| format!("dcc agent login {}", agent.name));
    (format!("agent {}", agent.name), if agent.installed { "ok" } else { "absent" }.into(), evidence, fix)
}

fn word(enforced: bool) -> &'static str {
    if enforced { "enforced" } else { "not enforced" }
}

/// A server that was started while nothing could be written goes on refusing after that is mended.
fn server_check(found: &crate::wire::project::Found) -> Option<doctor::Check> {
    let server = crate::link::Remote::connect(found, false).ok().flatten()?;
    let why = crate::link::Link::read_only(&server).ok().flatten()?;
    Some(("server".into(), "needs".into(), format!("read only: {why}"), Some("dcc up --stop, then dcc up".into())))
}

fn canon_checks(found: &crate::wire::project::Found) -> Outcome<Vec<doctor::Check>> {
    let place = crate::wire::checkpoint::StateHead::read(&found.dirs, found.require_project_id()?);
    let recorder = dcc_recorder::SqliteRecorder::open_read_only(found.state_dir.join("recorder.db"))?.with_outside(place);
    let problems = recorder.integrity_check()?;
    let report = recorder.verify(None)?;
    integrity::note(&found.dirs, found.require_project_id()?, &report, found.clock.now());
    let held = if lock::is_held(&found.state_dir) { "a server or command owns the project" } else { "nobody owns the project now" };
    let chain = match (report.ok, report.first_bad_seq) {
        (true, _) => ("ok", format!("{} events, the chain holds, {}", report.events, report.held_against())),
        (false, Some(seq)) => ("fault", format!("the chain is broken at event {seq}: {}", report.problem.unwrap_or_default())),
        (false, None) => ("fault", report.problem.unwrap_or_default()),
    };
    let waived = dcc_jobs::waivers::in_force(&recorder, found.clock.now())?.into_iter().map(|w| ("sandbox waiver".into(), "needs".into(), format!("UNENFORCED: agents in workspace {} run unconfined until {}: {}", w.workspace_id.short(), w.expires_at, w.reason), Some("dcc sandbox revoke".into())));
    let mut checks: Vec<doctor::Check> = waived.collect();
    checks.extend(doctor::record_checks(found)?);
    checks.extend([
        clock_check(&recorder, found.clock.now())?,
        ("recorder file".into(), if problems.is_empty() { "ok" } else { "fault" }.into(), if problems.is_empty() { "intact".into() } else { problems.join("; ") }, None),
        ("recorder chain".into(), chain.0.into(), chain.1, None),
        ("project lock".into(), "ok".into(), held.into(), None),
    ]);
    Ok(checks)
}

/// Whether the clock goes forward, as the log saw it.
fn clock_check(recorder: &dcc_recorder::SqliteRecorder, now: Timestamp) -> Outcome<doctor::Check> {
    let filter = EventFilter { codes: vec![EventCode::ClockWentBack], order: Order::Descending, limit: 1, ..EventFilter::default() };
    let newest = recorder.by_seq(recorder.head()?.seq)?;
    let said = recorder.read(&filter)?.first().map(|e| format!("it went back by {} s at event {}: what was limited in time before that counts as run out", e.payload["back_ms"].as_i64().unwrap_or(0) / 1_000, e.seq));
    let is_behind = newest.is_some_and(|event| now.as_ms() + 1_000 < event.ts.as_ms());
    Ok(match (said, is_behind) {
        (_, true) => ("clock".into(), "needs".into(), format!("it is behind the last event; now {now}"), Some("set the clock".into())),
        (Some(said), false) => ("clock".into(), "ok".into(), said, None),
        (None, false) => ("clock".into(), "ok".into(), "it never went back while events were written".into(), None),
    })
}

pub fn rebuild(cli: &Cli, dry_run: bool) -> Outcome<u8> {
    if dry_run {
        let found = cli.find()?;
        found.require_project_id()?;
        if let Some(refusal) = dcc_store::refusal_of(&found.state_dir.join("devcc.db")) {
            return Err(refusal);
        }
        let head = dcc_recorder::SqliteRecorder::open_read_only(found.state_dir.join("recorder.db"))?.head()?;
        let value = json!({ "events": head.seq, "would": ["drop every row of devcc.db", "apply every event", "read every packet", "write workspace.json anew"], "canon": "untouched" });
        cli.out.show(&value, |v| format!("would drop every row of devcc.db and apply {} events and all packets; canon stays untouched", v["events"]));
        return Ok(0);
    }
    cli.submit(Op::StoreRebuild, json!({}), Bindings::default())
}
