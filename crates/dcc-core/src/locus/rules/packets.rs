//! All packets with their blocking edges, for uniqueness, readiness and cycles.
//!
//! Authority: derived, built from the accepted records for one decision or one view. Building is linear in packets and
//! edges; a question about one packet touches its own edges only.

use std::collections::{HashMap, HashSet};

use crate::ids::WpId;
use crate::locus::record::{Dependency, DependencyKind, WorkPacket, WpStatus};

/// Something a packet waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocker {
    pub wp_id: WpId,
    /// None when there is no such packet any more.
    pub status: Option<WpStatus>,
    pub title: String,
    /// Cancelled, deleted or gone: it will not finish, a person decides (DATA 1).
    pub needs_decision: bool,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) if self.needs_decision => write!(f, "{} ({}: needs decision)", self.wp_id, status.as_str()),
            Some(status) => write!(f, "{} ({})", self.wp_id, status.as_str()),
            None => write!(f, "{} (gone: needs decision)", self.wp_id),
        }
    }
}

/// Lookup by id without regard to case, and the blocking edges in one direction.
pub struct Packets<'a> {
    by_id: HashMap<String, &'a WorkPacket>,
    /// Dependent to what it waits for, wherever the edge is written down.
    waits_for: HashMap<String, Vec<WpId>>,
}

/// The edge in its one direction, (who waits, for whom); none for kinds without effect on readiness.
pub(super) fn blocking_edge<'a>(owner: &'a WpId, kind: DependencyKind, to: &'a WpId) -> Option<(&'a WpId, &'a WpId)> {
    match kind {
        DependencyKind::Blocks => Some((to, owner)),
        DependencyKind::BlockedBy | DependencyKind::DependsOn => Some((owner, to)),
        DependencyKind::ParentChild
        | DependencyKind::Related
        | DependencyKind::DiscoveredFrom
        | DependencyKind::DuplicateOf
        | DependencyKind::Implements
        | DependencyKind::Tests
        | DependencyKind::Documents => None,
    }
}

impl<'a> Packets<'a> {
    pub fn new(packets: impl IntoIterator<Item = &'a WorkPacket>) -> Self {
        let mut by_id = HashMap::new();
        let mut waits_for: HashMap<String, Vec<WpId>> = HashMap::new();
        for packet in packets {
            by_id.insert(packet.wp_id.folded(), packet);
            // A deleted packet's edges went with it; edges of others to it stay and need a decision.
            if packet.tombstone.is_some() {
                continue;
            }
            for Dependency { kind, to_wp_id, .. } in &packet.dependencies {
                if let Some((dependent, blocker)) = blocking_edge(&packet.wp_id, *kind, to_wp_id) {
                    waits_for.entry(dependent.folded()).or_default().push(blocker.clone());
                }
            }
        }
        Self { by_id, waits_for }
    }

    /// The packet, deleted ones included.
    pub fn any(&self, id: &WpId) -> Option<&'a WorkPacket> {
        self.by_id.get(&id.folded()).copied()
    }

    /// The packet, unless deleted.
    pub fn live(&self, id: &WpId) -> Option<&'a WorkPacket> {
        self.any(id).filter(|p| p.tombstone.is_none())
    }

    /// All but deleted ones, by priority, then id.
    pub fn all(&self) -> Vec<&'a WorkPacket> {
        let mut all: Vec<_> = self.by_id.values().copied().filter(|p| p.tombstone.is_none()).collect();
        all.sort_by(|a, b| (a.priority, &a.wp_id).cmp(&(b.priority, &b.wp_id)));
        all
    }

    /// What the packet still waits for, by id. A done blocker is none.
    pub fn blockers(&self, id: &WpId) -> Vec<Blocker> {
        let mut seen = HashSet::new();
        let mut blockers: Vec<_> = self
            .waits_for
            .get(&id.folded())
            .into_iter()
            .flatten()
            .filter(|blocker| seen.insert(blocker.folded()))
            .filter_map(|blocker| self.blocker(blocker))
            .collect();
        blockers.sort_by(|a, b| a.wp_id.cmp(&b.wp_id));
        blockers
    }

    fn blocker(&self, id: &WpId) -> Option<Blocker> {
        let Some(packet) = self.live(id) else {
            return Some(Blocker { wp_id: id.clone(), status: None, title: String::new(), needs_decision: true });
        };
        if packet.status == WpStatus::Done {
            return None;
        }
        let needs_decision = packet.status == WpStatus::Cancelled;
        Some(Blocker { wp_id: packet.wp_id.clone(), status: Some(packet.status), title: packet.title.clone(), needs_decision })
    }

    /// True when `dependent` already waits for `blocker` by an edge of its own, written on either side.
    pub(super) fn has_edge(&self, dependent: &WpId, blocker: &WpId) -> bool {
        self.waits_for.get(&dependent.folded()).is_some_and(|edges| edges.iter().any(|e| e.folded() == blocker.folded()))
    }

    /// True when `from` waits, over any number of steps, for `goal`.
    pub(super) fn waits_over_steps(&self, from: &WpId, goal: &WpId) -> bool {
        reaches(from, goal, |id| self.waits_for.get(id).into_iter().flatten().map(WpId::folded).collect())
    }

    /// True when `goal` is below `from` over any number of parent-child edges.
    pub(super) fn is_above(&self, from: &WpId, goal: &WpId) -> bool {
        reaches(from, goal, |id| {
            let children = self.by_id.get(id).into_iter().flat_map(|p| &p.dependencies);
            children.filter(|d| d.kind == DependencyKind::ParentChild).map(|d| d.to_wp_id.folded()).collect()
        })
    }
}

fn reaches(from: &WpId, goal: &WpId, next: impl Fn(&str) -> Vec<String>) -> bool {
    let goal = goal.folded();
    let mut open = vec![from.folded()];
    let mut seen = HashSet::new();
    while let Some(at) = open.pop() {
        if at == goal {
            return true;
        }
        if seen.insert(at.clone()) {
            open.extend(next(&at));
        }
    }
    false
}
