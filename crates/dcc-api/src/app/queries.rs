//! The reads of the API. Bounded, inline, no job rows; nothing here changes anything.

use serde_json::{Value, json};

use dcc_core::approval::{ApprovalStatus, Grant};
use dcc_core::locus::family;
use dcc_core::locus::rules::{self, Packets};
use dcc_core::locus::{MicroTask, WorkPacket};
use dcc_core::ports::{CodeQuery, EventFilter, JobFilter};
use dcc_core::ports::terminal::TerminalSize;
use dcc_core::ports::version::CommitFacts;
use dcc_core::session::Session;
use dcc_core::workspace::{Workspace, WorkspaceHealth};
use dcc_core::{Code, Failure, Outcome, RepoPath, WorkspaceId, WpId, limits};
use dcc_jobs::attachments::require_terminal;
use dcc_jobs::ledger;

use super::App;
use super::records::{approval_json, event_json, family_of, grant_json, job_json, object, packet_json};
use crate::door::{Paging, Query, SearchKind, SessionFilter};

impl App {
    pub(super) fn answer(&self, query: Query) -> Outcome<Value> {
        self.cx().journal.settle();
        let ports = &self.cx().ports;
        match query {
            Query::Jobs { filter } => self.jobs(filter),
            Query::Job { job_id } => Ok(job_json(&ledger::job(ports.recorder.as_ref(), job_id)?)),
            Query::Wps { status, ready, all, paging } => self.packets(status, ready, all, &paging),
            Query::Wp { wp_id } => self.packet(&wp_id),
            Query::Workspaces { paging } => {
                let items = ports.store.workspaces()?.iter().map(|w| self.workspace_json(w)).collect::<Outcome<Vec<_>>>()?;
                Ok(page(items, &paging))
            }
            Query::Workspace { workspace_id } => self.workspace_shown(workspace_id),
            Query::Status { workspace_id } => {
                let mut map = object(&ports.version.status(&self.workspace(workspace_id)?.binding)?);
                map.insert("workspace_id".into(), json!(workspace_id));
                Ok(Value::Object(map))
            }
            Query::Diff { workspace_id, source, path } => {
                let paths: Vec<_> = path.into_iter().collect();
                let files = ports.version.diff(&self.workspace(workspace_id)?.binding, &source, &paths, !paths.is_empty())?;
                Ok(json!({ "workspace_id": workspace_id, "items": files, "next_cursor": null }))
            }
            Query::Log { workspace_id, path, limit } => self.log(workspace_id, path, limit),
            Query::Repairs { workspace_id } => {
                let found = dcc_jobs::repairs::findings(self.cx(), &self.workspace(workspace_id)?)?;
                Ok(json!({ "workspace_id": workspace_id, "items": found, "next_cursor": null }))
            }
            Query::Sessions { filter, paging } => Ok(page(self.session_rows(&filter)?, &paging)),
            Query::Session { session_id } => self.session_json(session_id),
            Query::Terminal { session_id, from, size } => self.terminal(session_id, from, size),
            Query::TerminalState { session_id } => self.terminal_state(session_id),
            Query::ToolCalls { session_id, after_seq, limit } => {
                let limit = if limit == 0 { limits::PAGE_MAX } else { limit.min(limits::PAGE_MAX) };
                let items = ports.store.tool_calls(Some(session_id), after_seq.unwrap_or(0), limit)?;
                let cursor = (items.len() == limit).then(|| items.last().map(|t| t.seq)).flatten();
                Ok(json!({ "items": items, "next_cursor": cursor }))
            }
            Query::Board => self.board_json(),
            Query::Approvals { status, paging } => {
                self.runner.expire_due()?;
                Ok(page(ports.store.approvals(status, limits::PAGE_MAX)?.iter().map(approval_json).collect(), &paging))
            }
            Query::Approval { approval_id } => {
                let mut approval = ledger::approval(ports.recorder.as_ref(), approval_id)?;
                approval.preview = self.runner.whole_preview(&approval)?;
                Ok(approval_json(&approval))
            }
            Query::Grants { paging } => {
                let now = self.cx().now();
                Ok(page(ports.store.grants(limits::PAGE_MAX)?.iter().map(|g| grant_json(g, self.session_of(g).as_ref(), now)).collect(), &paging))
            }
            Query::Budgets { paging } => Ok(page(self.budgets()?, &paging)),
            Query::Events { filter } => self.events(filter),
            Query::Event { event_id } => {
                let event = ports.recorder.event(event_id)?.ok_or_else(|| Failure::new(Code::NotFound, format!("no event {event_id}")))?;
                Ok(event_json(&event))
            }
            Query::Search { q, scope, workspace_id, regex, limit } => self.search_json(q, scope, workspace_id, regex, limit),
            // Nothing writes these yet, so the true answer is the empty list, marked as not built.
            Query::Anchors { .. } => Err(Failure::new(Code::NotBuilt, "anchors are not built yet")),
            Query::Handoffs { paging } => Ok(page(self.handoff_rows()?, &paging)),
            Query::Handoff { handoff_id } => self.handoff_json(handoff_id),
            Query::Health => Ok(self.health_json()),
            Query::Resolve { short } => {
                let items: Vec<Value> = ports.store.resolve_short(&short)?.into_iter().map(|(kind, id)| json!({ "kind": kind, "id": id })).collect();
                Ok(json!({ "items": items, "next_cursor": null }))
            }
        }
    }

