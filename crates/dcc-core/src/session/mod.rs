//! Sessions: the record as a fold over its events, the pure machine, the queue of messages, who runs next (SESSIONS 1-4).

mod family;
mod fold;
pub mod handoff;
mod machine;
mod messages;
mod record;
mod schedule;

pub use family::open_below;
pub use fold::{DECISIVE_CODES, apply};
pub use handoff::{EvidenceKind, EvidenceLink, Handoff, HandoffText};
pub use machine::{Need, SessionState, StateReason, step};
pub use messages::{Delivery, Source, Steering, WaitingMessage, delivery_of, is_prompt, position_of};
pub use record::{CheckpointMark, Pausing, Posture, ProcessIdentity, QueuedRun, Session};
pub use schedule::{Lane, Occupied, Run, RunLimits, fits, next, provider_of};
