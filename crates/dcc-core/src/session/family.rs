//! Who descends from whom. Pure.

use crate::ids::SessionId;
use crate::limits;

use super::Session;

/// The open sessions below one, nearest first: all of them end with it, also those below one that has ended. `parent_of`
/// answers for every session, ended ones too.
pub fn open_below<'a>(id: SessionId, sessions: impl IntoIterator<Item = &'a Session>, parent_of: impl Fn(SessionId) -> Option<SessionId>) -> Vec<&'a Session> {
    let is_below = |session: &Session| {
        let mut above = session.parent_session_id;
        // A child is one deeper than its parent, so the way up ends with the root.
        for _ in 0..=limits::SPAWN_DEPTH_MAX {
            match above {
                Some(parent) if parent == id => return true,
                Some(parent) => above = parent_of(parent),
                None => return false,
            }
        }
        false
    };
    let mut found: Vec<&Session> = sessions.into_iter().filter(|s| !s.state.is_terminal() && is_below(s)).collect();
    found.sort_by_key(|s| (s.spawn_depth, s.created_at, s.session_id));
    found
}