    fn workspace_shown(&self, workspace_id: WorkspaceId) -> Outcome<Value> {
        let mut value = self.workspace_json(&self.workspace(workspace_id)?)?;
        value["archive"] = match dcc_jobs::kinds::would_archive(self.cx(), workspace_id) {
            Ok(would) => json!({ "would": would, "refused": null }),
            Err(failure) => json!({ "would": null, "refused": failure }),
        };
        Ok(value)
    }

    fn log(&self, workspace_id: WorkspaceId, path: Option<RepoPath>, limit: usize) -> Outcome<Value> {
        let limit = if limit == 0 { 50 } else { limit.min(limits::PAGE_MAX) };
        let paths: Vec<_> = path.into_iter().collect();
        let commits = dcc_jobs::outside::history(self.cx(), &self.workspace(workspace_id)?.binding, limit, &paths)?;
        let item = |commit: &CommitFacts| {
            let mut map = object(commit);
            map.insert("commit_oid".into(), json!(commit.oid));
            map.insert("governed".into(), json!(commit.trailers.iter().any(|(key, _)| key == "DCC-Job")));
            Value::Object(map)
        };
        Ok(json!({ "items": commits.iter().map(item).collect::<Vec<_>>(), "next_cursor": null }))
    }

    /// A workspace by canon.
    pub(crate) fn workspace(&self, id: WorkspaceId) -> Outcome<Workspace> {
        ledger::workspace(self.cx().ports.recorder.as_ref(), id)
    }

    fn session_of(&self, grant: &Grant) -> Option<Session> {
        grant.binding.session_id.and_then(|id| self.cx().ports.store.session(id).ok().flatten())
    }

    fn terminal(&self, session_id: dcc_core::SessionId, from: u64, known: Option<TerminalSize>) -> Outcome<Value> {
        let terminal = require_terminal(self.cx(), session_id)?;
        let chunk = terminal.read(from, known, std::time::Duration::from_millis(limits::TERMINAL_POLL_MS));
        let next = chunk.from + chunk.bytes.len() as u64;
        Ok(json!({ "session_id": session_id, "from": chunk.from, "next": next, "b64": dcc_core::path::base64(&chunk.bytes), "ended": chunk.ended, "rows": chunk.size.rows, "columns": chunk.size.columns }))
    }

    fn terminal_state(&self, session_id: dcc_core::SessionId) -> Outcome<Value> {
        let state = require_terminal(self.cx(), session_id)?.state();
        Ok(json!({ "session_id": session_id, "rows": state.size.rows, "columns": state.size.columns, "next": state.next, "b64": dcc_core::path::base64(state.replay.as_bytes()), "ended": state.ended }))
    }

    fn jobs(&self, filter: JobFilter) -> Outcome<Value> {
        let limit = if filter.limit == 0 { limits::PAGE_MAX } else { filter.limit.min(limits::PAGE_MAX) };
        let jobs = self.cx().ports.store.jobs(&JobFilter { limit, ..filter })?;
        let cursor = (jobs.len() == limit).then(|| jobs.last().map(|j| j.job_id.to_string())).flatten();
        Ok(json!({ "items": jobs.iter().map(job_json).collect::<Vec<_>>(), "next_cursor": cursor }))
    }

    fn events(&self, filter: EventFilter) -> Outcome<Value> {
        let limit = if filter.limit == 0 { limits::PAGE_MAX } else { filter.limit.min(limits::PAGE_MAX) };
        let events = self.cx().ports.recorder.read(&EventFilter { limit, ..filter })?;
        let cursor = (events.len() == limit).then(|| events.last().map(|e| e.seq.to_string())).flatten();
        Ok(json!({ "items": events.iter().map(event_json).collect::<Vec<_>>(), "next_cursor": cursor }))
    }

