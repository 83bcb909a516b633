//! Who runs next (SESSIONS 3): limits on what runs at once, and lanes that do not starve each other. Pure.
//!
//! Invariants: what is chosen fits every limit; while something fits, something is chosen; a run is passed only by runs
//! that waited at most the lanes' head start less than it did. A run that does not fit never holds up one that does.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::ids::{JobId, SessionId};
use crate::limits;
use crate::principal::Role;
use crate::time::Timestamp;

/// Which queue a session's runs wait in, most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Lane {
    #[default]
    Primary,
    Validation,
    Subagent,
    Background,
}

impl Lane {
    pub const ALL: [Self; 4] = [Self::Primary, Self::Validation, Self::Subagent, Self::Background];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Validation => "VALIDATION",
            Self::Subagent => "SUBAGENT",
            Self::Background => "BACKGROUND",
        }
    }
    /// Reads the wire spelling, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.as_str().eq_ignore_ascii_case(text))
    }
    /// Where a session belongs that names no lane.
    pub fn usual(role: Role, is_child: bool) -> Self {
        match (role, is_child) {
            (_, true) => Self::Subagent,
            (Role::Validator, false) => Self::Validation,
            _ => Self::Primary,
        }
    }
    fn head_start_ms(self) -> i64 {
        self as i64 * limits::LANE_HEAD_START_MS
    }
}

/// How much may run at once; the operator's `[limits]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunLimits {
    /// Sessions with a live run.
    pub running: usize,
    /// Of these, of one provider.
    pub provider: usize,
    /// Of these, of one model.
    pub model: usize,
    /// Agents being started.
    pub cold_starts: usize,
    /// Agent processes, idle ones included.
    pub live: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            running: limits::SESSIONS_RUNNING_MAX,
            provider: limits::PROVIDER_RUNNING_MAX,
            model: limits::MODEL_RUNNING_MAX,
            cold_starts: limits::COLD_STARTS_MAX,
            live: limits::SESSIONS_LIVE_MAX,
        }
    }
}

/// A run that wants to begin, or runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    pub job_id: JobId,
    pub session_id: SessionId,
    pub lane: Lane,
    pub provider: String,
    pub model: Option<String>,
    /// It starts a process.
    pub cold: bool,
    pub queued_at: Timestamp,
}

/// What runs now.
#[derive(Clone, Debug, Default)]
pub struct Occupied {
    pub runs: Vec<Run>,
    /// Agent processes that live.
    pub live: usize,
}

/// Says which limit a run would break, in words for a person.
pub fn fits(run: &Run, occupied: &Occupied, limits: &RunLimits) -> Result<(), String> {
    let others = |same: &dyn Fn(&Run) -> bool| occupied.runs.iter().filter(|r| r.session_id != run.session_id && same(r)).map(|r| r.session_id).collect::<BTreeSet<_>>().len();
    let full = |what: String, used: usize, max: usize| if used >= max { Err(format!("{used} of {max} {what}")) } else { Ok(()) };
    full("sessions run".to_owned(), others(&|_| true), limits.running)?;
    full(format!("sessions of the provider {} run", run.provider), others(&|r| r.provider == run.provider), limits.provider)?;
    if let Some(model) = &run.model {
        full(format!("sessions of the model {model} run"), others(&|r| r.model.as_ref() == Some(model)), limits.model)?;
    }
    if run.cold {
        full("agents are being started".to_owned(), others(&|r| r.cold), limits.cold_starts)?;
        full("agent processes live, idle ones included".to_owned(), occupied.live, limits.live)?;
    }
    Ok(())
}

/// The place in `waiting` of the run that begins next; none when nothing fits.
pub fn next(waiting: &[Run], occupied: &Occupied, limits: &RunLimits, now: Timestamp) -> Option<usize> {
    // A clock that was set back makes nobody more patient than one who just came.
    let urgency = |run: &Run| run.lane.head_start_ms() - (now.as_ms() - run.queued_at.as_ms()).max(0);
    let fitting = waiting.iter().enumerate().filter(|(_, run)| fits(run, occupied, limits).is_ok());
    fitting.min_by_key(|(place, run)| (urgency(run), *place)).map(|(place, _)| place)
}

