//! locus.accept_edit: a record's file that was edited by hand becomes the next version, or is written back as accepted.
//!
//! Authority: canon. Invariants: the edited bytes are an artifact before anything is replaced; what is accepted passes the
//! rules that authorise the same change as an operation; until the job has run, gates go on with the accepted version.
//! On failure: a file that changed again meanwhile is left as it is (HSK-409-STALE-PREVIEW).

use serde::{Deserialize, Serialize};
use serde_json::json;

use dcc_core::event::{EventCode, NewEvent};
use dcc_core::gate::Cleared;
use dcc_core::ids::{MtId, Sha256Hex, WpId};
use dcc_core::job::Job;
use dcc_core::locus::{LocusChange, Record, RecordKey};
use dcc_core::plans::LocusPlan;
use dcc_core::ports::{Drifted, StagedRecord, set_aside_path};
use dcc_core::{Code, Failure, Outcome, redact};

use super::locus::{accepted, effect_of, judge, recovered_records, sync_board};
use super::{Done, Effect, JobKind, Lock, Planned, Recovered, params};
use crate::context::Context;
use crate::runner::correlation;

pub(super) struct SettleEdit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    record: Named,
    action: Action,
    /// What the person saw; when the file holds something else by now, nothing is done.
    found_sha256: Option<Sha256Hex>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Packet(WpId),
    Either(Parts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    wp_id: WpId,
    mt_id: Option<MtId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Accept,
    Restore,
}

impl Named {
    fn key(self) -> RecordKey {
        match self {
            Self::Packet(wp_id) | Self::Either(Parts { wp_id, mt_id: None }) => RecordKey::Packet { wp_id },
            Self::Either(Parts { wp_id, mt_id: Some(mt_id) }) => RecordKey::MicroTask { wp_id, mt_id },
        }
    }
}

impl JobKind for SettleEdit {
    type Plan = LocusPlan;

    fn plan(&self, cx: &Context, job: &Job) -> Outcome<Planned<LocusPlan>> {
        let p: Params = params::parse(cx, job)?;
        let named = p.record.key();
        let seen = cx.ports.locus.drifted(&named)?.ok_or_else(|| {
            Failure::new(Code::IllegalTransition, format!("the file of {} is as accepted; there is nothing to settle", named.text()))
        })?;
        let found = seen.found_sha256();
        if p.found_sha256.is_some() && p.found_sha256 != found {
            return Err(Failure::new(Code::StalePreview, format!("the file of {} changed since it was shown", named.text())).hint("look at it again, then decide anew"));
        }
        let change = change_of(p.action, &seen)?;
        let key = seen.accepted.key();
        let (wp_id, mt_id) = parts(&key);
        let applied = judge(cx, job, &wp_id, mt_id.as_ref(), &change)?;
        let kept = keep(cx, p.action, &seen)?;
        let mut bindings = job.bindings.clone();
        bindings.wp_id = Some(wp_id.clone());
        bindings.mt_id.clone_from(&mt_id);
        let base = vec![(key.text(), accepted(cx, &key)?)];
        let body = LocusPlan { op: job.op, wp_id, mt_id, change, base, sentence: applied.sentence };
        Ok(Planned { body, engine: "locus", inputs: kept.into_iter().collect(), bindings, claim: None })
    }

    fn lock(&self) -> Lock {
        Lock::Locus
    }

    fn apply(&self, cx: &Context, job: &Job, cleared: Cleared<LocusPlan>) -> Outcome<Done> {
        let plan = cleared.body().clone();
        match &plan.change {
            LocusChange::AcceptEdit { found_sha256, .. } => take_in(cx, job, cleared, &plan, *found_sha256),
            LocusChange::RestoreFile { found_sha256, .. } => write_back(cx, job, cleared, &plan, *found_sha256),
            _ => Err(Failure::new(Code::Underdeclared, "the stored plan settles no edit")),
        }
    }

    fn recover(&self, cx: &Context, job: &Job, body: &LocusPlan) -> Outcome<Recovered> {
        let LocusChange::RestoreFile { found_sha256, .. } = &body.change else { return recovered_records(cx, job, body) };
        if job.effect.is_none() || cx.ports.locus.drifted(&key_of(body))?.is_some() {
            return Ok(Recovered::Absent);
        }
        let mut effect = effect(job, body, Action::Restore);
        effect.events.push(settled(job, body, Action::Restore, *found_sha256));
        Ok(Recovered::Finished(effect))
    }
}

/// The edited bytes as an artifact, before anything can replace them. An edit that holds a secret of a known form is not
/// accepted, and when it is written over, what is kept of it is redacted.
fn keep(cx: &Context, action: Action, seen: &Drifted) -> Outcome<Option<Sha256Hex>> {
    let Some(bytes) = seen.bytes.as_deref() else { return Ok(None) };
    if let (Action::Accept, Ok(record)) = (action, &seen.edited) {
        let fields = serde_json::to_value(record).map_err(|e| Failure::engine(format!("the edited record cannot be written: {e}")))?;
        redact::refuse_known(&seen.accepted.key().text(), &fields)?;
    }
    let held = redact::known_in(&String::from_utf8_lossy(bytes)).map(|_| redact::redact_bytes(bytes).0);
    cx.ports.artifacts.put(held.as_deref().unwrap_or(bytes)).map(Some)
}

