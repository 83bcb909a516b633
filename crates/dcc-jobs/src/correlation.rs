//! The ids that join a job's events to objects. Pure.

use dcc_core::event::Correlation;
use dcc_core::job::Job;

/// The joining ids of a job.
pub(crate) fn correlation(job: &Job) -> Correlation {
    Correlation {
        wp_id: job.bindings.wp_id.clone(),
        mt_id: job.bindings.mt_id.clone(),
        session_id: job.bindings.session_id,
        workspace_id: job.bindings.workspace_id,
        job_id: Some(job.job_id),
        workflow_run_id: Some(job.root_job_id),
        approval_id: None,
        tool_call_id: None,
    }
}
