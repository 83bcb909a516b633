//! The legal moves (DATA 1): one pure step from record and change to record.
