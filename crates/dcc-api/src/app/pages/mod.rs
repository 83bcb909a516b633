//! View models of the screens, filled from canon and the derived store.