fn change_of(action: Action, seen: &Drifted) -> Outcome<LocusChange> {
    let key = seen.accepted.key().text();
    match (action, &seen.edited, seen.found_sha256()) {
        (Action::Restore, _, found_sha256) => Ok(LocusChange::RestoreFile { key, found_sha256 }),
        (Action::Accept, Ok(record), Some(found_sha256)) => Ok(LocusChange::AcceptEdit { found_sha256, record: Box::new(record.clone()) }),
        (Action::Accept, Err(why), _) => {
            Err(Failure::new(Code::Drift, format!("the file of {key} cannot be accepted: it {why}")).hint("mend the file and accept it, or restore the accepted version"))
        }
        (Action::Accept, Ok(_), None) => Err(Failure::engine("a file without bytes was read as a record")),
    }
}

fn parts(key: &RecordKey) -> (WpId, Option<MtId>) {
    match key {
        RecordKey::Packet { wp_id } => (wp_id.clone(), None),
        RecordKey::MicroTask { wp_id, mt_id } => (wp_id.clone(), Some(mt_id.clone())),
    }
}

fn key_of(plan: &LocusPlan) -> RecordKey {
    let wp_id = plan.wp_id.clone();
    match plan.mt_id.clone() {
        None => RecordKey::Packet { wp_id },
        Some(mt_id) => RecordKey::MicroTask { wp_id, mt_id },
    }
}

/// Record first, event second, file third, as every mutation; the file may hold the edit instead of the predecessor.
fn take_in(cx: &Context, job: &Job, cleared: Cleared<LocusPlan>, plan: &LocusPlan, found: Sha256Hex) -> Outcome<Done> {
    let applied = judge(cx, job, &plan.wp_id, plan.mt_id.as_ref(), &plan.change)?;
    let mut staged: Vec<StagedRecord> = applied.records.iter().map(|r| cx.ports.locus.stage(r)).collect::<Outcome<_>>()?;
    for record in &mut staged {
        record.edited = Some(found);
    }
    let versions = staged.iter().map(|s| format!("{}:v{}", s.key.text(), s.version)).collect::<Vec<_>>().join(",");
    let about = |code, payload| NewEvent::new(code, job.actor, payload).about(&correlation(job));
    cx.journal.append(vec![
        about(EventCode::EffectPlanned, json!({ "effect": { "records": staged } })),
        about(applied.event, json!({ "records": staged, "found_sha256": found, "sentence": applied.sentence })).once(format!("wp:{versions}")),
        settled(job, plan, Action::Accept, Some(found)),
    ])?;
    cx.ports.locus.publish(cleared, &staged)?;
    cx.journal.project_packets(&[key_of(plan)])?;
    sync_board(cx, job)?;
    let mut done = effect(job, plan, Action::Accept);
    done.result.extend(effect_of(plan, &applied).result);
    if let Some(Record::MicroTask(task)) = applied.records.first() {
        done = done.with("version", task.version).with("status", task.status.as_str());
    }
    Ok(Done::Finished(done))
}

fn write_back(cx: &Context, job: &Job, cleared: Cleared<LocusPlan>, plan: &LocusPlan, found: Option<Sha256Hex>) -> Outcome<Done> {
    let planned = json!({ "effect": { "restore": key_of(plan).text(), "found_sha256": found } });
    cx.journal.append(vec![NewEvent::new(EventCode::EffectPlanned, job.actor, planned).about(&correlation(job))])?;
    cx.ports.locus.restore(cleared, &key_of(plan), found)?;
    let mut done = effect(job, plan, Action::Restore);
    done.events.push(settled(job, plan, Action::Restore, found));
    Ok(Done::Finished(done))
}

fn effect(job: &Job, plan: &LocusPlan, action: Action) -> Effect {
    let mut effect = Effect::default().with("wp_id", plan.wp_id.to_string()).with("action", json!(action)).with("message", plan.sentence.clone());
    if let Some(mt_id) = &plan.mt_id {
        effect = effect.with("mt_id", mt_id.to_string());
    }
    // The planned input is the edit as it was kept.
    for kept in &job.inputs {
        effect = effect.with("edited_sha256", kept.to_string());
        effect.outputs.push(*kept);
    }
    // What was found and is no artifact was too large for one.
    if let (LocusChange::RestoreFile { found_sha256: Some(found), .. }, []) = (&plan.change, job.inputs.as_slice()) {
        effect = effect.with("kept_as", format!(".handshake/gov/{}", set_aside_path(&key_of(plan), *found)));
    }
    effect
}

fn settled(job: &Job, plan: &LocusPlan, action: Action, found: Option<Sha256Hex>) -> NewEvent {
    let payload = json!({ "key": key_of(plan).text(), "action": action, "edited_sha256": found });
    NewEvent::new(EventCode::DriftSettled, job.actor, payload).about(&correlation(job))
}
