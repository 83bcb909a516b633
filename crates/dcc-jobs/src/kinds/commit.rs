//! version.commit: exactly the selected paths; approved tree = committed tree.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::Oid;
use dcc_core::job::{Bindings, Job};
use dcc_core::plans::CommitPlan;
use dcc_core::ports::version::{CommitIntent, CommitStamp, PreparedCommit, index_locked};
use dcc_core::principal::Principal;
use dcc_core::workspace::Workspace;
use dcc_core::{Failure, Outcome, RepoPath, limits};

use super::{Done, Effect, JobKind, Lock, Planned, Recovered, params};
use crate::context::Context;
use crate::ledger;
use crate::runner::correlation;

pub(super) struct Commit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    paths: Vec<RepoPath>,
    message: String,
    /// Path to blob id, or "deleted": what the person saw when the path was ticked.
    #[serde(default)]
    expected: Map<String, Value>,
}

impl JobKind for Commit {
    type Plan = CommitPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<CommitPlan>> {
        let p: Params = params::parse(cx, job)?;
        let workspace = params::workspace(cx, job)?;
        if p.paths.is_empty() {
            return Err(Failure::invalid("no path is selected").hint("name the paths to commit; there is no 'everything'"));
        }
        if p.paths.len() > limits::COMMIT_PATHS_MAX {
            return Err(Failure::invalid(format!("{} paths are selected; at most {} fit one commit", p.paths.len(), limits::COMMIT_PATHS_MAX)));
        }
        let message = p.message.trim_end().to_owned();
        if message.trim().is_empty() {
            return Err(Failure::invalid("the commit message is empty"));
        }
        params::bounded("message", &message, limits::TEXT_BYTES_MAX)?;
        let message_sha256 = cx.ports.artifacts.put(message.as_bytes())?;
        let (author_name, author_email) = cx.ports.version.identity_for(&workspace.binding)?;
        let globs = match &workspace.wp_id {
            Some(wp_id) => cx.ports.locus.packet(wp_id)?.map(|e| e.record.in_scope_paths).unwrap_or_default(),
            None => Vec::new(),
        };
        let bindings = bindings(cx, job, &workspace)?;
        let intent = CommitIntent {
            workspace_id: workspace.workspace_id,
            paths: p.paths,
            expected: expected(&p.expected)?,
            message,
            author_name,
            author_email,
            wp_id: bindings.wp_id.clone(),
            mt_id: bindings.mt_id.clone(),
            session_id: bindings.session_id,
            in_scope_paths: globs,
            quarantine: cx.config.quarantine_path(job.job_id),
        };
        if let Some((path, age)) = cx.ports.version.index_lock(&workspace.binding)? {
            // People are not asked about what would fail anyway.
            return Err(index_locked(&path, age));
        }
        let body = cx.ports.version.plan_commit(&workspace.binding, &intent)?;
        Ok(Planned { body, engine: "git-cli", inputs: vec![message_sha256], bindings, claim: None })
    }

    fn lock(&self) -> Lock {
        Lock::Git
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<CommitPlan>) -> Outcome<Done> {
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), cleared.body().workspace_id)?;
        let plan = cleared.body().clone();
        let quarantine = cx.config.quarantine_path(job.job_id);
        let stamp = CommitStamp { job_id: job.job_id, unix_seconds: cx.now().as_unix_seconds() };
        let prepared = cx.ports.version.prepare_commit(&workspace.binding, &plan, &stamp, &quarantine, &cleared)?;
        cx.journal.append(vec![
            NewEvent::new(EventCode::EffectPlanned, job.actor, json!({ "effect": { "commit": prepared, "stamp": stamp } })).about(&correlation(job)),
        ])?;
        cx.ports.version.publish_commit(&workspace.binding, cleared, &prepared)?;
        discard(&quarantine);
        Ok(Done::Finished(committed(job, &plan, &prepared)))
    }

    fn recover(&self, cx: &Context, job: &Job, body: &CommitPlan) -> Outcome<Recovered> {
        discard(&cx.config.quarantine_path(job.job_id));
        let Some(effect) = &job.effect else { return Ok(Recovered::Absent) };
        let prepared: PreparedCommit =
            serde_json::from_value(effect["commit"].clone()).map_err(|e| Failure::engine(format!("the planned commit cannot be read: {e}")))?;
        let workspace = ledger::workspace(cx.ports.recorder.as_ref(), body.workspace_id)?;
        if !cx.ports.version.has_commit(&cx.config.common_dir, &prepared.branch_ref, &prepared.oid)? {
            // Takes away the index lock that the commit left, and nobody else's; the index itself is as it was.
            let _ = cx.ports.version.sync_index(&workspace.binding, body);
            return Ok(Recovered::Absent);
        }
        cx.ports.version.sync_index(&workspace.binding, body)?;
        Ok(Recovered::Finished(committed(job, body, &prepared)))
    }
}

fn committed(job: &Job, plan: &CommitPlan, prepared: &PreparedCommit) -> Effect {
    let mut effect = Effect::default()
        .with("commit_oid", prepared.oid.to_string())
        .with("tree_oid", prepared.tree_oid.to_string())
        .with("branch", plan.branch().to_owned())
        .with("paths", plan.paths.len());
    let paths: Vec<&RepoPath> = plan.paths.iter().take(200).map(|p| &p.path).collect();
    effect.events.push(
        NewEvent::new(
            EventCode::Committed,
            job.actor,
            json!({
                "commit_oid": prepared.oid, "tree_oid": prepared.tree_oid, "parent_oid": prepared.parent_oid, "branch_ref": prepared.branch_ref,
                "message_sha256": plan.message_sha256, "paths": paths, "path_count": plan.paths.len(),
            }),
        )
        .about(&correlation(job)),
    );
    effect
}

fn expected(map: &Map<String, Value>) -> Outcome<Vec<(RepoPath, Option<Oid>)>> {
    map.iter()
        .map(|(path, value)| {
            let path = RepoPath::new(path.as_bytes())?;
            match value.as_str() {
                Some("deleted") => Ok((path, None)),
                Some(text) => Ok((path, Some(Oid::parse(text)?))),
                None => Err(Failure::invalid("expected maps a path to a blob id or to \"deleted\"")),
            }
        })
        .collect()
}

/// What the commit is joined to. A person commits what the workspace's last session left: the trailers name that session,
/// and the micro-task it worked on when neither the request nor the workspace names one.
fn bindings(cx: &Context, job: &Job, workspace: &Workspace) -> Outcome<Bindings> {
    let session = match (job.actor.principal, job.bindings.session_id) {
        (Principal::Agent { session_id }, _) | (Principal::Operator | Principal::System, Some(session_id)) => {
            Some(ledger::session(cx.ports.recorder.as_ref(), session_id)?)
        }
        _ => cx.ports.store.sessions(limits::PAGE_MAX)?.into_iter().find(|s| s.workspace_id == Some(workspace.workspace_id)),
    };
    // A micro-task's number says nothing under another packet.
    let worked_on = session.as_ref().filter(|s| s.wp_id == workspace.wp_id).and_then(|s| s.mt_id.clone());
    let mut bindings = job.bindings.clone();
    bindings.wp_id.clone_from(&workspace.wp_id);
    bindings.mt_id = bindings.mt_id.or_else(|| workspace.mt_id.clone()).or(worked_on);
    bindings.session_id = session.map(|s| s.session_id);
    Ok(bindings)
}

fn discard(quarantine: &std::path::Path) {
    // Left-over quarantine is only unused objects; boot removes what a crash leaves.
    let _ = std::fs::remove_dir_all(quarantine);
}
