//! Family and reason: one pure function to show and to authorise (DATA 1).
