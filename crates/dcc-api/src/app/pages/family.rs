//! Sessions as families: who spawned whom, what ends together, and who can spawn no more.
//!
//! Authority: derived. Pure, over the sessions that a page has read.

use dcc_core::session::{self, Session};
use dcc_core::{SessionId, limits};

use super::names::Names;
use super::rows::session_row;
use crate::view::SessionRow;

/// A row with what its descendants mean for it.
pub(super) fn family_row(session: &Session, names: &Names) -> SessionRow {
    let below = open_below(session.session_id, names);
    let children = below.iter().filter(|s| s.parent_session_id == Some(session.session_id)).count();
    SessionRow { open_children: children as i64, cascade: below.len() as i64, near_limit: near_limit(session, children), ..session_row(session, names) }
}

/// Open sessions below this one, nearest first: all of them end with it.
pub(super) fn open_below(id: SessionId, names: &Names) -> Vec<&Session> {
    session::open_below(id, names.sessions.values(), |above| names.sessions.get(&above)?.parent_session_id)
}

/// The whole tree that a session belongs to, each parent before its children, ended ones too.
pub(super) fn tree(session: &Session, names: &Names) -> Vec<SessionRow> {
    let mut root = session;
    for _ in 0..limits::SPAWN_DEPTH_MAX {
        root = root.parent_session_id.and_then(|id| names.sessions.get(&id)).unwrap_or(root);
    }
    let mut rows = Vec::new();
    grow(root, names, &mut rows);
    rows
}

fn grow(session: &Session, names: &Names, rows: &mut Vec<SessionRow>) {
    rows.push(family_row(session, names));
    let mut children: Vec<&Session> = names.sessions.values().filter(|s| s.parent_session_id == Some(session.session_id) && s.spawn_depth > session.spawn_depth).collect();
    children.sort_by_key(|s| s.created_at);
    for child in children {
        grow(child, names, rows);
    }
}

/// Why a session can spawn no more, or only one more.
fn near_limit(session: &Session, children: usize) -> Option<String> {
    let (depth, max) = (session.spawn_depth, limits::CHILDREN_ACTIVE_MAX);
    match () {
        () if session.state.is_terminal() => None,
        () if depth >= limits::SPAWN_DEPTH_MAX => Some(format!("depth {depth} of {}: can spawn no more", limits::SPAWN_DEPTH_MAX)),
        () if children >= max => Some(format!("{children} of {max} children: can spawn no more")),
        () if children + 1 == max => Some(format!("{children} of {max} children")),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcc_core::Timestamp;
    use dcc_core::principal::Role;
    use dcc_core::session::SessionState;

    fn id(n: u8) -> SessionId {
        format!("0198c0de-0000-7000-8000-0000000000{n:02}").parse().unwrap()
    }

    fn names(family: &[(u8, Option<u8>, u32, bool)]) -> Names {
        let session = |&(n, parent, depth, ended): &(u8, Option<u8>, u32, bool)| {
            let mut session = Session::new(id(n), "claude", Role::Coder, Timestamp(i64::from(n)));
            session.parent_session_id = parent.map(id);
            session.spawn_depth = depth;
            if ended {
                session.state = SessionState::Completed;
            }
            (id(n), session)
        };
        Names { sessions: family.iter().map(session).collect(), ..Names::default() }
    }

    #[test]
    fn what_ends_together_is_counted_and_the_tree_has_its_order() {
        let names = names(&[(1, None, 0, false), (2, Some(1), 1, false), (3, Some(1), 1, true), (4, Some(2), 2, false), (5, None, 0, false)]);
        let row = family_row(&names.sessions[&id(1)], &names);
        assert_eq!((row.open_children, row.cascade, row.near_limit), (1, 2, None));
        let shown: Vec<(String, i64)> = tree(&names.sessions[&id(4)], &names).into_iter().map(|r| (r.session_id, r.depth)).collect();
        let want: Vec<(String, i64)> = [(1, 0), (2, 1), (4, 2), (3, 1)].map(|(n, depth)| (id(n).to_string(), depth)).to_vec();
        assert_eq!(shown, want);
    }

    #[test]
    fn limits_are_said_before_and_when_they_are_reached() {
        let crowd: Vec<(u8, Option<u8>, u32, bool)> = std::iter::once((1, None, 0, false)).chain((2..6).map(|n| (n, Some(1), 1, n == 5))).collect();
        let near = |names: &Names, n| family_row(&names.sessions[&id(n)], names).near_limit;
        assert_eq!(near(&names(&crowd), 1).as_deref(), Some("3 of 4 children"));
        let full: Vec<_> = crowd.iter().map(|&(n, parent, depth, _)| (n, parent, depth, false)).collect();
        assert_eq!(near(&names(&full), 1).as_deref(), Some("4 of 4 children: can spawn no more"));
        let deep = names(&[(1, None, 3, false)]);
        assert_eq!(near(&deep, 1).as_deref(), Some("depth 3 of 3: can spawn no more"));
    }
}
