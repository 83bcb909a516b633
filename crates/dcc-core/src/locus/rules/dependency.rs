//! Edges between packets. Blocking kinds are judged in one direction, whichever way they are written.

use crate::event::EventCode;
use crate::failure::{Code, Failure, Outcome};
use crate::ids::WpId;
use crate::locus::record::{Dependency, DependencyKind, WorkPacket};
use crate::locus::rules::packet::{done, raised, require_open};
use crate::locus::rules::packets::blocking_edge;
use crate::locus::rules::{Applied, Context, DEPENDENCIES_MAX, illegal};

pub(super) fn add(kind: DependencyKind, to: &WpId, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    if to.folded() == packet.wp_id.folded() {
        return Err(Failure::invalid(format!("{} cannot depend on itself", packet.wp_id)));
    }
    let index = ctx.index();
    let target = index.live(to).ok_or_else(|| Failure::new(Code::NotFoundWp, format!("there is no packet {to}")))?;
    if packet.dependencies.len() >= DEPENDENCIES_MAX {
        return Err(Failure::invalid(format!("{} has {DEPENDENCIES_MAX} dependencies, the most a packet holds", packet.wp_id)));
    }
    let written = packet.dependencies.iter().any(|d| d.kind == kind && d.to_wp_id.folded() == to.folded());
    match blocking_edge(&packet.wp_id, kind, &target.wp_id) {
        Some((dependent, blocker)) => {
            if written || index.has_edge(dependent, blocker) {
                return Err(illegal(format!("{dependent} waits for {blocker} already")));
            }
            require_open(if dependent == &packet.wp_id { packet } else { target }, "made to wait")?;
            if index.waits_over_steps(blocker, dependent) {
                return Err(illegal(format!("{blocker} waits for {dependent} already; {dependent} waiting for {blocker} would close a circle")));
            }
        }
        None if written => return Err(illegal(format!("{} {} {} stands there already", packet.wp_id, kind.as_str(), target.wp_id))),
        None if kind == DependencyKind::ParentChild && index.is_above(&target.wp_id, &packet.wp_id) => {
            return Err(illegal(format!("{} stands above {} already; parent and child would close a circle", target.wp_id, packet.wp_id)));
        }
        None => {}
    }
    let mut next = raised(packet, ctx);
    next.dependencies.push(Dependency {
        dependency_id: ctx.note_id.to_string(),
        kind,
        to_wp_id: target.wp_id.clone(),
        created_at: ctx.now,
        created_by: ctx.author.to_owned(),
    });
    let sentence = format!("{} {} {}", packet.wp_id, kind.as_str(), target.wp_id);
    Ok(done(next, EventCode::DependencyAdded, sentence))
}

/// Removing works on closed packets too: a cancelled packet's edge is what keeps another one waiting.
pub(super) fn remove(kind: DependencyKind, to: &WpId, packet: &WorkPacket, ctx: &Context<'_>) -> Outcome<Applied> {
    let wanted = blocking_edge(&packet.wp_id, kind, to).map(|(a, b)| (a.folded(), b.folded()));
    let is_wanted = |d: &Dependency| {
        d.to_wp_id.folded() == to.folded()
            && (d.kind == kind || (wanted.is_some() && blocking_edge(&packet.wp_id, d.kind, &d.to_wp_id).map(|(a, b)| (a.folded(), b.folded())) == wanted))
    };
    if !packet.dependencies.iter().any(is_wanted) {
        let failure = Failure::new(Code::NotFound, format!("{} has no dependency {} {to}", packet.wp_id, kind.as_str()));
        let elsewhere = blocking_edge(&packet.wp_id, kind, to).is_some_and(|(a, b)| ctx.index().has_edge(a, b));
        return Err(if elsewhere { failure.hint(format!("it is written down at {to}: remove it there")) } else { failure });
    }
    let mut next = raised(packet, ctx);
    next.dependencies.retain(|d| !is_wanted(d));
    let sentence = format!("{} {} {to} removed", packet.wp_id, kind.as_str());
    Ok(done(next, EventCode::DependencyRemoved, sentence))
}