    /// All accepted packets with their micro-tasks, and what is wrong with the file of one of these records.
    pub(crate) fn all_packets(&self) -> Outcome<Vec<(WorkPacket, Vec<MicroTask>, Option<String>)>> {
        let locus = &self.cx().ports.locus;
        locus
            .packets()?
            .into_iter()
            .map(|entry| {
                let tasks = locus.micro_tasks(&entry.record.wp_id)?;
                let drift = entry.drift.or_else(|| tasks.iter().find_map(|e| e.drift.clone()));
                Ok((entry.record, tasks.into_iter().map(|e| e.record).collect(), drift))
            })
            .collect()
    }

    fn packets(&self, status: Option<dcc_core::locus::WpStatus>, ready: bool, deleted: bool, paging: &Paging) -> Outcome<Value> {
        let all = self.all_packets()?;
        let index = Packets::new(all.iter().map(|(packet, ..)| packet));
        let at_work = self.at_work()?;
        let gone: Vec<WorkPacket> = if deleted { self.cx().ports.locus.deleted()?.into_iter().map(|e| e.record).collect() } else { Vec::new() };
        let ready_ids: Vec<&WpId> = if ready { family::ready(&index).into_iter().map(|p| &p.wp_id).collect() } else { Vec::new() };
        let items = all
            .iter()
            .filter(|(packet, ..)| status.is_none_or(|s| packet.status == s) && (!ready || ready_ids.contains(&&packet.wp_id)))
            .map(|(packet, micro_tasks, drift)| {
                let mut value = packet_json(packet, micro_tasks, &index, &at_work);
                if let Some(drift) = drift {
                    value["drift"] = json!(drift);
                }
                value
            })
            .chain(gone.iter().filter(|p| !ready && status.is_none_or(|s| p.status == s)).map(|p| packet_json(p, &[], &index, &at_work)))
            .collect();
        let mut value = page(items, paging);
        let strangers = self.cx().ports.locus.strangers()?;
        if !strangers.is_empty() {
            value["not_accepted"] = strangers.into_iter().map(|(key, message)| json!({ "key": key, "message": message })).collect();
        }
        Ok(value)
    }

    fn packet(&self, wp_id: &WpId) -> Outcome<Value> {
        let all = self.all_packets()?;
        let index = Packets::new(all.iter().map(|(packet, ..)| packet));
        let (packet, micro_tasks, drift) = all
            .iter()
            .find(|(p, ..)| p.wp_id.folded() == wp_id.folded())
            .ok_or_else(|| self.no_packet(wp_id))?;
        let at_work = self.at_work()?;
        let mut value = packet_json(packet, micro_tasks, &index, &at_work);
        value["micro_tasks"] = json!(micro_tasks);
        value["drift"] = json!(drift);
        value["family"] = json!(family_of(packet, micro_tasks, &index, &at_work).family);
        let packets: Vec<WorkPacket> = all.iter().map(|(p, ..)| p.clone()).collect();
        let pending = at_work.approvals.iter().filter(|a| a.wp_id.as_ref() == Some(&packet.wp_id)).count();
        let running = at_work.sessions.iter().filter(|s| s.wp_id.as_ref() == Some(&packet.wp_id) && !s.state.is_terminal()).count();
        let cx = self.cx();
        let context = rules::Context {
            now: cx.now(),
            author: "operator",
            note_id: dcc_core::NoteId::from(cx.ports.clock.fresh_id()),
            all_packets: &packets,
            micro_tasks,
            pending_approvals: pending,
            running,
            gate_inputs: None,
        };
        let actions = rules::allowed_actions(packet, None, &context);
        value["drifted"] = json!(self.drift_views(packet, &context));
        value["allowed_action_ids"] = actions.iter().filter(|a| a.refused.is_none()).map(|a| json!(a.op)).collect();
        Ok(value)
    }

    /// Why there is no such packet.
    pub(crate) fn no_packet(&self, wp_id: &WpId) -> Failure {
        let gone = self.cx().ports.locus.deleted().unwrap_or_default().into_iter().find(|e| e.record.wp_id.folded() == wp_id.folded());
        match gone.and_then(|e| e.record.tombstone) {
            Some(at) => Failure::new(Code::NotFoundWp, format!("{wp_id} was deleted at {at}")).hint("its history stays: dcc timeline --wp WP; dcc wp list --all shows it"),
            None => Failure::new(Code::NotFoundWp, format!("no packet {wp_id}")).hint("dcc wp list shows them"),
        }
    }

    /// The record with health, asked of the world now.
    fn workspace_json(&self, workspace: &Workspace) -> Outcome<Value> {
        let mut map = object(workspace);
        let probe = self.cx().ports.version.probe(&workspace.binding)?;
        map.insert("health".into(), json!(probe.health));
        if probe.health != WorkspaceHealth::Ok {
            map.insert("health_message".into(), json!(probe.message));
        }
        map.insert("head".into(), json!(probe.head));
        map.insert("path".into(), json!(workspace.binding.worktree_path));
        Ok(Value::Object(map))
    }