/// Whose service a preset uses, for the limit of one provider. An agent of several providers counts as its own.
pub fn provider_of(agent: &str) -> String {
    match agent {
        "claude" => "anthropic",
        "codex" => "openai",
        "gemini" => "google",
        "qwen" => "alibaba",
        "vibe" => "mistral",
        "copilot" => "github",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn run(number: u32, lane: Lane, provider: u8, model: Option<u8>, cold: bool, queued_at: i64) -> Run {
        Run {
            job_id: Uuid::from_u128(u128::from(number)).into(),
            session_id: Uuid::from_u128(u128::from(number)).into(),
            lane,
            provider: format!("p{provider}"),
            model: model.map(|m| format!("m{m}")),
            cold,
            queued_at: Timestamp(queued_at),
        }
    }

    prop_compose! {
        fn any_run()(lane in 0usize..4, provider in 0u8..3, model in proptest::option::of(0u8..3), cold: bool, queued_at in 0i64..1_000_000) -> (Lane, u8, Option<u8>, bool, i64) {
            (Lane::ALL[lane], provider, model, cold, queued_at)
        }
    }

    fn numbered(parts: Vec<(Lane, u8, Option<u8>, bool, i64)>, from: u32) -> Vec<Run> {
        (from..).zip(parts).map(|(n, (lane, provider, model, cold, at))| run(n, lane, provider, model, cold, at)).collect()
    }

    proptest! {
        #[test]
        fn what_is_chosen_fits_and_nothing_that_fits_is_left_without_a_choice(
            waiting in prop::collection::vec(any_run(), 0..12), running in prop::collection::vec(any_run(), 0..9), live in 0usize..40, now in 0i64..2_000_000,
        ) {
            let waiting = numbered(waiting, 0);
            let occupied = Occupied { runs: numbered(running, 100), live };
            let limits = RunLimits::default();
            let chosen = next(&waiting, &occupied, &limits, Timestamp(now));
            let fitting: Vec<&Run> = waiting.iter().filter(|r| fits(r, &occupied, &limits).is_ok()).collect();
            prop_assert_eq!(chosen.is_some(), !fitting.is_empty());
            if let Some(place) = chosen {
                let chosen = &waiting[place];
                prop_assert!(fitting.contains(&chosen));
                let waited = |r: &Run| (now - r.queued_at.as_ms()).max(0);
                for other in fitting {
                    // Nobody is passed who waited longer by more than the difference of the lanes' head starts.
                    prop_assert!(waited(other) - waited(chosen) <= other.lane.head_start_ms() - chosen.lane.head_start_ms());
                }
            }
        }

        /// Urgent work comes without end; the least urgent run still begins, and no limit is ever broken.
        #[test]
        fn no_lane_starves(arrivals in prop::collection::vec((0usize..3, 0u8..3), 300..400), slots in 1usize..4) {
            let limits = RunLimits { running: slots, provider: slots, ..RunLimits::default() };
            let mut waiting = vec![run(0, Lane::Background, 0, None, false, 0)];
            let mut occupied = Occupied::default();
            let mut begun_at = None;
            for (step, (lane, provider)) in arrivals.into_iter().enumerate() {
                let now = Timestamp(step as i64 * 5_000);
                waiting.push(run(step as u32 + 1, Lane::ALL[lane], provider, None, false, now.as_ms()));
                occupied.runs.truncate(slots - 1);
                while let Some(place) = next(&waiting, &occupied, &limits, now) {
                    let begins = waiting.remove(place);
                    if begins.lane == Lane::Background {
                        begun_at.get_or_insert(now.as_ms());
                    }
                    occupied.runs.insert(0, begins);
                    prop_assert!(occupied.runs.len() <= slots);
                }
            }
            // Its head start behind the first lane, and then at most what stood before it in time.
            prop_assert!(begun_at.is_some_and(|at| at <= 3 * limits::LANE_HEAD_START_MS + 60_000), "{:?}", begun_at);
        }
    }

    #[test]
    fn a_session_does_not_stand_in_its_own_way_and_each_limit_says_its_name() {
        let limits = RunLimits { running: 3, provider: 2, model: 1, cold_starts: 1, live: 5 };
        let first = run(1, Lane::Primary, 1, Some(1), true, 0);
        let occupied = Occupied { runs: vec![first.clone()], live: 1 };
        assert!(fits(&first, &occupied, &limits).is_ok());
        let said = |run: &Run, occupied: &Occupied| fits(run, occupied, &limits).unwrap_err();
        assert_eq!(said(&run(2, Lane::Primary, 2, Some(1), false, 0), &occupied), "1 of 1 sessions of the model m1 run");
        assert_eq!(said(&run(2, Lane::Primary, 2, None, true, 0), &occupied), "1 of 1 agents are being started");
        let two = Occupied { runs: vec![first.clone(), run(2, Lane::Primary, 1, None, false, 0)], live: 5 };
        assert_eq!(said(&run(3, Lane::Primary, 1, None, false, 0), &two), "2 of 2 sessions of the provider p1 run");
        let three = Occupied { runs: vec![run(1, Lane::Primary, 1, None, false, 0), run(2, Lane::Primary, 2, None, false, 0), run(3, Lane::Primary, 3, None, false, 0)], live: 5 };
        assert_eq!(said(&run(4, Lane::Primary, 4, None, false, 0), &three), "3 of 3 sessions run");
        let full = Occupied { runs: Vec::new(), live: 5 };
        assert!(said(&run(4, Lane::Primary, 4, None, true, 0), &full).starts_with("5 of 5 agent processes"));
    }
}
