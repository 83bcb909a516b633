//! The table of DATA 1, every condition, and random walks.

mod accept;
mod conditions;
mod moves;

use crate::ids::{JobId, MtId, NoteId, WpId};
use crate::locus::change::{LocusChange, NewMicroTask, NewPacket};
use crate::locus::record::{DependencyKind, Evidence, GateName, GateStatus, MicroTask, MtFiles, Record, Routing, WorkPacket, WpStatus, WpType};
use crate::locus::rules::{Applied, Context, Packets, apply};
use crate::time::Timestamp;
use crate::{Failure, Outcome};
use uuid::Uuid;

/// Some packets with their micro-tasks; changes go through `apply` alone.
#[derive(Default, Clone)]
pub struct World {
    pub packets: Vec<WorkPacket>,
    pub micro_tasks: Vec<MicroTask>,
    pub pending_approvals: usize,
    pub running: usize,
    pub ticks: i64,
}

pub fn wp(text: &str) -> WpId {
    WpId::parse(text).unwrap()
}
pub fn mt(text: &str) -> MtId {
    MtId::parse(text).unwrap()
}

pub fn new_packet(id: &str) -> NewPacket {
    NewPacket {
        wp_id: wp(id),
        title: format!("Title of {id}"),
        description: String::new(),
        wp_type: WpType::Feature,
        priority: 2,
        routing: Routing::Standard,
        labels: Vec::new(),
        acceptance_criteria: vec!["it works".into()],
        in_scope_paths: Vec::new(),
    }
}

pub fn new_mt(name: &str) -> NewMicroTask {
    NewMicroTask {
        mt_id: None,
        name: name.into(),
        scope: String::new(),
        files: MtFiles::default(),
        done_criteria: vec!["done".into()],
        depends_on: Vec::new(),
        verify: Vec::new(),
    }
}

pub fn statement(text: &str) -> Evidence {
    Evidence { job_id: None, command: None, exit_code: None, tests_run: None, commit_oid: None, artifact_refs: Vec::new(), statement: Some(text.into()) }
}
pub fn job(exit_code: Option<i32>, tests_run: Option<u64>) -> Evidence {
    Evidence { job_id: Some(JobId(Uuid::nil())), exit_code, tests_run, statement: None, ..statement("") }
}

impl World {
    pub fn with(ids: &[&str]) -> Self {
        let mut world = Self::default();
        for id in ids {
            world.change(id, None, LocusChange::CreateWp { new: new_packet(id) }).unwrap();
        }
        world
    }

    pub fn try_change(&self, id: &str, mt_id: Option<&str>, change: &LocusChange) -> Outcome<Applied> {
        let index = Packets::new(&self.packets);
        let ctx = Context {
            now: Timestamp(1_000 + self.ticks),
            author: "operator",
            note_id: NoteId(Uuid::from_u128(self.ticks as u128 + 1)),
            all_packets: &self.packets,
            micro_tasks: &self.micro_tasks,
            pending_approvals: self.pending_approvals,
            running: self.running,
            gate_inputs: None,
        };
        let mt_id = mt_id.map(mt);
        apply(change, index.any(&wp(id)), mt_id.as_ref(), &ctx)
    }

    pub fn change(&mut self, id: &str, mt_id: Option<&str>, change: LocusChange) -> Outcome<Applied> {
        let applied = self.try_change(id, mt_id, &change)?;
        self.ticks += 1;
        for record in &applied.records {
            self.keep(record);
        }
        Ok(applied)
    }

    fn keep(&mut self, record: &Record) {
        match record {
            Record::Packet(p) => match self.packets.iter_mut().find(|old| old.wp_id == p.wp_id) {
                Some(old) => {
                    assert_eq!(p.version, old.version + 1);
                    *old = (**p).clone();
                }
                None => self.packets.push((**p).clone()),
            },
            Record::MicroTask(m) => match self.micro_tasks.iter_mut().find(|old| (&old.wp_id, &old.mt_id) == (&m.wp_id, &m.mt_id)) {
                Some(old) => {
                    assert_eq!(m.version, old.version + 1);
                    *old = (**m).clone();
                }
                None => self.micro_tasks.push((**m).clone()),
            },
        }
    }

    pub fn packet(&self, id: &str) -> &WorkPacket {
        self.packets.iter().find(|p| p.wp_id == wp(id)).unwrap()
    }

    pub fn refuse(&self, id: &str, mt_id: Option<&str>, change: &LocusChange) -> Failure {
        self.try_change(id, mt_id, change).unwrap_err()
    }

    pub fn gate(&mut self, id: &str, gate: GateName) {
        self.change(id, None, LocusChange::GateWp { gate, result: GateStatus::Pass, reason: None, inputs: None }).unwrap();
    }

    pub fn depend(&mut self, id: &str, kind: DependencyKind, to: &str) -> Outcome<Applied> {
        self.change(id, None, LocusChange::AddDependency { kind, to_wp_id: wp(to) })
    }

    /// Drives WP-1 into the status, through legal moves.
    pub fn drive(&mut self, id: &str, to: WpStatus) {
        let reason = || "because".to_owned();
        if matches!(to, WpStatus::Stub) {
            return;
        }
        if to == WpStatus::Cancelled {
            self.change(id, None, LocusChange::CancelWp { reason: reason() }).unwrap();
            return;
        }
        self.change(id, None, LocusChange::MakeReady).unwrap();
        match to {
            WpStatus::Blocked => self.change(id, None, LocusChange::BlockWp { reason: reason() }).map(drop).unwrap(),
            WpStatus::Gated => self.change(id, None, LocusChange::HoldWp { reason: reason() }).map(drop).unwrap(),
            WpStatus::InProgress | WpStatus::Done => {
                self.gate(id, GateName::PreWork);
                self.change(id, None, LocusChange::StartWp).unwrap();
            }
            _ => {}
        }
        if to == WpStatus::Done {
            self.gate(id, GateName::PostWork);
            self.change(id, None, LocusChange::CloseWp { verdict: None }).unwrap();
        }
    }
}