    fn board_json(&self) -> Outcome<Value> {
        let facts = self.cx().ports.locus.board()?;
        let all = self.all_packets()?;
        let index = Packets::new(all.iter().map(|(packet, ..)| packet));
        let at_work = self.at_work()?;
        let lanes: Vec<Value> = dcc_core::locus::WpStatus::ALL
            .iter()
            .map(|status| {
                let cards: Vec<Value> =
                    all.iter().filter(|(p, ..)| p.status == *status).map(|(p, mts, _)| packet_json(p, mts, &index, &at_work)).collect();
                json!({ "status": status, "items": cards })
            })
            .collect();
        Ok(json!({ "lanes": lanes, "mirror_state": facts.mirror_state, "path": facts.path, "message": facts.message, "sha256": facts.sha256 }))
    }

    fn search_json(&self, q: String, scope: SearchKind, workspace_id: Option<WorkspaceId>, regex: bool, limit: usize) -> Outcome<Value> {
        let limit = if limit == 0 { limits::SEARCH_HITS_MAX } else { limit.min(limits::SEARCH_HITS_MAX) };
        let ports = &self.cx().ports;
        match scope {
            SearchKind::Objects => {
                let items: Vec<Value> = ports
                    .store
                    .find_objects(&q, limit)?
                    .into_iter()
                    .map(|(kind, id, title)| json!({ "kind": kind, "id": id, "title": title }))
                    .collect();
                Ok(json!({ "items": items, "next_cursor": null }))
            }
            SearchKind::Code => {
                let targets = match workspace_id {
                    Some(id) => vec![self.workspace(id)?],
                    None => ports.store.workspaces()?,
                };
                let query = CodeQuery { text: q, regex, limit, ..CodeQuery::default() };
                let mut items = Vec::new();
                let mut cut = false;
                for workspace in targets {
                    let results = ports.search.search(&workspace.binding, &query)?;
                    cut |= results.cut;
                    items.extend(results.hits.iter().map(|hit| {
                        let mut map = object(hit);
                        map.insert("workspace_id".into(), json!(workspace.workspace_id));
                        Value::Object(map)
                    }));
                }
                cut |= items.len() > limit;
                items.truncate(limit);
                Ok(json!({ "items": items, "next_cursor": null, "cut": cut }))
            }
            SearchKind::Events => self.events(EventFilter { text: Some(q), limit, order: dcc_core::ports::Order::Descending, ..EventFilter::default() }),
            SearchKind::Transcripts => self.events(EventFilter {
                text: Some(q),
                codes: vec![dcc_core::event::EventCode::SessionMessage],
                limit,
                order: dcc_core::ports::Order::Descending,
                ..EventFilter::default()
            }),
        }
    }

    fn health_json(&self) -> Value {
        let ports = &self.cx().ports;
        let pending = ports.store.approvals(Some(ApprovalStatus::Pending), limits::PAGE_MAX).map_or(0, |a| a.len());
        json!({
            "status": if ports.recorder.is_writable() { "ok" } else { "read_only" },
            "read_only": self.cx().config.read_only,
            "recorder": { "head": ports.recorder.head().ok(), "writable": ports.recorder.is_writable(), "verified": self.last_verified().map(|(report, at)| json!({ "report": report, "at": at })) },
            "store": ports.store.health(),
            "store_fault": self.cx().journal.store_fault(),
            "watching": self.watching(),
            "sandbox": ports.sandbox.posture(),
            "waivers": dcc_jobs::waivers::in_force(ports.recorder.as_ref(), self.cx().now()).unwrap_or_default(),
            "sessions_live": ports.sessions.live().len(),
            "recovery": self.session_rows(&SessionFilter { recovery: true, ..SessionFilter::default() }).unwrap_or_default(),
            "approvals_pending": pending,
            "agents": ports.agents.list(),
            "checks": self.machine.checks.iter().map(|(name, status, evidence, fix)| json!({ "name": name, "status": status, "evidence": evidence, "fix": fix })).collect::<Vec<_>>(),
        })
    }
}

/// A list in the one form; the cursor is the offset of the next item.
fn page(items: Vec<Value>, paging: &Paging) -> Value {
    let start = paging.cursor.as_deref().and_then(|c| c.parse::<usize>().ok()).unwrap_or(0);
    let limit = if paging.limit == 0 { limits::PAGE_MAX } else { paging.limit.min(limits::PAGE_MAX) };
    let total = items.len();
    let items: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    let next = start + items.len();
    json!({ "items": items, "next_cursor": (next < total).then(|| next.to_string()) })
}
